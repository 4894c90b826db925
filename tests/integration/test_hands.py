# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes of the native mover: killed, stopped, orphaned, closed; and what can be seen of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from simulators.s3_store import start

from snowsync.config import credentials
from snowsync.config.job_file import MoverSettings, Store
from snowsync.core import workers
from snowsync.core.errors import Trouble
from snowsync.core.model import MIB, Fetch, Outcome
from snowsync.movers.hands import hand_process, launch
from snowsync.movers.hands.handed_mover import HandedMover
from snowsync.store.connections import NO_LIMIT, lanes_within
from snowsync.store.width import Width

BUCKET = "bucket"
SIZE = 100
ROUNDS = 40 if os.environ.get("SNOWSYNC_THOROUGH") else 4

# A parent that says who its hands are, and waits.
PARENT = """
import sys, threading
from pathlib import Path
sys.path.insert(0, {tests!r})
from integration.test_hands import Rig, children, until
rig = Rig(Path({folder!r}), {url!r}, {side!r}, 2)
for number in range(100):
    rig.fetch(number, "k")
until(lambda: len(children()) == 2)
print(*children(), flush=True)
threading.Event().wait()
"""


def until(condition: Callable[[], object], what: str = "") -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def parent_of(pid: str) -> int:
    """0: it has ended, or is about to."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in "ZX" else int(fields[1])


def children() -> list[int]:
    """The processes that this one started, and that still run."""
    return [int(pid) for pid in os.listdir("/proc") if pid.isdecimal() and parent_of(pid) == os.getpid()]


class Rig:
    """A mover with hands, which fetches into a folder that it reaches through a descriptor only."""

    def __init__(
        self, folder: Path, url: str, side: dict[str, Any], hands: int, width: Width | None = None, **settings: Any
    ) -> None:
        self.folder = folder
        self.descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        self.outcomes: dict[int, Outcome] = {}
        self.told: Counter[int] = Counter()
        self._lock = threading.Lock()
        self.before = set(children())
        store = Store(**{name: value for name, value in side.items() if name != "credentials_file"})
        chosen = MoverSettings(**({"large_object": MIB, "stall_seconds": 30.0} | settings))
        keys = credentials.load(side["credentials_file"])
        lanes = lanes_within(chosen, NO_LIMIT, 1)
        self.mover = HandedMover(
            store,
            url,
            keys,
            chosen,
            count=hands,
            direction="fetch",
            lanes=lanes,
            on_outcomes=self._receive,
            width=width,
        )

    def _receive(self, outcomes: Sequence[Outcome]) -> None:
        with self._lock:
            self.told.update(outcome.id for outcome in outcomes)
            self.outcomes.update((outcome.id, outcome) for outcome in outcomes)

    def fetch(self, number: int, key: str, size: int = SIZE) -> None:
        self.mover.submit(Fetch(number, key, size, f"/proc/self/fd/{self.descriptor}/{number}"))

    def hands(self) -> list[int]:
        return [pid for pid in children() if pid not in self.before]

    def wait(self, count: int) -> dict[int, Outcome]:
        until(lambda: len(self.outcomes) >= count, f"{len(self.outcomes)} of {count} have outcomes")
        return self.outcomes

    def end(self) -> None:
        self.mover.close()
        os.close(self.descriptor)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Any]:
    with start(tmp_path / "store", buckets=(BUCKET,)) as running:
        running.put(BUCKET, "k", b"x" * SIZE)
        yield running


@pytest.fixture
def side(server: Any, tmp_path: Path) -> dict[str, Any]:
    return dict(server.job_side(BUCKET, server.credentials_file(tmp_path / "credentials")))


@pytest.fixture
def rig(server: Any, side: dict[str, Any], tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    """Makes rigs: `rig(hands, **mover_settings)`."""
    made: list[Rig] = []

    def make(hands: int, width: Width | None = None, **settings: Any) -> Rig:
        folder = tmp_path / f"rig{len(made)}"
        folder.mkdir()
        made.append(Rig(folder, server.url, side, hands, width, **settings))
        return made[-1]

    yield make
    for each in made:
        each.end()


# -- no work, no hands ----------------------------------------------------------------------------------------


def test_no_hand_is_started_without_small_objects(server: Any, rig: Callable[..., Rig]) -> None:
    fetching = rig(4)
    assert fetching.hands() == []
    server.put(BUCKET, "large", b"x" * MIB)
    fetching.fetch(1, "large", MIB)
    assert fetching.wait(1)[1].ok
    assert fetching.hands() == []
    fetching.fetch(2, "k")
    assert fetching.wait(2)[2].ok
    assert len(fetching.hands()) == 1, "one is enough for one object"


# -- how many are in flight -----------------------------------------------------------------------------------


class CountedWidth(Width):
    """Adds up what ended."""

    def __init__(self) -> None:
        super().__init__(4, 4)
        self.objects = self.bytes = 0

    def ended(self, count: int, now: float, *, is_full: bool, size: int = 0) -> bool:
        self.objects += count
        self.bytes += size
        return super().ended(count, now, is_full=is_full, size=size)


def test_objects_count_with_their_bytes(rig: Callable[..., Rig]) -> None:
    width = CountedWidth()
    fetching = rig(2, width, large_object=10 * MIB)
    for number in range(20):
        fetching.fetch(number, "k")
    fetching.fetch(20, "none", 10 * MIB - 1)
    assert fetching.wait(21)[20].trouble is Trouble.NOT_FOUND
    assert (width.objects, width.bytes) == (21, 20 * SIZE), "of what failed nothing was moved"


# -- what becomes of them -------------------------------------------------------------------------------------


def test_the_work_of_killed_hands_is_unknown_and_others_take_their_places(server: Any, rig: Callable[..., Rig]) -> None:
    fetching = rig(3)
    given = done = 0
    for _round in range(ROUNDS):
        first = given
        given += 300
        for number in range(first, given):
            fetching.fetch(number, "k")
        until(lambda: len(fetching.outcomes) > first, "none has told anything")  # noqa: B023
        for pid in fetching.hands():
            os.kill(pid, signal.SIGKILL)
        ended = [fetching.wait(given)[number] for number in range(first, given)]
        assert {outcome.trouble for outcome in ended} <= {None, Trouble.UNKNOWN}
        assert all("signal 9" in outcome.message for outcome in ended if not outcome.ok)
        for number, outcome in zip(range(first, given), ended, strict=True):
            if outcome.ok:
                assert (fetching.folder / str(number)).read_bytes() == b"x" * SIZE
                done += 1
    assert done
    assert set(fetching.told.values()) == {1}, "each has one outcome"
    assert fetching.mover.in_flight == 0
    fetching.fetch(given, "k")
    assert fetching.wait(given + 1)[given].ok


@pytest.mark.parametrize("end", ["killed", "closed"])
def test_each_object_of_a_group_has_one_outcome_however_its_hands_end(rig: Callable[..., Rig], end: str) -> None:
    fetching = rig(3, Width(4, 64))
    groups = 30

    def give(volume: int) -> None:
        for group in range(groups):
            first = (volume * groups + group) * 32
            paths = ((number, f"/proc/self/fd/{fetching.descriptor}/{number}") for number in range(first, first + 32))
            fetching.mover.submit(*(Fetch(number, "k", SIZE, path, "", 1, volume) for number, path in paths))

    feeders = [threading.Thread(target=give, args=(volume,), daemon=True) for volume in range(2)]
    for feeder in feeders:
        feeder.start()
    until(lambda: len(fetching.outcomes) > 32, "none has told anything")
    for pid in fetching.hands():
        os.kill(pid, signal.SIGKILL)
    if end == "closed":
        fetching.mover.close()
    for feeder in feeders:
        feeder.join(100)
    ended = fetching.wait(2 * groups * 32)
    assert set(fetching.told.values()) == {1}
    assert len(ended) == 2 * groups * 32
    assert {outcome.trouble for outcome in ended.values()} <= {None, Trouble.UNKNOWN}
    assert fetching.mover.in_flight == 0
    assert fetching.mover.has_room(0)
    assert fetching.mover.has_room(1)


def test_a_hand_that_does_not_answer_is_ended(
    server: Any, rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hand_process, "_SILENT_SECONDS", 1.0)
    fetching = rig(1)
    fetching.fetch(1, "k")
    fetching.wait(1)
    (pid,) = fetching.hands()
    os.kill(pid, signal.SIGSTOP)
    fetching.fetch(2, "k")
    outcome = fetching.wait(2)[2]
    assert (outcome.trouble, "has said nothing for 1 s" in outcome.message) == (Trouble.UNKNOWN, True)
    until(lambda: not parent_of(str(pid)))
    fetching.fetch(3, "k")
    assert fetching.wait(3)[3].ok


def test_a_hand_that_waits_for_a_slow_store_is_left_in_peace(
    server: Any, rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hand_process, "_SILENT_SECONDS", 3.0)
    server.set_fault("latency", operation="GetObject", seconds=8)
    fetching = rig(1)
    fetching.fetch(1, "k")
    assert fetching.wait(1)[1].ok


def test_a_module_beside_libcurl_is_none_of_the_standard_library(
    rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Old backports in site-packages have such names."""
    (tmp_path / "dataclasses.py").write_text("raise ImportError")
    more = launch._PROGRAM.replace("{folders!r}", f"[{str(tmp_path)!r}, *{{folders!r}}]")
    monkeypatch.setattr(launch, "_PROGRAM", more)
    fetching = rig(1)
    fetching.fetch(1, "k")
    assert fetching.wait(1)[1].ok


