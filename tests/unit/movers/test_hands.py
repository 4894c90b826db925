# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hands of one mover: started when there is work, replaced when they end, given up when they are no use."""

from __future__ import annotations

import errno
from typing import Any

from snowsync.core.model import Fetch
from snowsync.movers.hands import hands
from snowsync.movers.hands.hands import Hands


class Given:
    def __init__(self) -> None:
        self.works: list[Fetch] = []
        self.said: list[object] = []
        self.takes = True

    def __len__(self) -> int:
        return len(self.works)

    def add(self, *works: Fetch) -> bool:
        if any(work.path == "closed" for work in works):
            raise OSError(errno.EBADF, "Bad file descriptor")
        if self.takes:
            self.works += works
        return self.takes

    def say(self, message: object) -> None:
        self.said.append(message)


class FakeHand:
    def __init__(self, number: int) -> None:
        self.number = number
        self.given = Given()
        self.traffic = 10
        self.is_killed = False

    def kill(self) -> None:
        self.is_killed = True

    def join(self) -> None:
        assert self.is_killed


class Desk:
    def __init__(self, count: int) -> None:
        self.made: list[FakeHand] = []
        self.hands = Hands(count, self._make)

    def _make(self, number: int) -> Any:
        self.made.append(FakeHand(number))
        return self.made[-1]

    def give(self, count: int = 1) -> bool:
        """One by one: whether all were taken."""
        return not any(self.hands.give(Fetch(number, "k", 1, "/p")) for number in range(count))


def test_no_hand_is_started_before_there_is_work_for_it() -> None:
    desk = Desk(3)
    assert (desk.made, desk.hands.in_flight, desk.hands.traffic) == ([], 0, 0)
    desk.give(hands._WORTH_ANOTHER)
    assert [hand.number for hand in desk.made] == [0]
    desk.give()
    assert [hand.number for hand in desk.made] == [0, 1]


def test_the_hand_with_the_least_gets_the_next() -> None:
    desk = Desk(2)
    desk.give(3 * hands._WORTH_ANOTHER)
    assert abs(len(desk.made[0].given) - len(desk.made[1].given)) <= 1
    assert desk.hands.in_flight == 3 * hands._WORTH_ANOTHER


def test_what_is_given_together_is_shared_out() -> None:
    desk = Desk(2)
    works = [Fetch(number, "k", 1, "/p") for number in range(4 * hands._AT_ONCE)]
    assert desk.hands.give(*works) == []
    assert [len(hand.given) for hand in desk.made] == [2 * hands._AT_ONCE] * 2
    assert sorted(work.id for hand in desk.made for work in hand.given.works) == [work.id for work in works]


def test_what_cannot_be_given_is_returned() -> None:
    desk = Desk(1)
    works = [Fetch(number, "k", 1, "closed" if number == 0 else "/p") for number in range(2 * hands._AT_ONCE)]
    assert desk.hands.give(*works) == works[: hands._AT_ONCE], "none of those that were to be given with it"
    assert desk.made[0].given.works == works[hands._AT_ONCE :]


def test_a_hand_that_ended_is_replaced_and_its_traffic_counts() -> None:
    desk = Desk(1)
    desk.give()
    desk.hands.has_ended(desk.made[0])  # type: ignore[arg-type]
    assert (desk.hands.in_flight, desk.hands.traffic) == (0, 10)
    desk.give()
    assert [hand.number for hand in desk.made] == [0, 0]
    assert desk.hands.traffic == 20


def test_a_hand_that_takes_no_more_is_replaced_before_it_told_so() -> None:
    desk = Desk(1)
    desk.give()
    desk.made[0].given.takes = False
    assert desk.give()
    assert len(desk.made[1].given) == 1
    desk.hands.has_ended(desk.made[0])  # type: ignore[arg-type]
    assert desk.give(), "its successor stays"
    assert len(desk.made) == 2


def test_hands_that_end_without_any_outcome_are_no_use() -> None:
    desk = Desk(1)
    useless = []
    for _life in range(hands._FUTILE):
        assert desk.give()
        useless.append(desk.hands.has_ended(desk.made[-1]))  # type: ignore[arg-type]
    assert useless == [False] * (hands._FUTILE - 1) + [True]
    assert not desk.give()


def test_a_hand_that_told_an_outcome_was_of_use() -> None:
    desk = Desk(1)
    for _life in range(3 * hands._FUTILE):
        assert desk.give()
        desk.hands.has_told()
        assert not desk.hands.has_ended(desk.made[-1])  # type: ignore[arg-type]


def test_all_are_told_and_all_are_ended() -> None:
    desk = Desk(2)
    desk.give(2 * hands._WORTH_ANOTHER)
    desk.hands.say(("keys",))
    assert [hand.given.said for hand in desk.made] == [[("keys",)]] * 2
    desk.hands.kill()
    desk.hands.join()
    assert all(hand.is_killed for hand in desk.made)
    assert not desk.give()
