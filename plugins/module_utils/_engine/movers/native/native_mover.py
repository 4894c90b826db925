# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The native mover: one request per object, or per part of a large one, in this process.

It hashes data while it is transferred, and gets the headers of an object with its bytes: a fetch can be proven without
another request or a second read. Work in flight when the mover is closed becomes UNKNOWN.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from ...core import workers
from ...core.keys import is_utf8
from ...core.model import Fetch, Outcome, Send
from ...core.parts import NoMemory, PartMemory
from ...core.s3_limits import fits
from ...store.connections import NO_LIMIT, Lanes, lanes_within
from ...store.timeouts import patience_of
from .errands import Errand
from .lanes import Kit
from .large import LargeFetch, LargeKit
from .requests import Bucket, can_carry_text
from .small import fetch_small, send_small
from .small_lanes import LaneCalls, SmallLanes
from .stream_lane import StreamLane
from .upload import LargeSend
from .volume_lanes import VolumeLanes

if TYPE_CHECKING:
    from ...config.credentials import Keys
    from ...config.job_file import MoverSettings, Store
    from ...store.encodings import Packing
    from ...store.width import Width


class Unfinished:
    """Counts the pieces of work that have no outcome yet, and passes outcomes on. Thread-safe."""

    def __init__(self, on_outcome: Callable[[Outcome], None]) -> None:
        self._on_outcome = on_outcome
        self._lock = threading.Lock()
        self.count = 0

    def add(self, count: int) -> None:
        """So many pieces of work more were submitted."""
        with self._lock:
            self.count += count

    def tell(self, outcome: Outcome) -> None:
        """One is finished."""
        with self._lock:
            self.count -= 1
        self._on_outcome(outcome)


class NativeMover:
    """A `Mover`: fetches objects of one bucket at one endpoint, or sends them; one Outcome for every submitted work.

    `on_outcome` is called from the mover's threads (or from `submit`, for work that never started), must return
    quickly and not call `submit`; the same applies to `on_part`, called with the id of a large object each time a
    range is in its file, and to `on_room`. `on_error` gets exceptions that end a thread. Each of about `volumes`
    volumes has its own lanes, one for small and one for large objects; a lane queues `capacity` small ones. How many
    small ones are in flight follows `width`; without, it is as in `lanes`, until `set_widths`: then the caller should
    know from `on_slow` which requests were refused for now, or not answered in time.
    After a failed fetch `<path>` may exist; the caller must remove it, or keep it if `memory` has parts of it.
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
        on_slow: Callable[[], None] = lambda: None,
        on_error: Callable[[BaseException], None] = workers.tell,
        volumes: int = 1,
        lanes: Lanes | None = None,
        width: Width | None = None,
        memory: PartMemory | None = None,
        packing: Packing | None = None,
        capacity: int | None = None,
    ) -> None:
        self._settings = settings
        self._bucket = Bucket(store, endpoint, keys, patience_of(settings), packing)
        self._memory: PartMemory = memory or NoMemory()
        self._on_part = on_part
        self._unfinished = Unfinished(on_outcome)
        self._is_closed = False
        kit, name = Kit(store, endpoint, settings.stall_seconds, settings.retries), f"native-{direction}"
        if capacity is None:
            # Sends are submitted in a few whole batches: none must wait for another volume's.
            capacity = 4 * settings.workers if direction == "fetch" else NO_LIMIT

        def large_lane(number: int, width: int, volume: int) -> StreamLane:
            return StreamLane(f"{name}-large-{number}", kit, width, on_error, disk=volume)

        widths = lanes or lanes_within(settings, NO_LIMIT, volumes)
        self._small = SmallLanes(name, kit, widths.small, width, capacity, LaneCalls(on_room, on_error, on_slow))
        self._large = VolumeLanes(widths.large, large_lane)

    @staticmethod
    def can_fetch(work: Fetch) -> bool:
        """Whether it supports this fetch: stores do not agree on how to sign a key that is not UTF-8."""
        return is_utf8(work.key)

    @staticmethod
    def can_send(work: Send) -> bool:
        """Whether it supports this send, with every header."""
        return is_utf8(work.key) and fits(work.size, work.part_size) and can_carry_text(work.header_text)

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    @property
    def in_flight(self) -> int:
        """How many pieces of work have no outcome yet."""
        return self._unfinished.count

    @property
    def traffic(self) -> int:
        """Approximate bytes moved so far."""
        return self._bucket.moved

    def has_room(self, volume: int) -> bool:
        """Whether small work on this volume would be accepted without blocking; if not, `on_room` is called later."""
        return self._small.has_room(volume)

    def set_widths(self, widths: Sequence[int], volumes: Iterable[int], fits: Callable[[], None]) -> None:
        """How many small objects each lane may have in flight from now on, as `SmallLanes.set_widths`."""
        self._small.set_widths(widths, volumes, fits)

    def submit(self, *works: Fetch | Send) -> None:
        """Submit work; blocks while the queue of small fetches for its volume is full."""
        self._unfinished.add(len(works))
        small: dict[int, list[Errand]] = {}  # by volume
        for work in works:
            is_large = self._settings.is_large(work.size)
            if isinstance(work, Fetch):
                if is_large:
                    LargeFetch(self._large_kit(work), work, self._settings.part_size, self._on_part).start()
                else:
                    errand = fetch_small(self._bucket, work, self._unfinished.tell)
                    small.setdefault(work.volume, []).append(errand)
            elif is_large or work.part_size:
                LargeSend(self._large_kit(work), work).start()
            else:
                small.setdefault(work.volume, []).append(send_small(self._bucket, work, self._unfinished.tell))
        for volume, errands in small.items():
            self._small.submit(volume, *errands)

    def _large_kit(self, work: Fetch | Send) -> LargeKit:
        return LargeKit(self._bucket, self._large.of(work.volume), self._memory, self._unfinished.tell)

    def close(self) -> None:
        """Interrupt everything; work in flight gets UNKNOWN."""
        self._is_closed = True
        self._small.begin_closing()
        self._large.begin_closing()
        self._small.close()
        self._large.close()
