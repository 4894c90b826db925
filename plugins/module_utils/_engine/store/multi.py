# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Several transfers of libcurl at once, driven by epoll: select() cannot wait for descriptors above 1,023."""

from __future__ import annotations

import errno
import os
import select
import time
from collections.abc import Iterable
from typing import Any

from .curl import libcurl

# Seconds after which each transfer is run even if its socket is silent: libcurl calls its progress function only then,
# and that is what ends a request that is silent for too long.
_TICK = 1.0
_TIMER = -1  # CURL_SOCKET_TIMEOUT, for transfers whose time has come
_MOST_EVENTS = 64  # reported by one call of epoll; the next call reports the others

# It was closed, which made it leave; its number may be that of another socket meanwhile, or of a file.
_CLOSED = frozenset({errno.EBADF, errno.ENOENT, errno.EPERM})


class Waker:
    """A descriptor by which any thread wakes the one that waits for it, also before it waits."""

    def __init__(self) -> None:
        self.descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def wake(self) -> None:
        """Not after `close`."""
        os.eventfd_write(self.descriptor, 1)

    def reset(self) -> None:
        """Forget that it was woken."""
        os.eventfd_read(self.descriptor)

    def close(self) -> None:
        os.close(self.descriptor)


class Sockets:
    """The descriptors that libcurl waits for, in an epoll object.

    libcurl reports two changes per request. They are carried out before the next wait: most are undone by then, since
    the next request uses the connection.
    """

    def __init__(self) -> None:
        curl = libcurl()
        self._epoll = select.epoll()
        self._watched: set[int] = set()
        self._changes: dict[int, int] = {}  # descriptor -> what libcurl wants now
        self._remove = curl.POLL_REMOVE
        self._events = {
            curl.POLL_NONE: 0,
            curl.POLL_IN: select.EPOLLIN,
            curl.POLL_OUT: select.EPOLLOUT,
            curl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
        }

    def follow(self, what: int, descriptor: int, _multi: object, _data: object) -> None:
        """libcurl's socket function. It cannot fail: libcurl's binding would print and drop an exception."""
        self._changes[descriptor] = what

    def ready(self, longest: float) -> list[int]:
        """Wait at most `longest` seconds; the descriptors on which something happened, a waker's among them."""
        if self._changes:
            self._update()
        return [descriptor for descriptor, _events in self._epoll.poll(longest, _MOST_EVENTS)]

    def _update(self) -> None:
        for descriptor, what in self._changes.items():
            if what == self._remove:
                self._forget(descriptor)
            else:
                self._watch(descriptor, self._events[what])
        self._changes.clear()

    def _watch(self, descriptor: int, events: int) -> None:
        if descriptor in self._watched:
            try:
                self._epoll.modify(descriptor, events)
                return
            except FileNotFoundError:
                pass  # it was closed, which made it leave, and opened again
        self._epoll.register(descriptor, events)
        self._watched.add(descriptor)

    def _forget(self, descriptor: int) -> None:
        if descriptor in self._watched:
            self._watched.remove(descriptor)
            try:
                self._epoll.unregister(descriptor)
            except OSError as error:
                if error.errno not in _CLOSED:
                    raise

    def add_waker(self, waker: Waker) -> None:
        self._epoll.register(waker.descriptor, select.EPOLLIN)

    def watched(self) -> list[int]:
        return list(self._watched)

    def close(self) -> None:
        self._epoll.close()


class Multi:
    """A multi handle of libcurl with at most `connections` connections. For one thread, which `waker` wakes."""

    def __init__(self, connections: int, waker: Waker | None = None) -> None:
        curl = libcurl()
        self._sockets = Sockets()
        self._waker = waker
        if waker:
            self._sockets.add_waker(waker)
        self._multi = curl.CurlMulti()
        self.limit(connections)
        self._multi.setopt(curl.M_SOCKETFUNCTION, self._sockets.follow)
        self._count = 0  # easy handles
        self._running = 0  # those that have not ended
        self._has_new = False  # some have not begun
        self._next_tick = 0.0  # time of the monotonic clock
        self.is_dead = False  # libcurl refuses to go on with it

    def limit(self, connections: int) -> None:
        """Another number of connections. While there are more, each request that ends closes one."""
        curl = libcurl()
        self._multi.setopt(curl.M_MAXCONNECTS, connections)
        self._multi.setopt(curl.M_MAX_TOTAL_CONNECTIONS, connections)

    def add(self, easy: Any) -> None:
        self._multi.add_handle(easy)
        self._count += 1
        self._has_new = True

    def remove(self, easy: Any) -> None:
        """Break off a request, with its connection."""
        self._multi.remove_handle(easy)
        self._count -= 1
        self._running = -1  # not known before it runs again

    def start(self) -> None:
        """Begin the requests that were added; waits for nothing."""
        if self._has_new:
            self._has_new = False
            self._run((_TIMER,))

    def go_on(self, longest: float) -> None:
        """Wait until a request can go on, or the waker wakes, at most `longest` seconds; and let requests go on."""
        self.start()
        ready = self._sockets.ready(self._seconds(longest))
        if self._waker and self._waker.descriptor in ready:
            ready.remove(self._waker.descriptor)
            self._waker.reset()
        elif not ready:
            ready.append(_TIMER)
        self._run(ready)

    def _seconds(self, longest: float) -> float:
        """How long to wait: until libcurl has something to do by itself, at most `longest`."""
        left = self._next_tick - time.monotonic()
        if left <= 0:
            self._next_tick += _TICK - left
            left = _TICK
            self._run(self._sockets.watched())
        if self._running < self._count:
            return 0.0
        milliseconds = self._multi.timeout()
        return min(longest, left) if milliseconds < 0 else min(longest, left, milliseconds / 1000)

    def _run(self, descriptors: Iterable[int]) -> None:
        """Run the transfers of these descriptors, and those whose time has come."""
        act = self._multi.socket_action
        try:
            for descriptor in descriptors:
                self._running = act(descriptor, 0)[1]  # 0: libcurl finds out what happened
        except BaseException:
            self.is_dead = True
            raise

    def ended(self) -> list[tuple[Any, int, str]]:
        """Requests that have ended, and left: easy handle, libcurl's error number and message (0 and "" for none)."""
        if self._running == self._count:
            return []
        _left, succeeded, failed = self._multi.info_read()
        ended: list[tuple[Any, int, str]] = [(easy, 0, "") for easy in succeeded] + failed
        for easy, _number, _words in ended:
            self._multi.remove_handle(easy)
        self._count -= len(ended)
        return ended

    def close(self) -> None:
        """After all easy handles have left."""
        self._multi.close()
        self._sockets.close()
