# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The source unit: list the source, fetch what is new onto the volumes, prove it, make it durable, record it.

Threads: the feeder (the caller) chooses a volume and an endpoint per object and hands it to a mover; the lister walks
the source, the scanner the drop folders; finishers prove what arrived; a committer per volume makes groups durable.
Steps for one object: mover writes ``incoming/<id>`` -> proof -> group -> syncfs -> rename -> fsync directories -> one
transaction.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator

from ...config.credentials import for_side
from ...config.job_file import Job
from ...core import keys
from ...core.errors import JobLocked, LocalError, Trouble
from ...core.model import Fetch, Outcome, State
from ...core.text import counted_text
from ...ledger.ledger import Failure, Ledger, Row
from ...ledger.locks import EVACUATION, locked
from ...ledger.source_ports import SourceLedger
from ...store.endpoint import Endpoint
from ...volumes.open_volume import OpenVolume
from ...volumes.placement import Placement, VolumeSpace, fits_nowhere, is_too_large_for_files, takes_rest
from .. import adoption
from ..backlog import Backlog, Feed
from ..flight import Item
from ..pool import EndpointPool
from ..setbacks import Suspects
from ..switches import Switches
from ..unit import Unit
from .arrivals import Arrivals
from .committer import Committer
from .drop_scanner import DropScanner
from .fetching import Fetching, PartialFiles
from .lister import Lister
from .sweeping import Sweeping

_log = logging.getLogger("snowsync.source")


