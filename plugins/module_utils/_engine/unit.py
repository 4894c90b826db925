# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What the source unit and the destination unit have in common: threads that cannot die unseen, waits, counters."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Container
from dataclasses import dataclass, field

from . import keys, workers
from .blame import Blame, is_hopeless
from .bounded import Notes
from .config import Job
from .endpoints import Endpoint, EndpointPool
from .errors import LocalError, StoreError, Trouble
from .flight import Flight, Item
from .ledger import LONGEST_DELAY_MS, Failure, Ledger, Row
from .locks import locked
from .model import State
from .part_memory import PartKeeper
from .volume_set import VolumeSet
from .volumes import OpenVolume

_log = logging.getLogger("snowsync.unit")
SOFT_FAILURES = 20  # this many failures without a culprit that one object met count as one of its attempts
_NAMED_FAILURES = 100
_LONGEST_FETCH_DELAY_MS = 60_000
_AGAIN_SECONDS = 0.2  # before another try of what failed by nobody's fault, or an endpoint's
_END_SECONDS = 14.0  # after a stop the unit waits so long for its workers and for the volumes
_LEAST_END_SECONDS = 0.5  # for each step of the end, however late it is


def _delay_ms(row: Row) -> int:
    """Before another attempt: twice as long after each."""
    return int(500 * 2 ** min(row.attempts, 20))


@dataclass(slots=True)
class Switches:
    """How the two units of one process wake and stop each other."""

    stop: workers.Stop = field(default_factory=workers.Stop)
    staged: threading.Event = field(default_factory=threading.Event)  # something became staged
    space: threading.Event = field(default_factory=threading.Event)  # something was released
    source_done: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)  # a unit is about to end: look whether it did
    refused: threading.Event = field(
        default_factory=threading.Event
    )  # the destination takes nothing: nobody makes room


@dataclass(slots=True)
class Counters:
    """What one run of a unit did. `failures` holds the first hundred, `failure_count` all of them.

    `left_behind`: the objects that the last pass listed and no run can move, since their keys cannot be.
    """

    listed_objects: int = 0
    listed_bytes: int = 0
    moved_objects: int = 0
    moved_bytes: int = 0
    released_objects: int = 0
    released_bytes: int = 0
    passes: int = 0
    lost: int = 0  # listed generations that the source no longer had, of objects of which an older one is delivered
    failure_count: int = 0
    left_behind: int = 0
    failures: list[Failure] = field(default_factory=list)
    first_start: float = 0.0
    last_move: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def moved(self, objects: int, size: int) -> None:
        with self._lock:
            self.moved_objects += objects
            self.moved_bytes += size
            self.last_move = time.monotonic()

    def released(self, objects: int, size: int) -> None:
        with self._lock:
            self.released_objects += objects
            self.released_bytes += size

    def failed(self, failure: Failure) -> None:
        with self._lock:
            self.failure_count += 1
            if len(self.failures) < _NAMED_FAILURES:
                self.failures.append(failure)

    @property
    def seconds(self) -> float:
        return max(0.0, self.last_move - self.first_start) if self.moved_objects else 0.0


