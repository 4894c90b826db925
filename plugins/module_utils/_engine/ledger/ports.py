# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The interfaces of a ledger for each of its users, part by part.

A `Ledger` implements all of them, and another implementation needs no more than these. The methods are documented where
they are implemented, in the part of the same name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from typing import Protocol

from ..core.errors import Trouble
from ..core.model import Evidence, ListedObject, State
from ..core.parts import Upload
from ..core.removal import AtDestination, Permit
from .binding import Binding, End
from .bindings import Holding
from .drops import Dropped
from .objects import Resent
from .rows import Delivered, Failure, Observed, Row, Staged

# -- both units -------------------------------------------------------------------------------------------------------


class UnitObjects(Protocol):
    """Rows that are due, and objects that are tried again."""

    def row(self, object_id: int) -> Row | None: ...

    def row_of_key(self, key: str) -> Row | None: ...

    def work(self, state: State, *, after_id: int, limit: int, volumes: Collection[int] | None = None) -> list[Row]: ...

    def work_beside(
        self,
        busy: Container[int],
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

    def adopt(self, row: Row, volume: int, digest: str, part_size: int, evidence: Evidence) -> bool: ...


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


# -- the destination unit ---------------------------------------------------------------------------------------------


class DestinationObjects(UnitObjects, Protocol):
    """Besides: dropped files that are gone, and objects that are put back to be sent again."""

    def forget(self, row: Row, reason: str) -> bool: ...

    def resend(self, keys: Sequence[str], trouble: Trouble, message: str, *, dry_run: bool = False) -> list[Resent]: ...


class DestinationListing(TouchedListing, Protocol):
    """Objects of which the destination is asked whether it has them."""

    def asked(self, row: Row) -> None: ...


class Releases(Protocol):
    """Objects whose files are gone."""

    def commit_delivered(self, group: Sequence[Delivered], released: Sequence[Row], run_id: int) -> list[Delivered]: ...


class DestinationDeliveries(Releases, Protocol):
    """Uploads that begin, and what is proven of them."""

    def target(self) -> int: ...

    def claim_sends(self, rows: Iterable[Row]) -> None: ...

    def acknowledge(self, rows: Iterable[Row]) -> None: ...


class UnreadableCopies(Protocol):
    """Objects that cannot be read where they are."""

    def leave_copy(self, failure: Failure) -> bool: ...


class LeftUploads(Protocol):
    """Multipart uploads that nobody continues."""

    def uploads(self, object_id: int) -> list[Upload]: ...

    def left_uploads(self) -> list[Upload]: ...

    def end_upload(self, upload: Upload) -> None: ...


class KnownStores(Protocol):
    """Which stores the ledger speaks of."""

    def bindings(self) -> list[Binding]: ...


class DestinationRecovery(UnitRecovery, Protocol):
    """Besides: what the destination may have that is newer than an old copy of the ledger knows."""

    def lost_since_ms(self) -> int: ...

    def was_staged_before_recovery(self, row: Row) -> bool: ...


class DestinationLedger(UnitLedger, Protocol):
    """What the destination unit may do: nothing of it takes anything from the source."""

    @property
    def objects(self) -> DestinationObjects: ...

    @property
    def listing(self) -> DestinationListing: ...

    @property
    def deliveries(self) -> DestinationDeliveries: ...

    @property
    def losses(self) -> UnreadableCopies: ...

    @property
    def parts(self) -> LeftUploads: ...

    @property
    def stores(self) -> KnownStores: ...

    @property
    def recovery(self) -> DestinationRecovery: ...


# -- commands ---------------------------------------------------------------------------------------------------------


class MovedObjects(Protocol):
    """Objects that are looked at, and put back where their files are bad."""

    def row(self, object_id: int) -> Row | None: ...

    def retry(self, failure: Failure, *, delay_ms: int, count: int, target: State = State.PENDING) -> bool: ...


class Moves(Protocol):
    """Objects that go to another volume."""

    def lying(self, state: State, volume: int, *, after_id: int, limit: int) -> list[Row]: ...

    def intend(self, volume: int, rows: Iterable[Row]) -> dict[int, int]: ...

    def commit_moved(self, rows: Sequence[Row], volume: int, notes: Mapping[int, int]) -> list[Row]: ...


class EvacuationLedger(Protocol):
    """What `evacuate` may do."""

    @property
    def objects(self) -> MovedObjects: ...

    @property
    def moves(self) -> Moves: ...

    @property
    def copies(self) -> SweptCopies: ...

    @property
    def deliveries(self) -> Releases: ...

    @property
    def losses(self) -> UnreadableCopies: ...


class KnownVolumes(Protocol):
    """Which volumes the ledger knows."""

    def known_volumes(self) -> dict[str, tuple[int, str]]: ...


class CountedStores(KnownStores, Protocol):
    """Besides: what the ledger holds of them."""

    def holdings(self) -> list[Holding]: ...


class ReboundStores(Protocol):
    """What `rebind` may do: a side is another store from now on."""

    def rebind_source(self, end: End, *, is_same: bool) -> None: ...

    def rebind_destination(self, end: End, *, is_same: bool) -> None: ...
