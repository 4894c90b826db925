# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Uploads that were started before and have no proof: the destination is asked before anything is sent again."""

from __future__ import annotations

from collections.abc import Callable

from ....core.errors import StoreError, Trouble
from ....core.model import Head
from ....ledger.binding import Naming
from ....ledger.destination_ports import DestinationLedger, DestinationRecovery, LeftUploads
from ....ledger.ledger import Delivered, Row
from ...flight import Item
from ..unsent.unsent import Unsent
from .abandoned_uploads import abort_cut_off
from .batches import Batch, Batches
from .commits import Commits
from .delivery_proofs import DeliveryProofs
from .lookups import Lookups, in_time

_CLOCK_SKEW_MS = 3_600_000  # how far a store's clock may be behind ours


class AbsentObjects:
    """Objects that are not at the destination although an upload of them began: they are sent again."""

    def __init__(self, parts: LeftUploads, naming: Naming, batches: Batches, unsent: Unsent) -> None:
        self._parts = parts
        self._naming = naming
        self._batches = batches
        self._unsent = unsent

    def send_again(self, item: Item) -> None:
        """It leaves the unit, to be sent next time without another check."""
        if not self._unsent.files.is_sound(item, hash_it=False):
            return  # and the destination does not have it either
        if item.row.part_size:
            abort_cut_off(self._parts, item.row.id, item.endpoint, self._naming.destination_key(item.row.key))
        self._batches.looked.add(item.row.id)
        self._unsent.departures.leave(item)


class DoubtfulUploads:
    """Used by the provers."""

    def __init__(
        self,
        ledger: DestinationLedger,
        batches: Batches,
        lookups: Lookups,
        proofs: DeliveryProofs,
        commits: Commits,
        unsent: Unsent,
        absent: AbsentObjects,
    ) -> None:
        self._ledger = ledger
        self._batches = batches
        self._lookups = lookups
        self._proofs = proofs
        self._commits = commits
        self._unsent = unsent
        self._absent = absent

    def check(self, batch: Batch, put_late: Callable[[Batch], None]) -> None:
        """Check uploads that were started before and have no proof: what is not at the destination is sent again.

        `put_late` as in `in_time`.
        """
        proven: list[tuple[Item, Delivered]] = []
        absent: list[Item] = []

        def conclude() -> None:
            self._commits.commit(proven)
            for item in absent:
                self._absent.send_again(item)
            proven.clear()
            absent.clear()

        answers = self._lookups.heads(batch.items, is_hurried=not batch.is_late)
        for item, endpoint, found in in_time(batch, answers, conclude, put_late):
            if isinstance(found, StoreError):
                if self._says_absent(item, found):
                    absent.append(item)
                    continue
                if found.trouble is Trouble.NOT_FOUND:
                    # Acknowledged but not stored: that is reported, and it is sent again.
                    self._batches.looked.add(item.row.id)
                self._proofs.failed(item, endpoint, found)
                continue
            proof = self._proofs.of(item, endpoint, found)
            if isinstance(proof, Delivered):
                self._batches.settle(item.row)
                proven.append((item, proof))
            elif proof and is_from_lost_history(self._ledger.recovery, item.row, found):
                message = "the destination holds a newer version of it than this older copy of the ledger knows"
                self._unsent.hold_back(item, f"{message}; restore the newer ledger, or delete that object there")
            elif proof and self._batches.is_acknowledged(item.row):
                self._proofs.refuted(item, proof)
            elif proof:
                absent.append(item)
        conclude()

    def _says_absent(self, item: Item, error: StoreError) -> bool:
        """Whether an upload that began may be repeated. Without read permission the only answer is "denied".

        An acknowledged upload is not repeated without read permission: it could never be proven either.
        """
        if self._batches.is_acknowledged(item.row):
            return False
        return not (error.trouble.is_transient or error.trouble.stops_job)


def is_from_lost_history(recovery: DestinationRecovery, row: Row, found: Head) -> bool:
    """Whether the object at the destination was written later than anything that a restored older ledger knows."""
    since = recovery.lost_since_ms()
    if not since or not recovery.was_staged_before_recovery(row):
        return False
    return not found.modified_ms or found.modified_ms > since - _CLOCK_SKEW_MS