class SourceUnit(Unit):
    """Source bucket -> volumes; drop folders -> ledger."""

    name = "source"
    ledger: SourceLedger

    def __init__(self, job: Job, ledger: Ledger, switches: Switches, *, until: str, alone: bool) -> None:
        """`alone`: no destination unit runs in this process, so staged objects are not this process's concern."""
        super().__init__(job, ledger, switches, until=until)
        self.alone = alone
        self._pool = EndpointPool(
            job.source,
            for_side(job, "source") if job.source else None,
            job.mover,
            direction="fetch",
            on_outcome=self._ended,
            wake=switches.space.set,
            on_part=self._part_came,
            examples=self._examples,
            volumes=len(job.volumes),
            memory=self.parts,
        )
        self._suspects = Suspects(self.flight, self._pool, self.parts, self._at_disk)
        feed = Feed(ledger, self.flight, self.setbacks, job.mover.is_large)
        self._backlog = Backlog(feed, State.PENDING, rewind_seconds=0.5)
        self._fetching = Fetching(
            ledger,
            PartialFiles(self.parts, job.mover.is_large),
            self.flight,
            self.setbacks,
            self._suspects,
            take_out=self.take_out,
            rewind=self._backlog.rewind,
        )
        self._committer = Committer(
            job,
            ledger,
            self.volumes,
            self.flight,
            self._fetching,
            self.crew,
            self.counters,
            switches,
            is_large=job.mover.is_large,
        )
        self._arrivals = Arrivals(
            job,
            ledger,
            self._pool,
            self.parts,
            self.flight,
            self.setbacks,
            self._fetching,
            self._committer,
            self.crew,
            self.counters,
            switches,
            adopt=lambda row: adoption.adopt(ledger, self.volumes, row, switches.staged.set),
        )
        self.scanner = DropScanner(
            job,
            until,
            ledger,
            self.volumes,
            self.setbacks,
            self.crew,
            self.counters,
            switches,
            has_listed=lambda: self._lister.has_listed,
            is_out_of_reach=lambda: bool(self._pool.endpoints) and not self._pool.any_up,
            pass_ended=self.pass_ended,
            take_out=self.take_out,
        )
        self._sweeping = Sweeping(ledger, self.volumes, self.take_out)
        self._lister = Lister(
            job,
            until,
            ledger,
            self._pool,
            self.flight,
            self.setbacks,
            self.crew,
            self.counters,
            switches,
            has_changed=self._sweeping.soon,
            pass_ended=self.pass_ended,
        )
        self._placement = Placement()
        self._is_full = self._seems_full = False  # one pass has placed everything that the volumes have room for

    @property
    def endpoints(self) -> EndpointPool:
        return self._pool

    @property
    def suspects(self) -> Suspects:
        return self._suspects

    def _ended(self, outcome: Outcome) -> None:
        """Called by the movers, which start only after everything is constructed."""
        self._arrivals.receive(outcome)

    def _part_came(self, object_id: int) -> None:
        self._committer.write_back(object_id)

    def _at_disk(self, item: Item, step: Callable[[], None]) -> None:
        self._arrivals.carry_out(item, step)

    def _examples(self) -> list[str]:
        """Objects other than the next ones: the one served last, and the one to be fetched last."""
        return [key for key in (self._fetching.notes.served_last, self.ledger.objects.last_pending()) if key]

    @property
    def has_listed(self) -> bool:
        """Whether the lister has completed a listing of the source."""
        return self._lister.has_listed

    def pass_ended(self) -> None:
        """The lister, or for the first time the scanner, has finished: a pass counts once both have."""
        if self.has_listed and self.scanner.first_pass.is_over:
            self.counters.listed.passes += 1
            self.switches.space.set()  # the feeder may be waiting only for this

    def work(self) -> None:
        """Start the workers and feed them until drained, for one pass, or until stopped."""
        self._pool.preflight(lambda: self.crew.stopping)
        self.ledger.parts.drop_outdated_pieces()
        self.look_around()
        self.crew.spawn(self._lister.run, "lister")
        if self.scanner.has_folders:
            self.crew.spawn(self.scanner.run, "scanner")
        self._committer.start()
        self._feed()

    def join(self) -> None:
        """Wait for the workers, which complete what the movers have already reported."""
        self.crew.ending.set()
        self._arrivals.stop()
        self._committer.stop()
        self.scanner.stop()
        super().join()

    def last_steps(self) -> list[Callable[[], None]]:
        """Keep what is proven, remove partial files that will not be resumed, let the destination unit end."""
        return [self._committer.commit_rest, self._sweep_incoming, self._sweep_rest, self._release_destination]

    def _sweep_incoming(self) -> None:
        for volume in self.volumes.open.values():
            with contextlib.suppress(OSError):  # swept at the next start
                volume.sweep_incoming(keep=self.parts.kept_on(volume.id))

    def _sweep_rest(self) -> None:
        self._sweeping.at_the_end(is_complete=self.is_complete)

    def _release_destination(self) -> None:
        self.switches.source_done.set()
        self.switches.staged.set()

    # -- volumes ----------------------------------------------------------------------------------------------

    def volume_came(self, volume: OpenVolume) -> None:
        """Remove what a crash, or the loss of the volume, left behind."""
        items = self.flight.on({volume.id})
        self.parts.doubt(volume.id)
        swept = volume.sweep_incoming(keep={item.row.id for item in items} | self.parts.kept_on(volume.id))
        spared = {keys.to_path(item.row.key, item.row.generation) for item in items}
        if (
            self.ledger.recovery.recovered_ms()
        ):  # a generation number of a restored older ledger may mean another one by now
            swept += adoption.sweep_delivered(self.ledger, volume, spared, self.goes_on)
        else:
            swept += self._sweeping.staged(volume, spared, self.goes_on)
        self._sweeping.find_quarantined(volume)
        with contextlib.suppress(JobLocked), locked(self.job, EVACUATION):
            volume.sweep_evacuated()
        self._sweeping.soon()  # some of the files may be obsolete
        words = f", removed {counted_text(swept, 'file')} no longer needed" if swept else ""
        _log.info("volume %s is in use (%s)%s", volume.name, volume.uuid, words)

    def volumes_seen(self) -> None:
        """Publish to which volumes objects may still be in flight."""
        self.volumes.say_placing({item.volume.id for item in self.flight.items()})
        for number, reason in self.volumes.unreadable():
            count = self.ledger.losses.leave_copies(number, reason)
            if count:
                _log.error("a volume can no longer be read, fetching %d objects again: %s", count, reason)
                self._backlog.rewind()

    # -- the feeder -------------------------------------------------------------------------------------------

    def _feed(self) -> None:
        self.counters.moved.start()
        while not self.crew.stopping:
            self.look_around()
            self._sweeping.now_and_then()
            # Checked first: what the last page added is read below.
            listed = self.has_listed and self.scanner.first_pass.is_over
            self._read_on()
            if self.is_hopeless() and not self.flight:
                self.end_unserved()
                return
            if self._is_full or (not self._backlog and self._is_done(listed)):
                self._lister.missing.forget()
                self.is_complete = True
                return
            if not self._place():
                self.switches.space.wait(0.05 if self._backlog or self.flight else 0.25)
                self.switches.space.clear()

    def _read_on(self) -> None:
        if self._on_their_way_to_live_disks() > 4 * self.job.group.objects:
            self.status = f"verifying {len(self.flight)} objects"
        else:
            self._backlog.fill(self.job.group.objects)

    def _on_their_way_to_live_disks(self) -> int:
        """Without objects that wait for a disk that does not respond: they must not delay others."""
        return len(self.flight) - len(self.held_up())

    def _is_done(self, listed: bool) -> bool:
        if self.until == "forever" or not listed or self.flight:
            self.status = self._describe(listed)
            if not listed and self._pool.endpoints and not self._pool.any_up:
                self.outage("source")
            return False
        if self.until == "once":
            # What failed was tried, and is postponed.
            return not self.ledger.objects.work(State.PENDING, after_id=0, limit=1)
        # The destination unit in this process may still find a staged file damaged, or a delivered object missing,
        # which is then fetched again; checked first, so that what it puts back last is seen as pending.
        is_last = self.alone or self._destination_ended()
        if self.ledger.objects.waiting(State.PENDING):
            self.status = "waiting to retry"
            return False
        if not (is_last and (self.alone or self.switches.put_back.is_set())):
            self.status = "waiting for the destination"
            return False
        # Files that were dropped meanwhile belong to this run too.
        return self.scanner.has_nothing_more()

    def _destination_ended(self) -> bool:
        """Whether the destination unit in this process has nothing left to try in this run."""
        if self.switches.refused.is_set():
            return True
        is_to_be_asked = self.ledger.listing.touched(limit=1, delivered_too=self.job.keep_staged)
        return not is_to_be_asked and not self.ledger.objects.is_to_be_sent(self.job.attempts)

    def _describe(self, listed: bool) -> str:
        if self.flight:
            return f"fetching {len(self.flight)} objects" if self.is_served() else self.status
        if self._pool.why_down() or self._lister.outages.problem:
            return f"waiting for the source: {self._pool.why_down() or self._lister.outages.problem}"
        if listed:
            return "up to date"
        if self.scanner.scan.unsettled:
            return f"waiting for {self.scanner.scan.unsettled} dropped files that are still being written"
        return "listing the source"

    def _place(self) -> bool:
        """Hand over rows until one must wait; True when all were handed over."""
        if not self._backlog:
            return False
        spaces = self.volumes.spaces(self.flight.lock)
        turn_ends = time.monotonic() + 1.0  # volumes and endpoints are checked in between
        while self._backlog and not self.crew.stopping and time.monotonic() < turn_ends:
            rows, endpoint = self._next()
            if endpoint is None:
                if not self._pool.any_up:
                    self.outage("source")
                return False
            row = rows[0]
            chosen = self._choose(row, spaces)
            volume = self.volumes.open.get(chosen) if chosen is not None else None
            if volume is None:
                return self._no_room(rows, spaces)
            if not self._pool.transfers.has_room(endpoint, row.size, volume.id):
                next(space for space in spaces if space.id == chosen).window = 0  # continue with the others
                continue
            rows.popleft()
            self._submit(Item(row, volume, endpoint, volume.incoming_path(row.id)), spaces)
            self.heartbeat = time.monotonic()
        return True

    def _choose(self, row: Row, spaces: list[VolumeSpace]) -> int | None:
        """The volume for an object: the one that holds parts of it, if there is room for the rest."""
        partial = self.parts.partial(row.id, row.generation) if self.job.mover.is_large(row.size) else None
        if partial is None:
            return self._place_elsewhere(row, spaces)
        home, there = partial
        space = next((space for space in spaces if space.id == home), None)
        volume = self.volumes.open.get(home)
        if space and volume and takes_rest(space, row.size, there, is_limited=volume.config.limit is not None):
            return home
        chosen = self._placement.choose(row.size, spaces)
        if chosen is not None and chosen != home:
            self._abandon_partial(row, home)
        return chosen

    def _place_elsewhere(self, row: Row, spaces: list[VolumeSpace]) -> int | None:
        """A volume that did not fail with this object; the failed one again if the others have no room."""
        others = [space for space in spaces if space.id != self._fetching.notes.volume_to_avoid(row)]
        chosen = self._placement.choose(row.size, others)
        if chosen is not None or any(space.is_busy for space in others):
            return chosen
        return self._placement.choose(row.size, spaces)

    def _abandon_partial(self, row: Row, home: int) -> None:
        """The object goes to another volume: remove what was fetched of it so far."""
        self.parts.forget(row.id)
        volume = self.volumes.open.get(home)
        if volume:
            with contextlib.suppress(OSError):  # swept when the volume comes back, or at the next start
                self.volumes.ask(volume, lambda: volume.discard_incoming(row.id))

    def _next(self) -> tuple[deque[Row], Endpoint | None]:
        """The queue whose first row is next, and the endpoint it goes to; None: wait."""
        backlog, pool = self._backlog, self._pool
        if backlog.large:
            avoid = self._fetching.notes.endpoint_to_avoid(backlog.large[0])
            endpoint = pool.pick(avoid, large=True, held_up=self.held_up())
            if endpoint and backlog.has_large():
                return backlog.large, endpoint
        if backlog.small:
            return backlog.small, pool.pick(self._fetching.notes.endpoint_to_avoid(backlog.small[0]))
        return backlog.large, None

    def _submit(self, item: Item, spaces: list[VolumeSpace]) -> None:
        row = item.row
        with self.flight.lock:
            self.flight.take(item)
            item.volume.load.expect(row.size)
        for space in spaces:
            if space.id == item.volume.id:
                space.expect(row.size)
        self._seems_full = False
        self.status = f"fetching {len(self.flight)} objects" if self.is_served() else self.status
        work = Fetch(
            row.id, row.key, row.size, item.path, self._fetching.notes.etag_to_read(row), row.generation, item.volume.id
        )
        item.tool = self._pool.transfers.choose_tool(work)
        self._pool.transfers.submit(item.endpoint, item.tool, work)

    def _no_room(self, rows: deque[Row], spaces: list[VolumeSpace]) -> bool:
        row = rows[0]
        if not spaces:
            self.status = f"waiting for a volume: {self.volumes.why_not_placeable()}"
            if self.until == "once" and not (self.flight or self.volumes.coming):
                raise LocalError(Trouble.IO, f"find a volume for job {self.job.job}", self.volumes.why_not_placeable())
            return False
        if any(space.is_busy for space in spaces):
            return False  # their disks are busy: more objects would only wait in memory
        if not self.volumes.absent and not self.volumes.draining and fits_nowhere(row.size, spaces):
            rows.popleft()
            failure = Failure(row, "source", *_too_large(row.size, spaces), "failed")
            if self.ledger.objects.retry(failure, delay_ms=0, count=True, target=State.FAILED):
                self.setbacks.note(failure)
            return True
        self.status = f"waiting for space on {', '.join(self._why_full(spaces))}"
        if not self.flight and self._made_room():
            return False
        if self.until != "forever" and not self.flight:
            self._give_up_waiting()
        return False

    def _why_full(self, spaces: list[VolumeSpace]) -> Iterator[str]:
        reasons = {space.id: space.why_full for space in spaces}
        for volume in self.volumes.placeable():
            reason = reasons.get(volume.id, "")
            yield f"{volume.name} ({reason})" if reason else volume.name

    def _made_room(self) -> bool:
        """Whether replaced generations make room: obsolete ones are removed, others are delivered first."""
        if not self.ledger.copies.has_copies():
            return False
        self._sweeping.make_room()
        restored = self.ledger.copies.deliver_older_first({volume.id for volume in self.volumes.placeable()})
        if restored:
            _log.info("no space on the volumes: delivering the older staged version of %d changed objects", restored)
            self._backlog.clear()
            self._backlog.rewind()
            self.switches.staged.set()
        return bool(restored)

    def _give_up_waiting(self) -> None:
        """End a run if no space will be freed: everything that there was room for has been placed."""
        hopeless = not self._room_is_coming() if self.until == "once" else self._is_stuck()
        self._is_full = hopeless and self._seems_full  # twice, since space may have been freed after the first check
        self._seems_full = hopeless
        self.volumes.count_anew()

    def _is_stuck(self) -> bool:
        """Whether what is on the volumes stays there in this run because the destination refused it."""
        if self.alone or self.volumes.absent or self.volumes.draining or not self._destination_ended():
            return False
        return self.ledger.objects.waiting(State.STAGED) and not self._is_being_released()

    def _is_being_released(self) -> bool:
        return not self.job.keep_staged and self.ledger.objects.waiting(State.DELIVERED)

    def _room_is_coming(self) -> bool:
        if self.volumes.coming:
            return True
        if self.alone or self.switches.refused.is_set():
            return False
        if self.job.keep_staged and not self.ledger.objects.waiting(State.STAGED):
            return False
        on_volumes = {volume.id for volume in self.volumes.placeable()}
        staged = self.ledger.objects.work(State.STAGED, after_id=0, limit=1, volumes=on_volumes)
        return any(not self.setbacks.is_given_up(row) for row in staged) or self._is_being_released()


def _too_large(size: int, spaces: list[VolumeSpace]) -> tuple[Trouble, str]:
    """The trouble and the message for an object that fits on no volume."""
    if is_too_large_for_files(size, spaces):
        fix = "add a volume with ext4 or XFS, or raise the process's file size limit"
        return Trouble.TOO_LARGE, f"{size} bytes are too large for one file on any volume (EFBIG); {fix}"
    return Trouble.SPACE, f"{size} bytes are more than any volume can hold; add a larger volume or raise its limit"
