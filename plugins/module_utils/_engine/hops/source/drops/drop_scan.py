# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""One scan of all drop folders: which of their files are taken now."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ....core import workers
from ....core.errors import LocalError, local_trouble
from ....ledger.rows import Row
from ....ledger.source_ports import SourceLedger
from ....volumes import outgoing_files
from ....volumes.file_identity import Identity, open_below
from ....volumes.open_volume import OpenVolume
from ....volumes.open_writers import WriterWatch
from ....volumes.volume_set import VolumeSet
from ...counters import Counters
from ...crew import Crew
from ...setbacks import Setbacks
from ...switches import Switches
from .drop_group import Candidate, DropGroup, DropStaging
from .drop_refusals import DropRefusals
from .drop_settling import Sightings
from .drop_walk import files_of
from .new_drops import LINKED, is_known, key_of

if TYPE_CHECKING:
    from ....config.job_file import Job


class DropAdmission:
    """Decides whether a file is taken now, by another scan, or not at all. `prefix` is that of the source's keys."""

    def __init__(self, ledger: SourceLedger, prefix: str, refusals: DropRefusals, sightings: Sightings) -> None:
        self._ledger = ledger
        self._prefix = prefix
        self._refusals = refusals
        self._sightings = sightings

    def look_at(self, top: int, relative: str, status: os.stat_result, group: DropGroup) -> int:
        """1 for a file that is too recent, or being written to; 0 if it joined the group or will not be taken.

        `relative` is its path below the descriptor `top`, `status` its lstat. OSError when it cannot be opened.
        """
        folder, _slash, name = relative.rpartition("/")
        if outgoing_files.returned_hidden(top, folder, name, self._ledger.objects.row, self._relative):
            return 0
        key, refusal = key_of(self._prefix, relative)
        if refusal:
            self._refusals.refuse(group.volume, relative, refusal)
            return 0
        if is_known(self._ledger.drops.dropped(key), status):
            return 0
        file = open_below(top, relative)
        candidate = Candidate(relative, key, file, WriterWatch(file), os.fstat(file).st_size)
        try:
            return self._consider(candidate, group)
        finally:
            if candidate not in group:
                candidate.close()

    def _consider(self, candidate: Candidate, group: DropGroup) -> int:
        """1 for a file that is too recent or being written to; otherwise it joins the group, or is refused."""
        relative, key, file, watch = candidate.relative, candidate.key, candidate.file, candidate.watch
        volume = group.volume
        status = os.fstat(file)
        place = (volume.id, relative)
        if not self._sightings.is_settled(place, Identity.of(status), watch.ask()) or watch.is_written():
            return 1
        refusal = (
            LINKED
            if status.st_nlink > 1
            else self._ledger.drops.refuses_dropped(key, volume.id)  # before it is read in vain
        )
        if refusal:
            self._refusals.refuse(volume, relative, refusal)
            return 0
        group.add(candidate)
        return 0

    def _relative(self, row: Row) -> str:
        return row.key[len(self._prefix) :]


class DropScan:
    """Takes new and changed files from the drop folders of the open volumes. Used by the scanner's thread.

    `took` is called for each file that became staged; `take_out` takes a failed volume out of use.
    """

    def __init__(
        self,
        job: Job,
        ledger: SourceLedger,
        volumes: VolumeSet,
        setbacks: Setbacks,
        crew: Crew,
        counters: Counters,
        switches: Switches,
        *,
        took: Callable[[], None],
        take_out: Callable[[OpenVolume, str], None],
    ) -> None:
        self._volumes = volumes
        self._crew = crew
        self._take_out = take_out
        self._refusals = DropRefusals(ledger.journal, setbacks)
        self._sightings = Sightings(job.drop_settle)
        prefix = job.source.prefix if job.source else ""
        self._admission = DropAdmission(ledger, prefix, self._refusals, self._sightings)
        self._staging = DropStaging(ledger.drops, job.mover, self._refusals, crew, counters, switches, took=took)

    def run(self) -> int:
        """Walk all drop folders once. Returns how many files are too recent to be taken."""
        unsettled = 0
        for number in list(self._volumes.open):
            with self._volumes.in_use.borrowed(number) as borrowed:
                for volume in borrowed:
                    unsettled += self._scan(volume)
        self._sightings.end_scan()
        self._refusals.end_scan()
        return unsettled

    def _scan(self, volume: OpenVolume) -> int:
        unsettled = 0
        group = DropGroup(volume, self._staging)
        try:
            for top, relative, status in files_of(volume, self._refusals):
                workers.beat()
                if self._crew.stopping:
                    break
                step = partial(self._admission.look_at, top, relative, status, group)
                unsettled += self._refusals.attempt(volume, relative, step)
                unsettled += group.stage_full()
            unsettled += group.stage()
        except OSError as error:
            action = f"scan the drop folder of volume {volume.name}"
            self._take_out(volume, str(LocalError(local_trouble(error), action, str(error.strerror))))
        finally:
            group.close()
        return unsettled
