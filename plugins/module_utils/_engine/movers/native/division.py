# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Divides the requests that may be in flight among lanes. No side effects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple


def divided(total: int, wanted: Sequence[int], least: int) -> tuple[int, ...]:
    """`total` among lanes that could use `wanted` each: who could use more gets what the others do not need.

    What nobody needs is divided too, and each gets `least`, even if that is more than `total` together.
    """
    shares = [least] * len(wanted)
    for need in (wanted, [total] * len(wanted)):
        _fill(shares, need, total)
    return tuple(shares)


def _fill(shares: list[int], need: Sequence[int], total: int) -> None:
    """Give to those that need more, always to the one that has the least."""
    left = total - sum(shares)
    while left > 0:
        short = [number for number, share in enumerate(shares) if share < need[number]]
        if not short:
            return
        shares[min(short, key=shares.__getitem__)] += 1
        left -= 1


class Change(NamedTuple):
    """What lanes may have from now on, by its number."""

    number: int
    shares: tuple[int, ...]


class Transition:
    """From what the lanes have to what they shall have: first some give back, then others get more.

    So together they never have more than they had, or shall have. A first change is done once all who have connections,
    its members, have said so: as early as they like, also before `told`.
    """

    def __init__(self, shares: tuple[int, ...]) -> None:
        self.now = Change(0, shares)
        self._wanted = shares
        self._done: set[object] = set()
        self._waiting: set[object] | None = set()  # None: not known yet

    @property
    def is_over(self) -> bool:
        """Whether another one may begin."""
        return self._waiting is not None and not self._waiting

    def begin(self, wanted: tuple[int, ...]) -> Change | None:
        """The first change; None: there is nothing to change. Not before the last transition is over."""
        self._wanted = wanted
        first = tuple(map(min, self.now.shares, wanted))
        if first == self.now.shares:
            return self._rest()
        self._done, self._waiting = set(), None
        return self._change(first)

    def told(self, members: Iterable[object]) -> Change | None:
        """The members of the change that was begun: the next one, if all have carried it out."""
        if self._waiting is not None:
            return None
        self._waiting = set(members) - self._done
        return None if self._waiting else self._rest()

    def done(self, member: object, number: int) -> Change | None:
        """A member has carried out a change: the next one, if it was the last member."""
        return self.gone(member) if number == self.now.number else None

    def gone(self, member: object) -> Change | None:
        """A member has no connections any more: as `done`."""
        self._done.add(member)
        if not self._waiting or member not in self._waiting:
            return None
        self._waiting.discard(member)
        return None if self._waiting else self._rest()

    def _rest(self) -> Change | None:
        return None if self._wanted == self.now.shares else self._change(self._wanted)

    def _change(self, shares: tuple[int, ...]) -> Change:
        self.now = Change(self.now.number + 1, shares)
        return self.now
