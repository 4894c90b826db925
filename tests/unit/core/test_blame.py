# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose fault a failure is: decided by one function, from what a probe answers and whom the endpoint serves."""

from __future__ import annotations

import pytest

from snowsync.core import blame as module
from snowsync.core.blame import MANY, Blame, Probe, Signs, Standing, blame, is_hopeless, needs_probe
from snowsync.core.errors import Trouble

DOUBTFUL = [trouble for trouble in Trouble if needs_probe(trouble)]


@pytest.mark.parametrize(
    ("signs", "whose"),
    [
        # One key that is answered with 503, a page of a firewall or an answer that breaks, while a probe is well.
        (Signs(Trouble.THROTTLED), Blame.OBJECT),
        (Signs(Trouble.SERVER), Blame.OBJECT),
        (Signs(Trouble.BROKEN), Blame.OBJECT),
        (Signs(Trouble.TIMEOUT), Blame.OBJECT),
        # A signature that is refused for one header, while others are taken.
        (Signs(Trouble.CREDENTIAL), Blame.OBJECT),
        (Signs(Trouble.CREDENTIAL, failing=50), Blame.OBJECT),
        # What says of itself that it is about this object needs no probe.
        (Signs(Trouble.DENIED, Probe.DOWN), Blame.OBJECT),
        (Signs(Trouble.UNSUPPORTED, failing=50), Blame.OBJECT),
        (Signs(Trouble.FULL), Blame.OBJECT),
        # Parts of a large object that arrive between outages.
        (Signs(Trouble.BROKEN, progressed=True), Blame.NOBODY),
        (Signs(Trouble.BROKEN, Probe.DOWN, progressed=True), Blame.ENDPOINT),
        # Lists are answered and nothing is served: the servers behind the endpoint are down.
        (Signs(Trouble.SERVER, failing=MANY - 1), Blame.OBJECT),
        (Signs(Trouble.SERVER, failing=MANY), Blame.SERVICE),
        (Signs(Trouble.SERVER, failing=MANY, others_served=True), Blame.OBJECT),
        (Signs(Trouble.UNKNOWN), Blame.NOBODY),
        (Signs(Trouble.SPACE), Blame.VOLUME),
        (Signs(Trouble.IO, Probe.DOWN), Blame.VOLUME),
        *((Signs(trouble, Probe.DOWN), Blame.ENDPOINT) for trouble in DOUBTFUL),
        *((Signs(trouble, Probe.REFUSES), Blame.JOB) for trouble in DOUBTFUL),
    ],
)
def test_whose_fault_it_is(signs: Signs, whose: Blame) -> None:
    assert blame(signs) is whose


def test_every_kind_of_failure_has_a_culprit() -> None:
    assert {blame(Signs(trouble, probe)) for trouble in Trouble for probe in Probe} == set(Blame) - {Blame.SERVICE}
    assert all(needs_probe(trouble) for trouble in Trouble if trouble.is_transient)


def test_one_object_that_fails_among_others_that_are_served() -> None:
    standing = Standing()
    for number in range(MANY):
        standing.failed(1)
        standing.served(100 + number)
    standing.failed(1)
    signs = standing.signs(1, Trouble.SERVER, Probe.WELL, progressed=False)
    assert (signs.failing, signs.others_served) == (1, True)
    assert not standing.serves_nothing


def test_many_that_fail_and_none_that_is_served() -> None:
    standing = Standing()
    standing.served(99)
    for number in range(MANY):
        standing.failed(number)
        standing.failed(number)
    signs = standing.signs(0, Trouble.SERVER, Probe.WELL, progressed=False)
    assert (signs.failing, signs.others_served) == (MANY, False)
    assert standing.serves_nothing
    standing.served(0)
    assert not standing.serves_nothing


@pytest.mark.parametrize(
    ("trials", "attempts", "hopeless"),
    [
        (0, 1, False),
        (7, 1, False),  # an outage of a minute or two is waited for, however few attempts an object has
        (8, 1, True),
        (8, 4, True),
        (9, 5, False),
        (10, 5, True),
    ],
)
def test_when_a_run_ends_without_a_store_that_serves_nothing(trials: int, attempts: int, hopeless: bool) -> None:
    assert is_hopeless(trials, attempts) is hopeless


def test_trials_are_over_when_one_object_is_served() -> None:
    standing = Standing()
    standing.trials = 7
    standing.served(3)
    assert standing.trials == 0


def test_what_is_remembered_of_objects_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 3)
    standing = Standing()
    for number in range(10):
        standing.failed(number)
        standing.served(number + 100)
    assert not standing.signs(0, Trouble.SERVER, Probe.WELL, progressed=False).others_served, "forgotten"
    assert standing.signs(9, Trouble.SERVER, Probe.WELL, progressed=False).others_served
