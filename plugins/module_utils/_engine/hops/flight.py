# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The objects in flight in a unit: which ones, where their files are or will be, and what is working on them."""

from __future__ import annotations

import threading
from collections.abc import Container, Iterable
from dataclasses import dataclass

from ..ledger.ledger import Row
from ..store.endpoint import Endpoint
from ..volumes.open_volume import OpenVolume

_LOST_SECONDS = 60.0  # an object that nothing has been working on for this long is lost


@dataclass(slots=True)
class Item:
    """One object in flight in a unit."""

    row: Row
    volume: OpenVolume
    endpoint: Endpoint
    path: str
    tool: str = ""


class Held:
    """Which objects the queues and workers of a unit have, and how many of these have each object.

    On a handover the new owner takes an object before the previous one lets it go. Any thread may call these.
    """

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._lock = threading.Lock()

    def take(self, object_ids: Iterable[int]) -> None:
        with self._lock:
            for number in object_ids:
                self._counts[number] = self._counts.get(number, 0) + 1

    def let_go(self, object_ids: Iterable[int]) -> None:
        with self._lock:
            for number in object_ids:
                left = self._counts[number] - 1
                if left:
                    self._counts[number] = left
                else:
                    del self._counts[number]

    def all(self) -> set[int]:
        with self._lock:
            return set(self._counts)


class Flight:
    """One item per object id. Any thread may call these.

    `lock` also protects what is counted together with them; these may be called while holding it.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.held = Held()  # all other objects are at a mover
        self._items: dict[int, Item] = {}
        self._missed: dict[int, float] = {}  # objects that nothing is working on, with the time since when

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, object_id: int) -> bool:
        return object_id in self._items

    def take(self, *items: Item) -> None:
        with self.lock:
            for item in items:
                self._items[item.row.id] = item

    def get(self, object_id: int) -> Item | None:
        return self._items.get(object_id)

    def leave(self, object_id: int) -> bool:
        """False: it had already left."""
        with self.lock:
            return self._items.pop(object_id, None) is not None

    def items(self) -> list[Item]:
        with self.lock:
            return list(self._items.values())

    def ids(self) -> set[int]:
        """To be called before rows are read, since objects that end in between still look like work there."""
        with self.lock:
            return set(self._items)

    def on(self, volumes: Container[int]) -> list[Item]:
        """The items of volumes, given by number."""
        return [item for item in self.items() if item.volume.id in volumes]

    def ids_on(self, volumes: set[int]) -> set[int]:
        """The objects on volumes, given by number: those whose disks do not respond must not delay others."""
        return {item.row.id for item in self.on(volumes)} if volumes else set()

    def lost(self, now: float, at_movers: Container[int]) -> Item | None:
        """An item that no queue, worker or mover has had for a minute; `now` in monotonic seconds."""
        items = {item.row.id: item for item in self.items()}
        held = self.held.all()
        missed = [number for number in items if number not in held and number not in at_movers]
        self._missed = {number: self._missed.get(number, now) for number in missed}
        return next((items[number] for number in missed if now - self._missed[number] >= _LOST_SECONDS), None)
