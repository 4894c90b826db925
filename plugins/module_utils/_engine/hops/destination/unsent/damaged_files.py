# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Files that cannot be read, or no longer have the proven bytes: what becomes of their objects.

Nothing here removes a staged file: a damaged one is moved to the quarantine of its volume.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from ....core.errors import Trouble, local_trouble
from ....core.model import Origin, State
from ....ledger.binding import Naming
from ....ledger.destination_ports import DestinationLedger
from ....ledger.ledger import Failure, Row
from ....volumes.open_volume import OpenVolume
from ...flight import Item
from ...setbacks import Setbacks
from .departures import Departures, PastFailures
from .file_check import Damage, examine, gone

_log = logging.getLogger("snowsync.destination")


class DamagedFiles:
    """Any thread may call these.

    `adopt` stages an object from an unknown file of it, if there is one. `take_out` takes a failed volume out of use.
    """

    def __init__(
        self,
        ledger: DestinationLedger,
        naming: Naming,
        setbacks: Setbacks,
        past: PastFailures,
        departures: Departures,
        *,
        adopt: Callable[[Row], bool],
        take_out: Callable[[OpenVolume, str], None],
    ) -> None:
        self._ledger = ledger
        self._naming = naming
        self._setbacks = setbacks
        self._past = past
        self._departures = departures
        self._adopt = adopt
        self._take_out = take_out

    def is_sound(self, item: Item, *, hash_it: bool = True) -> bool:
        """Whether the file is sound; otherwise that is handled, or the object has left the unit with its volume."""
        damage = self._examine(item, hash_it=hash_it)
        if damage:
            self.handle(item, damage)
            return False
        return not self._departures.has_left(item)

    def _examine(self, item: Item, *, hash_it: bool) -> Damage | None:
        """What is wrong with a file that could not be read. If its volume has failed, the object just leaves."""
        try:
            return examine(item, hash_it=hash_it)
        except OSError as error:
            return self.local_failure(item, error)

    def local_failure(self, item: Item, error: OSError) -> Damage | None:
        """A file cannot be read: the file is to blame if its volume is healthy, otherwise the volume."""
        if item.volume.medium.is_well():
            if isinstance(error, FileNotFoundError):
                return gone(item)
            return Damage(Trouble.MISMATCH, f"error {error.errno}", f"the file cannot be read: {error.strerror}")
        if not item.volume.medium.writable and not item.volume.medium.trouble():
            if isinstance(error, FileNotFoundError):
                return gone(item)
            self._unreadable(item, error)
            return None
        message = f"Failed to read {item.row.key!r} on volume {item.volume.name}: {error.strerror}"
        self._take_out(item.volume, f"{message} ({local_trouble(error).value})")
        self._departures.leave(item)
        return None

    def _unreadable(self, item: Item, error: OSError) -> None:
        """A file on a failed volume: fetched again to another one. A dropped file cannot be fetched."""
        row = item.row
        message = f"it cannot be read on volume {item.volume.name}, which failed: {error.strerror}"
        if row.origin == Origin.DROP:
            failure = Failure(row, "destination", Trouble.IO, f"the dropped file: {message}", "left where it is")
            self._setbacks.give_up(failure)
            self._departures.leave(item)
            return
        failure = Failure(row, "destination", Trouble.IO, message, "fetched again")
        if self._ledger.losses.leave_copy(failure):
            self._setbacks.note(failure)
        self._past.forget(row)
        self._departures.leave(item)

    def handle(self, item: Item, damage: Damage) -> None:
        """The bytes are not the proven ones: quarantine and refetch them, or let the drop scanner take them again."""
        row = item.row
        message = f"{damage.message} (volume {item.volume.name})"
        if row.origin == Origin.DROP:
            self._damaged_drop(item, damage, message)
            return
        if damage is gone(item) and self._adopt(row):
            self._past.forget(row)
            self._departures.leave(item)
            return
        if damage is not gone(item):
            self._quarantine(item)
        action = "quarantined and fetched again"
        failure = Failure(row, "destination", damage.trouble, message, action, expected=row.digest, found=damage.found)
        self._count(item, failure, State.PENDING)

    def _quarantine(self, item: Item) -> None:
        row = item.row
        path = self._naming.staging_path(row.key, row.generation, row.origin)
        self._ledger.copies.has_quarantined(
            row.id, item.volume.id
        )  # first, so that it is known even if this is interrupted
        try:
            item.volume.staged_to_quarantine(path, row.id, row.generation)
        except OSError as error:
            _log.warning("volume %s: cannot quarantine %r: %s", item.volume.name, row.key, error.strerror)

    def _damaged_drop(self, item: Item, damage: Damage, message: str) -> None:
        row = item.row
        action = (
            "left where it is" if damage.trouble is Trouble.MISMATCH else "forgotten, and taken again if still there"
        )
        failure = Failure(row, "destination", damage.trouble, message, action, expected=row.digest, found=damage.found)
        if damage.trouble is Trouble.MISMATCH:
            self._count(item, failure, State.FAILED)
            return
        if self._ledger.objects.forget(row, failure.message):
            self._ledger.journal.record(failure)
            self._setbacks.note(failure)
        self._past.forget(row)
        self._departures.leave(item)

    def _count(self, item: Item, failure: Failure, target: State) -> None:
        self._setbacks.failed(failure, target=target)
        self._departures.leave(item)
