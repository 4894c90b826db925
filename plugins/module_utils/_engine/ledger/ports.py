# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The interfaces of a ledger for each of its users, part by part.

A `Ledger` implements all of them, and another implementation needs no more than these. The methods are documented where
they are implemented, in the part of the same name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from ..core.model import State
from .binding import End
from .bindings import Holding
from .destination_ports import KnownStores, Releases, UnreadableCopies
from .rows import Failure, Row
from .source_ports import SweptCopies

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
