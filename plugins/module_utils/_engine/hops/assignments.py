# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Which objects are assigned to each endpoint of a store and have not ended."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Container, Iterable
from typing import NamedTuple


class Streams(NamedTuple):
    """How many connections a large object uses at once (0: it is a small one), and the volume with its file."""

    number: int
    volume: int


class Assignments:
    """Objects by their ids, endpoints by their URLs. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._given: dict[int, tuple[str, int]] = {}  # by object: its endpoint, and the number of its streams
        self._counts: Counter[str] = Counter()
        # Large objects that count against an endpoint's limit, including those that are about to be assigned.
        self._large: defaultdict[str, dict[int, Streams]] = defaultdict(dict)  # by object

    def begin(self, url: str, objects: Iterable[tuple[int, Streams]]) -> None:
        """Objects, by their ids, are assigned to an endpoint."""
        with self._lock:
            for object_id, streams in objects:
                self._given[object_id] = (url, streams.number)
                self._counts[url] += 1
                if streams.number:
                    self._large[url][object_id] = streams

    def end(self, object_ids: Iterable[int]) -> bool:
        """Objects have their outcomes. Returns whether any was large."""
        any_large = False
        with self._lock:
            for object_id in object_ids:
                url, streams = self._given.pop(object_id, ("", 0))
                if url:
                    self._counts[url] -= 1
                    self._large[url].pop(object_id, None)
                    any_large = any_large or streams > 0
        return any_large

    def expect_large(self, url: str, object_id: int, streams: Streams) -> None:
        """A large object is about to be assigned."""
        with self._lock:
            self._large[url][object_id] = streams

    def expect_no_more(self, url: str, object_id: int) -> None:
        """It will not be assigned after all."""
        with self._lock:
            self._large[url].pop(object_id, None)

    def count(self, url: str) -> int:
        return self._counts[url]

    def streams(self, url: str, held_up: Container[int] = ()) -> int:
        """How many streams the large objects of an endpoint use, without those that are `held_up`."""
        with self._lock:
            return sum(streams.number for number, streams in self._large[url].items() if number not in held_up)

    def streams_on(self, url: str, volume: int) -> int:
        """How many of these are for files on a volume."""
        with self._lock:
            return sum(streams.number for streams in self._large[url].values() if streams.volume == volume)

    def objects(self) -> set[int]:
        with self._lock:
            return set(self._given)
