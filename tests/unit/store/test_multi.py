# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Transfers driven by epoll: how they are begun, waited for, woken, broken off, and what becomes of descriptors."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pycurl
import pytest
from fake_stores import wait_until
from scripted_store import Asked, Close, ScriptedStore, Silence, reply

from snowsync.store import multi as module
from snowsync.store.multi import Multi, Sockets, Waker

pytestmark = pytest.mark.usefixtures("no_proxies")
EVER = 1000.0  # seconds that nobody waits for: something else must happen

Easy = Callable[..., Any]


@pytest.fixture
def store() -> Iterator[ScriptedStore]:
    def script(asked: Asked) -> bytes | Silence:
        return Silence() if asked.key.startswith("silent") else reply(200, asked.key)

    with ScriptedStore(script).running() as running:
        yield running


@pytest.fixture
def easy(store: ScriptedStore) -> Iterator[Easy]:
    """Makes handles: `easy("key")` requests it from the store, `easy(url=...)` something else."""
    made: list[Any] = []

    def make(key: str = "key", url: str = "") -> Any:
        handle = pycurl.Curl()
        handle.setopt(handle.URL, url or f"{store.url}/bucket/{key}")
        handle.setopt(handle.WRITEFUNCTION, len)
        made.append(handle)
        return handle

    yield make
    for handle in made:
        handle.close()


@pytest.fixture
def multi() -> Iterator[Multi]:
    made = Multi(4)
    yield made
    made.close()


def carried_out(multi: Multi, count: int = 1) -> dict[Any, int]:
    """libcurl's error number of the next `count` handles that end."""
    ended: dict[Any, int] = {}
    while len(ended) < count:
        multi.go_on(EVER)
        ended |= {handle: number for handle, number, _words in multi.ended()}
    return ended


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    made = Sockets()
    yield made
    made.close()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe whose reading end is ready; a test may close it."""
    reading, writing = os.pipe()
    os.write(writing, b"x")
    yield reading, writing
    for descriptor in (reading, writing):
        with contextlib.suppress(OSError):
            os.close(descriptor)


# -- transfers ------------------------------------------------------------------------------------------------


def test_transfers_run_at_once_and_their_connections_are_used_again(
    store: ScriptedStore, easy: Easy, multi: Multi
) -> None:
    handles = [easy(f"{number}") for number in range(4)]
    for _round in range(3):
        for handle in handles:
            multi.add(handle)
        assert carried_out(multi, 4) == dict.fromkeys(handles, 0)
    assert multi.ended() == []
    assert (store.connections, len(store.asked)) == (4, 12)


def test_an_error_has_libcurls_number_and_words(easy: Easy, multi: Multi) -> None:
    handle = easy(url="http://127.0.0.1:1/")
    multi.add(handle)
    multi.start()
    ended: list[tuple[Any, int, str]] = []
    while not ended:
        multi.go_on(EVER)
        ended = multi.ended()
    assert [(entry[0], entry[1]) for entry in ended] == [(handle, pycurl.E_COULDNT_CONNECT)]
    assert "127.0.0.1" in ended[0][2]


def test_a_name_is_resolved_meanwhile(easy: Easy, multi: Multi) -> None:
    """By a thread of libcurl, for which it waits on a descriptor too."""
    named, other = easy(url="http://no-such-host.invalid/"), easy()
    multi.add(named)
    multi.add(other)
    assert carried_out(multi, 2) == {named: pycurl.E_COULDNT_RESOLVE_HOST, other: 0}


def test_a_connection_that_the_store_closes_is_replaced(store: ScriptedStore, easy: Easy, multi: Multi) -> None:
    """The next one has the number of the same descriptor, of which epoll knows nothing any more."""
    store.script = lambda asked: Close(reply(200, "a", connection="close"))
    handle = easy()
    for _round in range(3):
        multi.add(handle)
        assert carried_out(multi) == {handle: 0}
    assert store.connections == 3


def test_start_begins_without_waiting(store: ScriptedStore, easy: Easy, multi: Multi) -> None:
    handle = easy("silent")
    multi.add(handle)
    for _step in range(100):
        multi.start()
    wait_until(lambda: multi.go_on(0.01) or len(store.asked) == 1)  # type: ignore[func-returns-value]
    assert multi.ended() == []
    multi.remove(handle)


def test_one_that_is_broken_off_hides_no_other(store: ScriptedStore, easy: Easy, multi: Multi) -> None:
    """Neither the end of one that has ended by then, nor that of a later one."""
    silent, first = easy("silent"), easy()
    for handle in (silent, first):
        multi.add(handle)
    wait_until(lambda: multi.go_on(0.01) or multi._running == 1)  # type: ignore[func-returns-value]
    multi.remove(silent)
    assert [handle for handle, _number, _words in multi.ended()] == [first]
    again = easy()
    multi.add(again)
    assert carried_out(multi) == {again: 0}
    multi.add(silent)
    multi.remove(silent)
    assert multi.ended() == []


def test_silent_transfers_run_once_a_second(
    store: ScriptedStore, easy: Easy, multi: Multi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing happens on their sockets, and libcurl has no time-out for them: only so their patience is looked at."""
    calls: list[int] = []

    def progress(*_bytes: int) -> bool:
        calls.append(1)
        return len(calls) > 50

    handle = easy("silent")
    handle.setopt(handle.NOPROGRESS, 0)
    handle.setopt(handle.XFERINFOFUNCTION, progress)
    multi.add(handle)
    monkeypatch.setattr(module, "_TICK", 0.001)
    assert carried_out(multi) == {handle: pycurl.E_ABORTED_BY_CALLBACK}


