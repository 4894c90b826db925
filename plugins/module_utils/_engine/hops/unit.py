# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What the source unit and the destination unit share: threads whose errors are never lost, and the end of a run."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable

from ..config.job_file import Job
from ..core import workers
from ..ledger.ledger import Ledger
from ..ledger.locks import locked
from ..volumes.open_volume import OpenVolume
from ..volumes.volume_set import VolumeSet
from .activity import Activity
from .counters import Counters
from .crew import Crew
from .flight import Flight
from .housekeeping import Housekeeping
from .pool import EndpointPool
from .run_record import RunRecord
from .setbacks import Suspects
from .shutdown import Shutdown
from .switches import Switches
from .volume_watch import VolumeWatch

_log = logging.getLogger("snowsync.unit")


class Unit:
    """A feeder loop in the calling thread, with worker threads. Subclasses provide `name`, `work` and `last_steps`."""

    name = ""
    reads = False  # whether it also uses volumes that are not writable

    def __init__(self, job: Job, ledger: Ledger, switches: Switches) -> None:
        self.job = job
        self.volumes = VolumeSet(job, ledger, reads=self.reads)
        self.counters = Counters()
        self.activity = Activity()
        self.record = RunRecord(ledger.journal, self.counters, self.activity)
        self.crew = Crew(self.name, switches.stop)
        self.flight = Flight()
        self._shutdown = Shutdown(self.crew, switches.stop)

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

    def locked(self) -> contextlib.AbstractContextManager[int]:
        """Only one process runs this unit of this job. Raises JobLocked."""
        return locked(self.job, self.name)

    def run(self) -> None:
        """Work until drained, for one pass, or until stopped; the unit is `locked`. Raises the error that ended it."""
        try:
            self.record.begin(self.name)
            try:
                self.work()
            except workers.BrokenOff:
                _log.info("the %s unit was stopped while reading a file", self.name)
            except BaseException as error:
                self.crew.fail(error)
            self._end()
        finally:
            self.activity.has_ended = True
            self.suspects.end()
        if self.crew.error:
            raise self.crew.error

    def _end(self) -> None:
        """Carry out every step even if others fail; after a stop, wait only briefly for each."""
        steps = [self.endpoints.transfers.close, self.join, *self.last_steps()]
        in_time = [self._shutdown.is_in_time(step) for step in steps]
        self.say_ended()
        if all(in_time):
            self._shutdown.is_in_time(self.volumes.close)
        else:
            _log.warning("the %s unit ends without waiting any longer for a disk or a response", self.name)

    def join(self) -> None:
        """Wait for the workers, which complete what they have begun."""
        self.crew.join()

    def say_ended(self) -> None:
        """Close the run's row."""
        self.activity.stopped(self.crew.error)
        self._shutdown.is_in_time(lambda: self.record.save(ended=True))

    def housekeeping(self, came: Callable[[OpenVolume], None], seen: Callable[[], None]) -> Housekeeping:
        """What the feeder does once a second. `came` and `seen` as in `VolumeWatch`."""
        volumes = VolumeWatch(
            self.volumes, self.flight, self.endpoints.transfers, came=came, seen=seen, take_out=self.take_out
        )
        whose = f"the {self.name} unit of job {self.job.job}"
        return Housekeeping(whose, self.endpoints, volumes, self.flight, self.activity, self.record)

    def goes_on(self, doing: str) -> bool:
        """Called during a long step of the feeder; `doing` becomes the status. False: the unit ends."""
        self.activity.beat()
        self.activity.status = doing
        return not self.crew.stopping

    def take_out(self, volume: OpenVolume, reason: str) -> None:
        """A volume failed while in use: it stays out of use until a write to it succeeds again."""
        if self.volumes.take_out(volume, reason):
            _log.error("volume %s is out of use: %s", volume.name, reason)
