# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Which objects are assigned to each endpoint of a store and have not ended."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Container, Iterable


class Assignments:
    """Objects by their ids, endpoints by their URLs. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._given: dict[int, tuple[str, bool]] = {}  # by object: its endpoint, whether it is large
        self._counts: Counter[str] = Counter()
        # Large objects that count against an endpoint's limit, including those that are about to be assigned.
        self._large: defaultdict[str, set[int]] = defaultdict(set)

    def begin(self, url: str, objects: Iterable[tuple[int, bool]]) -> None:
        """Objects are assigned to an endpoint: the id of each, and whether it is large."""
        with self._lock:
            for object_id, is_large in objects:
                self._given[object_id] = (url, is_large)
                self._counts[url] += 1
                if is_large:
                    self._large[url].add(object_id)

    def end(self, object_ids: Iterable[int]) -> bool:
        """Objects have their outcomes. Returns whether any was large."""
        any_large = False
        with self._lock:
            for object_id in object_ids:
                url, is_large = self._given.pop(object_id, ("", False))
                if url:
                    self._counts[url] -= 1
                    self._large[url].discard(object_id)
                    any_large = any_large or is_large
        return any_large

    def expect_large(self, url: str, object_id: int) -> None:
        """A large object is about to be assigned."""
        with self._lock:
            self._large[url].add(object_id)

    def expect_no_more(self, url: str, object_id: int) -> None:
        """It will not be assigned after all."""
        with self._lock:
            self._large[url].discard(object_id)

    def count(self, url: str) -> int:
        return self._counts[url]

    def large(self, url: str, held_up: Container[int] = ()) -> int:
        """How many large objects an endpoint has, without those that are `held_up`."""
        with self._lock:
            return sum(number not in held_up for number in self._large[url])

    def objects(self) -> set[int]:
        with self._lock:
            return set(self._given)