def test_without_hands_the_objects_are_moved_all_the_same(
    server: Any, rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(launch, "_PROGRAM", "import sys; sys.exit(3)")
    fetching = rig(2)
    given = 0
    while not fetching.outcomes or not all(outcome.ok for outcome in list(fetching.outcomes.values())[-1:]):
        fetching.fetch(given, "k")
        given += 1
        fetching.wait(given)
        assert given < 50
    assert any("exit code 3" in outcome.message for outcome in fetching.outcomes.values())
    assert "the unit moves them itself" in caplog.text
    assert fetching.hands() == []


def test_hands_end_with_their_parent(server: Any, side: dict[str, Any], tmp_path: Path) -> None:
    server.set_fault("stall", operation="GetObject")
    tests = str(Path(__file__).resolve().parents[1])
    for number in range(ROUNDS):
        folder = tmp_path / f"parent{number}"
        folder.mkdir()
        code = PARENT.format(tests=tests, folder=str(folder), url=server.url, side=side)
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
            assert parent.stdout
            pids = parent.stdout.readline().split()
            parent.kill()
        assert len(pids) == 2
        until(lambda: not any(parent_of(pid) for pid in pids), "a hand outlives its parent")  # noqa: B023


def test_closing_ends_them_at_once(server: Any, rig: Callable[..., Rig]) -> None:
    server.set_fault("stall", operation="GetObject")
    fetching = rig(2, stall_seconds=600)
    for number in range(100):
        fetching.fetch(number, "k")
    until(lambda: len(fetching.hands()) == 2)
    fetching.mover.close()
    assert {outcome.trouble for outcome in fetching.wait(100).values()} == {Trouble.UNKNOWN}
    assert fetching.hands() == []
    fetching.fetch(100, "k")
    assert fetching.wait(101)[100].trouble is Trouble.UNKNOWN


def test_an_idle_hand_does_not_look_like_one_that_hangs(server: Any, rig: Callable[..., Rig]) -> None:
    """Work that ends before the next beat: whoever watches the workers would wait for it forever."""
    server.set_fault("latency", operation="GetObject", seconds=0.1)
    fetching = rig(1)
    for number in range(3):
        fetching.fetch(number, "k")
        fetching.wait(number + 1)
        until(lambda: not workers.elsewhere.looks(time.monotonic()), "a worker has nothing to do, and seems to work")


# -- what can be seen of them ---------------------------------------------------------------------------------


def test_no_secret_is_on_a_command_line_or_in_an_environment(
    server: Any, side: dict[str, Any], rig: Callable[..., Rig]
) -> None:
    keys = credentials.load(side["credentials_file"])
    fetching = rig(2)
    for number in range(100):
        fetching.fetch(number, "k")
    until(lambda: len(fetching.hands()) == 2)
    for pid in fetching.hands():
        for name in ("cmdline", "environ"):
            shown = Path(f"/proc/{pid}/{name}").read_bytes()
            assert keys.secret_key.encode() not in shown
            assert keys.access_key.encode() not in shown


def test_a_hand_has_the_folders_of_its_work_and_nothing_else_of_its_parent(
    rig: Callable[..., Rig], tmp_path: Path
) -> None:
    secret = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(secret, True)
    fetching = rig(1)
    fetching.fetch(1, "k")
    fetching.wait(1)
    (pid,) = fetching.hands()
    targets = [os.readlink(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")]
    assert str(fetching.folder) in targets
    assert str(tmp_path) not in targets
    os.close(secret)


def test_signals_for_the_whole_unit_leave_the_decision_to_the_parent(rig: Callable[..., Rig]) -> None:
    fetching = rig(1)
    fetching.fetch(1, "k")
    fetching.wait(1)
    (pid,) = fetching.hands()
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(pid, number)
    fetching.fetch(2, "k")
    assert fetching.wait(2)[2].ok
    assert fetching.hands() == [pid]
