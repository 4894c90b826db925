# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What happens to fetched objects: those that arrive, and those that do not."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from ....core.blame import Blame
from ....core.errors import Trouble
from ....core.model import State
from ....ledger.ledger import Failure, Row
from ....ledger.source_ports import SourceLedger
from ....store.endpoint import Endpoint
from ....volumes.open_volume import OpenVolume
from ...flight import Flight, Item
from ...part_memory import PartKeeper
from ...setbacks import Setbacks, Suspects
from .fetch_notes import FetchNotes

_log = logging.getLogger("snowsync.source")


class PartialFiles:
    """What is on the volumes of objects that did not arrive. Only large ones are continued.

    `is_large` takes a size in bytes.
    """

    def __init__(self, parts: PartKeeper, is_large: Callable[[int], bool]) -> None:
        self._parts = parts
        self._is_large = is_large

    def start_over(self, row: Row) -> None:
        """What was fetched may be wrong, or not on the medium: the object is fetched from its beginning."""
        self._parts.forget(row.id)

    def end(self, row: Row) -> None:
        """The object is staged, or not continued: this spares the ledger a question about each small object."""
        if self._is_large(row.size):
            self._parts.forget(row.id)

    def leave(self, item: Item) -> None:
        """Keep the file if the object can be continued with it, otherwise remove it."""
        if self._is_large(item.row.size) and self._parts.lies_on(item.row.id, item.volume.id):
            return
        try:
            item.volume.discard_incoming(item.row.id)
        except OSError as error:
            _log.warning("volume %s: cannot remove a partial file: %s", item.volume.name, error.strerror)


class Fetching:
    """Any thread may call these.

    `take_out` takes a failed volume out of use; `rewind` is called when rows are put back. `partial` decides about what
    is there of an object that leaves the unit.
    """

    def __init__(
        self,
        ledger: SourceLedger,
        partial: PartialFiles,
        flight: Flight,
        setbacks: Setbacks,
        suspects: Suspects,
        *,
        take_out: Callable[[OpenVolume, str], None],
        rewind: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._partial = partial
        self._flight = flight
        self._setbacks = setbacks
        self._suspects = suspects
        self._take_out = take_out
        self._rewind = rewind
        self.notes = FetchNotes()

    # -- objects that arrived ---------------------------------------------------------------------------------

    def served(self, item: Item) -> None:
        """An object arrived and was proven."""
        self.notes.served_last = item.row.key
        item.endpoint.served(item.row.id)

    def settled(self, row: Row) -> None:
        """An object is staged: its earlier failures are forgotten."""
        self._setbacks.forgive(row.id)
        self._partial.end(row)
        self.notes.forget(row)

    # -- objects that leave the unit unstaged -----------------------------------------------------------------

    def not_arrived(self, item: Item, trouble: Trouble, message: str, endpoint: Endpoint | None = None) -> None:
        """Attribute a failure: to the endpoint (None: where it was fetched from), the volume, or the object itself."""
        if trouble in (Trouble.SPACE, Trouble.TOO_LARGE):
            self._is_refused_room(item, trouble, message)
            return
        if trouble.is_local:
            if not item.volume.medium.is_well():
                self._take_out(item.volume, message)
                self.put_back(item, 0.0)
                return
            self._is_bad_spot(item, message)
        failure = Failure(item.row, "source", trouble, message, "fetched again")
        if self._suspects.find_out(item, failure, endpoint, self._judged):
            return
        if self._setbacks.counts(failure):
            self._setbacks.failed(failure)
        self.put_back(item, None)

    def _judged(self, item: Item, failure: Failure, whose: Blame) -> None:
        if not self._setbacks.is_excused(item.row, whose):
            self.notes.avoid_endpoint(item.row, item.endpoint.url)
            if self._setbacks.failed(failure) is State.FAILED:
                self.notes.avoid_no_endpoint(item.row)
        self.put_back(item, None)

    def _is_bad_spot(self, item: Item, message: str) -> None:
        """A healthy volume did not accept this object: what is there of it may not be on the medium."""
        if self.notes.avoid_volume(item.row, item.volume.id):
            _log.warning(
                "volume %s does not accept %r, trying other volumes first: %s", item.volume.name, item.row.key, message
            )
        self._partial.start_over(item.row)

    def _is_refused_room(self, item: Item, trouble: Trouble, message: str) -> None:
        """A volume accepted no more data, or no file of this size: it is not tried again."""
        self._partial.end(item.row)  # frees space for others
        if trouble is Trouble.TOO_LARGE:
            item.volume.load.takes_no_file_of(item.row.size)
            _log.warning("volume %s does not accept files of %d bytes: %s", item.volume.name, item.row.size, message)
        else:
            is_full(item.volume, message)
        self.put_back(item, 0.0)

    def volume_failed(self, volume: OpenVolume, trouble: Trouble, message: str) -> None:
        """A volume could not make a group durable: it is paused or taken out of use."""
        if trouble is Trouble.SPACE:
            is_full(volume, message)
        else:
            self._take_out(volume, message)

    def not_durable(self, item: Item) -> None:
        """It is unknown how much of an object reached the medium."""
        self._partial.end(item.row)
        self.put_back(item, 0.0)

    def quarantine(self, item: Item) -> None:
        """Quarantine mismatched bytes, and fetch the object from another endpoint if there is one."""
        self.notes.avoid_endpoint(item.row, item.endpoint.url)
        self._partial.start_over(item.row)
        self._ledger.copies.has_quarantined(item.row.id, item.volume.id)
        try:
            item.volume.to_quarantine(item.row.id)
        except OSError as error:
            _log.warning("volume %s: cannot quarantine a file: %s", item.volume.name, error.strerror)

    def put_back(self, item: Item, delay: float | None) -> None:
        """The object leaves the unit unstaged; its row stays pending and is fetched again later, reusing its parts."""
        self._partial.leave(item)
        if delay is not None:
            self._setbacks.put_off(item.row, delay)
        with self._flight.lock:
            if self._flight.leave(item.row.id):
                item.volume.load.expect_no_more(item.row.size)
        self._rewind()


def is_full(volume: OpenVolume, message: str) -> None:
    """A volume reported that it is full, whatever its free space: it is paused for a while."""
    if volume.load.fullness.refused(time.monotonic(), "it reports that it is full: a quota, perhaps"):
        _log.warning("volume %s reports that it is full; pausing writes to it: %s", volume.name, message)
