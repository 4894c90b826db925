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
from .errors import StoreError, Trouble
from .keys import is_utf8
from .model import Fetch, Head, Outcome, Received, Send
from .native_lanes import Errand, Kit, LaneFailed, SmallLane, StreamLane
from .native_large import LargeFetch
from .native_requests import Bucket, Get, Put, Request, Target, can_carry, object_headers, with_md5
from .native_upload import LargeSend
from .parts import NoMemory, PartMemory
from .patience import patience_of
from .volumes import local_trouble

if TYPE_CHECKING:  # config.py brings pydantic
    from .config import MoverSettings, Store
    from .credentials import Keys
    from .packing import Packing

    _Result: TypeAlias = "Head | Exception | None"  # None: given up

_SINGLE_PUT_LIMIT = 5 * 1024**3
_NO_LIMIT = 1 << 30
_MD5_OF_NOTHING = hashlib.md5(usedforsecurity=False).hexdigest()


class NativeMover:
    """Fetches objects of one bucket at one endpoint, or sends them: one Outcome for every submitted work.

    `on_outcome` is called from the mover's threads (or from `submit`, for work that never began), must return quickly
    and not call `submit`; so must `on_part`, told the id of a large object each time a range of it is in its file,
    and `on_room`. `on_error` hears of what ends one of the threads. The small objects of each of about `folders`
    volumes go through a lane of their own.
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
        folders: int = 1,
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
        self._kit = kit = Kit(store, endpoint, settings.stall_seconds, settings.retries)
        self._on_room = on_room
        self._on_error = on_error
        # One for each volume: what a thread reads or writes there may block for as long as the medium is busy. Where
        # there are more than workers, some share one; together they have as many connections as there are workers.
        count = min(folders, settings.workers)
        self._widths = [settings.workers // count + (number < settings.workers % count) for number in range(count)]
        self._lanes: list[SmallLane] = []
        self._small: dict[str, SmallLane] = {}
        self._is_closed = False
        width = settings.large_workers * settings.part_concurrency
        self.large = StreamLane(f"native-{direction}-large", kit, width, on_error)

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

    def has_room(self, path: str) -> bool:
        """Whether small work whose file is at `path` would be taken without blocking; else `on_room` says when."""
        lane = self._small.get(_folder_of(path))
        return lane is None or lane.has_room()

    def _small_lane(self, work: Fetch | Send) -> SmallLane:
        folder = _folder_of(work.path)
        with self._lock:
            lane = self._small.get(folder)
            if lane is None:
                lane = self._small[folder] = self._next_lane()
        return lane

    def _next_lane(self) -> SmallLane:
        """For another folder: a new one while there are connections for it."""
        number = len(self._small) % len(self._widths)
        if number < len(self._lanes):
            return self._lanes[number]
        # Who sends hands over whole batches, of which there are few: none waits for another volume's.
        capacity = 4 * self.settings.workers if self._direction == "fetch" else _NO_LIMIT
        lane = SmallLane(
            f"native-{self._direction}-{number}",
            self._kit,
            self._widths[number],
            capacity=capacity,
            on_room=self._on_room,
            on_error=self._on_error,
        )
        self._lanes.append(lane)
        if self._is_closed:
            lane.close()
        return lane

    def submit(self, work: Fetch | Send) -> None:
        """Hand over work; blocks while there is much of small work to fetch for its folder."""
        with self._lock:
            self._count += 1
        is_large = work.size >= self.settings.large_object
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
            lanes = list(self._lanes)
        for lane in lanes:
            lane.begin_closing()
        for lane in lanes:
            lane.close()
        self.large.close()

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

        self._small_lane(work).submit(Errand(make, told))

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

        self._small_lane(work).submit(Errand(make, told))

    def open_file(self, work: Send) -> int:
        """The file to send. OSError; StoreError when it is not the one that was meant."""
        # Links are followed: a file of a drop folder is reached through one of ours.
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
            outcome = Outcome(work.id, local_trouble(result), f"Failed to {action}: the local file says: {result}")
        else:
            outcome = Outcome(work.id, Trouble.OTHER, f"{type(result).__name__}: {result}")
        self.tell(outcome)

    def tell(self, outcome: Outcome) -> None:
        with self._lock:
            self._count -= 1
        self._on_outcome(outcome)


def _folder_of(path: str) -> str:
    """What tells the volumes apart: the descriptor in /proc/self/fd/<descriptor>/<name>.

    Files that are held open (/proc/<process>/fd/<descriptor>) have no name, and are one folder.
    """
    parts = path.split("/", 5)
    return "/".join(parts[:5] if len(parts) > 5 else parts[:4])
