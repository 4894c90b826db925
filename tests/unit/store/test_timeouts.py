# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long an answer may take: one table by what was asked, and what ends a request that says nothing for longer."""

from __future__ import annotations

import re
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from snowsync.config.job_file import MoverSettings
from snowsync.core import backoff
from snowsync.core.errors import StoreError, Trouble
from snowsync.store.curl import Waiting
from snowsync.store.timeouts import CONNECT_SECONDS, PROBE_SECONDS, Asked, Patience, Silence, patience_of

OPERATIONS = Path(__file__).resolve().parents[3] / "docs/operations.md"
STALL, ANSWER = 7.0, 100.0


@pytest.mark.parametrize(
    ("asked", "flow", "answer"),
    [
        (Asked.PROBE, PROBE_SECONDS, PROBE_SECONDS),
        (Asked.HEAD, STALL, STALL),
        (Asked.GET, STALL, STALL),
        (Asked.LIST, ANSWER, ANSWER),
        (Asked.PUT, STALL, ANSWER),
        (Asked.BEGIN, STALL, ANSWER),
        (Asked.COMPLETE, 2 * ANSWER, 2 * ANSWER),
    ],
)
def test_each_kind_of_request_has_its_own(asked: Asked, flow: float, answer: float) -> None:
    silence = Patience(STALL, ANSWER).of(asked)
    assert (silence.flow, silence.answer) == (flow, answer)


def test_every_kind_of_request_has_one() -> None:
    assert all(Patience().of(asked).answer > 0 for asked in Asked)


def test_a_job_says_how_long_and_an_answer_takes_five_stalls_unless_it_says_otherwise() -> None:
    assert patience_of(MoverSettings()) == Patience(60.0, 300.0) == Patience()
    assert patience_of(MoverSettings(stall_seconds=2.0)) == Patience(2.0, 10.0)
    assert patience_of(MoverSettings(stall_seconds=2.0, answer_seconds=900.0)) == Patience(2.0, 900.0)


def test_the_page_for_operators_has_the_same_table() -> None:
    text = OPERATIONS.read_text(encoding="utf-8")
    section = re.search(r"^## Time-outs\n(.*?)(?=^## )", text, re.MULTILINE | re.DOTALL)
    assert section
    rows = [line.split(" | ") for line in section[1].splitlines() if line.startswith("| ") and "---" not in line][1:]
    said = {(cells[1], cells[2].strip(" |").partition(";")[0]) for cells in rows}
    words = {STALL: "`stall_seconds`", ANSWER: "`answer_seconds`", 2 * ANSWER: "2 × `answer_seconds`"}
    words[PROBE_SECONDS] = f"{PROBE_SECONDS:.0f}"
    table = [Patience(STALL, ANSWER).of(asked) for asked in Asked]
    assert said == {(words[silence.flow], words[silence.answer]) for silence in table}
    assert f"have {CONNECT_SECONDS:.0f} seconds" in section[1].replace("\n", " ")


# -- who waits ----------------------------------------------------------------------------------------------------


class Clock:
    """What `time.monotonic` says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def ends(waiting: Waiting, clock: Clock, *looks: tuple[float, int, int], size: int = 1000) -> list[bool]:
    """What libcurl is told at each look: (seconds since the last one, bytes that came, bytes that went)."""
    told = []
    for seconds, came, sent in looks:
        clock.now += seconds
        told.append(waiting(0, came, size, sent))
    return told


def test_a_body_that_stands_still_and_an_answer_that_takes_long(clock: Clock) -> None:
    silence = Silence(flow=10, answer=100)
    stuck, working = Waiting(silence, lambda: True), Waiting(silence, lambda: True)
    assert ends(stuck, clock, (1, 0, 500), (10, 0, 500), (1, 0, 500)) == [False, False, True]
    assert stuck.silent_for == 11
    clock.now = 1000.0
    assert ends(working, clock, (1, 0, 1000), (99, 0, 1000), (2, 0, 1000)) == [False, False, True]


def test_blanks_are_an_answer_under_way(clock: Clock) -> None:
    waiting = Waiting(Silence(flow=10, answer=10), lambda: True)
    assert not any(ends(waiting, clock, *((9, blank, 1000) for blank in range(100))))


def test_an_answer_that_drips_stands_still(clock: Clock) -> None:
    waiting = Waiting(Silence(flow=60, answer=60, least=128), lambda: True)
    assert ends(waiting, clock, *((1, byte, 1000) for byte in range(62))) == [False] * 61 + [True]
    slow = Waiting(Silence(flow=60, answer=60, least=128), lambda: True)
    assert not any(ends(slow, clock, *((50, 128 * packet, 1000) for packet in range(50)))), "one packet now and then"


def test_a_body_that_is_sent_once_more_moves(clock: Clock) -> None:
    waiting = Waiting(Silence(flow=10, answer=10), lambda: True)
    assert ends(waiting, clock, (1, 0, 900), (9, 0, 100), (9, 0, 100)) == [False, False, False]


def test_who_is_stopped_waits_no_longer(clock: Clock) -> None:
    waiting = Waiting(Silence(flow=10, answer=10), lambda: False)
    assert ends(waiting, clock, (0, 0, 0)) == [True]
    assert not waiting.silent_for, "it was not the store that took too long"


# -- tries --------------------------------------------------------------------------------------------------------


def failing(troubles: list[StoreError | None]) -> str:
    error = troubles.pop(0)
    if error:
        raise error
    return "answered"


BUSY = StoreError(Trouble.THROTTLED, "look", "busy", status=503)
DENIED = StoreError(Trouble.DENIED, "look", "no", status=403)
PAGE = StoreError(Trouble.SERVER, "look", "a page", status=403)


def test_what_is_often_over_is_asked_again_and_nothing_else_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "pause", lambda _attempt: 0.0)
    assert backoff.persistently(partial(failing, [BUSY, BUSY, None]), 2) == "answered"
    for asked in ([BUSY, BUSY, BUSY, None], [DENIED, None], [PAGE, None]):
        with pytest.raises(StoreError):
            backoff.persistently(partial(failing, asked), 2)
        assert asked == [None]


def test_pauses_differ_and_need_no_module_that_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests fail when descriptors run out, and a module cannot be read then."""
    monkeypatch.setitem(sys.modules, "random", None)
    for attempt, least in ((1, 0.1), (2, 0.2), (3, 0.4)):
        pauses = {backoff.pause(attempt) for _number in range(50)}
        assert len(pauses) > 10
        assert 0.999 * least <= min(pauses) < max(pauses) <= 3.001 * least
