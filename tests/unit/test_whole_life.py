# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole life of objects in any order, with every fault in between: the real ledger beside a model of the truth.

The ledger, its decisions and the gate for deletions are the engine's own; source, volumes and destination are simulated
(life_model.py, `SimVolume`), and this file does by turns what the units' threads do at the same time. After every step:

* no file of a generation that was staged went, while neither the destination nor another file had these bytes or later
  ones of the object, unless an operator's word named it (`SimVolume.remove` asks the model);
* nothing is called drained while the destination lacks what the last complete listing showed, unless a failure says so;
* no version is stored over a later one that was proven at the destination;
* numbers of generations and of rows are never given again, and every row is what was written.

At the end, with all faults over, everything is either delivered or named as lost.

SNOWSYNC_THOROUGH=MINUTES runs it for so long instead of some seconds; the number of steps is printed.
"""

from __future__ import annotations

import contextlib
import functools
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from ledger_rows import delivered, in_memory, select, staged
from life_model import File, Life, Version
from thorough import MINUTES

from snowsync.core import keys, layout, removal
from snowsync.core.errors import Trouble
from snowsync.core.model import Evidence, State
from snowsync.core.removal import AtDestination, NeverStaged, Permit, Place, SameGeneration
from snowsync.hops.counters import Counters
from snowsync.hops.setbacks import Setbacks
from snowsync.hops.source.staging import sweeping
from snowsync.ledger import schema
from snowsync.ledger.binding import End
from snowsync.ledger.ledger import Failure, Row
from snowsync.ledger.reader import LedgerReader

KEYS = ("a", "a/b", "b")
VOLUMES = ("one", "two", "three")
ATTEMPTS = 3
STEPS: Counter[str] = Counter()  # by rule, of all examples


class Killed(Exception):
    """The process ends here."""


@dataclass(slots=True, eq=False)
class SimVolume:
    """A volume in memory, with the names and the methods that the engine's decisions use of an open one."""

    id: int
    name: str
    life: Life
    everywhere: list[SimVolume]
    is_open: bool = True
    is_lost: bool = False  # it will never come back
    writable: bool = True
    incoming: dict[str, File] = field(default_factory=dict)
    staged: dict[str, File] = field(default_factory=dict)
    quarantine: dict[str, File] = field(default_factory=dict)
    newest: tuple[int, int] = (0, 0)  # the newest group that the record there has

    def names_held(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def holds(self, relative: str) -> bool:
        return relative in self.staged

    def discard_staged(self, relative: str, permit: Permit) -> None:
        self.remove(Place.STAGED, self.staged, relative, permit)

    discard_with_folders = discard_staged

    def remove(self, place: Place, folder: dict[str, File], name: str, permit: Permit) -> None:
        """The only way in which a file goes: through the gate, and past the model."""
        removal.insist(place, name, permit)
        file = folder.pop(name, None)
        # What never matched is no copy; what was damaged in its place is none any more.
        counts = not name.isdecimal() if place is Place.QUARANTINE else file is not None and file.is_sound
        if file is not None and counts:
            lost = self.life.why_lost(file, all_files(self.everywhere))
            assert not lost, f"{name!r} ({place.value}) of volume {self.name} was removed ({permit}): {lost}"

    def clear_quarantine(self, object_id: int, permit: Permit) -> None:
        for name in list(self.quarantine):
            if layout.object_of(name) == object_id and permit.covers(Place.QUARANTINE, name):
                self.remove(Place.QUARANTINE, self.quarantine, name, permit)

    def publish(self, name: str, relative: str) -> None:
        replaced = self.staged.get(relative)
        if replaced is not None:
            removal.insist(Place.STAGED, relative, SameGeneration(relative))
        self.staged[relative] = self.incoming.pop(name)
        if replaced is not None and replaced.is_sound:
            lost = self.life.why_lost(replaced, all_files(self.everywhere))
            assert not lost, f"{relative!r} of volume {self.name} was replaced: {lost}"

    def to_quarantine(self, object_id: int) -> None:
        name = str(object_id)
        removal.insist(Place.QUARANTINE, name, NeverStaged("an earlier fetch that did not match"))
        self.quarantine[name] = self.incoming.pop(name)

    def staged_to_quarantine(self, relative: str, object_id: int, generation: int) -> None:
        numbers = (layout.quarantine_name(object_id, generation, number) for number in range(1000))
        self.quarantine[next(name for name in numbers if name not in self.quarantine)] = self.staged.pop(relative)


def all_files(volumes: list[SimVolume]) -> Iterator[File]:
    """Every file of a staging tree that is somewhere, also on a volume that is away now."""
    for volume in volumes:
        if not volume.is_lost:
            yield from volume.staged.values()


@dataclass(slots=True)
class Upload:
    """One object on its way to the destination; `said`: what its store said, None before it said anything."""

    row: Row
    said: str | None = None


# What a rule may be called with, each value as often as it is listed.
KEY = KEYS
PLACE = tuple(range(len(VOLUMES)))
WHICH = tuple(range(6))
BOTH = (False, True)
CUT = (*[None] * 12, 0, 1, 2, 3)  # before which of its effects the process is killed


@dataclass(frozen=True, slots=True)
class Move:
    """A rule of the machine: how often it is taken, when it can be, and the values of its parameters."""

    weight: int
    when: Callable[[Any], Any]
    domains: dict[str, Sequence[Any]]


MOVES: dict[str, Move] = {}


def move(weight: int = 4, when: Callable[[Any], Any] = lambda self: True, **domains: Sequence[Any]) -> Any:
    """Make a method a rule that counts, and that a kill may end between any two of its effects (`cut`)."""

    def as_rule(method: Callable[..., None]) -> Any:
        @functools.wraps(method)
        def counted(self: WholeLife, cut: int | None = None, **named: Any) -> None:
            STEPS[method.__name__] += 1
            self.cut, self.is_fine = cut, False
            try:
                method(self, **named)
            except Killed:
                STEPS["killed within a step"] += 1
                self.kill()
            self.cut, self.is_fine = None, True

        MOVES[method.__name__] = Move(weight, when, domains)
        made = rule(**{name: st.sampled_from(values) for name, values in domains.items()})(counted)
        return precondition(when)(made)

    return as_rule


class WholeLife(RuleBasedStateMachine):
    """Threads are turns: what one of them holds between two steps (rows, pages, uploads) may be stale at its next."""

    def __init__(self) -> None:
        super().__init__()
        self.life = Life()
        self.ledger = in_memory()
        self.volumes: list[SimVolume] = []
        for name in VOLUMES:
            number = self.ledger.volumes.volume_id(name, name, f"/{name}")
            self.volumes.append(SimVolume(number, name, self.life, self.volumes))
        self.boots = 0
        self.patches = [mock.patch("snowsync.core.machine.boot_id", lambda: f"boot-{self.boots}")]
        for patch in self.patches:
            patch.start()
        self.ledger.stores.record_ends({"source": End("s"), "destination": End("d0")})
        self.ends = 0
        self.backup: sqlite3.Connection | None = None
        self.cut: int | None = None
        self.is_fine = True
        self.orphans: set[tuple[int, str]] = set()  # named, and not committed: killed in between
        self.generations: dict[tuple[str, int], tuple[object, ...]] = {}
        self.numbers: dict[int, str] = {}
        self.was_restored = False
        self.named: set[str] = set()  # keys that a failure or a record named since the last complete listing
        self.failures_read = 0
        self._forget_hands()
        self._start()

    def teardown(self) -> None:
        try:
            if self.is_fine and not self.was_restored:
                self._let_everything_end()
        finally:
            for patch in self.patches:
                patch.stop()
            self.ledger.close()

    # -- what the threads hold ------------------------------------------------------------------------------------

    def _forget_hands(self) -> None:
        self.fetched: list[tuple[Row, SimVolume]] = []  # proven in `incoming`
        self.uploads: dict[int, Upload] = {}
        self.looked: set[int] = set()
        self.doomed: list[tuple[Row, AtDestination]] = []  # delivered, and about to be deleted
        self.deleted: list[Row] = []  # deleted, and about to be said so
        self.notes: list[tuple[int, int, str, int]] = []
        self.copies: list[tuple[int, int, str, int]] = []
        self.setbacks = Setbacks(self.ledger, Counters(), attempts=ATTEMPTS, until="drained")

    def kill(self) -> None:
        """The process is gone; another one starts, perhaps after a boot."""
        self._forget_hands()
        self._start()

    def _start(self) -> None:
        self.ledger.recovery.apply_boot_rule()
        self.ledger.objects.revive()
        self.run = self.ledger.journal.start_run("both")
        for volume in self.volumes:
            if volume in self._open():
                self._opened(volume)
            else:
                self.ledger.volumes.set_trouble(volume.id, "missing", "it is not there")
        for volume in self._open():
            self._volume_came(volume)

    def tick(self) -> None:
        """Between two effects."""
        if self.cut is not None:
            if self.cut == 0:
                raise Killed
            self.cut -= 1

    def _open(self) -> list[SimVolume]:
        return [volume for volume in self.volumes if volume.is_open and not volume.is_lost]

    def _volume(self, number: int | None) -> SimVolume | None:
        return next((volume for volume in self._open() if volume.id == number), None)

    def _work(self, state: State) -> list[Row]:
        """Rows that no thread has in hand; whatever they wait for is over."""
        self.ledger.database.connection.execute("UPDATE objects SET not_before_ms = 0 WHERE not_before_ms != 0")
        busy = {row.id for row, _version in (*self.fetched, *self.doomed)} | set(self.uploads)
        return [row for row in self.ledger.objects.work(state, after_id=0, limit=100) if row.id not in busy]

    def _choose(self, state: State, which: int) -> Row | None:
        rows = self._work(state)
        return rows[which % len(rows)] if rows else None

    # -- the source -----------------------------------------------------------------------------------------------

    @initialize(number=st.integers(1, len(KEYS)), are_staged=st.booleans())
    def objects_are_there(self, number: int, are_staged: bool) -> None:
        for key in KEYS[:number]:
            self.life.put(key)
        if are_staged:
            self.list_all()
            self._fetch_all(0)

    @move(6, key=KEY, is_listed=BOTH)
    def source_changes(self, key: str, is_listed: bool) -> None:
        version = self.life.put(key)
        if is_listed:
            self._observe(version)

    @move(key=KEY, which=WHICH, same_time=BOTH)
    def source_goes_back(self, key: str, which: int, same_time: bool) -> None:
        earlier = self.life.history.get(key, [])
        if earlier:
            version = earlier[which % len(earlier)]
            self.life.put(key, version.content, version.moment if same_time else None)

    @move(3, key=KEY)
    def source_loses(self, key: str) -> None:
        self.life.source.pop(key, None)

    @move(6, cut=CUT)
    def list_all(self) -> None:
        missing = self.ledger.listing.gone_keys()
        versions = list(self.life.source.values())
        for version in versions:
            self._observe(version)
            self.tick()
        self.life.was_listed(versions)
        self.named.clear()
        missing -= {version.key for version in versions}
        if missing:
            self.ledger.listing.forget_gone(
                missing, {row.id for row, _version in self.fetched} | set(self.uploads), "not listed"
            )

    @move(2, key=KEY)
    def list_one(self, key: str) -> None:
        if key in self.life.source:
            self._observe(self.life.source[key])

    def _observe(self, version: Version) -> None:
        self.life.tell(version)
        compared = self.ledger.listing.compare([version.listed])
        assert self.ledger.listing.observe([version.listed]) == compared

    # -- fetching -------------------------------------------------------------------------------------------------

    @move(
        12,
        when=lambda self: self._work(State.PENDING),
        which=WHICH,
        place=PLACE,
        how=["well", "well", "well", "damaged", "held"],
        cut=CUT,
    )
    def fetch(self, which: int, place: int, how: str) -> None:
        row, open_volumes = self._choose(State.PENDING, which), self._open()
        if row and open_volumes:
            self._fetch(row, open_volumes[place % len(open_volumes)], how)

    def _fetch(self, row: Row, volume: SimVolume, how: str = "well") -> None:
        version = self.life.source.get(row.key)
        if version is None:
            self._vanished(row)
        elif (version.etag, version.listed.size) != (row.etag, row.size):
            known = self.ledger.objects.row(row.id)
            if known and known.generation == row.generation:
                self.ledger.journal.record(self._failure(row, "source", Trouble.CHANGED))
                self._observe(version)
        else:
            version = Version.of(row)  # where only the time is another one, nobody sees that yet
            volume.incoming[str(row.id)] = File(version, self.life.age(version), how != "damaged")
            if how == "well":
                self.fetched.append((row, volume))
            else:
                self._does_not_match(row, volume, how)

    def _does_not_match(self, row: Row, volume: SimVolume, how: str) -> None:
        self.ledger.copies.has_quarantined(row.id, volume.id)
        self.tick()
        volume.to_quarantine(row.id)
        self.tick()
        failure = self._failure(row, "source", Trouble.MISMATCH)
        if how == "held":
            self.ledger.objects.retry(failure, delay_ms=0, count=True, target=State.QUARANTINED)
        else:
            self.setbacks.failed(failure)

    def _vanished(self, row: Row) -> None:
        """As `VanishedObjects` does."""
        failure = self._failure(row, "source", Trouble.NOT_FOUND)
        if self._adopt(row) or not self.ledger.copies.restore(row, lambda _generation, _volume: failure):
            self.tick()
            self.ledger.objects.gone(failure)

    def _adopt(self, row: Row) -> bool:
        """As hops/adoption.py does."""
        for volume in self._open():
            file = volume.staged.get(keys.to_path(row.key, row.generation))
            if file and volume.id != row.volume and file.etag == (row.digest or row.etag):
                return self.ledger.staging.adopt(row, volume.id, file.etag, 0, Evidence.STORE_DIGEST)
        return False

    @move(40, when=lambda self: self.fetched, place=PLACE, cut=CUT)
    def commit_a_group(self, place: int) -> None:
        volume = self.volumes[place]
        group = [row for row, at in self.fetched if at is volume]
        self.fetched = [(row, at) for row, at in self.fetched if at is not volume]
        if volume in self._open():
            self._commit(group, volume)

    def _commit(self, group: list[Row], volume: SimVolume) -> None:
        for row in group:
            volume.publish(str(row.id), keys.to_path(row.key, row.generation))
            self.orphans.add((volume.id, keys.to_path(row.key, row.generation)))
            self.tick()
        if group:
            refused = self.ledger.staging.commit_staged([staged(row) for row in group], volume.id, self.run)
            self.orphans.difference_update((volume.id, keys.to_path(row.key, row.generation)) for row in group)
            self._remember()
            for item in refused:
                self.tick()
                sweeping.discard(self.ledger, volume, item.row.key, item.row.generation)  # type: ignore[arg-type]

    def _remember(self) -> None:
        for volume in self._open():
            volume.newest = self.ledger.recovery.newest_group()

    # -- sending --------------------------------------------------------------------------------------------------

    @move(14, when=lambda self: self._work(State.STAGED), which=WHICH, cut=CUT)
    def begin_an_upload(self, which: int) -> None:
        row = self._choose(State.STAGED, which)
        if row:
            self._begin(row)

    def _begin(self, row: Row) -> None:
        """As `DestinationUnit._send` does: what was sent before is asked for, else the file is looked at."""
        volume = self._volume(row.volume)
        if volume is None or (row.sends and row.id not in self.looked and self._found_there(row)):
            return
        damage = self._damage(row, hash_it=bool(row.suspect))
        if damage:
            self._damaged(row, damage)
            return
        self.ledger.deliveries.claim_sends([row])
        self.uploads[row.id] = Upload(row)

    def _found_there(self, row: Row) -> bool:
        """Whether that settles it. An acknowledged upload that is not there is told, and sent again later."""
        if self.life.head(row.key) == row.digest:
            self._delivered([row])
            return True
        self.looked.add(row.id)
        if row.acknowledged:
            self._refuse(row, Trouble.MISMATCH)
            return True
        return False

    @move(
        40,
        when=lambda self: any(each.said is None for each in self.uploads.values()),
        which=WHICH,
        how=["well", "well", "well", "refused", "lost", "silent", "stores other bytes", "stores nothing"],
        cut=CUT,
    )
    def upload(self, which: int, how: str) -> None:
        waiting = [each for each in self.uploads.values() if each.said is None]
        if waiting:
            self._upload(waiting[which % len(waiting)], how)

    def _upload(self, upload: Upload, how: str) -> None:
        row = upload.row
        volume = self._volume(row.volume)
        file = volume.staged.get(keys.to_path(row.key, row.generation)) if volume else None
        if volume is None:
            del self.uploads[row.id]  # it left with its volume
        elif file is None:
            del self.uploads[row.id]
            self._damaged(row, "gone")
        elif how == "refused":
            del self.uploads[row.id]
            self._refuse(row, Trouble.DENIED)
        elif how == "lost":
            del self.uploads[row.id]  # the connection broke before the store had it
        else:
            if how != "stores nothing":
                held = self.life.stored.get(row.key)
                is_proven = held is not None and held in self.life.proven.get(row.key, [])
                is_older = held is not None and is_proven and self.life.is_before(file, held)
                assert not is_older or self.was_restored, f"{file.version} is stored over {held}"
                is_right = file.is_sound and how != "stores other bytes"
                self.life.stored[row.key] = file.version if is_right else None
            if how == "silent":
                del self.uploads[row.id]  # the answer was lost
            else:
                upload.said = "ok"

    def _refuse(self, row: Row, trouble: Trouble) -> None:
        self.setbacks.refused(self._failure(row, "destination", trouble))

    @move(
        40,
        when=lambda self: any(each.said for each in self.uploads.values()),
        which=WHICH,
        answers=[True, True, True, False],
        cut=CUT,
    )
    def prove(self, which: int, answers: bool) -> None:
        waiting = [each for each in self.uploads.values() if each.said == "ok"]
        if waiting:
            self._prove(waiting[which % len(waiting)], answers)

    def _prove(self, upload: Upload, answers: bool) -> None:
        row = upload.row
        del self.uploads[row.id]
        if not answers:
            self.ledger.deliveries.acknowledge([row])
        elif self.life.head(row.key) == row.digest:
            self._delivered([row])
        else:
            damage = self._damage(row, hash_it=True) if self._volume(row.volume) else None
            if damage:
                self._damaged(row, damage)
            elif self._volume(row.volume):
                self.looked.add(row.id)
                self._refuse(row, Trouble.MISMATCH)

    def _delivered(self, rows: list[Row]) -> None:
        for row in rows:
            self.life.prove(Version.of(row))
        released, self.deleted = self.deleted, []
        refused = {
            item.row.id
            for item in self.ledger.deliveries.commit_delivered([delivered(r) for r in rows], released, self.run)
        }
        self._remember()
        target = self.ledger.deliveries.target()
        self.doomed += [
            (row, AtDestination(row.id, row.key, row.generation, target, row.etag))
            for row in rows
            if row.id not in refused
        ]

    @move(12, when=lambda self: self.doomed, cut=CUT)
    def release(self) -> None:
        doomed, self.doomed = self.doomed, []
        for row, permit in doomed:
            volume = self._volume(row.volume)
            if volume:
                volume.discard_staged(keys.to_path(row.key, row.generation), permit)
                self.deleted.append(row)
                self.tick()

    @move(8, when=lambda self: self.deleted)
    def record_released(self) -> None:
        self.ledger.deliveries.commit_delivered([], self.deleted, self.run)
        self.deleted = []

    @move()
    def release_leftovers(self) -> None:
        busy = {row.id for row in self.deleted}
        for row in self._work(State.DELIVERED):
            if row.id not in busy:
                permit = AtDestination(row.id, row.key, row.generation, row.target, row.destination_etag)
                self.doomed.append((row, permit))

    # -- damage ---------------------------------------------------------------------------------------------------

    def _damage(self, row: Row, *, hash_it: bool) -> str:
        volume = self._volume(row.volume)
        file = volume.staged.get(keys.to_path(row.key, row.generation)) if volume else None
        if file is None:
            return "gone"
        return "damaged" if hash_it and file.etag != row.digest else ""

    def _damaged(self, row: Row, damage: str) -> None:
        """As `Deliveries.damaged` does."""
        volume = self._volume(row.volume)
        if damage == "gone" and self._adopt(row):
            return
        if damage != "gone" and volume:
            self.ledger.copies.has_quarantined(row.id, volume.id)
            self.tick()
            volume.staged_to_quarantine(keys.to_path(row.key, row.generation), row.id, row.generation)
            self.tick()
        self.setbacks.failed(self._failure(row, "destination", Trouble.MISMATCH), target=State.PENDING)

    @move(1, place=PLACE, which=WHICH, is_stolen=BOTH)
    def file_goes_bad_unseen(self, place: int, which: int, is_stolen: bool) -> None:
        volume = self.volumes[place]
        names = sorted(volume.staged)
        if names:
            name = names[which % len(names)]
            if volume.staged[name].is_sound:
                self.life.betray(volume.staged[name])
            volume.staged[name].is_sound = False
            if is_stolen:
                del volume.staged[name]

    # -- what is not needed ---------------------------------------------------------------------------------------

    @move(6, pressed=BOTH)
    def read_what_is_not_needed(self, pressed: bool) -> None:
        self.notes = self.ledger.copies.discards()
        self.copies = self.ledger.copies.obsolete(after_id=0, pressed=pressed)

    @move(16, when=lambda self: self.notes or self.copies, cut=CUT)
    def discard(self) -> None:
        notes, self.notes = self.notes, []
        copies, self.copies = self.copies, []
        self.ledger.copies.discarded(self._discarded(notes))
        self.ledger.copies.copies_removed(self._discarded(copies))

    def _discarded(self, entries: list[tuple[int, int, str, int]]) -> list[int]:
        gone = []
        for number, volume_id, key, generation in entries:
            volume = self._volume(volume_id)
            if volume and sweeping.discard(self.ledger, volume, key, generation):  # type: ignore[arg-type]
                gone.append(number)
                is_there = volume.holds(keys.to_path(key, generation))
                assert not is_there or self.ledger.copies.is_named(key, generation, volume_id), (
                    "a file is no longer known"
                )
                self.tick()
        return gone

    @move(6, when=lambda self: self.ledger.copies.has_copies(), place=PLACE)
    def there_is_no_room(self, place: int) -> None:
        if self.volumes[place] in self._open():
            self.ledger.copies.deliver_older_first({self.volumes[place].id})

    @move(when=lambda self: any(volume.quarantine for volume in self.volumes))
    def clear_quarantine(self) -> None:
        cleared = []
        for number, permit in self.ledger.copies.needless_in_quarantine():
            for volume in self._open():
                volume.clear_quarantine(permit.object_id, permit)
            if self._volume(number):
                cleared.append(permit.object_id)
        self.ledger.copies.quarantine_cleared(cleared)

    # -- volumes --------------------------------------------------------------------------------------------------

    @move(3, when=lambda self: len(self._open()) > 1, place=PLACE, rots=BOTH)
    def volume_fails(self, place: int, rots: bool) -> None:
        volume = self.volumes[place]
        if volume.is_open and not volume.is_lost:
            volume.is_open = False
            self.ledger.volumes.set_trouble(volume.id, "failed", "EIO")
            self.fetched = [(row, at) for row, at in self.fetched if at is not volume]
            for file in volume.staged.values() if rots else ():
                file.is_sound = False

    @move(4, when=lambda self: len(self._open()) < len(self.volumes), place=PLACE)
    def volume_returns(self, place: int) -> None:
        volume = self.volumes[place]
        if not volume.is_open and not volume.is_lost:
            volume.is_open = True
            self._opened(volume)
            self._volume_came(volume)

    def _opened(self, volume: SimVolume) -> None:
        """As volumes/opening.py does, of all volumes, before anything on them is used."""
        if not self.ledger.recovery.knows_group(*volume.newest):
            self.ledger.recovery.distrust(volume.id, volume.name, *volume.newest)
        self.ledger.losses.returned(volume.id)

    def _volume_came(self, volume: SimVolume) -> None:
        volume.incoming.clear()
        self.fetched = [(row, at) for row, at in self.fetched if at is not volume]
        for relative in sorted(volume.staged):
            if self.ledger.recovery.recovered_ms():
                self._sweep_proven(volume, relative)
            else:
                sweeping.sweep(self.ledger, volume, relative)  # type: ignore[arg-type]
        for name in sorted(volume.quarantine):
            number = layout.object_of(name)
            if number is not None and not self.ledger.copies.quarantined(number):
                self.ledger.copies.has_quarantined(number, volume.id)

    def _sweep_proven(self, volume: SimVolume, relative: str) -> None:
        """As hops/adoption.py does in a ledger that was an old copy."""
        key, generation = keys.from_path(relative)
        row = self.ledger.objects.row_of_key(key)
        if row is None or row.state not in (State.DELIVERED, State.RELEASED) or row.generation != generation:
            return
        if volume.staged[relative].etag == row.digest and not self.ledger.copies.has_file(key, generation, volume.id):
            permit = AtDestination(row.id, key, generation, row.target, row.destination_etag)
            volume.discard_staged(relative, permit)

    @move(when=lambda self: len(self._open()) < len(self.volumes), place=PLACE)
    def copies_are_left_behind(self, place: int) -> None:
        volume = self.volumes[place]
        if not volume.is_open:
            self.ledger.losses.leave_copies(volume.id, "EIO")

    @move(when=lambda self: len(self._open()) < len(self.volumes), which=WHICH)
    def one_copy_is_left_behind(self, which: int) -> None:
        rows = [row for row in self._work(State.STAGED) if self._volume(row.volume) is None]
        if rows:
            self.ledger.losses.leave_copy(self._failure(rows[which % len(rows)], "destination", Trouble.IO))

    @move(
        1, when=lambda self: len(self._open()) == 2 and not any(volume.is_lost for volume in self.volumes), place=PLACE
    )
    def operator_gives_a_volume_up(self, place: int) -> None:
        volume = self.volumes[place]
        if not volume.is_open:
            for file in volume.staged.values():
                self.life.give_up(file)
            self.ledger.losses.lose_volume(volume.id, volume.name)
            volume.is_lost = True

    @move(place=PLACE, other=PLACE, cut=CUT)
    def evacuate(self, place: int, other: int) -> None:
        old, new = self.volumes[place], self.volumes[other]
        if old is new or old not in self._open() or new not in self._open():
            return
        self.ledger.copies.deliver_older_first({old.id})
        rows = self.ledger.moves.lying(State.STAGED, old.id, after_id=0, limit=100)
        copied = [row for row in rows if self._copied(row, old, new)]
        notes = self.ledger.moves.intend(new.id, copied)
        for row in copied:
            self.tick()
            new.publish(f"evacuate-{row.id}", keys.to_path(row.key, row.generation))
        self.tick()
        self.ledger.moves.commit_moved(copied, new.id, notes)
        self._remember()

    def _copied(self, row: Row, old: SimVolume, new: SimVolume) -> bool:
        """As `EvacuatedCopies.make` does: hashed on the way."""
        damage = self._damage(row, hash_it=True)
        if damage and self.ledger.objects.row(row.id) == row:
            if self.ledger.objects.retry(self._failure(row, "source", Trouble.MISMATCH), delay_ms=0, count=False):
                self._put_away(row, old, damage)
        elif not damage:
            file = old.staged[keys.to_path(row.key, row.generation)]
            new.incoming[f"evacuate-{row.id}"] = File(file.version, file.age)
        return not damage

    def _put_away(self, row: Row, old: SimVolume, damage: str) -> None:
        self.tick()
        if damage != "gone":
            self.ledger.copies.has_quarantined(row.id, old.id)
            old.staged_to_quarantine(keys.to_path(row.key, row.generation), row.id, row.generation)

    # -- kills, boots, operators --------------------------------------------------------------------------------------

    @move(2)
    def process_is_killed(self) -> None:
        self.kill()

    @move(2, which=WHICH, rots=BOTH)
    def power_is_cut(self, which: int, rots: bool) -> None:
        """A disk that lied about syncing loses what was staged last."""
        names = self._staged_last()
        if rots and names:
            volume, name = names[which % len(names)]
            volume.staged[name].is_sound = False
        self.boots += 1
        self.kill()

    def _staged_last(self) -> list[tuple[SimVolume, str]]:
        """The files that the boot rule is about: of the last groups of each volume."""
        found = []
        for volume in self._open():
            sql = (
                "SELECT key, generation FROM objects WHERE state = 1 AND volume = ? AND group_id IN (SELECT id FROM"
                " groups WHERE hop IN ('source', 'evacuate') AND volume = ? ORDER BY id DESC LIMIT 4)"
            )
            for key, generation in select(self.ledger, sql, volume.id, volume.id):
                name = keys.to_path(str(key), int(str(generation)))
                found += [(volume, name)] if name in volume.staged else []
        return found

    @move(2)
    def operator_starts_a_run(self) -> None:
        self.ledger.objects.revive()

    @move(1, when=lambda self: self.life.stored, key=KEY, is_deleted=BOTH)
    def somebody_changes_the_destination(self, key: str, is_deleted: bool) -> None:
        if key in self.life.stored:
            self.life.disturb(key, is_deleted=is_deleted)

    @move(1, key=KEY)
    def operator_sends_again(self, key: str) -> None:
        self.ledger.objects.resend([key], Trouble.NOT_FOUND, "lost there")

    @move(1)
    def job_gets_another_destination(self) -> None:
        """No unit runs meanwhile."""
        self._forget_hands()
        self.ends += 1
        self.ledger.stores.rebind_destination(End(f"d{self.ends}"), is_same=False)
        self.life.change_destination()
        self._start()

    @move(1, when=lambda self: not self.was_restored)
    def ledger_is_backed_up(self) -> None:
        if self.backup:
            self.backup.close()
        self.backup = sqlite3.connect(":memory:")
        self.ledger.database.connection.backup(self.backup)
        self.backed_up_ends = self.ends

    @move(1, when=lambda self: self.backup is not None and self.ends == self.backed_up_ends)
    def old_ledger_is_put_back(self) -> None:
        assert self.backup is not None
        self.ledger.close()
        self.ledger = in_memory()
        self.backup.backup(self.ledger.database.connection)
        schema.add_functions(self.ledger.database.connection)
        self.was_restored = True
        # A limit: what the lost history knew of damage is lost with it, where no group came after the backup.
        for file in all_files(self.volumes):
            if not file.is_sound:
                self.life.betray(file)
        self.generations.clear()
        self.numbers.clear()
        self._forget_hands()
        self._start()

    # -- all at once: without it, most examples end long before anything is delivered -------------------------------

    @move(5, place=PLACE, cut=CUT)
    def everything_is_fetched(self, place: int) -> None:
        self._fetch_all(place)

    @move(2, place=PLACE, cut=CUT)
    def everything_goes_well(self, place: int) -> None:
        self._go_on(place)

    def _go_on(self, place: int) -> None:
        self._fetch_all(place)
        for row in self._work(State.STAGED):
            self._begin(row)
        for upload in list(self.uploads.values()):
            if upload.said is None:
                self._upload(upload, "well")
        for upload in [each for each in self.uploads.values() if each.said]:
            self._prove(upload, answers=True)

    def _fetch_all(self, place: int) -> None:
        for row in self._work(State.PENDING):
            open_volumes = self._open()
            self._fetch(row, open_volumes[place % len(open_volumes)])
        for volume in self._open():
            group = [row for row, at in self.fetched if at is volume]
            self.fetched = [(row, at) for row, at in self.fetched if at is not volume]
            self._commit(group, volume)

    def _let_everything_end(self) -> None:
        """All faults are over: what is delivered, and what is named, is everything that was ever listed."""
        for place, volume in enumerate(self.volumes):
            if not volume.is_open and not volume.is_lost:
                volume.is_open = True
                self._opened(volume)
                self._volume_came(volume)
            assert place == volume.id - 1
        for turn in range(12):
            if turn % 4 == 0:
                self.ledger.objects.revive()
                self.list_all()
                self.looked.clear()
            self._go_on(turn)
            self.release()
        self._tidy_up()
        self._nothing_is_missing()

    def _tidy_up(self) -> None:
        for pressed in (False, True):
            self.notes = self.ledger.copies.discards()
            self.copies = self.ledger.copies.obsolete(after_id=0, pressed=pressed)
            self.discard()
        self.release_leftovers()
        self.release()
        self.record_released()
        self.clear_quarantine()
        for volume in self._open():
            self._volume_came(volume)

    def _nothing_is_missing(self) -> None:
        rows = {
            str(key): State(int(str(state))) for key, state in select(self.ledger, "SELECT key, state FROM objects")
        }
        open_rows = {key: state.label for key, state in rows.items() if state in (State.PENDING, State.STAGED)}
        assert not open_rows, "with all faults over, nothing is left to be done"
        forgotten = {str(key) for (key,) in select(self.ledger, "SELECT key FROM forgotten")}
        failures = {str(key) for (key,) in select(self.ledger, "SELECT key FROM failures")}
        lost = set(self.life.unfinished(self.life.ever_listed))
        assert lost <= forgotten | failures, "what is lost is named"
        ended = {key for key, state in rows.items() if state in (State.FAILED, State.QUARANTINED)}
        done = {key for key, state in rows.items() if state in (State.DELIVERED, State.RELEASED)}
        assert set(self.life.ever_listed) <= ended | done | forgotten
        for key in done - self.life.disturbed:
            assert self.life.stored.get(key), f"{key!r} is called delivered"

    def _failure(self, row: Row, hop: str, trouble: Trouble) -> Failure:
        return Failure(row, hop, trouble, "told by the test", "as it goes")

    def check(self) -> None:
        self.drained_means_that_everything_listed_is_there_or_named()
        self.numbers_are_never_given_again()
        self.no_last_copy_is_unknown()
        self.every_row_is_sound()

    # -- what always holds --------------------------------------------------------------------------------------------

    @invariant()
    def drained_means_that_everything_listed_is_there_or_named(self) -> None:
        self.is_fine = False
        self._read_failures()
        census = LedgerReader(self.ledger).census()
        if self.was_restored or self.uploads or census.open.objects or census.troubled.objects:
            self.is_fine = True
            return
        STEPS["found drained"] += 1
        missing = set(self.life.unfinished(self.life.listed)) - self.life.disturbed - self.named
        assert not missing, f"{missing} were listed and are not at the destination"
        self.is_fine = True

    def _read_failures(self) -> None:
        sql = "SELECT id, key, trouble FROM failures WHERE id > ? ORDER BY id"
        for number, key, trouble in select(self.ledger, sql, self.failures_read):
            self.failures_read = int(str(number))
            if trouble == Trouble.NOT_FOUND.value:
                self.named.add(str(key))

    @invariant()
    def numbers_are_never_given_again(self) -> None:
        if self.was_restored:
            return
        identity = "id, key, generation, size, etag, modified_ms"
        for number, key, generation, *version in select(self.ledger, f"SELECT {identity} FROM objects"):
            assert self.numbers.setdefault(int(str(number)), str(key)) == key
            known = self.generations.setdefault((str(key), int(str(generation))), tuple(version))
            assert known == tuple(version), f"generation {generation} of {key!r} was another one before"
        for number, key, generation, *version in select(
            self.ledger, f"SELECT {identity.replace('id,', 'object_id,', 1)} FROM copies"
        ):
            assert self.numbers[int(str(number))] == key
            assert self.generations[str(key), int(str(generation))] == tuple(version)

    @invariant()
    def no_last_copy_is_unknown(self) -> None:
        """What would be lost with its file is known to the ledger, or found by it (hops/adoption.py) when needed."""
        if self.was_restored:
            return
        for volume in self.volumes:
            for name, file in volume.staged.items() if not volume.is_lost else ():
                key, generation = keys.from_path(name)
                if (
                    file.is_sound
                    and (volume.id, name) not in self.orphans
                    and not self._is_known(volume, file, generation)
                ):
                    others = (each for each in all_files(self.volumes) if each is not file)
                    assert not self.life.why_lost(file, others), (
                        f"{name!r} of volume {volume.name} is not known any more"
                    )

    def _is_known(self, volume: SimVolume, file: File, generation: int) -> bool:
        key = file.version.key
        row = self.ledger.objects.row_of_key(key)
        can_be_adopted = row is not None and (row.generation, row.etag) == (generation, file.version.etag)
        is_noted = (volume.id, key, generation) in (note[1:] for note in self.ledger.copies.discards())
        return can_be_adopted or is_noted or self.ledger.copies.has_file(key, generation, volume.id)

    @invariant()
    def every_row_is_sound(self) -> None:
        for (number,) in select(self.ledger, "SELECT id FROM objects"):
            row = self.ledger.objects.row(int(str(number)))
            assert row is not None and row.is_sound


# -- how it is run ----------------------------------------------------------------------------------------------------

Action = tuple[str, dict[str, Any]]


def walk(actions: Iterable[Action], objects: int) -> None:
    """Do these one after another, where they can be done. AssertionError when a promise breaks."""
    machine = WholeLife()
    try:
        machine.objects_are_there(number=objects, are_staged=True)
        machine.check()
        for name, values in actions:
            if MOVES[name].when(machine):
                getattr(machine, name)(**values)
                machine.check()
    finally:
        machine.teardown()


def at_random(chance: random.Random, length: int, objects: int) -> list[Action]:
    """Actions by their weights, on the first keys only: the fewer there are, the more happens to each."""
    names, weights = list(MOVES), [each.weight for each in MOVES.values()]
    actions = []
    for name in chance.choices(names, weights, k=length):
        domains = MOVES[name].domains
        values = {parameter: chance.choice(values) for parameter, values in domains.items()}
        if "key" in values:
            values["key"] = chance.choice(KEYS[:objects])
        actions.append((name, values))
    return actions


def broken_by(actions: list[Action], objects: int) -> Exception | None:
    """The promise that these break."""
    try:
        walk(actions, objects)
    except Exception as error:  # whatever the engine raises here is a defect of it
        return error
    return None


def shortest(actions: list[Action], objects: int) -> list[Action]:
    """As few of these actions as still break a promise."""
    size = len(actions) // 2
    while size:
        place = 0
        while place < len(actions):
            fewer = actions[:place] + actions[place + size :]
            if broken_by(fewer, objects):
                actions = fewer
            else:
                place += size
        size //= 2
    return actions


def promises_hold(seed: int, length: int) -> None:
    """A walk of random actions; where it breaks a promise, the shortest that does is told."""
    chance = random.Random(seed)
    objects = chance.choice((1, 1, 1, 2, 3))
    actions = at_random(chance, length, objects)
    error = broken_by(actions, objects)
    if error:
        few = shortest(actions, objects)
        words = "\n".join(f"    {name} {values}" for name, values in few)
        problem = f"seed {seed}, {objects} objects, shortened:\n{words}\n  {broken_by(few, objects)!r}"
        raise AssertionError(problem) from error


def told(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        words = ", ".join(f"{name} {count}" for name, count in sorted(STEPS.items()))
        print(f"\n{sum(STEPS.values())} steps: {words}")


TestWholeLife = WholeLife.TestCase
TestWholeLife.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_the_whole_life_at_random(capsys: pytest.CaptureFixture[str]) -> None:
    STEPS.clear()
    until = time.monotonic() + max(10, 60 * MINUTES)
    while time.monotonic() < until:
        promises_hold(random.randrange(2**32), 120)
    told(capsys)
