# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The groups that were committed lately, from which rates are computed."""

from __future__ import annotations

from collections import deque

from ..ledger.reader import LedgerReader
from ..ledger.records import GroupRow, Tally


class RecentGroups:
    """Each group of the ledger is read once, and kept while it counts. Times are in ms since boot."""

    def __init__(self) -> None:
        self._recent: deque[GroupRow] = deque()
        self._last = 0  # the number of the last one that was read

    def begin(self, reader: LedgerReader, since: int) -> None:
        """Read those committed since then."""
        for group in reader.groups_since(since):
            self._recent.append(group)
            self._last = group.id
        self._last = self._last or reader.last_group_id()

    def take(self, reader: LedgerReader) -> list[GroupRow]:
        """Those that were not read before."""
        fresh = list(reader.groups(self._last))
        if fresh:
            self._last = fresh[-1].id
        self._recent.extend(fresh)
        return fresh

    def forget(self, since: int) -> None:
        """What was committed before then counts no more."""
        while self._recent and self._recent[0].ticks_ms < since:
            self._recent.popleft()

    def committed(self, since: int, *, hop: str = "", volume: int | None = None) -> Tally:
        """What a hop committed since then, or what became staged on a volume."""
        objects = size = 0
        for group in reversed(self._recent):
            if group.ticks_ms < since:
                break
            if group.hop == hop or (volume is not None and group.volume == volume and group.hop == "source"):
                objects += group.objects
                size += group.bytes
        return Tally(objects, size)

    def is_enough(self, hop: str, since: int) -> bool:
        """Whether there are enough groups of a hop for a rate that lasts.

        A single one is not: the first may hold eight empty objects, with many large ones to come.
        """
        of_hop = [group.volume for group in self._recent if group.hop == hop and group.ticks_ms >= since]
        return len(of_hop) > len(set(of_hop))  # one commit may be one group per volume
