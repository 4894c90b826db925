# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The timeouts of all requests, by kind. No side effects.

A slow store is not a failed store: one that assembles 10,000 parts, writes to tape, or scans a bucket of a hundred
million objects is silent for minutes. While bytes should flow there is no reason for such a long silence.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..config.job_file import MoverSettings

CONNECT_SECONDS = 10.0  # for the name, the connection and the TLS handshake
PROBE_SECONDS = 30.0  # timeout of an endpoint's health probe, whatever the job says
LEAST_BYTES = 128  # one packet of the slowest line has more; a tarpit drips single bytes forever
ANSWER_STALLS = 5.0  # a slow response may take this many times `stall_seconds`, unless the job sets `answer_seconds`


class Asked(enum.Enum):
    """Kinds of requests that differ in how long they may take."""

    PROBE = "whether the endpoint is healthy"
    LIST = "a page of a listing"
    HEAD = "HEAD, tags, a list of parts, an abort"
    GET = "GET of an object or a range"
    PUT = "PutObject, UploadPart"
    BEGIN = "CreateMultipartUpload"
    COMPLETE = "CompleteMultipartUpload"


@dataclass(frozen=True, slots=True)
class Silence:
    """Seconds without a byte after which a request times out.

    `flow`: while its body is sent, or the response's received. `answer`: from its last byte to the first one of the
    response. Fewer bytes than `least` count as none.
    """

    flow: float
    answer: float
    least: int = 1


@dataclass(frozen=True, slots=True)
class Patience:
    """The job's timeouts in seconds: `stall` while bytes should flow, `answer` for a response that takes work."""

    stall: float = 60.0
    answer: float = ANSWER_STALLS * 60.0

    def of(self, asked: Asked) -> Silence:
        return _table(self.stall, self.answer)[asked]


@functools.lru_cache  # it is looked up for every small object
def _table(stall: float, answer: float) -> Mapping[Asked, Silence]:
    return {
        Asked.PROBE: Silence(PROBE_SECONDS, PROBE_SECONDS),
        Asked.LIST: Silence(answer, answer),  # some stores send a blank now and then while they scan
        Asked.HEAD: Silence(stall, stall),
        Asked.GET: Silence(stall, stall, LEAST_BYTES),
        Asked.PUT: Silence(stall, answer, LEAST_BYTES),
        Asked.BEGIN: Silence(stall, answer),
        Asked.COMPLETE: Silence(2 * answer, 2 * answer),  # a blank each 10 to 30 seconds, or nothing at all
    }


def patience_of(settings: MoverSettings) -> Patience:
    """The timeouts of a job's `mover` section."""
    return Patience(settings.stall_seconds, settings.answer_seconds or ANSWER_STALLS * settings.stall_seconds)
