# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What the source unit and the destination unit have in common: threads that cannot die unseen, waits, counters."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .config import Job
from .endpoints import Endpoint, EndpointPool
from .errors import JobLocked, JobStopped, StoreError, Trouble
from .ledger import Failure, Ledger, Row
from .model import State
from .volumes import OpenVolume, VolumeSet

SOFT_FAILURES = 20  # this many outages met by one object count as one attempt: it may be the object after all
_NAMED_FAILURES = 100
_LONGEST_DELAY_MS = 60_000


@dataclass(slots=True)
class Switches:
    """How the two units of one process wake and stop each other."""

    stop: threading.Event = field(default_factory=threading.Event)
    staged: threading.Event = field(default_factory=threading.Event)  # something became staged
    space: threading.Event = field(default_factory=threading.Event)  # something was released
    source_done: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)  # a unit is about to end: look whether it did


@dataclass(slots=True)
class Counters:
    """What one run of a unit did. `failures` holds the first hundred, `failure_count` all of them."""

    listed_objects: int = 0
    listed_bytes: int = 0
    moved_objects: int = 0
    moved_bytes: int = 0
    released_objects: int = 0
    released_bytes: int = 0
    passes: int = 0
    failure_count: int = 0
    failures: list[Failure] = field(default_factory=list)
    first_start: float = 0.0
    last_move: float = 0.0

    def moved(self, objects: int, size: int) -> None:
        self.moved_objects += objects
        self.moved_bytes += size
        self.last_move = time.monotonic()

    @property
    def seconds(self) -> float:
        return max(0.0, self.last_move - self.first_start) if self.moved_objects else 0.0


@dataclass(slots=True)
class Item:
    """One object on its way through a unit."""

    row: Row
    volume: OpenVolume
    endpoint: Endpoint
    path: str
    tool: str = ""
    is_durable: bool = False  # its bytes are on the medium already


class Unit:
    """A feeder loop in the calling thread, workers beside it. Subclasses give `name`, `side` and the loop."""

    name = ""

    def __init__(self, job: Job, ledger: Ledger, switches: Switches, *, until: str) -> None:
        self.job = job
        self.ledger = ledger
        self.switches = switches
        self.until = until
        self.volumes = VolumeSet(job, ledger)
        self.counters = Counters()
        self.status = "starting"
        self.waiting_for = ""  # the status at the moment a deadline passed
        self.error: BaseException | None = None
        self.in_flight: dict[int, Item] = {}
        self.lock = threading.Lock()
        self.ending = threading.Event()  # this unit ends: its workers leave
        self.heartbeat = time.monotonic()
        self.run_id = 0
        self._threads: list[threading.Thread] = []
        self._retired: list[OpenVolume] = []
        self._soft: dict[int, int] = {}
        self._later: dict[int, float] = {}
        self._next_look = 0.0
        self._next_save = 0.0

    @property
    def endpoints(self) -> EndpointPool:
        raise NotImplementedError

    def run(self) -> None:
        """Work until drained, for one pass, or until stopped. Raises what ended it."""
        raise NotImplementedError

    # -- life -------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Only one process runs this unit of this job. Raises JobLocked."""
        path = self.job.state_path / f"{self.name}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = _read(path) or "another process"
                raise JobLocked(
                    f"The {self.name} unit of job {self.job.job} already runs ({holder});"
                    f" stop it first, or look at it with: snowsync status {self.job.job}"
                ) from None
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"pid {os.getpid()}".encode(), 0)
            yield
        finally:
            os.close(descriptor)

    def spawn(self, target: Callable[[], None], name: str) -> None:
        """Start a worker. If it raises, the whole unit ends with that error: no half-dead unit."""

        def guarded() -> None:
            try:
                target()
            except BaseException as error:
                self.fail(error)

        thread = threading.Thread(target=guarded, name=f"{self.name}-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

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
            came, gone = self.volumes.refresh()
            for volume in came:
                self.volume_came(volume)
            self._retired.extend(gone)
            self.endpoints.probe_due()
            self._close_retired()
            self.endpoints.set_descriptors(
                [descriptor for volume in list(self.volumes.open.values()) for descriptor in volume.descriptors()]
            )
        if now >= self._next_save:
            self._next_save = now + 2.0
            self.save_run()

    def volume_came(self, volume: OpenVolume) -> None:
        """Hook: a volume can be used (again), and nothing of this unit is in flight on it."""

    def take_out(self, volume: OpenVolume, reason: str) -> None:
        """A volume failed under way: it rests until a write to it succeeds again."""
        with self.lock:
            if self.volumes.open.get(volume.id) is volume:
                self.volumes.take_out(volume, reason)
                self._retired.append(volume)

    def _close_retired(self) -> None:
        busy = {id(item.volume) for item in list(self.in_flight.values())}
        for volume in [volume for volume in self._retired if id(volume) not in busy]:
            self._retired.remove(volume)
            volume.close()

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

    # -- rows -------------------------------------------------------------------------------------------------

    def due(self, row: Row) -> bool:
        """Whether a row may be taken now: not on its way already, and not asked to wait."""
        if row.id in self.in_flight:
            return False
        later = self._later.get(row.id)
        if later is not None and later > time.monotonic():
            return False
        self._later.pop(row.id, None)
        return True

    def postpone(self, item: Item, seconds: float) -> bool:
        """Put an object back without blaming it. True when it met so many outages that it is to blame after all."""
        count = self._soft.get(item.row.id, 0) + 1
        self._soft[item.row.id] = count
        self._later[item.row.id] = time.monotonic() + seconds
        if count < SOFT_FAILURES:
            return False
        del self._soft[item.row.id]
        return True

    def forgive(self, object_id: int) -> None:
        """An object succeeded: what it met on its way is forgotten."""
        self._soft.pop(object_id, None)
        self._later.pop(object_id, None)

    def failed(self, failure: Failure, *, target: State | None = None) -> State:
        """Count an attempt against an object: it is tried again later, or ends as failed or quarantined.

        Returns the state it has now.
        """
        row = failure.row
        attempts = row.attempts + 1
        if attempts >= self.job.attempts:
            ending = State.QUARANTINED if failure.trouble is Trouble.MISMATCH else State.FAILED
            self.ledger.retry(failure, delay_ms=0, count=True, target=ending)
        else:
            delay = min(_LONGEST_DELAY_MS, 500 * 2**row.attempts)
            ending = target if target is not None else State(row.state)
            self.ledger.retry(failure, delay_ms=delay, count=True, target=ending)
        self.note(failure)
        return ending

    def note(self, failure: Failure) -> None:
        with self.lock:
            self.counters.failure_count += 1
            if len(self.counters.failures) < _NAMED_FAILURES:
                self.counters.failures.append(failure)

    def weather(self, endpoint: Endpoint, trouble: Trouble, message: str) -> None:
        """An endpoint failed a request: let it rest; the probe decides when it is well again."""
        if trouble.stops_job:
            try:
                endpoint.probe()  # raises JobStopped if it is so
            except JobStopped:
                raise
            except StoreError as error:
                endpoint.rest(str(error))
            return
        endpoint.rest(message)

    def outage(self, side: str) -> None:
        """No endpoint of this side is well: say so and wait; one single pass does not wait."""
        self.status = f"waiting for the {side}: {self.endpoints.why_down()}"
        if self.until == "once" and not self.in_flight:
            raise StoreError(Trouble.REFUSED, f"reach the {side} of job {self.job.job}", self.endpoints.why_down())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
