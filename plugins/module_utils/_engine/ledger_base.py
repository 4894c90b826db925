# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What the kinds of writes to the ledger have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .ledger_database import Database, connect
from .ledger_drops import DropLedger
from .ledger_journal import JournalLedger
from .ledger_parts import PartLedger


class LedgerBase:
    """What the kinds of writes have in common."""

    def __init__(self, path: Path, *, readonly: bool = False, beat: Callable[[str], None] = lambda doing: None) -> None:
        self.database = Database(path, connect(path, readonly=readonly, beat=beat))
        self.journal = JournalLedger(self.database)
        self.drops = DropLedger(self.database)
        self.parts = PartLedger(self.database)

    @property
    def path(self) -> Path:
        return self.database.path

    def close(self) -> None:
        self.database.close()

    def is_made(self) -> bool:
        return self.database.is_made()

    def identity(self) -> str:
        return self.database.identity()
