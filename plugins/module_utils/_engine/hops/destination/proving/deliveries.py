# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""After an upload: if the destination holds what was sent, the object is delivered and its file is released.

A batch is sent (batches.py), then proven by a worker of its volume (volume_workers.py): the destination is asked
(lookups.py), its answers are judged (delivery_proofs.py), and what is proven is recorded and released (commits.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ....core.model import Outcome
from ....ledger.binding import Naming
from ....ledger.destination_ports import DestinationLedger
from ....volumes.volume_set import VolumeSet
from ...counters import Counters
from ...crew import Crew
from ...flight import Flight
from ...pool import EndpointPool
from ...switches import Switches
from ..unsent.unsent import Unsent
from .batches import Batch, Batches
from .commits import Commits, ProvenFiles
from .delivery_proofs import DeliveryProofs
from .doubtful_uploads import AbsentObjects, DoubtfulUploads
from .lookups import Lookups
from .releases import Releases
from .sent_uploads import SentUploads
from .volume_workers import VolumeWorkers

if TYPE_CHECKING:
    from ....config.job_file import Job


class Deliveries:
    """Has every batch proven by a worker of its volume. Any thread may call these."""

    def __init__(
        self,
        job: Job,
        ledger: DestinationLedger,
        volumes: VolumeSet,
        naming: Naming,
        pool: EndpointPool,
        flight: Flight,
        unsent: Unsent,
        releases: Releases,
        crew: Crew,
        counters: Counters,
        switches: Switches,
    ) -> None:
        self._held = flight.held
        self._switches = switches
        self.batches = Batches()
        self.workers = VolumeWorkers(crew, flight.held)
        lookups = Lookups(naming, pool, unsent.departures, retries=job.mover.retries)
        proofs = DeliveryProofs(job, naming, self.batches, unsent)
        target = ledger.deliveries.target()
        files = ProvenFiles(releases, self.workers, flight, switches, target=target, keeps=job.keep_staged)
        commits = Commits(ledger, volumes, counters, unsent, releases, files)
        absent = AbsentObjects(ledger.parts, naming, self.batches, unsent)
        self._doubtful = DoubtfulUploads(ledger, self.batches, lookups, proofs, commits, unsent, absent)
        self._sent = SentUploads(ledger.deliveries, self.batches, lookups, proofs, commits, unsent)

    def begin(self, batch: Batch) -> None:
        """The batch is about to be sent, or only checked if it is doubtful."""
        self._held.take(item.row.id for item in batch.items)
        self.batches.begin(batch)
        if batch.is_doubtful:
            self._hand_on(batch)

    def receive(self, outcomes: Sequence[Outcome]) -> None:
        """Called from the movers' threads."""
        for batch in self.batches.sent(outcomes):
            self._hand_on(batch)

    def _hand_on(self, batch: Batch) -> None:
        self._put(batch)
        self._held.let_go(item.row.id for item in batch.items)

    def _put(self, batch: Batch) -> None:
        self._held.take(item.row.id for item in batch.items)
        self.workers.prove(batch, self._prove)

    def _prove(self, batch: Batch) -> None:
        if batch.is_doubtful:
            self._doubtful.check(batch, self._put)
        else:
            self._sent.prove(batch, self._put)
        self._held.let_go(item.row.id for item in batch.items)
        if not (batch.is_large or batch.is_late):
            self.batches.expect_no_more(batch.volume)
        self._switches.staged.set()
