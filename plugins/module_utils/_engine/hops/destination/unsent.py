# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Objects that leave the destination unit undelivered: refused, damaged, or held back.

Nothing here removes a staged file: a damaged one is moved to the quarantine of its volume.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable

from ...core.blame import Blame
from ...core.bounded_notes import Notes
from ...core.errors import Trouble, local_trouble
from ...core.model import Origin, State
from ...ledger.binding import Naming
from ...ledger.destination_ports import DestinationLedger
from ...ledger.ledger import Failure, Row
from ...store.endpoint import Endpoint
from ...volumes.open_volume import OpenVolume
from ..flight import Flight, Item
from ..setbacks import Setbacks, Suspects
from .file_check import Damage, examine, gone
from .refusals import Refusals

_log = logging.getLogger("snowsync.destination")
KEPT = "kept, and sent again"
_PUT_OFF_SECONDS = 1.0  # for objects in flight when the destination began to refuse everything


class Unsent:
    """Any thread may call these.

    `adopt` stages an object from an unknown file of it, if there is one. `take_out` takes a failed volume out of use.
    `rewind` is called when rows are put back.
    """

    def __init__(
        self,
        ledger: DestinationLedger,
        naming: Naming,
        flight: Flight,
        setbacks: Setbacks,
        suspects: Suspects,
        *,
        adopt: Callable[[Row], bool],
        take_out: Callable[[OpenVolume, str], None],
        rewind: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._naming = naming
        self._flight = flight
        self._setbacks = setbacks
        self._suspects = suspects
        self._adopt = adopt
        self._take_out = take_out
        self._rewind = rewind
        self._avoid: Notes[int, str] = Notes()  # endpoints that stored wrong bytes of an object
        self.refusals = Refusals()

    def endpoint_to_avoid(self, row: Row) -> str:
        """The URL of an endpoint that stored wrong bytes of it; "" for none."""
        return self._avoid.get(row.id, "")

    def settled(self, row: Row) -> None:
        """Nothing is left to do for an object here: its earlier failures are forgotten."""
        self._setbacks.forgive(row.id)
        self._avoid.pop(row.id, "")

    def leave(self, item: Item) -> None:
        """The object leaves the unit; its row is still staged, or in the state that was recorded."""
        let_go(item)
        self._flight.leave(item.row.id)
        self._rewind()

    def not_sent(
        self, item: Item, trouble: Trouble, message: str, endpoint: Endpoint | None = None, *, is_lie: bool = False
    ) -> None:
        """Attribute a failure: to the endpoint (None: where it was sent), the volume, or the object itself.

        `is_lie`: the store had acknowledged the upload.
        """
        if trouble.is_local or trouble in (Trouble.NOT_FOUND, Trouble.MISMATCH):
            damage = self.examine(item, hash_it=trouble is not Trouble.NOT_FOUND)
            if damage:
                self.damaged(item, damage)
                return
            if item.row.id not in self._flight:
                return  # it left with its volume
        failure = Failure(item.row, "destination", trouble, message, KEPT)
        if self._suspects.find_out(item, failure, endpoint, self._judged):
            return
        if not self._setbacks.counts(failure):
            self.leave(item)
            return
        self._refuse(item, failure, is_lie=is_lie or trouble is Trouble.MISMATCH)

    def _judged(self, item: Item, failure: Failure, whose: Blame) -> None:
        if self._setbacks.is_excused(item.row, whose):
            self.leave(item)
        elif failure.trouble.stops_job:
            self._refuse(item, failure, is_lie=False)  # the refusal may well apply to other objects too
        else:
            self._avoid[item.row.id] = item.endpoint.url
            self._setbacks.refused(failure)
            self.leave(item)

    def _refuse(self, item: Item, failure: Failure, *, is_lie: bool) -> None:
        """The destination refused an object: its file stays, whatever the reason, and it is sent again later.

        `is_lie`: it had acknowledged it, or stored wrong bytes; that is recorded for each object in any case.
        """
        now = time.monotonic()
        everything = self.refusals.everything
        if self.refusals.refused(item.row.id, failure.message, now):
            _log.error(
                "the destination refuses all uploads; only trial objects are sent until it accepts one: %s",
                failure.message,
            )
        elif everything and now < self.refusals.next_trial:
            self._setbacks.put_off(item.row, _PUT_OFF_SECONDS)  # sent before that was known: not this object's fault
            if is_lie:
                self._ledger.journal.record(failure)
                self._setbacks.note(failure)
            self.leave(item)
            return
        self._setbacks.refused(failure, is_lie=is_lie)
        self.leave(item)

    def examine(self, item: Item, *, hash_it: bool = True) -> Damage | None:
        """What is wrong with a file that could not be read. If its volume has failed, the object just leaves."""
        try:
            return examine(item, hash_it=hash_it)
        except OSError as error:
            return self.local_failure(item, error)

    def local_failure(self, item: Item, error: OSError) -> Damage | None:
        """A file cannot be read: the file is to blame if its volume is healthy, otherwise the volume."""
        if item.volume.is_well():
            if isinstance(error, FileNotFoundError):
                return gone(item)
            return Damage(Trouble.MISMATCH, f"error {error.errno}", f"the file cannot be read: {error.strerror}")
        if not item.volume.writable and not item.volume.trouble():
            if isinstance(error, FileNotFoundError):
                return gone(item)
            self._unreadable(item, error)
            return None
        message = f"Failed to read {item.row.key!r} on volume {item.volume.name}: {error.strerror}"
        self._take_out(item.volume, f"{message} ({local_trouble(error).value})")
        self.leave(item)
        return None

    def _unreadable(self, item: Item, error: OSError) -> None:
        """A file on a failed volume: fetched again to another one. A dropped file cannot be fetched."""
        row = item.row
        message = f"it cannot be read on volume {item.volume.name}, which failed: {error.strerror}"
        if row.origin == Origin.DROP:
            self.refuse(
                item, Failure(row, "destination", Trouble.IO, f"the dropped file: {message}", "left where it is")
            )
            return
        failure = Failure(row, "destination", Trouble.IO, message, "fetched again")
        if self._ledger.losses.leave_copy(failure):
            self._setbacks.note(failure)
        self.settled(row)
        self.leave(item)

    def damaged(self, item: Item, damage: Damage) -> None:
        """The bytes are not the proven ones: quarantine and refetch them, or let the drop scanner take them again."""
        row = item.row
        message = f"{damage.message} (volume {item.volume.name})"
        if row.origin == Origin.DROP:
            self._damaged_drop(item, damage, message)
            return
        if damage is gone(item) and self._adopt(row):
            self.settled(row)
            self.leave(item)
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
        self.settled(row)
        self.leave(item)

    def refuse(self, item: Item, failure: Failure) -> None:
        """Mark a dropped file as failed, however many attempts are left: it stays where it is."""
        if self._ledger.objects.retry(failure, delay_ms=0, count=True, target=State.FAILED):
            self._setbacks.note(failure)
        self.leave(item)

    def cannot_be_sent(self, item: Item, failure: Failure) -> None:
        """The destination cannot store an object under its key; another attempt in this run would not change that."""
        self._setbacks.refused(failure, for_good=True)
        self.leave(item)

    def _count(self, item: Item, failure: Failure, target: State) -> None:
        self._setbacks.failed(failure, target=target)
        self.leave(item)

    def hold_back(self, item: Item, message: str) -> None:
        """An object does not overwrite something newer: it stays staged, and is reported."""
        failure = Failure(item.row, "destination", Trouble.CHANGED, message, "kept on its volume, and not sent")
        self._setbacks.refused(failure, for_good=True)
        self.leave(item)

    def refuted(self, item: Item, failure: Failure) -> None:
        """The destination stored other bytes than the staged file, which is sound: next time use another endpoint."""
        self._avoid[item.row.id] = item.endpoint.url
        self._refuse(item, failure, is_lie=True)


def let_go(item: Item) -> None:
    """Release a dropped file that was held open while it was sent."""
    if item.row.origin == Origin.DROP:
        with contextlib.suppress(OSError):  # swept when the volume comes back, or at the next start
            item.volume.dropped.let_go(item.row.id)
