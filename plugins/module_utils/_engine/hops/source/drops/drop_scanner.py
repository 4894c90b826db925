# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Drop folders: files that users put on a volume become staged objects in place.

A file is taken once nobody has it open for writing and it has not changed for `drop_settle` seconds (drop_settling.py).
Its filesystem is synced, its digest is computed in one read through one descriptor, then the ledger records it as
`staged`, with the file's identity: small files in groups, with one sync and one transaction each (drop_group.py). All
of this has its own thread, so that a file of a terabyte delays neither the listing of the source nor any fetch. A file
is deleted only after its delivery is proven, and never with `keep_staged`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ....core import workers
from ....ledger.source_ports import SourceLedger
from ....volumes.file_identity import COARSE_SECONDS
from ....volumes.open_volume import OpenVolume
from ....volumes.volume_set import VolumeSet
from ...counters import Counters
from ...crew import Crew
from ...setbacks import Setbacks
from ...switches import Switches
from .drop_scan import DropScan

if TYPE_CHECKING:
    from ....config.job_file import Job


class FirstPass:
    """Whether all files that were there when the first pass over the source ended are staged.

    Until the source was listed, it may have the same key as a file. `has_listed`: whether it was listed once.
    """

    def __init__(self, has_listed: Callable[[], bool], pass_ended: Callable[[], None], *, is_over: bool) -> None:
        """`pass_ended` is called when it ends. `is_over`: there are no drop folders."""
        self._has_listed = has_listed
        self._pass_ended = pass_ended
        self.is_over = is_over

    def is_due(self) -> bool:
        """Whether a scan that begins now would end it."""
        return self._has_listed() and not self.is_over

    def end(self) -> None:
        self.is_over = True
        self._pass_ended()


class RequestedScan:
    """A scan that begins after everything else was done: the feeder requests it, the scanner's thread carries it out.

    `took`, `begin` and `end` are called by the scanner's thread. It waits for `is_wanted` between two scans.
    """

    def __init__(self) -> None:
        self.is_wanted = threading.Event()
        self._begun = self._ended = 0  # the numbers of the scans that began last and ended last
        self._number = 0  # the number of the scan to wait for
        self._taken = 0  # files, in all scans
        self._taken_before = 0

    def begin(self) -> None:
        """A scan begins: it is the requested one, if one was requested."""
        self.is_wanted.clear()
        self._begun += 1

    def took(self) -> None:
        """A file became staged."""
        self._taken += 1

    def end(self) -> None:
        """The scan that began last has ended."""
        self._ended = self._begun

    def took_nothing(self) -> bool:
        """Whether it has ended and took nothing. Does not wait: call again; what ended is requested anew."""
        if not self._number:
            self._number, self._taken_before = self._begun + 1, self._taken
            self.is_wanted.set()
        if self._ended < self._number:
            return False
        self._number = 0
        return self._taken == self._taken_before


class PatientScan:
    """Scans until no file is still being written, unless `until` says that the unit runs forever.

    `settle` is the job's `drop_settle`, in seconds.
    """

    def __init__(self, scan: DropScan, crew: Crew, until: str, settle: float) -> None:
        self._scan = scan
        self._crew = crew
        self._until = until
        self._settle = settle
        self.unsettled = 0  # files it is waiting for

    def run(self) -> bool:
        """False when stopped. A single pass waits only until the files that are there now could have settled."""
        patience = max(self._settle, COARSE_SECONDS) + 1.0
        ends = time.monotonic() + patience if self._until == "once" else float("inf")
        while not self._crew.stopping:
            unsettled = self._scan.run()
            if not unsettled or self._until == "forever" or time.monotonic() > ends:
                self.unsettled = 0
                return True
            self.unsettled = unsettled
            self._crew.ending.wait(min(1.0, max(0.05, self._settle)))
        return False


class DropScanner:
    """Scans the drop folders of the open volumes from time to time, in the thread that calls `run`.

    `until` as the unit's. `has_listed`: whether the source was listed once, `is_out_of_reach` whether no endpoint
    answers. `pass_ended` is called when the first pass is over; `take_out` takes a failed volume out of use.
    """

    def __init__(
        self,
        job: Job,
        until: str,
        ledger: SourceLedger,
        volumes: VolumeSet,
        setbacks: Setbacks,
        crew: Crew,
        counters: Counters,
        switches: Switches,
        *,
        has_listed: Callable[[], bool],
        is_out_of_reach: Callable[[], bool],
        pass_ended: Callable[[], None],
        take_out: Callable[[OpenVolume, str], None],
    ) -> None:
        self._job = job
        self._until = until
        self._crew = crew
        self._switches = switches
        self._is_out_of_reach = is_out_of_reach
        self._requested = RequestedScan()
        self.first_pass = FirstPass(has_listed, pass_ended, is_over=not self.has_folders)
        took = self._requested.took
        scan = DropScan(job, ledger, volumes, setbacks, crew, counters, switches, took=took, take_out=take_out)
        self.scan = PatientScan(scan, crew, until, job.drop_settle)

    @property
    def has_folders(self) -> bool:
        return any(volume.drop_folder for volume in self._job.volumes)

    def run(self) -> None:
        """Scan after the first pass over the source, or while it is unreachable, then at the interval of passes."""
        while not (self._crew.stopping or self._may_begin()):
            workers.idle()
            self._crew.ending.wait(0.1)
        while not self._crew.stopping:
            self._requested.begin()
            is_first = self.first_pass.is_due()  # checked first: otherwise the source may have the same key
            if self.scan.run():
                self._requested.end()
                self._finish(is_first=is_first)
            if self._until == "once" and self.first_pass.is_over:
                return
            self._rest()

    def stop(self) -> None:
        """Let `run` end, since the unit ends."""
        self._requested.is_wanted.set()

    def _may_begin(self) -> bool:
        return self.first_pass.is_due() or self._is_out_of_reach()

    def _finish(self, *, is_first: bool) -> None:
        if is_first:
            self.first_pass.end()
        self._switches.space.set()

    def _rest(self) -> None:
        """Wait until the next pass, or until another scan is requested."""
        goes_on = self._until == "forever" or not self.first_pass.is_over
        ends = time.monotonic() + self._job.pass_interval if goes_on else float("inf")
        workers.idle()
        while not (self._crew.stopping or self._requested.is_wanted.wait(0.1) or time.monotonic() > ends):
            if self.first_pass.is_due():
                return

    def has_nothing_more(self) -> bool:
        """Whether a scan that began after everything else was done took nothing. Does not wait: call again."""
        return not self.has_folders or self._requested.took_nothing()
