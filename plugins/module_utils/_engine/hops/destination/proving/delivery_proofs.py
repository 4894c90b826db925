# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What the destination's answer for an object proves, and what is done if it proves nothing or the contrary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....core.errors import StoreError, Trouble
from ....core.model import Head, Outcome
from ....ledger.binding import Naming
from ....ledger.ledger import Delivered, Failure
from ....proofs.proof import Refuted, Sent, prove_by_answer, prove_delivery
from ....store.endpoint import Endpoint
from ...flight import Item
from ..unsent.unsent import KEPT, Unsent
from .batches import Batches

if TYPE_CHECKING:
    from ....config.job_file import Job


class DeliveryProofs:
    """Used by the provers."""

    def __init__(self, job: Job, naming: Naming, batches: Batches, unsent: Unsent) -> None:
        self._job = job
        self._naming = naming
        self._batches = batches
        self._unsent = unsent

    def of(self, item: Item, endpoint: Endpoint, found: Head) -> Delivered | Refuted | None:
        """None if the proof itself failed; the failure is then already handled."""
        row, job = item.row, self._job
        key = self._naming.destination_key(row.key)
        try:
            sent = Sent(key, row.size, row.digest, row.part_size)
            proof = prove_delivery(sent, found, job.destination, endpoint.client(), wanted=job.evidence)
        except StoreError as error:
            self._unsent.not_sent(item, error.trouble, str(error), endpoint)
            return None
        if isinstance(proof, Refuted):
            return proof
        if proof.evidence < job.evidence:
            # Nothing is released below the job's evidence level, and another attempt would not reach it.
            detail = f"only {proof.evidence.name.lower()} is possible here; lower `evidence` of job {job.job}"
            raise StoreError(Trouble.UNSUPPORTED, f"prove {key!r} as {job.evidence.name.lower()}", detail)
        return Delivered(row, proof.digest, proof.evidence, item.tool or "found there")

    def by_answer(self, item: Item, endpoint: Endpoint, outcome: Outcome, refusal: StoreError) -> Delivered | None:
        """The proof for credentials that may write but neither read nor list: the store's response to the upload.

        Credentials that may list get a better proof once read access is allowed.
        """
        row, job = item.row, self._job
        if refusal.trouble is not Trouble.DENIED or endpoint.may_list or outcome.answered is None:
            return None
        sent = Sent(self._naming.destination_key(row.key), row.size, row.digest, row.part_size)
        proof = prove_by_answer(sent, outcome.answered, job.destination, wanted=job.evidence)
        return Delivered(row, proof.digest, proof.evidence, item.tool) if proof else None

    def failed(self, item: Item, endpoint: Endpoint, error: StoreError) -> None:
        """The check of what was sent failed, or there is nothing although the upload was acknowledged."""
        is_lie = error.trouble is Trouble.NOT_FOUND
        self._unsent.not_sent(item, error.trouble, with_permission(error), endpoint, is_lie=is_lie)

    def refuted(self, item: Item, proof: Refuted) -> None:
        """The destination holds other bytes: either the staged file is damaged, or it stored something else."""
        if not self._unsent.files.is_sound(item):
            return
        row = item.row
        message = f"{proof.message} (at {item.endpoint.url})"
        failure = Failure(
            row, "destination", Trouble.MISMATCH, message, KEPT, expected=proof.expected, found=proof.found
        )
        self._batches.looked.add(row.id)  # it need not be checked again
        self._unsent.refuted(item, failure)


def with_permission(error: StoreError) -> str:
    """The message of a failed check of what was sent; if access was denied, it names the missing permission."""
    if error.trouble is not Trouble.DENIED:
        return str(error)
    return (
        f"{error}; it was sent but cannot be verified: allow s3:GetObject at the destination, for HEAD and reading back"
    )
