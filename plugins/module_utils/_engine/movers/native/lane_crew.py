# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The requests of a lane in flight, and its connections: as many as it may have at the time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...store.multi import Multi, Waker

if TYPE_CHECKING:
    from ...store.curl import Transfer
    from .lanes import Kit


class LaneCrew:
    """Up to `width` requests in flight; handles are made when needed. For one thread, which `waker` wakes.

    `connections`: the lane has no more than these, in use or idle. After `width` became less, each request that ends
    closes one.
    """

    def __init__(self, kit: Kit, width: int, waker: Waker) -> None:
        self.multi = Multi(width, waker)
        self.width = width
        self.connections = width
        self._kit = kit
        self._waker = waker
        self._idle: list[Transfer] = []
        self._running: dict[Any, Transfer] = {}  # by handle

    @property
    def has_idle(self) -> bool:
        """Whether another request may begin."""
        return len(self._running) < self.width

    def idle(self) -> Transfer:
        """The handle for the next request."""
        if not self._idle:
            self._idle.append(self._kit.prepare(self._kit.curl.Curl()))
        transfer = self._idle[-1]
        transfer.most_held = self._kit.most_held
        return transfer

    def begin(self) -> Transfer:
        """Begin the request that this handle was prepared for."""
        transfer = self._idle[-1]
        self.multi.add(transfer.curl)
        self._running[transfer.curl] = self._idle.pop()
        return transfer

    def finished(self) -> list[tuple[Transfer, int, str]]:
        """Finished requests, each with libcurl's error number and message (0 and "" for none)."""
        self._drop_idle()  # not those that end now: who asks still reads what came
        ended = [(self._running.pop(easy), number, words) for easy, number, words in self.multi.ended()]
        self._idle += [transfer for transfer, _number, _words in ended]
        self.connections = max(self.width, self.connections - len(ended))
        return ended

    def resize(self, width: int) -> None:
        """From now on, up to `width`."""
        self.width = width
        self.connections = max(self.connections, width)
        self.multi.limit(width)
        self._drop_idle()

    def rest(self) -> None:
        """Nothing is in flight: close all connections, if there are too many."""
        if self.connections > self.width:
            self.multi.close()
            self.multi = Multi(self.width, self._waker)
            self.connections = self.width

    def _drop_idle(self) -> None:
        while self._idle and len(self._idle) + len(self._running) > self.width:
            self._idle.pop().curl.close()

    def close(self) -> None:
        for easy in self._running:
            self.multi.remove(easy)
        for transfer in (*self._idle, *self._running.values()):
            transfer.curl.close()
        self._idle.clear()
        self._running.clear()
        self.multi.close()
