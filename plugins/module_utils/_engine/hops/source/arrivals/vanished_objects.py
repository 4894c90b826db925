# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Objects that the source listed but does not have: any copy that is kept here is used, and none is forgotten."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ....core.errors import Trouble
from ....ledger.rows import Failure, Row
from ....ledger.source_ports import SourceLedger
from ...counters import Counters
from ...flight import Item
from ...part_memory import PartKeeper
from ...setbacks import Setbacks
from ...switches import Switches
from ..staging.fetching import Fetching


class VanishedObjects:
    """Any thread may call these. `adopt` stages an object from an unknown file of it, if there is one."""

    def __init__(
        self,
        ledger: SourceLedger,
        parts: PartKeeper,
        setbacks: Setbacks,
        fetching: Fetching,
        counters: Counters,
        switches: Switches,
        *,
        adopt: Callable[[Row], bool],
    ) -> None:
        self._ledger = ledger
        self._parts = parts
        self._setbacks = setbacks
        self._fetching = fetching
        self._counters = counters
        self._switches = switches
        self._adopt = adopt

    def use_what_is_left(self, item: Item) -> None:
        """The source does not have the object: deliver a copy that is kept here, or record where its last one is."""
        row = item.row
        failure = None if self._adopt(row) else self._ledger.copies.restore(row, partial(_older_instead, row))
        if failure:
            self._setbacks.note(failure)
            self._counters.lost += 1
            self._switches.staged.set()
        else:
            failure = self._gone(row)
            if self._ledger.objects.gone(failure):  # refused where it was adopted
                self._setbacks.note(failure)
        self._setbacks.forgive(row.id)
        self._parts.forget(row.id)  # the remaining parts can no longer be fetched
        self._fetching.put_back(item, None)

    def _gone(self, row: Row) -> Failure:
        """The failure for an object that the source listed but does not have."""
        copy, quarantined = self._ledger.losses.left_on(row.id), self._ledger.copies.quarantined(row.id)
        message, action = (
            "the source listed it but does not have it",
            "will be tried again; forgotten once it is no longer listed",
        )
        if copy:
            message = f"the source no longer has it; its only copy is on volume {copy}, which failed"
            action = "kept until the volume returns"
        elif quarantined:
            message = f"the source no longer has it; the only copy is in the quarantine of volume {quarantined}"
            action = "kept there"
        return Failure(row, "source", Trouble.NOT_FOUND, message, action)


def _older_instead(row: Row, generation: int, volume: str) -> Failure:
    """The failure if an older generation, staged on `volume`, is all that is left of an object."""
    message = f"the source no longer has it; generation {generation}, staged on volume {volume}, is kept"
    return Failure(row, "source", Trouble.NOT_FOUND, message, f"generation {generation} is delivered instead")