def test_libcurls_own_time_outs_end_a_silent_transfer(
    easy: Easy, multi: Multi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TICK", EVER)
    handle = easy("silent")
    handle.setopt(handle.TIMEOUT_MS, 20)
    multi.add(handle)
    assert carried_out(multi) == {handle: pycurl.E_OPERATION_TIMEDOUT}


def test_a_multi_handle_that_libcurl_gave_up_is_dead(easy: Easy, multi: Multi, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not multi.is_dead

    def fail(*_changed: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(multi._sockets, "follow", fail)
    multi._multi.setopt(pycurl.M_SOCKETFUNCTION, multi._sockets.follow)
    handle = easy()
    multi.add(handle)
    with pytest.raises(KeyboardInterrupt):
        carried_out(multi)
    assert multi.is_dead
    multi.remove(handle)


# -- waking ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_early", [False, True], ids=["while it waits", "before it waits"])
def test_a_waker_ends_the_wait(
    is_early: bool, store: ScriptedStore, easy: Easy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TICK", EVER)
    handle, woken = easy("silent"), threading.Event()
    with contextlib.closing(Waker()) as waker, contextlib.closing(Multi(1, waker)) as multi:
        multi.add(handle)
        wait_until(lambda: multi.go_on(0.01) or len(store.asked) == 1)  # type: ignore[func-returns-value]

        def wait() -> None:
            multi.go_on(EVER)
            woken.set()

        if is_early:
            waker.wake()
        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        if not is_early:
            assert not woken.wait(0.05)
            waker.wake()
        assert woken.wait(100)
        thread.join()
        with pytest.raises(BlockingIOError):
            waker.reset()  # it was woken once, and the next wait is a wait again
        multi.remove(handle)


# -- descriptors ----------------------------------------------------------------------------------------------


def test_what_libcurl_wants_last_counts(sockets: Sockets, pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    sockets.follow(pycurl.POLL_IN, reading, None, None)
    assert sockets.ready(0) == sockets.watched() == [reading]
    sockets.follow(pycurl.POLL_NONE, reading, None, None)
    assert sockets.ready(0) == []
    sockets.follow(pycurl.POLL_REMOVE, reading, None, None)
    sockets.follow(pycurl.POLL_INOUT, reading, None, None)
    sockets.follow(pycurl.POLL_OUT, writing, None, None)
    assert sorted(sockets.ready(0)) == sorted([reading, writing])
    sockets.follow(pycurl.POLL_REMOVE, writing, None, None)
    sockets.follow(pycurl.POLL_REMOVE, reading, None, None)
    assert sockets.ready(0) == sockets.watched() == []


@pytest.mark.parametrize("is_told", [False, True], ids=["at once", "after libcurl said that it closes it"])
def test_a_number_that_is_used_again_is_another_descriptor(
    is_told: bool, sockets: Sockets, pipe: tuple[int, int]
) -> None:
    reading, _writing = pipe
    sockets.follow(pycurl.POLL_IN, reading, None, None)
    assert sockets.ready(0) == [reading]
    if is_told:
        sockets.follow(pycurl.POLL_REMOVE, reading, None, None)
    other, writing = os.pipe()
    os.dup2(other, reading)
    os.close(other)
    sockets.follow(pycurl.POLL_IN, reading, None, None)
    assert sockets.ready(0) == []
    os.write(writing, b"x")
    assert sockets.ready(0) == [reading]
    os.close(writing)


@pytest.mark.parametrize("used_again", ["", "pipe", "file"])
def test_a_closed_descriptor_is_forgotten(
    used_again: str, sockets: Sockets, pipe: tuple[int, int], tmp_path: Path
) -> None:
    reading, writing = pipe
    sockets.follow(pycurl.POLL_IN, reading, None, None)
    assert sockets.ready(0) == [reading]
    os.close(reading)
    # Its number may be somebody else's by now: epoll takes no files.
    if used_again:
        other = os.dup(writing) if used_again == "pipe" else os.open(tmp_path / "file", os.O_CREAT | os.O_WRONLY)
        assert other == reading, "the first free number"
    sockets.follow(pycurl.POLL_REMOVE, reading, None, None)
    assert sockets.ready(0) == sockets.watched() == []


def test_what_epoll_refuses_is_raised_until_it_is_done(
    sockets: Sockets, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, _writing = pipe

    class Full:
        def register(self, _descriptor: int, _events: int) -> None:
            raise OSError(28, "no watch is left")

    real = sockets._epoll
    sockets.follow(pycurl.POLL_IN, reading, None, None)
    monkeypatch.setattr(sockets, "_epoll", Full())
    for _try in range(2):
        with pytest.raises(OSError, match="no watch"):
            sockets.ready(0)
    monkeypatch.setattr(sockets, "_epoll", real)
    assert sockets.ready(0) == [reading]


def test_more_is_ready_than_one_call_reports(sockets: Sockets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_EVENTS", 2)
    pipes = [os.pipe() for _number in range(5)]
    for reading, writing in pipes:
        os.write(writing, b"x")
        sockets.follow(pycurl.POLL_IN, reading, None, None)
    seen: set[int] = set()
    for _turn in range(10):
        seen.update(sockets.ready(0))
    assert seen == {reading for reading, _writing in pipes}
    for descriptor in (each for pipe in pipes for each in pipe):
        os.close(descriptor)


def test_nothing_stays_open() -> None:
    before = set(os.listdir("/proc/self/fd"))
    waker = Waker()
    multi = Multi(1, waker)
    multi.close()
    waker.close()
    assert set(os.listdir("/proc/self/fd")) == before
