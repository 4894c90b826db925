# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""How long an answer may take, by what was asked: the time-outs of all requests. No effects here.

Slow is not dead. A store that puts 10,000 parts together, writes what it took to tape, or looks through a bucket of a
hundred million objects says nothing for minutes. While bytes should flow, nobody has a reason to be silent for so long.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # config/job_file.py brings pydantic
    from ..config.job_file import MoverSettings

CONNECT_SECONDS = 10.0  # for the name, the connection and the TLS handshake
PROBE_SECONDS = 30.0  # of the question whether an endpoint is well, whatever the job says
LEAST_BYTES = 128  # one packet of the slowest line has more; a tarpit drips one byte after the other, for ever
ANSWER_STALLS = 5.0  # an answer that takes work may take so many times `stall_seconds`, unless the job says how long


class Asked(enum.Enum):
    """Kinds of requests that differ in how long they may take."""

    PROBE = "whether the endpoint is well"
    LIST = "a page of a listing"
    HEAD = "HEAD, tags, a list of parts, an abort"
    GET = "GET of an object or a range"
    PUT = "PutObject, UploadPart"
    BEGIN = "CreateMultipartUpload"
    COMPLETE = "CompleteMultipartUpload"


@dataclass(frozen=True, slots=True)
class Silence:
    """Seconds without a byte after which a request is given up.

    `flow`: while its body goes, or the answer's comes. `answer`: from its last byte to the first one of the answer.
    Fewer bytes than `least` are none.
    """

    flow: float
    answer: float
    least: int = 1


@dataclass(frozen=True, slots=True)
class Patience:
    """What a job allows, in seconds: `stall` while bytes should flow, `answer` for an answer that takes work."""

    stall: float = 60.0
    answer: float = ANSWER_STALLS * 60.0

    def of(self, asked: Asked) -> Silence:
        return self._table()[asked]

    def _table(self) -> Mapping[Asked, Silence]:
        stall, answer = self.stall, self.answer
        return {
            Asked.PROBE: Silence(PROBE_SECONDS, PROBE_SECONDS),
            Asked.LIST: Silence(answer, answer),  # some write a blank now and then while they look
            Asked.HEAD: Silence(stall, stall),
            Asked.GET: Silence(stall, stall, LEAST_BYTES),
            Asked.PUT: Silence(stall, answer, LEAST_BYTES),
            Asked.BEGIN: Silence(stall, answer),
            Asked.COMPLETE: Silence(2 * answer, 2 * answer),  # a blank each 10 to 30 seconds, or nothing at all
        }


def patience_of(settings: MoverSettings) -> Patience:
    """What a job's `mover` says."""
    return Patience(settings.stall_seconds, settings.answer_seconds or ANSWER_STALLS * settings.stall_seconds)
