# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""After a fetch: objects that are proven to be what was listed go to the committer, the others back to the ledger.

Finisher threads take outcomes from the movers, ask the source what the objects are now, and prove the files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ....core import workers
from ....core.errors import Trouble
from ....core.model import Outcome
from ....ledger.rows import Row
from ....ledger.source_ports import SourceLedger
from ...counters import Counters
from ...crew import Crew
from ...flight import Flight, Item
from ...part_memory import PartKeeper
from ...pool import EndpointPool
from ...setbacks import Setbacks
from ...switches import Switches
from ..staging.committer import Committer
from ..staging.fetching import Fetching
from .arrival_heads import ArrivalHeads
from .arrival_proofs import ArrivalProofs, Mismatches, staged_as
from .changed_objects import ChangedObjects
from .finishers import Finishers
from .second_looks import SecondLooks
from .vanished_objects import VanishedObjects

if TYPE_CHECKING:
    from ....config.job_file import Job
    from .finishers import Task


class Arrivals:
    """What the finishers of a source unit do.

    `adopt` stages an object from an unknown file of it, if there is one.
    """

    def __init__(
        self,
        job: Job,
        ledger: SourceLedger,
        pool: EndpointPool,
        parts: PartKeeper,
        flight: Flight,
        setbacks: Setbacks,
        fetching: Fetching,
        committer: Committer,
        crew: Crew,
        counters: Counters,
        switches: Switches,
        *,
        adopt: Callable[[Row], bool],
    ) -> None:
        self._mover = job.mover
        self._flight = flight
        self._fetching = fetching
        self._committer = committer
        self._finishers = Finishers(flight.held, crew, self._finish, is_only_volume=len(job.volumes) == 1)
        put_aside = self._finishers.put_aside
        vanished = VanishedObjects(ledger, parts, setbacks, fetching, counters, switches, adopt=adopt)
        changed = ChangedObjects(ledger, setbacks, fetching)
        self._second_looks = SecondLooks(job.mover.retries, fetching, vanished, changed)
        self._heads = ArrivalHeads(pool, crew, job.mover.retries, put_aside)
        mismatches = Mismatches(ledger, setbacks, fetching)
        self._proofs = ArrivalProofs(
            job, self._heads, changed, self._second_looks, mismatches, fetching, committer, put_aside
        )

    def receive(self, outcomes: Sequence[Outcome]) -> None:
        """Called from the movers' threads. What the mover proved waits for no finisher: that is most small objects."""
        proven = []
        for outcome in outcomes:
            item = self._flight.get(outcome.id)
            staged = staged_as(item, outcome.arrived) if item and outcome.arrived else None
            if item and staged:
                self._fetching.served(item)
                proven.append((item, staged))
            elif item:
                self._finishers.put(item, outcome, is_large=self._mover.is_large(item.row.size))
        if proven:
            self._committer.add(proven)

    def carry_out(self, item: Item, step: Callable[[], None]) -> None:
        """Let a finisher of its volume carry out a step that may wait for its disk."""
        self._finishers.put(item, step, is_large=False)

    def stop(self) -> None:
        """Let the finishers end after they have processed what has arrived."""
        self._finishers.stop()

    def _finish(self, tasks: list[Task]) -> None:
        arrived = []
        for outcome in tasks:
            workers.beat()
            if not isinstance(outcome, Outcome):
                with workers.at_medium():
                    outcome()
                continue
            item = self._flight.get(outcome.id)
            if item is None:
                continue
            if outcome.received:
                self._proofs.arrived(item, outcome.received.head, item.endpoint, outcome.received)
            elif outcome.ok:
                arrived.append(item)
            else:
                self._mover_failed(item, outcome)
        for endpoint in {item.endpoint.url: item.endpoint for item in arrived}.values():
            by_key = {item.row.key: item for item in arrived if item.endpoint is endpoint}
            self._heads.ask(endpoint, by_key, self._proofs.arrived)

    def _mover_failed(self, item: Item, outcome: Outcome) -> None:
        trouble = outcome.trouble or Trouble.OTHER
        if trouble in (Trouble.NOT_FOUND, Trouble.MISMATCH, Trouble.CHANGED):
            looks = self._second_looks
            self._finishers.put_aside([item], lambda: looks.look_again(item, trouble, outcome.message))
        else:
            self._fetching.not_arrived(item, trouble, outcome.message)
