# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger beside a model of it, with everything happening in any order."""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from ledger_rows import delivered, failure, in_memory, select, staged

from snowsync.core.errors import LedgerError
from snowsync.core.model import TRANSITIONS, ListedObject, State
from snowsync.ledger.ledger import Row

KEYS = ("a", "a/b", "b")


@dataclass(frozen=True, slots=True)
class Copy:
    """The file of a generation that its row no longer speaks of; `state` is 1, 2 (delivered) or 3 (overtaken)."""

    key: str
    size: int
    generation: int
    state: int
    volume: int


class LedgerMachine(RuleBasedStateMachine):
    """The ledger beside a model of it. Units hold rows that they read earlier: these may be stale."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = in_memory()
        self.volumes = [self.ledger.volumes.volume_id(name, name, f"/{name}") for name in ("one", "two")]
        self.run = self.ledger.journal.start_run("source")
        self.model: dict[str, tuple[int, int, State, int | None]] = {}  # key -> size, generation, state, volume
        self.numbers: dict[str, int] = {}  # the highest number that a generation of the key had
        self.left: dict[str, int] = {}  # key -> the volume that failed and keeps a copy
        self.copies: list[Copy] = []  # in the order in which they were replaced
        self.suspect: set[str] = set()  # staged, and to be hashed before it is used
        self.refused: set[str] = set()  # staged, and tried in vain
        self.discards: list[tuple[int, str, int]] = []
        self.held: list[Row] = []  # what some thread has in hand
        self.moved = self.released = 0

    def teardown(self) -> None:
        self.ledger.close()

    def is_current(self, row: Row) -> bool:
        return (row.size, row.generation, row.state, row.volume) == self.model[row.key]

    @rule(key=st.sampled_from(KEYS), size=st.integers(0, 3))
    def list_one(self, key: str, size: int) -> None:
        observed = self.ledger.listing.observe([ListedObject(key, size, "e", 1)])
        known = self.model.get(key)
        if known is None:
            assert observed.new == 1
            self.model[key] = (size, 1, State.PENDING, None)
            self.numbers[key] = 1
        elif known[0] == size:
            assert observed.same == 1
        else:
            assert observed.changed == 1
            self._keep(key)
            self.refused.discard(key)
            self.numbers[key] = self.numbers[key] + 1
            self.model[key] = (size, self.numbers[key], State.PENDING, None)
            self._restore(key)

    def _keep(self, key: str) -> None:
        """The row is about to speak of another generation."""
        size, generation, state, volume = self.model[key]
        volume = self.left.pop(key, volume)
        if volume is not None:
            self.copies.append(Copy(key, size, generation, 2 if state == State.DELIVERED else 1, volume))

    def _restore(self, key: str) -> None:
        """A staged copy that is just what is listed now takes its row back."""
        same = [copy for copy in self.copies if (copy.key, copy.size, copy.state) == (key, self.model[key][0], 1)]
        if same:
            self.copies.remove(same[-1])
            self.model[key] = (same[-1].size, same[-1].generation, State.STAGED, same[-1].volume)
            self.suspect.add(key)

    @rule(state=st.sampled_from(list(State)))
    def take_work(self, state: State) -> None:
        found = self.ledger.objects.work(state, after_id=0, limit=10)
        assert {row.key for row in found} == {key for key, entry in self.model.items() if entry[2] == state}
        self.held = (self.held + found)[-6:]

    @rule(volume=st.integers(0, 1))
    def commit_a_group(self, volume: int) -> None:
        group = self._of(State.PENDING)
        refused = {
            item.row
            for item in self.ledger.staging.commit_staged(
                [staged(row) for row in group], self.volumes[volume], self.run
            )
        }
        for row in group:
            assert (row in refused) == (not self.is_current(row))
            if row not in refused:
                self.model[row.key] = (row.size, row.generation, State.STAGED, self.volumes[volume])
                self.moved += 1
                if self.left.get(row.key, self.volumes[volume]) != self.volumes[volume]:
                    self.discards.append((self.left[row.key], row.key, row.generation))
                self.left.pop(row.key, None)
            elif self.model[row.key][1] != row.generation:
                self._keep_late(Copy(row.key, row.size, row.generation, 1, self.volumes[volume]))
            elif row.key in self.suspect and self.model[row.key][3] != self.volumes[volume]:
                self.discards.append((self.model[row.key][3] or 0, row.key, row.generation))
                self.model[row.key] = (*self.model[row.key][:3], self.volumes[volume])
                self.suspect.discard(row.key)

    def _keep_late(self, late: Copy) -> None:
        """A file of a generation that its row no longer, or not yet, speaks of."""
        for copy in [copy for copy in self.copies if (copy.key, copy.generation) == (late.key, late.generation)]:
            self.copies.remove(copy)
            if copy.volume != late.volume:
                self.discards.append((copy.volume, copy.key, copy.generation))
        self.copies.append(late)

    def _copy_of(self, row: Row) -> Copy | None:
        return next((copy for copy in self.copies if (copy.key, copy.generation) == (row.key, row.generation)), None)

    @rule()
    def deliver_and_release(self) -> None:
        group, files = self._of(State.STAGED), self._of(State.DELIVERED)
        refused = {
            item.row
            for item in self.ledger.deliveries.commit_delivered([delivered(row) for row in group], files, self.run)
        }
        for row in group:
            assert (row in refused) == (not self.is_current(row))
            copy = self._copy_of(row)
            if row not in refused:
                self.model[row.key] = (row.size, row.generation, State.DELIVERED, self.model[row.key][3])
                self.refused.discard(row.key)
                self.moved += 1
                self._overtake(row.key, len(self.copies))
            elif copy:
                place = self.copies.index(copy)
                if copy.volume == row.volume:
                    self.copies[place] = replace(copy, state=2)
                self._overtake(row.key, place)
        for row in files:
            if self.is_current(row):
                self.model[row.key] = (row.size, row.generation, State.RELEASED, None)
                self.released += 1

    def _overtake(self, key: str, place: int) -> None:
        """What was replaced before a generation that is delivered is never sent."""
        self.copies = [
            replace(copy, state=3) if number < place and (copy.key, copy.state) == (key, 1) else copy
            for number, copy in enumerate(self.copies)
        ]

    @rule(source=st.sampled_from([State.PENDING, State.STAGED]), wanted=st.sampled_from(list(State)))
    def fail(self, source: State, wanted: State) -> None:
        for row in self._of(source):
            allowed = wanted == source or wanted in TRANSITIONS[source]
            if not allowed:
                with pytest.raises(LedgerError):
                    self.ledger.objects.retry(failure(row), delay_ms=0, count=True, target=wanted)
            elif wanted not in (State.STAGED, State.DELIVERED) or wanted == source:
                current = self.is_current(row)
                assert self.ledger.objects.retry(failure(row), delay_ms=-1, count=True, target=wanted) == current
                if current and wanted != source:
                    volume = self.model[row.key][3] if wanted == State.FAILED else None
                    self.model[row.key] = (row.size, row.generation, wanted, volume)
                    self.refused.discard(row.key)
                elif current and source == State.STAGED:
                    self.refused.add(row.key)

    @rule()
    def revive(self) -> None:
        """What has a file is sent again, the rest is fetched again."""
        ended = [key for key, entry in self.model.items() if entry[2] in (State.FAILED, State.QUARANTINED)]
        assert self.ledger.objects.revive() == len(ended) + len(self.refused)
        self.refused.clear()
        for key in ended:
            size, generation, _state, volume = self.model[key]
            self.model[key] = (size, generation, State.PENDING if volume is None else State.STAGED, volume)

    @rule(state=st.sampled_from([State.STAGED, State.DELIVERED]), volume=st.integers(0, 1))
    def evacuate(self, state: State, volume: int) -> None:
        target = self.volumes[volume]
        rows = [row for row in self._of(state) if row.volume != target]
        moved = self.ledger.moves.commit_moved(rows, target, self.ledger.moves.intend(target, rows))
        for row in rows:
            assert (row in moved) == self.is_current(row)
            if row in moved:
                assert row.volume is not None
                self.discards.append((row.volume, row.key, row.generation))
                self.model[row.key] = (row.size, row.generation, state, target)
                self.suspect.discard(row.key)
            else:
                self.discards.append((target, row.key, row.generation))

    @rule()
    def leave_copies_one_by_one(self) -> None:
        for row in self._of(State.STAGED):
            current = self.is_current(row)
            assert self.ledger.losses.leave_copy(failure(row)) == current
            if current:
                self._left_behind(row.key)

    @rule(volume=st.integers(0, 1))
    def leave_all_copies(self, volume: int) -> None:
        there = [key for key, entry in self.model.items() if entry[2:] == (State.STAGED, self.volumes[volume])]
        assert self.ledger.losses.leave_copies(self.volumes[volume], "EIO") == len(there)
        for key in there:
            self._left_behind(key)

    def _left_behind(self, key: str) -> None:
        size, generation, _state, volume = self.model[key]
        assert volume is not None
        self.left[key] = volume
        self.refused.discard(key)
        self.model[key] = (size, generation, State.PENDING, None)

    @rule(volume=st.integers(0, 1))
    def volume_returns(self, volume: int) -> None:
        number = self.volumes[volume]
        self.ledger.volumes.set_trouble(number, "failed", "EIO")
        self.ledger.losses.returned(number)
        for key in [key for key, left in self.left.items() if left == number]:
            del self.left[key]
            self.model[key] = (*self.model[key][:2], State.STAGED, number)
        self.suspect |= {key for key, entry in self.model.items() if entry[2:] == (State.STAGED, number)}

    def _of(self, state: State) -> list[Row]:
        """Rows in hand that were in `state` when they were read; each object at most once, as the units keep it."""
        return list({row.key: row for row in self.held if row.state == state}.values())

    @invariant()
    def knows_what_is_suspect(self) -> None:
        self.suspect &= {key for key, entry in self.model.items() if entry[2] in (State.STAGED, State.FAILED)}
        sql = "SELECT key FROM objects WHERE suspect = 1 AND state IN (1, 5)"
        assert {str(key) for (key,) in select(self.ledger, sql)} == self.suspect

    @invariant()
    def agrees_with_the_model(self) -> None:
        found = select(self.ledger, "SELECT key, size, generation, state, volume FROM objects")
        assert {str(row[0]): row[1:] for row in found} == {key: tuple(entry) for key, entry in self.model.items()}

    @invariant()
    def every_file_is_known(self) -> None:
        assert sorted(entry[1:] for entry in self.ledger.copies.discards()) == sorted(self.discards)
        assert all(self.ledger.copies.has_file(key, self.model[key][1], volume) for key, volume in self.left.items())
        known = select(self.ledger, "SELECT key, size, generation, state, volume FROM copies ORDER BY id")
        assert known == [astuple(copy) for copy in self.copies]
        assert all(self.ledger.copies.has_file(copy.key, copy.generation, copy.volume) for copy in self.copies)
        there = [(volume, size) for size, _, state, volume in self.model.values() if state in (1, 2)]
        on_volumes: dict[int | None, int] = {}
        for volume, size in [*there, *((copy.volume, copy.size) for copy in self.copies)]:
            on_volumes[volume] = on_volumes.get(volume, 0) + (size + 4095) // 4096 * 4096
        assert self.ledger.volumes.occupied() == on_volumes

    @invariant()
    def counts_what_moved(self) -> None:
        counted = select(self.ledger, "SELECT moved_objects, released_objects FROM runs")
        assert counted == [(self.moved, self.released)]


TestLedgerInAnyOrder = LedgerMachine.TestCase
TestLedgerInAnyOrder.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
