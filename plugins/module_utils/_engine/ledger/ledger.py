# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The ledger: the durable record of every object of a job, in SQLite (WAL, synchronous=FULL).

Writes come in groups, one transaction each. Every state change names the state and generation it starts from, so a
change that lost a race (the lister saw a newer object meanwhile) is refused row by row and reported to the caller.
Reads stream: no method holds more than a page of rows.

Its operations are grouped in parts, one file each, on one `Database`. A method that writes is one transaction, unless
it says that it works in steps. What parts share within a transaction are functions of its connection, in
`generations.py`, `journal.py` and `rows.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .bindings import StoreLedger
from .copies import CopyLedger
from .database import Database, connect
from .deliveries import DeliveryLedger
from .drops import DropLedger
from .journal import JournalLedger
from .listing import ListingLedger
from .losses import LossLedger
from .moves import MoveLedger
from .objects import LONGEST_DELAY_MS, ObjectLedger
from .parts import PartLedger
from .recovery import RecoveryLedger
from .rows import Delivered, Failure, Observed, Row, Staged
from .staging import StagingLedger
from .volumes import VolumeLedger

__all__ = [
    "LONGEST_DELAY_MS",
    "Delivered",
    "Failure",
    "Ledger",
    "Observed",
    "Row",
    "Staged",
]


class Ledger:
    """One job's ledger. Threads of one process may share it; processes open their own."""

    def __init__(self, path: Path, *, readonly: bool = False, beat: Callable[[str], None] = lambda doing: None) -> None:
        """Open (and create or migrate) the ledger. Raises LedgerError for a damaged or newer file.

        `beat` gets a description of long steps from time to time.
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
