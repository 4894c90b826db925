# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What the source unit and the destination unit have in common: threads that cannot die unseen, waits, counters."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable

from ..config.job_file import Job
from ..core import workers
from ..core.blame import is_hopeless
from ..core.errors import LocalError, StoreError, Trouble
from ..ledger.ledger import Ledger
from ..ledger.locks import locked
from ..ledger.ports import UnitLedger
from ..volumes.open_volume import OpenVolume
from ..volumes.volume_set import VolumeSet
from .counters import Counters
from .crew import Crew
from .flight import Flight
from .part_memory import PartKeeper
from .pool import EndpointPool
from .setbacks import Setbacks, Suspects
from .switches import Switches

_log = logging.getLogger("snowsync.unit")
_END_SECONDS = 14.0  # after a stop the unit waits so long for its workers and for the volumes
_LEAST_END_SECONDS = 0.5  # for each step of the end, however late it is


class Unit:
    """A feeder loop in the calling thread, workers beside it. Subclasses give `name`, `work` and `last_steps`."""

    name = ""
    reads = False  # also from volumes that take no writes

    def __init__(self, job: Job, ledger: Ledger, switches: Switches, *, until: str) -> None:
        self.job = job
        self.ledger: UnitLedger = ledger
        self.switches = switches
        self.until = until
        self.volumes = VolumeSet(job, ledger, reads=self.reads)
        self.parts = PartKeeper(ledger.parts)
        self.counters = Counters()
        self.status = "starting"
        self.waiting_for = ""  # the status at the moment a deadline passed
        self.unserved = ""  # why this run ends without a store that answers and serves no object
        self.is_complete = False  # it ended because there was nothing left to do
        self.has_ended = False
        self.crew = Crew(self.name, switches.stop)
        self.flight = Flight()
        self.setbacks = Setbacks(ledger, self.counters, attempts=job.attempts, until=until)
        self.heartbeat = time.monotonic()
        self._next_look = 0.0
        self._next_save = 0.0

    @property
    def endpoints(self) -> EndpointPool:
        raise NotImplementedError

    @property
    def suspects(self) -> Suspects:
        raise NotImplementedError

    def work(self) -> None:
        """Start the workers and feed them until drained, for one pass, or until stopped."""
        raise NotImplementedError

    def last_steps(self) -> list[Callable[[], None]]:
        """What is left to do when the workers are gone; each is done whatever became of the others."""
        raise NotImplementedError

    def run(self) -> None:
        """Work until drained, for one pass, or until stopped; the unit is `locked`. Raises what ended it."""
        try:
            self.counters.run_id = self.ledger.journal.start_run(self.name)
            try:
                self.work()
            except workers.BrokenOff:
                _log.info("the %s unit was stopped while it read a file", self.name)
            except BaseException as error:
                self.crew.fail(error)
            self._end()
        finally:
            self.has_ended = True
            self.suspects.end()
        if self.crew.error:
            raise self.crew.error

    def _end(self) -> None:
        """Each step is done whatever became of the others; after a stop none is waited for very long."""
        steps = [self.endpoints.close, self.join, *self.last_steps()]
        in_time = [self._has_ended_in_time(step) for step in steps]
        self.say_ended()
        if all(in_time):
            self._has_ended_in_time(self.volumes.close)
        else:
            _log.warning("the %s unit ends without waiting for a disk or an answer any longer", self.name)

    def _has_ended_in_time(self, step: Callable[[], None]) -> bool:
        """Carry out a step of the end. False: it hangs, and what it would have done the next start does."""
        worker = workers.start(step, f"{self.name}-end", self._ended_badly)
        stop = self.switches.stop
        began = time.monotonic()
        while worker.is_alive():
            worker.join(0.05)
            if stop.seconds > _END_SECONDS and time.monotonic() - began > _LEAST_END_SECONDS:
                return False
        return True

    def _ended_badly(self, error: BaseException) -> None:
        _log.error("the %s unit could not end in order: %s", self.name, error)
        self.crew.fail(error)

    def say_ended(self) -> None:
        """Close the run's row."""
        self.status = f"stopped: {self.crew.error}" if self.crew.error else "stopped"
        self._has_ended_in_time(lambda: self.save_run(ended=True))

    # -- life -------------------------------------------------------------------------------------------------

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Only one process runs this unit of this job. Raises JobLocked."""
        return locked(self.job, self.name)

    def join(self) -> None:
        """Wait for the workers, which work through what was begun."""
        self.crew.join()

    def goes_on(self, doing: str = "") -> bool:
        """A long step of the feeder is at work, at what it says if anything. False: the unit ends."""
        self.heartbeat = time.monotonic()
        self.status = doing or self.status
        return not self.crew.stopping

    # -- housekeeping -----------------------------------------------------------------------------------------

    def look_around(self) -> None:
        """Once a second: volumes that come and go, endpoints that may be well again, the run's row."""
        now = self.heartbeat = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + 1.0
            self._look_at_volumes()
            self.endpoints.follow_credentials()
            self.endpoints.probe_due()
            if self.endpoints.refusal:
                raise self.endpoints.refusal
            self._insist_that_none_is_lost(now)
        if now >= self._next_save:
            self._next_save = now + 2.0
            self.save_run()

    def _insist_that_none_is_lost(self, now: float) -> None:
        """An object that nobody has would never leave the unit, which would look alive: it ends, and begins again."""
        lost = self.flight.lost(now, self.endpoints.owned())
        if lost:
            detail = f"{lost.row.key!r} is on its way, and no thread has it: a defect; the next start takes it up"
            raise LocalError(Trouble.OTHER, f"go on with the {self.name} unit of job {self.job.job}", detail)

    def _look_at_volumes(self) -> None:
        came, _gone = self.volumes.refresh()
        # Before anything is closed or swept: from here on no mover starts with folders that are gone.
        self.endpoints.set_descriptors(
            [descriptor for volume in list(self.volumes.open.values()) for descriptor in volume.descriptors()]
        )
        for volume in came:
            try:
                self.volume_came(volume)
            except OSError as error:
                self.take_out(volume, f"Failed to begin with volume {volume.name}: {error.strerror}")
        self.volumes_seen()
        self.volumes.close_retired({id(item.volume) for item in self.flight.items()})

    def volume_came(self, volume: OpenVolume) -> None:
        """Hook: a volume can be used (again). What of this unit is still in flight on it must be spared."""

    def volumes_seen(self) -> None:
        """Hook: all volumes were looked at just now."""

    def take_out(self, volume: OpenVolume, reason: str) -> None:
        """A volume failed under way: it rests until a write to it succeeds again."""
        if self.volumes.take_out(volume, reason):
            _log.error("volume %s is out of use: %s", volume.name, reason)

    def save_run(self, *, ended: bool = False) -> None:
        counters = self.counters
        self.ledger.journal.update_run(
            counters.run_id,
            status=self.status,
            listed=(counters.listed_objects, counters.listed_bytes),
            passes=counters.passes,
            failures=counters.failure_count,
            ended=ended,
        )

    # -- rows -------------------------------------------------------------------------------------------------

    def held_up(self) -> set[int]:
        """The objects in flight whose disks do not answer: nothing else waits for these."""
        stuck = self.volumes.stuck()
        return {item.row.id for item in self.flight.on(stuck)} if stuck else set()

    def is_served(self) -> bool:
        """Whether what is under way means that it goes on. Else objects are only tried, and the status says why."""
        if not self.endpoints.serves_nothing:
            return True
        self.status = f"waiting for the {self.name}: {self.endpoints.messages()}"
        return False

    def is_hopeless(self) -> bool:
        """Whether a run ends without a store that has served no object in so many trials; a service goes on trying."""
        pool = self.endpoints
        return self.until != "forever" and pool.serves_nothing and is_hopeless(pool.trials, self.job.attempts)

    def end_unserved(self) -> None:
        """Say why this run ends with objects left."""
        self.unserved = f"the {self.name} answers, and serves no object: {self.endpoints.messages()}"

    def outage(self, side: str) -> None:
        """No endpoint of this side is well: say so and wait; one single pass waits no longer than a second look."""
        why = self.endpoints.why_down()
        self.status = f"waiting for the {side}: {why}"
        if self.until == "once" and not self.flight and self.endpoints.none_answers:
            raise StoreError(Trouble.REFUSED, f"reach the {side} of job {self.job.job}", why)
