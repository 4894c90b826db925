# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Whether a staged object may be sent: its key is valid at the destination, and its file is there and sound."""

from __future__ import annotations

from collections.abc import Callable

from ....core import workers
from ....core.errors import Trouble
from ....core.model import LONGEST_KEY, Origin
from ....ledger.binding import Naming
from ....ledger.destination_ports import DestinationLedger
from ....ledger.ledger import Failure, Row
from ...flight import Item
from ...setbacks import Setbacks
from .file_check import examine
from .unsent import Unsent


class Readiness:
    """Used by the senders. `reread` as in the job; `is_doubtful`: an upload of it may have succeeded."""

    def __init__(
        self,
        ledger: DestinationLedger,
        naming: Naming,
        setbacks: Setbacks,
        unsent: Unsent,
        *,
        reread: str,
        is_doubtful: Callable[[Row], bool],
    ) -> None:
        self._ledger = ledger
        self._naming = naming
        self._setbacks = setbacks
        self._unsent = unsent
        self._reread = reread
        self._is_doubtful = is_doubtful
        self.overtaken: set[str] = set()  # keys of which a volume has a newer file than a restored older ledger knows

    def is_ready(self, item: Item) -> bool:
        """Whether the file of an object is there and sound; otherwise the object has left the unit. May take long."""
        row, volume = item.row, item.volume
        if self._has_no_place(item) or self._is_overtaken(item):
            return False
        if row.origin == Origin.DROP and not volume.dropped.has_room:
            self._setbacks.put_off(row, 0.2)  # the limit of open dropped files is reached
            self._unsent.departures.leave(item)
            return False
        if row.origin != Origin.DROP and self._is_doubtful(row):
            return True  # ask the destination first, whatever happened to the file
        try:
            if row.origin == Origin.DROP:
                item.path = volume.dropped.hold(row.id, self._naming.staging_path(row.key, row.generation, row.origin))
            hash_it = bool(row.suspect) or self._reread == "always" or not volume.medium.writable
            damage = examine(item, hash_it=hash_it, beat=workers.beat)
        except OSError as error:
            damage = self._unsent.files.local_failure(item, error)
            if damage is None:
                return False
        if damage:
            self._unsent.files.handle(item, damage)
        return damage is None

    def _has_no_place(self, item: Item) -> bool:
        """Whether this object has no valid key at the destination: another attempt would not change that."""
        try:
            key = self._naming.destination_key(item.row.key)
        except ValueError as error:
            message = f"{error}; was source.prefix changed while it was staged?"
        else:
            length = len(key.encode())
            if 0 < length <= LONGEST_KEY:
                return False
            message = (
                f"the destination key would have {length} bytes; shorten destination.prefix, S3 allows {LONGEST_KEY}"
                if key
                else "the destination key would be empty: the key is source.prefix itself; set destination.prefix"
            )
        failure = Failure(item.row, "destination", Trouble.UNSUPPORTED, message, "kept on its volume")
        self._unsent.cannot_be_sent(item, failure)
        return True

    def _is_overtaken(self, item: Item) -> bool:
        """Whether a volume has a newer file of the key that this restored older ledger does not know."""
        row = item.row
        if row.key not in self.overtaken or not self._ledger.recovery.was_staged_before_recovery(row):
            return False
        message = "a volume holds a newer version of it, which this older copy of the ledger does not know"
        self._unsent.hold_back(item, f"{message}; restore the newer ledger, or move that file away")
        return True
