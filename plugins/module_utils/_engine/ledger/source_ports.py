# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What the source unit may do to the ledger, part by part."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol

from ..core.errors import Trouble
from ..core.model import ListedObject
from ..core.removal import AtDestination
from .drops import Dropped
from .rows import Failure, Observed, Row, Staged
from .unit_ports import TouchedListing, UnitCopies, UnitJournal, UnitLedger, UnitObjects, UnitStaging

# -- the source unit --------------------------------------------------------------------------------------------------


class SourceObjects(UnitObjects, Protocol):
    """Besides: what is to be fetched last, what the source does not have, a new chance for what failed."""

    def last_pending(self) -> str: ...

    def gone(self, failure: Failure) -> bool: ...

    def revive(self, direction: str = "both", beat: Callable[[str], None] = lambda doing: None) -> int: ...


class SourceListing(TouchedListing, Protocol):
    """The source's listing."""

    def observe(self, page: Sequence[ListedObject]) -> Observed: ...

    def is_as_listed(self, row: Row, listed: ListedObject) -> bool: ...

    def read_otherwise(self, row: Row, size: int) -> bool: ...

    def gone_keys(self, limit: int = 100_000) -> set[str]: ...

    def forget_gone(self, keys: Iterable[str], busy: Collection[int], reason: str) -> list[str]: ...


class SourceStaging(UnitStaging, Protocol):
    """Besides: objects that became durable on a volume."""

    def commit_staged(self, group: Sequence[Staged], volume: int, run_id: int) -> list[Staged]: ...


class SweptCopies(UnitCopies, Protocol):
    """Files that are of no use any more."""

    def obsolete(self, *, after_id: int, pressed: bool) -> list[tuple[int, int, str, int]]: ...

    def copies_removed(self, ids: Iterable[int]) -> None: ...

    def deliver_older_first(self, volumes: Collection[int], limit: int = 1000) -> int: ...

    def discards(self, *, after_id: int = 0) -> list[tuple[int, int, str, int]]: ...

    def discarded(self, ids: Iterable[int]) -> None: ...


class SourceCopies(SweptCopies, Protocol):
    """Besides: older generations that are delivered instead, and the quarantines."""

    def has_copies(self) -> bool: ...

    def restore(self, row: Row, told: Callable[[int, str], Failure]) -> Failure | None: ...

    def quarantined(self, object_id: int) -> str: ...

    def needless_in_quarantine(self) -> list[tuple[int, AtDestination]]: ...

    def quarantine_cleared(self, object_ids: Iterable[int]) -> None: ...


class SourceLosses(Protocol):
    """Volumes that failed for good."""

    def leave_copies(self, volume: int, reason: str) -> int: ...

    def left_on(self, object_id: int) -> str: ...


class KnownDrops(Protocol):
    """Files of drop folders that the ledger knows."""

    def dropped(self, key: str) -> Row | None: ...


class SourceDrops(KnownDrops, Protocol):
    """Files of drop folders."""

    def refuses_dropped(self, key: str, volume: int) -> str: ...

    def stage_dropped_group(self, files: Sequence[Dropped], volume: int, run_id: int) -> list[str]: ...


class SourceParts(Protocol):
    """Large objects that are fetched no more."""

    def drop_outdated_pieces(self) -> None: ...


class LeftBehind(Protocol):
    """What is told of objects that have no row."""

    def has_failure(self, key: str, hop: str, trouble: Trouble, message: str) -> bool: ...

    def facts(self, side: str, endpoint: str) -> dict[str, str]: ...

    def set_fact(self, side: str, endpoint: str, fact: str, value: str) -> None: ...


class SourceJournal(UnitJournal, LeftBehind, Protocol):
    """Besides: objects that have no row."""


class SourceLedger(UnitLedger, Protocol):
    """What the source unit may do: nothing of it says that anything was delivered."""

    @property
    def objects(self) -> SourceObjects: ...

    @property
    def listing(self) -> SourceListing: ...

    @property
    def staging(self) -> SourceStaging: ...

    @property
    def copies(self) -> SourceCopies: ...

    @property
    def losses(self) -> SourceLosses: ...

    @property
    def drops(self) -> SourceDrops: ...

    @property
    def parts(self) -> SourceParts: ...

    @property
    def journal(self) -> SourceJournal: ...
