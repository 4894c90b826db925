# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Objects that leave the destination unit undelivered: refused, damaged (damaged_files.py), or held back."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from ....core.blame import Blame
from ....core.errors import Trouble
from ....ledger.binding import Naming
from ....ledger.destination_ports import DestinationLedger
from ....ledger.ledger import Failure, Row
from ....store.endpoint import Endpoint
from ....volumes.open_volume import OpenVolume
from ...flight import Flight, Item
from ...setbacks import Setbacks, Suspects
from .damaged_files import DamagedFiles
from .departures import Departures, PastFailures
from .refusals import Refusals

_log = logging.getLogger("snowsync.destination")
KEPT = "kept, and sent again"
_PUT_OFF_SECONDS = 1.0  # for objects in flight when the destination began to refuse everything


class Unsent:
    """Any thread may call these. `adopt` and `take_out` as in DamagedFiles, `rewind` as in Departures."""

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
        self._setbacks = setbacks
        self._suspects = suspects
        self.refusals = Refusals()
        self.past = PastFailures(setbacks)
        self.departures = Departures(flight, rewind)
        self.files = DamagedFiles(ledger, naming, setbacks, self.past, self.departures, adopt=adopt, take_out=take_out)

    def not_sent(
        self, item: Item, trouble: Trouble, message: str, endpoint: Endpoint | None = None, *, is_lie: bool = False
    ) -> None:
        """Attribute a failure: to the endpoint (None: where it was sent), the volume, or the object itself.

        `is_lie`: the store had acknowledged the upload.
        """
        may_be_damaged = trouble.is_local or trouble in (Trouble.NOT_FOUND, Trouble.MISMATCH)
        if may_be_damaged and not self.files.is_sound(item, hash_it=trouble is not Trouble.NOT_FOUND):
            return
        failure = Failure(item.row, "destination", trouble, message, KEPT)
        if self._suspects.find_out(item, failure, endpoint, self._judged):
            return
        if not self._setbacks.counts(failure):
            self.departures.leave(item)
            return
        self._refuse(item, failure, is_lie=is_lie or trouble is Trouble.MISMATCH)

    def _judged(self, item: Item, failure: Failure, whose: Blame) -> None:
        if self._setbacks.is_excused(item.row, whose):
            self.departures.leave(item)
        elif failure.trouble.stops_job:
            self._refuse(item, failure, is_lie=False)  # the refusal may well apply to other objects too
        else:
            self.past.avoid_endpoint_of(item)
            self._setbacks.refused(failure)
            self.departures.leave(item)

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
            self.departures.leave(item)
            return
        self._setbacks.refused(failure, is_lie=is_lie)
        self.departures.leave(item)

    def cannot_be_sent(self, item: Item, failure: Failure) -> None:
        """The destination cannot store an object under its key; another attempt in this run would not change that."""
        self._setbacks.refused(failure, for_good=True)
        self.departures.leave(item)

    def hold_back(self, item: Item, message: str) -> None:
        """An object does not overwrite something newer: it stays staged, and is reported."""
        failure = Failure(item.row, "destination", Trouble.CHANGED, message, "kept on its volume, and not sent")
        self._setbacks.refused(failure, for_good=True)
        self.departures.leave(item)

    def refuted(self, item: Item, failure: Failure) -> None:
        """The destination stored other bytes than the staged file, which is sound: next time use another endpoint."""
        self.past.avoid_endpoint_of(item)
        self._refuse(item, failure, is_lie=True)
