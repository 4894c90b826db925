# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Proven objects are recorded as delivered; then their staged files are deleted.

Order: proven -> `delivered` in one transaction -> file deleted -> `released` with the next transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Sequence

from ....core.removal import AtDestination
from ....ledger.destination_ports import DestinationLedger
from ....ledger.ledger import Delivered, Row
from ....volumes.open_volume import OpenVolume
from ....volumes.volume_set import VolumeSet
from ...counters import Counters
from ...flight import Flight, Item
from ...switches import Switches
from ..unsent.departures import let_go
from ..unsent.unsent import Unsent
from .releases import Releases
from .volume_workers import VolumeWorkers

_log = logging.getLogger("snowsync.destination")


class ProvenFiles:
    """Deletes the files of objects that were just recorded, unless the job `keeps` them; then the objects leave.

    `target`: the destination that proofs refer to.
    """

    def __init__(
        self,
        releases: Releases,
        workers: VolumeWorkers,
        flight: Flight,
        switches: Switches,
        *,
        target: int,
        keeps: bool,
    ) -> None:
        self._releases = releases
        self._workers = workers
        self._flight = flight
        self._switches = switches
        self._target = target
        self._keeps = keeps

    def release(self, proven: Sequence[tuple[Item, Delivered]], newer: Container[int]) -> None:
        """Delete files in parallel with the proofs, so that a disk that is slow to delete does not delay them.

        `newer`: objects of these that the ledger did not record as delivered; their files are kept.
        """
        items = [item for item, _proof in proven]
        delivered = [
            self._with_permit(item, proof) for item, proof in proven if not self._keeps and item.row.id not in newer
        ]

        def release() -> None:
            self._releases.release(delivered)
            for item in items:
                let_go(item)
            for item in items:
                self._flight.leave(item.row.id)
            self._switches.space.set()
            self._switches.staged.set()

        self._workers.carry_out(items[0].volume, release, [item.row.id for item in items])

    def _with_permit(self, item: Item, proof: Delivered) -> tuple[Row, OpenVolume, AtDestination]:
        """What was just proven and recorded, with the proof."""
        row = item.row
        permit = AtDestination(row.id, row.key, row.generation, self._target, proof.destination_etag)
        return row, item.volume, permit


class Commits:
    """Used by the provers."""

    def __init__(
        self,
        ledger: DestinationLedger,
        volumes: VolumeSet,
        counters: Counters,
        unsent: Unsent,
        releases: Releases,
        files: ProvenFiles,
    ) -> None:
        self._ledger = ledger
        self._volumes = volumes
        self._counters = counters
        self._unsent = unsent
        self._releases = releases
        self._files = files

    def commit(self, proven: Sequence[tuple[Item, Delivered]]) -> None:
        """Record objects as delivered, then delete the staged files; the deletion is recorded with the next group."""
        if not proven:
            return
        released = self._releases.take()
        said = [delivered for _item, delivered in proven]
        refused = self._ledger.deliveries.commit_delivered(said, released, self._counters.run_id)
        self._volumes.remember(proven[0][0].volume.id)
        newer = {delivered.row.id for delivered in refused}
        done = [item for item, _proof in proven if item.row.id not in newer]
        self._counters.moved.add(len(done), sum(item.row.size for item in done))
        for item in done:
            item.endpoint.served(item.row.id)
            self._unsent.past.forget(item.row)
        if done and self._unsent.refusals.accepted():
            _log.info("the destination accepts objects again")
        self._files.release(proven, newer)
