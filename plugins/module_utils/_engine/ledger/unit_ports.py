# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What both units may do to the ledger, part by part."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from ..core.model import Evidence, State
from ..core.removal import Permit
from .rows import Failure, Row

# -- both units -------------------------------------------------------------------------------------------------------


class UnitObjects(Protocol):
    """Rows that are due, and objects that are tried again."""

    def row(self, object_id: int) -> Row | None: ...

    def row_of_key(self, key: str) -> Row | None: ...

    def work(self, state: State, *, after_id: int, limit: int, volumes: Collection[int] | None = None) -> list[Row]: ...

    def work_beside(
        self,
        busy: Collection[int],
        state: State,
        *,
        after_id: int,
        limit: int,
        volumes: Collection[int] | None = None,
    ) -> tuple[list[Row], int]: ...

    def waiting(self, *states: State) -> bool: ...

    def is_to_be_sent(self, attempts: int) -> bool: ...

    def retry(self, failure: Failure, *, delay_ms: int, count: int, target: State = State.PENDING) -> bool: ...


class UnitStaging(Protocol):
    """Files that the ledger did not know of, and that are an object's."""

    def adopt(
        self, row: Row, volume: int, digest: str, part_size: int, evidence: Evidence, part_md5s: bytes = b""
    ) -> bool: ...


class UnitCopies(Protocol):
    """What may be removed of a staging tree, and what a quarantine holds."""

    def permit(self, key: str, generation: int, volume: int) -> Permit | None: ...

    def has_file(self, key: str, generation: int, volume: int) -> bool: ...

    def is_named(self, key: str, generation: int, volume: int) -> bool: ...

    def has_quarantined(self, object_id: int, volume: int) -> None: ...


class UnitJournal(Protocol):
    """A unit's run, and what goes wrong in it."""

    def start_run(self, unit: str) -> int: ...

    def update_run(
        self, run_id: int, *, status: str, listed: tuple[int, int], passes: int, failures: int, ended: bool = False
    ) -> None: ...

    def record(self, failure: Failure) -> None: ...


class TouchedListing(Protocol):
    """What the source shows under a new time."""

    def touched(self, *, limit: int, delivered_too: bool) -> list[Row]: ...


class UnitRecovery(Protocol):
    """Whether the ledger is an old copy."""

    def recovered_ms(self) -> int: ...


class UnitLedger(Protocol):
    """What either unit may do."""

    @property
    def objects(self) -> UnitObjects: ...

    @property
    def staging(self) -> UnitStaging: ...

    @property
    def copies(self) -> UnitCopies: ...

    @property
    def listing(self) -> TouchedListing: ...

    @property
    def recovery(self) -> UnitRecovery: ...

    @property
    def journal(self) -> UnitJournal: ...
