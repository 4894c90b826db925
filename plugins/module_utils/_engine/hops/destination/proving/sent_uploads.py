# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Uploads whose outcomes are known: what the destination is proven to hold is delivered."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ....core.errors import StoreError, Trouble
from ....ledger.destination_ports import DestinationDeliveries
from ....ledger.ledger import Delivered
from ...flight import Item
from ..unsent.unsent import Unsent
from .batches import Batch, Batches
from .commits import Commits
from .delivery_proofs import DeliveryProofs
from .lookups import Answer, Lookups, in_time


class SentUploads:
    """Used by the provers. `deliveries` of the ledger."""

    def __init__(
        self,
        deliveries: DestinationDeliveries,
        batches: Batches,
        lookups: Lookups,
        proofs: DeliveryProofs,
        commits: Commits,
        unsent: Unsent,
    ) -> None:
        self._deliveries = deliveries
        self._batches = batches
        self._lookups = lookups
        self._proofs = proofs
        self._commits = commits
        self._unsent = unsent

    def prove(self, batch: Batch, put_late: Callable[[Batch], None]) -> None:
        """Prove a batch that was sent; what is not proven and not refuted is recorded as acknowledged.

        `put_late` as in `in_time`.
        """
        sent = self._succeeded(batch)
        unsaid = {item.row.id: item.row for item in sent}
        proven: list[tuple[Item, Delivered]] = []

        def conclude() -> None:
            self._commits.commit(proven)
            proven.clear()

        self._batches.acknowledged(sent)
        for item, endpoint, found in in_time(batch, self._answers(batch, sent), conclude, put_late):
            if isinstance(found, StoreError):
                answered = self._proofs.by_answer(item, endpoint, batch.outcomes[item.row.id], found)
                if answered:
                    self._batches.settle(unsaid.pop(item.row.id))
                    proven.append((item, answered))
                    continue
                if found.trouble is Trouble.NOT_FOUND:
                    self._batches.settle(unsaid.pop(item.row.id))  # so that a later check need not report it again
                self._proofs.failed(item, endpoint, found)
                continue
            proof = self._proofs.of(item, endpoint, found)
            if proof:
                self._batches.settle(unsaid.pop(item.row.id))
            if isinstance(proof, Delivered):
                proven.append((item, proof))
            elif proof:
                self._proofs.refuted(item, proof)
        if unsaid:
            self._deliveries.acknowledge(unsaid.values())
        conclude()

    def _succeeded(self, batch: Batch) -> list[Item]:
        """What the mover reports as sent; the other failures are handled."""
        sent = []
        for item in batch.items:
            outcome = batch.outcomes[item.row.id]
            if outcome.ok:
                sent.append(item)
            else:
                self._unsent.not_sent(item, outcome.trouble or Trouble.OTHER, outcome.message)
        return sent

    def _answers(self, batch: Batch, sent: list[Item]) -> Iterator[Answer]:
        return self._lookups.heads(sent, is_hurried=False) if batch.is_late else self._lookups.listed(sent)