class Unit:
    """A feeder loop in the calling thread, workers beside it. Subclasses give `name`, `work` and `last_steps`."""

    name = ""
    reads = False  # also from volumes that take no writes

    def __init__(self, job: Job, ledger: Ledger, switches: Switches, *, until: str) -> None:
        self.job = job
        self.ledger = ledger
        self.switches = switches
        self.until = until
        self.volumes = VolumeSet(job, ledger, reads=self.reads)
        self.parts = PartKeeper(ledger)
        self.counters = Counters()
        self.status = "starting"
        self.waiting_for = ""  # the status at the moment a deadline passed
        self.unserved = ""  # why this run ends without a store that answers and serves no object
        self.is_complete = False  # it ended because there was nothing left to do
        self.has_ended = False
        self.error: BaseException | None = None
        self.flight = Flight()
        self.ending = threading.Event()  # this unit ends: its workers leave
        self.heartbeat = time.monotonic()
        self.run_id = 0
        self._threads: list[workers.Worker] = []
        self._soft: Notes[int, int] = Notes()  # failures by nobody's fault, by object
        self._later: Notes[int, float] = Notes()  # objects that are left alone until then
        self._next_look = 0.0
        self._next_save = 0.0

    @property
    def endpoints(self) -> EndpointPool:
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
            self.run_id = self.ledger.start_run(self.name)
            try:
                self.work()
            except workers.BrokenOff:
                _log.info("the %s unit was stopped while it read a file", self.name)
            except BaseException as error:
                self.fail(error)
            self._end()
        finally:
            self.has_ended = True
        if self.error:
            raise self.error

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
        self.fail(error)

    def say_ended(self) -> None:
        """Close the run's row."""
        self.status = f"stopped: {self.error}" if self.error else "stopped"
        self._has_ended_in_time(lambda: self.save_run(ended=True))

    # -- life -------------------------------------------------------------------------------------------------

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Only one process runs this unit of this job. Raises JobLocked."""
        return locked(self.job, self.name)

    def spawn(self, target: Callable[[], None], name: str, disk: int = 0) -> None:
        """Start a worker. If it raises, the whole unit ends with that error: no half-dead unit.

        `disk`: the number of the volume whose medium it waits for, and no other one's.
        """
        is_over = self.switches.stop.is_overdue
        self._threads.append(workers.start(target, f"{self.name}-{name}", self.fail, is_over, disk=disk))

    def fail(self, error: BaseException) -> None:
        if self.error is None:
            self.error = error
        self.ending.set()
        self.switches.stop.set()

    def join(self) -> None:
        self.ending.set()
        for thread in self._threads:
            thread.join()

    @property
    def stopping(self) -> bool:
        return self.switches.stop.is_set() or self.ending.is_set()

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
        self.ledger.update_run(
            self.run_id,
            status=self.status,
            listed=(counters.listed_objects, counters.listed_bytes),
            passes=counters.passes,
            failures=counters.failure_count,
            ended=ended,
        )

    def discard(self, volume: OpenVolume, key: str, generation: int) -> bool:
        """Remove a file of the staging tree, where the ledger says what entitles to it. OSError when the volume fails.

        True as well where there is none, or where the key's row speaks of it: then the note was wrong. False: nothing
        entitles to it, it stays, and so does what is known of it.
        """
        relative = keys.to_path(key, generation)
        with volume.names_held():
            permit = self.ledger.permit(key, generation, volume.id)
            if permit is None:
                return self.ledger.is_named(key, generation, volume.id) or not volume.holds(relative)
            volume.discard_with_folders(relative, permit)
        return True

    # -- rows -------------------------------------------------------------------------------------------------

    def due(self, row: Row, busy: Container[int]) -> bool:
        """Whether a row may be taken now: not on its way already, and not asked to wait."""
        if row.id in busy or (self.until != "forever" and self.is_given_up(row)):
            return False
        if self._later.get(row.id, 0.0) > time.monotonic():
            return False
        self._later.pop(row.id, 0.0)
        return True

    def is_given_up(self, row: Row) -> bool:
        """Whether a staged object was refused so often that a run ends without it; a service goes on trying."""
        return row.state == State.STAGED and row.attempts >= self.job.attempts

    def postpone(self, item: Item, seconds: float) -> bool:
        """Put an object back without blaming it. True when that happened so often that it is to blame after all."""
        count = self._soft.get(item.row.id, 0) + 1
        self._soft[item.row.id] = count
        self._later[item.row.id] = time.monotonic() + seconds
        if count < SOFT_FAILURES:
            return False
        self._soft.pop(item.row.id, 0)
        return True

    def at_disk(self, item: Item, step: Callable[[], None]) -> None:
        """Have a step that may wait for the medium of a volume carried out by a worker that waits for no other."""
        raise NotImplementedError

    def held_up(self) -> set[int]:
        """The objects in flight whose disks do not answer: nothing else waits for these."""
        stuck = self.volumes.stuck()
        return {item.row.id for item in self.flight.on(stuck)} if stuck else set()

    def find_out(self, item: Item, failure: Failure, endpoint: Endpoint, told: Callable[[Blame], None]) -> None:
        """Whose fault a failure was; until that is known the object stays in the unit, and its endpoint at work."""

        def decide(whose: Blame) -> None:
            if self.flight.get(item.row.id) is item and not self.has_ended:
                told(whose)

        def judged(whose: Blame) -> None:
            self.at_disk(item, lambda: decide(whose))  # a probe is for all: it waits for no disk
            self.flight.held.let_go([item.row.id])

        self.flight.held.take([item.row.id])
        progressed = self.parts.progressed(item.row.id)
        self.endpoints.find_out(endpoint, item.row.id, failure.trouble, failure.message, judged, progressed=progressed)

    def is_excused(self, item: Item, whose: Blame) -> bool:
        """Whether a failure does not count against the object, which is tried again soon."""
        if whose is Blame.OBJECT:
            return False
        self.put_off(item.row, _AGAIN_SECONDS)
        return True

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

    def put_off(self, row: Row, seconds: float) -> None:
        """Leave an object alone for a while, without blaming it."""
        self._later[row.id] = time.monotonic() + seconds

    def forgive(self, object_id: int) -> None:
        """An object succeeded: what it met on its way is forgotten."""
        self._soft.pop(object_id, 0)
        self._later.pop(object_id, 0.0)

    def failed(self, failure: Failure, *, target: State | None = None) -> State:
        """Count an attempt against an object: it is tried again later, or ends as failed or quarantined.

        Returns the state it has now. Where a newer generation has taken its place, nothing failed.
        """
        row = failure.row
        attempts = row.attempts + 1
        if attempts >= self.job.attempts:
            ending = State.QUARANTINED if failure.trouble is Trouble.MISMATCH else State.FAILED
            counted = self.ledger.retry(failure, delay_ms=0, count=True, target=ending)
        else:
            delay = self._kept_back(failure, min(_LONGEST_FETCH_DELAY_MS, _delay_ms(row)))
            ending = target if target is not None else State(row.state)
            counted = self.ledger.retry(failure, delay_ms=delay, count=True, target=ending)
        self._soft.pop(row.id, 0)
        if not counted:
            return State(row.state)
        self.counters.failed(failure)
        return ending

    def _kept_back(self, failure: Failure, delay_ms: int) -> int:
        """For how long the ledger keeps an object back; 0 where a single pass does that itself, and tries it again.

        What failed for a reason that may be over in a moment is not left to another pass.
        """
        row = failure.row
        if self.until != "once" or not failure.trouble.is_weather or row.attempts + 1 >= self.job.attempts:
            return delay_ms
        self.put_off(row, delay_ms / 1000)
        return 0

    def refused(self, failure: Failure, *, for_good: bool = False, is_lie: bool = False) -> None:
        """The destination did not take an object, or proves nothing: it stays staged, and is tried ever more rarely.

        `for_good`: as long as nobody changes the job, no other attempt would end otherwise. `is_lie`: the store is to
        blame, which is recorded also where the row speaks of a newer generation by now.
        """
        row = failure.row
        attempts = max(1, self.job.attempts - row.attempts) if for_good else 1
        delay = LONGEST_DELAY_MS if for_good else self._kept_back(failure, min(LONGEST_DELAY_MS, _delay_ms(row)))
        self._soft.pop(row.id, 0)
        counted = self.ledger.retry(failure, delay_ms=delay, count=attempts, target=State(row.state))
        if is_lie and not counted:
            self.ledger.record(failure)
        if is_lie or counted:
            self.counters.failed(failure)

    def note(self, failure: Failure) -> None:
        self.counters.failed(failure)

    def outage(self, side: str) -> None:
        """No endpoint of this side is well: say so and wait; one single pass waits no longer than a second look."""
        why = self.endpoints.why_down()
        self.status = f"waiting for the {side}: {why}"
        if self.until == "once" and not self.flight and self.endpoints.none_answers:
            raise StoreError(Trouble.REFUSED, f"reach the {side} of job {self.job.job}", why)
