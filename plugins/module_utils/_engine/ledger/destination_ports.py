# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What the destination unit may do to the ledger, part by part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from ..core.errors import Trouble
from ..core.parts import Upload
from .binding import Binding
from .objects import Resent
from .rows import Delivered, Failure, Row
from .unit_ports import TouchedListing, UnitLedger, UnitObjects, UnitRecovery

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


class DestinationParts(LeftUploads, Protocol):
    """Besides: what the parts of a staged file are known to be."""

    def md5s(self, row: Row) -> bytes: ...


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
    def parts(self) -> DestinationParts: ...

    @property
    def stores(self) -> KnownStores: ...

    @property
    def recovery(self) -> DestinationRecovery: ...
