# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The native mover: one request per object, or per part of a large one, in this process.

What it reads it hashes on the way, and the headers of an object come with its bytes: to be proven, a fetch needs no
other request and no second read. What is in flight when the mover is closed becomes UNKNOWN.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from . import etag, workers
from .connections import Lanes, lanes_within
from .errors import StoreError, Trouble, file_error
from .keys import is_utf8
from .model import Fetch, Head, Outcome, Received, Send
from .native_lanes import Errand, Kit, LaneFailed, SmallLane, StreamLane
from .native_large import LargeFetch
from .native_requests import Bucket, Get, Put, Request, Target, can_carry, object_headers, with_md5
from .native_upload import LargeSend
from .parts import NoMemory, PartMemory
from .patience import patience_of

if TYPE_CHECKING:  # config.py brings pydantic
    from .config import MoverSettings, Store
    from .credentials import Keys
    from .packing import Packing

    _Result: TypeAlias = "Head | Exception | None"  # None: given up

_SINGLE_PUT_LIMIT = 5 * 1024**3
_NO_LIMIT = 1 << 30
_MD5_OF_NOTHING = hashlib.md5(usedforsecurity=False).hexdigest()


class NativeMover:
    """A `Mover`: fetches objects of one bucket at one endpoint, or sends them; one Outcome for every submitted work.

    `on_outcome` is called from the mover's threads (or from `submit`, for work that never began), must return quickly
    and not call `submit`; so must `on_part`, told the id of a large object each time a range of it is in its file,
    and `on_room`. `on_error` hears of what ends one of the threads. The objects of each of about `volumes` volumes go
    through lanes of their own, one for small and one for large ones.
    After a failed fetch `<path>` may exist; it is the caller's to remove, or to keep where `memory` has parts of it.
    """

    def __init__(
        self,
        store: Store,
        endpoint: str,
        keys: Keys,
        settings: MoverSettings,
        *,
        direction: str,
        on_outcome: Callable[[Outcome], None],
        on_part: Callable[[int], None] = lambda object_id: None,
        on_room: Callable[[], None] = lambda: None,
        on_error: Callable[[BaseException], None] = workers.tell,
        volumes: int = 1,
        lanes: Lanes | None = None,
        memory: PartMemory | None = None,
        packing: Packing | None = None,
    ) -> None:
        self.on_part = on_part
        self.memory: PartMemory = memory or NoMemory()
        self.settings = settings
        self.bucket = Bucket(store, endpoint, keys, patience_of(settings), packing)
        self.etags_are_opaque = store.etag == "opaque"
        self._on_outcome = on_outcome
        self._lock = threading.Lock()
        self._count = 0
        self.knows_ranges = True
        self._direction = direction
        self._kit = Kit(store, endpoint, settings.stall_seconds, settings.retries)
        self._on_room = on_room
        self._on_error = on_error
        # For each volume: what a thread reads or writes there may block for as long as the medium is busy. Where there
        # are fewer connections than volumes, some share one.
        self._widths = lanes or lanes_within(settings, _NO_LIMIT, volumes)
        self._small: list[SmallLane] = []
        self._large: list[StreamLane] = []
        self._small_of: dict[int, SmallLane] = {}  # by the number of the volume
        self._large_of: dict[int, StreamLane] = {}
        self._is_closed = False

    @staticmethod
    def can_fetch(work: Fetch) -> bool:
        """Whether it can be told of this fetch: a key that is no UTF-8 has no form that all stores sign alike."""
        return is_utf8(work.key)

    @staticmethod
    def can_send(work: Send) -> bool:
        """Whether it can be told of this, with every header."""
        return (
            is_utf8(work.key)
            and work.size <= (work.part_size * 10_000 or _SINGLE_PUT_LIMIT)
            and can_carry(work.headers)
        )

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    @property
    def in_flight(self) -> int:
        """How many pieces of work have no outcome yet."""
        return self._count

    @property
    def traffic(self) -> int:
        """Bytes moved so far, about."""
        return self.bucket.moved

    def has_room(self, volume: int) -> bool:
        """Whether small work on this volume would be taken without blocking; else `on_room` says when."""
        lane = self._small_of.get(volume)
        return lane is None or lane.has_room()

    def _small_lane(self, volume: int) -> SmallLane:
        with self._lock:
            lane = self._small_of.get(volume)
            if lane is None:
                lane = self._small_of[volume] = self._next_small(volume)
        return lane

    def _next_small(self, volume: int) -> SmallLane:
        """For another volume: a new one while there are connections for it."""
        number = len(self._small_of) % len(self._widths.small)
        if number < len(self._small):
            return self._small[number]
        # Who sends hands over whole batches, of which there are few: none waits for another volume's.
        capacity = 4 * self.settings.workers if self._direction == "fetch" else _NO_LIMIT
        lane = SmallLane(
            f"native-{self._direction}-{number}",
            self._kit,
            self._widths.small[number],
            capacity=capacity,
            on_room=self._on_room,
            on_error=self._on_error,
            disk=volume,
        )
        self._small.append(lane)
        if self._is_closed:
            lane.close()
        return lane

    def large(self, volume: int) -> StreamLane:
        """Who carries the parts of large objects on this volume."""
        with self._lock:
            lane = self._large_of.get(volume)
            if lane is None:
                lane = self._large_of[volume] = self._next_large(volume)
        return lane

    def _next_large(self, volume: int) -> StreamLane:
        number = len(self._large_of) % len(self._widths.large)
        if number < len(self._large):
            return self._large[number]
        name = f"native-{self._direction}-large-{number}"
        lane = StreamLane(name, self._kit, self._widths.large[number], self._on_error, disk=volume)
        self._large.append(lane)
        if self._is_closed:
            lane.close()
        return lane

    def submit(self, work: Fetch | Send) -> None:
        """Hand over work; blocks while there is much of small work to fetch for its folder."""
        with self._lock:
            self._count += 1
        is_large = self.settings.is_large(work.size)
        if isinstance(work, Fetch):
            if is_large:
                LargeFetch(self, work).start()
            else:
                self._fetch_small(work)
        elif is_large or work.part_size:
            LargeSend(self, work).start()
        else:
            self._send_small(work)

    def close(self) -> None:
        """Break off everything; what is in flight gets UNKNOWN."""
        with self._lock:
            self._is_closed = True
            lanes: list[SmallLane | StreamLane] = [*self._small, *self._large]
        for lane in lanes:
            lane.begin_closing()
        for lane in lanes:
            lane.close()

    # -- small objects: one request each ------------------------------------------------------------------------

    def _fetch_small(self, work: Fetch) -> None:
        target = Target(work.path)
        digests: list[etag.PartDigests] = []

        def make() -> Request:
            digests[:] = [etag.PartDigests(0)]
            return Get(self.bucket, work, target, 0, work.size, digests[0])

        def told(result: _Result) -> None:
            try:
                target.close()
            except OSError as error:
                result = error
            received = None
            if isinstance(result, Head) and digests:
                received = Received(result, digests[0].etag(), 0)
            self.ended(work, result, received)

        self._small_lane(work.volume).submit(Errand(make, told))

    def _send_small(self, work: Send) -> None:
        descriptor: list[int] = []

        def make() -> Request:
            if not descriptor:
                descriptor.append(self.open_file(work))
            md5 = work.md5 if work.size else _MD5_OF_NOTHING
            headers = with_md5(object_headers(work), md5)
            return Put(self.bucket, work, descriptor[0], 0, work.size, parameters={}, headers=headers, md5=md5)

        def told(result: _Result) -> None:
            if descriptor:
                os.close(descriptor[0])
            self.ended(work, result)

        self._small_lane(work.volume).submit(Errand(make, told))

    def open_file(self, work: Send) -> int:
        """The file to send. OSError; StoreError when it is not the one that was meant."""
        # Links are followed: a file of a drop folder is reached through one of ours.
        with workers.at_medium():
            descriptor = os.open(work.path, os.O_RDONLY | os.O_CLOEXEC)
            size = os.fstat(descriptor).st_size
        if size != work.size:
            os.close(descriptor)
            action = self.bucket.action("send", work.key)
            raise StoreError(Trouble.MISMATCH, action, f"the file has {size} bytes, not {work.size}")
        return descriptor

    # -- outcomes -----------------------------------------------------------------------------------------------

    def ended(self, work: Fetch | Send, result: _Result, received: Received | None = None) -> None:
        """Tell what became of a piece of work."""
        if isinstance(result, Head):
            answered = result if isinstance(work, Send) else None
            outcome = Outcome(work.id, received=received, answered=answered)
        elif result is None:
            outcome = Outcome(work.id, Trouble.UNKNOWN, "the mover was closed")
        elif isinstance(result, LaneFailed):
            outcome = Outcome(work.id, Trouble.UNKNOWN, str(result))
        elif isinstance(result, StoreError):
            outcome = Outcome(work.id, result.trouble, str(result))
        elif isinstance(result, OSError):
            action = self.bucket.action("fetch" if isinstance(work, Fetch) else "send", work.key)
            error = file_error(action, result)
            outcome = Outcome(work.id, error.trouble, str(error))
        else:
            outcome = Outcome(work.id, Trouble.OTHER, f"{type(result).__name__}: {result}")
        self.tell(outcome)

    def tell(self, outcome: Outcome) -> None:
        with self._lock:
            self._count -= 1
        self._on_outcome(outcome)
