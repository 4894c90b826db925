# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Objects that are sent and proven together, and what is known of uploads until they are proven."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from ....core.model import Outcome
from ....ledger.ledger import Row
from ...flight import Item


@dataclass(slots=True)
class Batch:
    """Objects that are sent and proven together; `is_doubtful`: sent before, possibly successfully.

    `is_late`: the rest of another batch, for which HEAD was not answered in time.
    """

    items: list[Item]
    is_large: bool
    is_doubtful: bool = False
    is_late: bool = False
    outcomes: dict[int, Outcome] = field(default_factory=dict)

    @property
    def volume(self) -> int:
        """The volume that all of them are on."""
        return self.items[0].volume.id


class Batches:
    """The batches that are being sent, and the unproven uploads of this run. Any thread may call these."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sending: dict[int, Batch] = {}  # by object id, until the mover reports the outcome
        # Of small objects by volume, from sending to the end of the proof.
        self.open: Counter[int] = Counter()
        # (object id, generation) of what the store acknowledged, until it is proven or recorded: the ledger records it
        # at the end of a batch, and the object may be checked again before that.
        self._acknowledged: set[tuple[int, int]] = set()
        self.looked: set[int] = set()  # doubtful objects that are not at the destination

    def begin(self, batch: Batch) -> None:
        """The batch is about to be sent, or only checked if it is doubtful."""
        with self._lock:
            if not batch.is_large:
                self.open[batch.volume] += 1
            if not batch.is_doubtful:
                self._sending.update((item.row.id, batch) for item in batch.items)
                self.looked.difference_update(item.row.id for item in batch.items)
                self._acknowledged.difference_update((item.row.id, item.row.generation) for item in batch.items)

    def sent(self, outcomes: Iterable[Outcome]) -> list[Batch]:
        """A mover reports outcomes: the batches that have all of theirs now."""
        complete = []
        with self._lock:
            for outcome in outcomes:
                batch = self._sending.pop(outcome.id, None)
                if batch is None:
                    continue
                batch.outcomes[outcome.id] = outcome
                if len(batch.outcomes) == len(batch.items):
                    complete.append(batch)
        return complete

    def expect(self, volume: int) -> None:
        """A batch of small objects of this volume is in flight."""
        with self._lock:
            self.open[volume] += 1

    def expect_no_more(self, volume: int) -> None:
        with self._lock:
            self.open[volume] -= 1

    # -- unproven uploads -----------------------------------------------------------------------------------------

    def is_doubtful(self, row: Row) -> bool:
        """Whether an unproven upload may have succeeded."""
        return bool(row.sends) and row.id not in self.looked

    def acknowledged(self, items: Iterable[Item]) -> None:
        """The store acknowledged these uploads."""
        self._acknowledged.update((item.row.id, item.row.generation) for item in items)

    def is_acknowledged(self, row: Row) -> bool:
        return bool(row.acknowledged) or (row.id, row.generation) in self._acknowledged

    def settle(self, row: Row) -> None:
        """The result of an acknowledged upload is known."""
        self._acknowledged.discard((row.id, row.generation))
