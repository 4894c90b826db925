# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The ledger: the durable record of every object of a job, in SQLite (WAL, synchronous=FULL).

Writes come in groups, one transaction each. Every state change names the state and generation it starts from, so a
change that lost a race (the lister saw a newer object meanwhile) is refused row by row and reported to the caller.
Reads stream: no method holds more than a page of rows.

What may be done to it is in its parts, each a file of its own, over one `Database`. A method that writes is one
transaction, or says that it goes in steps. What parts have in common inside a transaction are functions of its
connection: `ledger_generations`, `ledger_journal`, `ledger_rows`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from .ledger_bindings import StoreLedger
from .ledger_copies import CopyLedger
from .ledger_database import Database, connect
from .ledger_deliveries import DeliveryLedger
from .ledger_drops import DropLedger
from .ledger_journal import JournalLedger
from .ledger_listing import ListingLedger
from .ledger_losses import LossLedger
from .ledger_moves import MoveLedger
from .ledger_objects import LONGEST_DELAY_MS, ObjectLedger
from .ledger_parts import PartLedger
from .ledger_recovery import RecoveryLedger
from .ledger_rows import Delivered, Failure, Observed, Row, Staged, dump_headers, load_headers
from .ledger_staging import StagingLedger
from .ledger_volumes import VolumeLedger

__all__ = [
    "LONGEST_DELAY_MS",
    "Delivered",
    "Failure",
    "Ledger",
    "Observed",
    "Row",
    "Staged",
    "dump_headers",
    "load_headers",
]


class Ledger:
    """One job's ledger. Threads of one process may share it; processes open their own."""

    def __init__(self, path: Path, *, readonly: bool = False, beat: Callable[[str], None] = lambda doing: None) -> None:
        """Open (and create or migrate) the ledger. Raises LedgerError for a damaged or newer file.

        `beat` is told now and then what is done, where that takes long.
        """
        self.database = database = Database(path, connect(path, readonly=readonly, beat=beat))
        self.journal = journal = JournalLedger(database)
        self.objects = objects = ObjectLedger(database, journal)
        self.recovery = recovery = RecoveryLedger(database, journal)
        self.listing = ListingLedger(database, objects, recovery)
        self.staging = StagingLedger(database)
        self.deliveries = DeliveryLedger(database)
        self.copies = CopyLedger(database, objects, journal)
        self.volumes = VolumeLedger(database, journal)
        self.losses = LossLedger(database, journal)
        self.moves = MoveLedger(database)
        self.drops = DropLedger(database)
        self.parts = PartLedger(database)
        self.stores = StoreLedger(database, journal)

    def close(self) -> None:
        self.database.close()

    # -- what a VolumeSet asks, of several parts at once --------------------------------------------------------

    def identity(self) -> str:
        return self.volumes.identity()

    def volume_id(self, name: str, uuid: str, path: str) -> int:
        return self.volumes.volume_id(name, uuid, path)

    def known_volumes(self) -> dict[str, tuple[int, str]]:
        return self.volumes.known_volumes()

    def holding(self) -> set[str]:
        return self.volumes.holding()

    def occupied(self) -> dict[int, int]:
        return self.volumes.occupied()

    def has_used(self, volume: int) -> bool:
        return self.volumes.has_used(volume)

    def knows_key(self, key: str) -> bool:
        return self.volumes.knows_key(key)

    def knows_object(self, object_id: int) -> bool:
        return self.volumes.knows_object(object_id)

    def draining(self) -> set[int]:
        return self.volumes.draining()

    def set_placing(self, placing: Mapping[int, bool]) -> None:
        self.volumes.set_placing(placing)

    def set_trouble(self, volume: int, word: str, reason: str) -> None:
        self.volumes.set_trouble(volume, word, reason)

    def note_unused(self, volume: str, word: str, reason: str) -> None:
        self.volumes.note_unused(volume, word, reason)

    def returned(self, volume: int) -> int:
        return self.losses.returned(volume)

    def newest_group(self) -> tuple[int, int]:
        return self.recovery.newest_group()

    def knows_group(self, number: int, at_ms: int) -> bool:
        return self.recovery.knows_group(number, at_ms)

    def distrust(self, volume: int, record: str, number: int, at_ms: int) -> bool:
        return self.recovery.distrust(volume, record, number, at_ms)
