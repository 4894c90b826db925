# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What both kinds of lanes of the native mover share: handles, and the work that they carry out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...store.curl import Crew, Transfer, handle_options, libcurl
from ...store.timeouts import CONNECT_SECONDS
from .requests import Request

if TYPE_CHECKING:  # config/job_file.py brings pydantic
    from ...config.job_file import Store
    from ...core.model import Head

_BUFFER = 256 * 1024
GRACE_SECONDS = 5.0


class Kit:
    """Creates the handles for one endpoint."""

    def __init__(self, store: Store, endpoint: str, stall_seconds: float, retries: int) -> None:
        self.curl = libcurl()
        self.retries = retries
        self._options = [
            *handle_options(store, endpoint, CONNECT_SECONDS, stall_seconds),
            (self.curl.BUFFERSIZE, _BUFFER),
            (self.curl.UPLOAD_BUFFERSIZE, _BUFFER),
        ]

    def prepare(self, handle: Any) -> Transfer:
        """Reset a handle, keeping its connection."""
        handle.reset()
        for option, value in self._options:
            handle.setopt(option, value)
        return Transfer(handle)

    def crew(self, width: int) -> Crew:
        multi = self.curl.CurlMulti()
        multi.setopt(self.curl.M_MAXCONNECTS, width)
        multi.setopt(self.curl.M_MAX_TOTAL_CONNECTIONS, width)
        return Crew(multi, [self.prepare(self.curl.Curl()) for _ in range(width)])


class LaneFailed(Exception):
    """A lane itself failed: the work it had in flight is not to blame."""


class Errand:
    """One small piece of work: its request, created for every attempt, and the callback for its result."""

    def __init__(self, make: Callable[[], Request], told: Callable[[Head | Exception | None], None]) -> None:
        self.make = make
        self.tell = told  # None: it was given up, its progress is unknown
        self.attempts = 0
        self.request: Request | None = None
