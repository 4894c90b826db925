# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""A bounded mapping for a service that runs forever: the oldest entries are dropped when it is full."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

_Key = TypeVar("_Key")
_Note = TypeVar("_Note")
MOST = 100_000


class Notes(Generic[_Key, _Note]):
    """At most `most` entries, for information that is useful but safe to lose. Thread-safe."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._notes: OrderedDict[_Key, _Note] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._notes)

    def __setitem__(self, key: _Key, note: _Note) -> None:
        with self._lock:
            self._notes[key] = note
            self._notes.move_to_end(key)
            if len(self._notes) > self._most:
                self._notes.popitem(last=False)

    def get(self, key: _Key, default: _Note) -> _Note:
        return self._notes.get(key, default)

    def pop(self, key: _Key, default: _Note) -> _Note:
        """Remove and return an entry."""
        if key not in self._notes:  # the usual case, which needs no lock
            return default
        with self._lock:
            return self._notes.pop(key, default)
