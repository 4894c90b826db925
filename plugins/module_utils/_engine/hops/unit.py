# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What the source unit and the destination unit share: threads whose errors are never lost, waits, counters."""

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
from ..ledger.unit_ports import UnitLedger
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
_END_SECONDS = 14.0  # how long after a stop the unit waits for its workers and for the volumes
_LEAST_END_SECONDS = 0.5  # minimum for each shutdown step, however late it is


class Unit:
    """A feeder loop in the calling thread, with worker threads. Subclasses provide `name`, `work` and `last_steps`."""

    name = ""
    reads = False  # whether it also uses volumes that are not writable

    def __init__(self, job: Job, ledger: Ledger, switches: Switches, *, until: str) -> None:
        self.job = job
        self.ledger: UnitLedger = ledger
        self.switches = switches
        self.until = until
        self.volumes = VolumeSet(job, ledger, reads=self.reads)
        self.parts = PartKeeper(ledger.parts)
        self.counters = Counters()
        self.status = "starting"
        self.waiting_for = ""  # the status when the deadline passed
        self.unserved = ""  # set if this run ends because the store answers but serves no objects
        self.is_complete = False  # it ended because nothing was left to do
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
        """What is left to do after the workers have ended; each step is carried out even if others fail."""
        raise NotImplementedError

    def run(self) -> None:
        """Work until drained, for one pass, or until stopped; the unit is `locked`. Raises the error that ended it."""
        try:
            self.counters.run_id = self.ledger.journal.start_run(self.name)
            try:
                self.work()
            except workers.BrokenOff:
                _log.info("the %s unit was stopped while reading a file", self.name)
            except BaseException as error:
                self.crew.fail(error)
            self._end()
        finally:
            self.has_ended = True
            self.suspects.end()
        if self.crew.error:
            raise self.crew.error

    def _end(self) -> None:
        """Carry out every step even if others fail; after a stop, wait only briefly for each."""
        steps = [self.endpoints.transfers.close, self.join, *self.last_steps()]
        in_time = [self._has_ended_in_time(step) for step in steps]
        self.say_ended()
        if all(in_time):
            self._has_ended_in_time(self.volumes.close)
        else:
            _log.warning("the %s unit ends without waiting any longer for a disk or a response", self.name)

    def _has_ended_in_time(self, step: Callable[[], None]) -> bool:
        """Carry out a shutdown step. False: it hangs; the next start does what it would have done."""
        worker = workers.start(step, f"{self.name}-end", self._ended_badly)
        stop = self.switches.stop
        began = time.monotonic()
        while worker.is_alive():
            worker.join(0.05)
            if stop.seconds > _END_SECONDS and time.monotonic() - began > _LEAST_END_SECONDS:
                return False
        return True

    def _ended_badly(self, error: BaseException) -> None:
        _log.error("the %s unit could not shut down cleanly: %s", self.name, error)
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
        """Wait for the workers, which complete what they have begun."""
        self.crew.join()

    def goes_on(self, doing: str = "") -> bool:
        """Called during a long step of the feeder; `doing` becomes the status. False: the unit ends."""
        self.heartbeat = time.monotonic()
        self.status = doing or self.status
        return not self.crew.stopping

    # -- housekeeping -----------------------------------------------------------------------------------------

    def look_around(self) -> None:
        """Once a second: check for volumes that come and go and for endpoints that recover; save the run's row."""
        now = self.heartbeat = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + 1.0
            self._look_at_volumes()
            self.endpoints.transfers.follow_credentials()
            self.endpoints.probe_due()
            if self.endpoints.refusal:
                raise self.endpoints.refusal
            self._check_for_lost(now)
        if now >= self._next_save:
            self._next_save = now + 2.0
            self.save_run()

    def _check_for_lost(self, now: float) -> None:
        """End the unit if no thread has an object in flight: it would stay there while the unit looks alive."""
        lost = self.flight.lost(now, self.endpoints.transfers.owned())
        if lost:
            detail = f"{lost.row.key!r} is in flight, but no thread has it (a bug); the next start resumes it"
            raise LocalError(Trouble.OTHER, f"continue the {self.name} unit of job {self.job.job}", detail)

    def _look_at_volumes(self) -> None:
        came, _gone = self.volumes.refresh()
        # Before anything is closed or swept: from here on no mover starts with directories that are gone.
        self.endpoints.transfers.set_descriptors(
            [descriptor for volume in list(self.volumes.open.values()) for descriptor in volume.descriptors()]
        )
        for volume in came:
            try:
                self.volume_came(volume)
            except OSError as error:
                self.take_out(volume, f"Failed to start using volume {volume.name}: {error.strerror}")
        self.volumes_seen()
        self.volumes.close_retired({id(item.volume) for item in self.flight.items()})

    def volume_came(self, volume: OpenVolume) -> None:
        """Hook: a volume can be used (again). Files of objects that are still in flight on it must be kept."""

    def volumes_seen(self) -> None:
        """Hook: all volumes have just been checked."""

    def take_out(self, volume: OpenVolume, reason: str) -> None:
        """A volume failed while in use: it stays out of use until a write to it succeeds again."""
        if self.volumes.take_out(volume, reason):
            _log.error("volume %s is out of use: %s", volume.name, reason)

    def save_run(self, *, ended: bool = False) -> None:
        counters = self.counters
        self.ledger.journal.update_run(
            counters.run_id,
            status=self.status,
            listed=(counters.listed.objects, counters.listed.bytes),
            passes=counters.listed.passes,
            failures=counters.failures.count,
            ended=ended,
        )

    # -- rows -------------------------------------------------------------------------------------------------

    def held_up(self) -> set[int]:
        """The objects in flight whose disks do not respond: nothing else waits for them."""
        stuck = self.volumes.stuck()
        return {item.row.id for item in self.flight.on(stuck)} if stuck else set()

    def is_served(self) -> bool:
        """Whether objects in flight mean progress. Otherwise they are only trials, and the status says why."""
        if not self.endpoints.serves_nothing:
            return True
        self.status = f"waiting for the {self.name}: {self.endpoints.messages()}"
        return False

    def is_hopeless(self) -> bool:
        """Whether a run gives up on a store that served no object in so many trials; a service keeps trying."""
        pool = self.endpoints
        return self.until != "forever" and pool.serves_nothing and is_hopeless(pool.trials, self.job.attempts)

    def end_unserved(self) -> None:
        """Say why this run ends with objects left."""
        self.unserved = f"the {self.name} answers but serves no objects: {self.endpoints.messages()}"

    def outage(self, side: str) -> None:
        """No endpoint of this side is healthy: report it and wait; a single pass waits only until the next probe."""
        why = self.endpoints.why_down()
        self.status = f"waiting for the {side}: {why}"
        if self.until == "once" and not self.flight and self.endpoints.none_answers:
            raise StoreError(Trouble.REFUSED, f"reach the {side} of job {self.job.job}", why)
