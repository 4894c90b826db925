# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""libcurl handles, and the responses they collect."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

from .. import VERSION
from ..core import workers
from .address import ca_file, proxy_for
from .head_answers import status_of
from .timeouts import Silence

if TYPE_CHECKING:
    from ..config.job_file import Store

KEPT_ERROR_BYTES = 65536
MOST_HELD = 512 * 1024  # bytes: to hash, read or write more of them at once does not cost less CPU time
# Bytes per second below which a response counts as stalled: libcurl averages over some 5 seconds, in which a single
# packet exceeds this even on the slowest line. Without it a response that drips, as from a tarpit, would never end.
_LEAST_RATE = 64


def libcurl() -> Any:
    """The libcurl binding; imported when the first handle is created."""
    import pycurl

    return pycurl


def goes_on() -> bool:
    """Whether the request is still wanted."""
    return not workers.is_over()


def handle_options(
    store: Store, endpoint: str, connect_timeout: float, stall_seconds: float
) -> list[tuple[int, int | str]]:
    """The options of every handle."""
    curl = libcurl()
    options: list[tuple[int, int | str]] = [
        (curl.PATH_AS_IS, 1),
        (curl.NOSIGNAL, 1),
        (curl.HTTP_VERSION, curl.CURL_HTTP_VERSION_1_1),
        (curl.PROXY, proxy_for(endpoint)),  # even if empty: otherwise libcurl reads the environment itself
        (curl.CONNECTTIMEOUT_MS, round(connect_timeout * 1000)),
        (curl.LOW_SPEED_LIMIT, _LEAST_RATE),
        (curl.LOW_SPEED_TIME, max(1, round(stall_seconds))),
        (curl.SSL_VERIFYPEER, 1),
        (curl.SSL_VERIFYHOST, 2),
        (curl.TCP_KEEPALIVE, 1),
        (curl.MAXCONNECTS, 1),  # a handle used alone keeps one connection
        (curl.BUFFERSIZE, 64 * 1024),
        (curl.USERAGENT, f"snowsync/{VERSION}"),
    ]
    certificates = ca_file(store)
    if certificates:
        options += [(curl.CAINFO, certificates), (curl.PROXY_CAINFO, certificates)]
    return options


class Transfer:
    """One easy handle, used for one request after another, with the headers of the response.

    `be_patient` sets the default timeouts, for requests that do not set their own. `most_held` is how many bytes of an
    object its request may hold in memory.
    """

    def __init__(self, curl: Any, be_patient: Callable[[Any], None] = lambda curl: None) -> None:
        self.curl = curl
        self.object_key = ""
        self.most_held = MOST_HELD
        self._be_patient = be_patient
        self._bears = False  # the last request set its own timeouts
        be_patient(curl)
        self._headers = BytesIO()
        curl.setopt(curl.HEADERFUNCTION, self._headers.write)  # no Python code runs per header line

    def begin(self, url: str, header_lines: list[str]) -> None:
        if self._bears:
            self._be_patient(self.curl)
            self._bears = False
        self._headers.seek(0)
        self._headers.truncate()
        self.curl.setopt(self.curl.URL, url)
        self.curl.setopt(self.curl.HTTPHEADER, header_lines)

    def bear(self, silence: Silence, goes_on: Callable[[], bool] = lambda: True) -> Waiting:
        """Set the timeouts to `silence`, and cancel once `goes_on`, called about once a second, returns False.

        Applies only to the request that was begun last.
        """
        waiting = Waiting(silence, goes_on)
        self._bears = True
        self.curl.setopt(self.curl.LOW_SPEED_TIME, 0)
        self.curl.setopt(self.curl.NOPROGRESS, 0)
        self.curl.setopt(self.curl.XFERINFOFUNCTION, waiting)
        return waiting

    @property
    def header_block(self) -> bytes:
        return self._headers.getvalue()

    @property
    def status(self) -> int:
        """The HTTP status, once the request has ended."""
        return int(self.curl.getinfo(self.curl.RESPONSE_CODE))


class Waiting:
    """Ends a request that is silent for too long. libcurl's own limit has no phases, and treats blanks as silence."""

    def __init__(self, silence: Silence, goes_on: Callable[[], bool]) -> None:
        self._silence = silence
        self._goes_on = goes_on
        self._moved = 0  # bytes
        self._moved_at = time.monotonic()
        self.silent_for = 0.0  # seconds, once the request was given up

    def __call__(self, _to_come: int, came: int, to_send: int, sent: int) -> bool:
        """Called by libcurl at least once a second; True ends the request."""
        now = time.monotonic()
        if came + sent < self._moved or came + sent - self._moved >= self._silence.least:  # less: it is sent once more
            self._moved, self._moved_at = came + sent, now
        is_answering = not came and sent >= to_send
        if now - self._moved_at > (self._silence.answer if is_answering else self._silence.flow):
            self.silent_for = now - self._moved_at
            return True
        return not self._goes_on()


def perform(transfer: Transfer, waiting: Waiting | None = None) -> tuple[int, str]:
    """Carry out one request: libcurl's error number and message, 0 and "" for a response with any status.

    Raises BrokenOff if the run ended meanwhile.
    """
    try:
        with workers.asking():
            transfer.curl.perform()
    except libcurl().error as error:
        reason: tuple[Any, ...] = error.args
        is_given_up = waiting is not None and waiting.silent_for > 0
        if int(reason[0]) == libcurl().E_ABORTED_BY_CALLBACK and not is_given_up:
            raise workers.BrokenOff from None
        return int(reason[0]), str(reason[1])
    return 0, ""


class Receiver:
    """Receives a body: into `sink` if the status is 200, after `begun` got the headers.

    Any other body goes into `refused`, at most 64 KiB of it.
    """

    def __init__(
        self, transfer: Transfer, sink: Callable[[bytes], object], begun: Callable[[bytes], object] = len
    ) -> None:
        self._transfer = transfer
        self._sink = sink
        self._begun = begun
        self._wanted: bool | None = None
        self.refused = b""
        self.received = 0
        self.error: BaseException | None = None

    def __call__(self, chunk: bytes) -> int:
        is_first = self._wanted is None
        if is_first:
            # libcurl's getinfo cannot be called from a callback.
            self._wanted = status_of(self._transfer.header_block) == 200
        if not self._wanted:
            self.refused += chunk[: KEPT_ERROR_BYTES - len(self.refused)]
            return len(chunk)
        try:
            if is_first:
                self._begun(self._transfer.header_block)
            self._sink(chunk)
        except BaseException as error:  # libcurl would print and drop it; who made the request raises it again
            self.error = error
            return -1
        self.received += len(chunk)
        return len(chunk)


@dataclass(frozen=True, slots=True)
class Answer:
    transfer: Transfer
    receiver: Receiver
