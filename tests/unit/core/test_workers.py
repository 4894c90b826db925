# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Threads: none is started without a guard, none dies unseen whatever raises in it, none stands still unseen."""

from __future__ import annotations

import ast
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_stores import FakeControl, FakeMover, Rig, install, wait_until
from simulators.s3_store import start

from snowsync.config import credentials
from snowsync.config.credentials import for_side
from snowsync.config.job_file import MoverSettings, Store
from snowsync.core import etag, parts, workers
from snowsync.core.errors import LocalError, Trouble
from snowsync.core.model import MIB, Fetch, Outcome, Send
from snowsync.core.parts import Piece
from snowsync.core.workers import BrokenOff, Doing, Look, Stop, Worker, stands_still
from snowsync.hops import adoption, flight, part_memory, unit
from snowsync.hops.destination import destination_unit, senders, sending
from snowsync.hops.destination.proving import commits, deliveries, releases, sent_uploads
from snowsync.hops.destination.unsent import readiness
from snowsync.hops.part_memory import PartKeeper
from snowsync.hops.pool import EndpointPool
from snowsync.hops.source import placing
from snowsync.hops.source.arrivals import arrivals
from snowsync.hops.source.drops import drop_scan
from snowsync.hops.source.listing import lister
from snowsync.hops.source.staging import committer
from snowsync.ledger.ledger import Ledger
from snowsync.movers import dispatch
from snowsync.movers.native import downloads, lane_crew, lanes, large, small_lane, stream_lane, upload, uploads
from snowsync.movers.native.native_mover import NativeMover
from snowsync.movers.tools import S5CMD
from snowsync.store import endpoint

ENGINE = Path(__file__).resolve().parents[3] / "plugins/module_utils/_engine"

# Every place that starts a thread, and the test that has something raise in it. A new one needs a line, and a test.
STARTS = {
    ("hops/crew.py", "spawn"): "test_what_raises_in_a_thread_of_a_unit_ends_the_unit",
    ("hops/source/arrivals/finishers.py", "_start"): "test_what_raises_in_a_thread_of_a_unit_ends_the_unit",
    ("movers/blocking_work.py", "submit"): "test_what_raises_beside_the_mover_fails_that_object_only",
    ("hops/destination/proving/volume_workers.py", "_start"): "test_what_raises_in_a_thread_of_a_unit_ends_the_unit",
    ("hops/destination/destination_unit.py", "work"): "test_what_raises_in_a_thread_of_a_unit_ends_the_unit",
    ("volumes/disk_calls.py", "ask"): "test_what_raises_at_a_disk_reaches_who_asked",
    ("hops/endpoint_probes.py", "ask"): "test_what_raises_in_a_thread_of_a_unit_ends_the_unit",
    ("movers/hands/hand.py", "serve"): "test_a_hand_that_cannot_tell_anything_ends",
    ("movers/hands/hand_process.py", "__init__"): "test_what_raises_in_the_keeper_of_a_hand_reaches_the_unit",
    ("movers/hands/hand_process.py", "_run"): "test_what_raises_in_the_writer_of_a_hand_reaches_the_unit",
    ("movers/native/lanes.py", "start"): "test_what_raises_in_a_mover_fails_that_object_only",
    ("hops/part_memory.py", "put"): "test_what_raises_while_parts_are_recorded_fails_that_object_only",
    (
        "movers/s5cmd/s5cmd_mover.py",
        "_ensure_thread",
    ): "test_what_raises_in_the_thread_of_s5cmd_replaces_the_mover",
    ("hops/destination/senders.py", "_queue"): "test_what_raises_in_a_thread_of_a_unit_ends_the_unit",
    ("hops/source/discovery.py", "start"): "test_what_raises_in_a_thread_of_a_unit_ends_the_unit",
    ("hops/source/staging/committer.py", "_queue_of"): "test_what_raises_in_a_thread_of_a_unit_ends_the_unit",
    ("hops/shutdown.py", "is_in_time"): "test_what_raises_in_a_thread_of_a_unit_ends_the_unit",
    ("running/link.py", "__init__"): "test_what_cannot_be_sent_ends_the_connection_for_both",
    ("running/link.py", "listen"): "test_what_raises_where_a_message_is_taken_is_told",
    ("running/main_thread.py", "_start"): "test_what_raises_in_a_thread_of_a_unit_ends_the_unit",
}
PAST_THE_GUARD = {
    ("inspection/read_back.py", "ThreadPoolExecutor")
}  # a command, which waits for the result, and raises what it raised
THREADS = {"Thread", "Timer", "ThreadPoolExecutor", "ProcessPoolExecutor", "start_new_thread", "Worker"}


class Boom(Exception):
    """What nobody foresaw."""


def boom(*_arguments: object, **_options: object) -> Any:
    raise Boom("boom")


# -- the code -----------------------------------------------------------------------------------------------------


def makers_in(tree: ast.AST) -> Iterator[str]:
    """Ways to start a thread past the guard."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in THREADS:
                yield name
        if isinstance(node, ast.ClassDef):
            yield from (name for base in node.bases if (name := ast.unparse(base).rpartition(".")[2]) in THREADS)


def starts_in(path: Path) -> Iterator[tuple[str, str]]:
    for function in ast.walk(ast.parse(path.read_text())):
        if isinstance(function, ast.FunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("workers.start", ".spawn")):
                    yield _name(path), function.name


def _name(path: Path) -> str:
    """Of a file of the engine: its path there."""
    return path.relative_to(ENGINE).as_posix()


@pytest.mark.parametrize("path", sorted(ENGINE.rglob("*.py")), ids=_name)
def test_only_one_file_starts_threads(path: Path) -> None:
    found = {(_name(path), maker) for maker in makers_in(ast.parse(path.read_text()))} - PAST_THE_GUARD
    assert not found or _name(path) == "core/workers.py", f"{found}: use workers.start, which has a guard"


@pytest.mark.parametrize(
    "code",
    ["threading.Thread(target=f)", "Thread(target=f)", "threading.Timer(1, f)", "class A(threading.Thread):\n    pass"],
)
def test_a_thread_past_the_guard_is_found(code: str) -> None:
    assert list(makers_in(ast.parse(code)))


def test_every_start_of_a_thread_has_a_test_in_which_it_raises() -> None:
    found = {start for path in ENGINE.rglob("*.py") if _name(path) != "core/workers.py" for start in starts_in(path)}
    assert found == set(STARTS)
    modules = (
        "core/test_workers.py",
        "movers/test_hand_process.py",
        "movers/test_s5cmd.py",
        "running/test_link.py",
        "volumes/test_disk_calls.py",
    )
    own = {name for module in modules for name in functions_of(module)}
    assert set(STARTS.values()) <= own


def functions_of(name: str) -> list[str]:
    tree = ast.parse((Path(__file__).resolve().parents[1] / name).read_text())
    return [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


# -- units --------------------------------------------------------------------------------------------------------

LARGE = {"mover": {"tool": "s5cmd", "large_object": "1KiB"}}
IN_A_UNIT: list[tuple[str, object, str, dict[str, Any]]] = [
    ("lister", lister.Lister, "_pass", {}),
    ("finisher", arrivals.Arrivals, "_finish", {}),
    ("large finisher", arrivals.Arrivals, "_finish", LARGE),
    ("committer", committer.VolumeCommitter, "commit", {}),
    ("committer of large objects", committer.VolumeCommitter, "commit", LARGE),
    ("prover", sent_uploads.SentUploads, "prove", {}),
    ("large prover", sent_uploads.SentUploads, "prove", LARGE),
    ("releaser", releases.Releases, "release", {}),
    ("sender", readiness.Readiness, "is_ready", {}),
    ("scanner", drop_scan.DropScan, "run", {"volumes": None}),
    ("left uploads", destination_unit, "abort_left_uploads", {}),
    ("source feeder", placing.Placing, "place", {}),
    ("destination feeder", sending.SendTurn, "take", {}),
    ("who takes fetched objects", arrivals.Arrivals, "receive", {}),
    ("who takes sent objects", deliveries.Deliveries, "receive", {}),
    ("probe", endpoint.Endpoint, "probe", {}),
    ("end of a unit", unit.Unit, "join", {}),
]


@pytest.mark.parametrize(("where", "name", "changes"), [case[1:] for case in IN_A_UNIT], ids=[c[0] for c in IN_A_UNIT])
def test_what_raises_in_a_thread_of_a_unit_ends_the_unit(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, where: object, name: str, changes: dict[str, Any]
) -> None:
    """With its error, and the run's row is closed: nobody waits for a thread that is no more."""
    rig.changes = changes
    if "volumes" in changes:
        drops = [{"name": "one", "path": str(rig.folder / "one"), "require_mount": False, "drop_folder": "drop"}]
        rig.changes = {"volumes": drops}
    for number in range(4):
        rig.source.put(f"object-{number}", bytes([number]) * 2000)
    monkeypatch.setattr(where, name, boom)
    with pytest.raises(Boom):
        rig.start().join()
    ledger = rig.ledger
    assert list(ledger.database.stream("SELECT id FROM runs WHERE ended_ms IS NULL")) == []
    ledger.close()
    monkeypatch.undo()


LOSERS: list[tuple[str, object, str, dict[str, Any]]] = [
    ("finisher", arrivals.Arrivals, "_finish", {}),
    ("large finisher", arrivals.Arrivals, "_finish", LARGE),
    ("who takes fetched objects", arrivals.Arrivals, "receive", {}),
    ("committer", committer.Committer, "add", {}),
    ("sender", senders.Uploads, "_hand_over", {}),
    ("who takes sent objects", deliveries.Deliveries, "_put", {}),
    ("prover", commits.Commits, "commit", {}),
]


@pytest.mark.parametrize(("where", "name", "changes"), [case[1:] for case in LOSERS], ids=[case[0] for case in LOSERS])
def test_an_object_that_nobody_has_any_more_ends_the_unit(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, where: object, name: str, changes: dict[str, Any]
) -> None:
    """Else it would never be moved, while its unit looks alive; the next run moves it."""
    rig.changes = changes
    rig.source.put("object", b"x" * 2000)
    with monkeypatch.context() as patch:
        patch.setattr(where, name, lambda *_arguments, **_options: None)
        patch.setattr(flight, "_LOST_SECONDS", 0.1)
        with pytest.raises(LocalError, match="'object' is in flight, but no thread has it"):
            rig.start(until="forever").join()
    rig.run()
    rig.assert_delivered()


def test_what_is_on_its_way_for_long_is_not_lost(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a mover, in a finisher, with a prober: whoever has it, and however long."""
    monkeypatch.setattr(flight, "_LOST_SECONDS", 0.0)
    for number in range(50):
        rig.source.put(f"object-{number}", bytes(2000))
    rig.source.before = rig.destination.before = lambda _operation, _key: threading.Event().wait(0.02)
    rig.run()
    rig.assert_delivered()


# -- movers -------------------------------------------------------------------------------------------------------

BUCKET, SMALL_SIZE, LARGE_SIZE = "bucket", 1000, 6 * MIB


class Moving:
    """A native mover between a folder and a store."""

    def __init__(self, folder: Path, server: Any, direction: str) -> None:
        self.folder = folder
        self.direction = direction
        self.outcomes: dict[str, Outcome] = {}
        self.errors: list[BaseException] = []
        self.keys: list[str] = []
        given = server.job_side(BUCKET, server.credentials_file(folder / "credentials"))
        store = Store(**{name: value for name, value in given.items() if name != "credentials_file"})
        settings = MoverSettings(
            large_object=2 * MIB, part_size=5 * MIB, large_workers=1, part_concurrency=1, workers=1
        )
        self.mover = NativeMover(
            store,
            server.url,
            credentials.load(folder / "credentials"),
            settings,
            direction=direction,
            on_outcome=self._receive,
            on_error=self.errors.append,
        )

    def _receive(self, outcome: Outcome) -> None:
        key = self.keys[outcome.id]
        assert key not in self.outcomes, "a second outcome"
        self.outcomes[key] = outcome

    def move(self, key: str, size: int) -> Outcome:
        number, path = len(self.keys), self.folder / key
        self.keys.append(key)
        if self.direction == "fetch":
            self.mover.submit(Fetch(number, key, size, str(path)))
        else:
            path.write_bytes(bytes(size))
            self.mover.submit(Send(number, key, size, str(path), 5 * MIB if size > MIB else 0, ""))
        wait_until(lambda: key in self.outcomes)
        return self.outcomes[key]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with start(tmp_path_factory.mktemp("store"), buckets=(BUCKET,)) as running:
        for size in (SMALL_SIZE, LARGE_SIZE):
            for name in ("bad", "good", "better"):
                running.put(BUCKET, f"{name}-{size}", bytes(size))
        yield running


@pytest.fixture
def moving(tmp_path: Path, server: Any) -> Iterator[Callable[[str], Moving]]:
    made: list[Moving] = []

    def make(direction: str) -> Moving:
        made.append(Moving(tmp_path, server, direction))
        return made[-1]

    yield make
    for each in made:
        each.mover.close()


IN_A_MOVER: list[tuple[str, str, int, object, str]] = [
    ("small fetch begins", "fetch", SMALL_SIZE, downloads.Get, "begin"),
    ("small fetch ends", "fetch", SMALL_SIZE, downloads.Get, "end"),
    ("small send begins", "send", SMALL_SIZE, uploads.Put, "begin"),
    ("small send ends", "send", SMALL_SIZE, uploads.Put, "end"),
    ("small connections", "fetch", SMALL_SIZE, lane_crew.LaneCrew, "__init__"),
    ("small handles", "fetch", SMALL_SIZE, lanes.Kit, "prepare"),
    ("small turn", "fetch", SMALL_SIZE, small_lane.SmallLane, "_turn"),
    ("large fetch begins", "fetch", LARGE_SIZE, downloads.Get, "begin"),
    ("large fetch ends", "fetch", LARGE_SIZE, downloads.Get, "end"),
    ("large part", "send", LARGE_SIZE, uploads.Put, "begin"),
    ("large complete", "send", LARGE_SIZE, upload.LargeSend, "_complete"),
    ("large handles", "fetch", LARGE_SIZE, lanes.Kit, "prepare"),
    ("large turn", "fetch", LARGE_SIZE, stream_lane.Stream, "_drive"),
    ("large memory", "fetch", LARGE_SIZE, parts.NoMemory, "settle"),
    ("large fetch told", "fetch", LARGE_SIZE, large.LargeFetch, "_finish"),
    ("large send told", "send", LARGE_SIZE, upload.LargeSend, "_finish"),
]


@pytest.mark.parametrize(
    ("direction", "size", "where", "name"), [case[1:] for case in IN_A_MOVER], ids=[case[0] for case in IN_A_MOVER]
)
def test_what_raises_in_a_mover_fails_that_object_only(
    moving: Callable[[str], Moving],
    monkeypatch: pytest.MonkeyPatch,
    direction: str,
    size: int,
    where: object,
    name: str,
) -> None:
    """It is told with its reason, and the lane carries the next ones."""
    mover = moving(direction)
    with monkeypatch.context() as patch:
        patch.setattr(where, name, boom)
        outcome = mover.move(f"bad-{size}", size)
    assert not outcome.ok
    assert "boom" in outcome.message
    for key in (f"good-{size}", f"better-{size}"):
        assert mover.move(key, size).ok, mover.outcomes[key]
    assert mover.errors == []


def test_a_lane_that_failed_blames_no_object(moving: Callable[[str], Moving], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_lane.SmallLane, "_turn", boom)
    assert moving("fetch").move(f"bad-{SMALL_SIZE}", SMALL_SIZE).trouble is Trouble.UNKNOWN


def make_pool(rig: Rig, outcomes: list[Outcome], direction: str) -> EndpointPool:
    job = rig.job
    side, store = ("source", job.source) if direction == "fetch" else ("destination", job.destination)
    return EndpointPool(store, for_side(job, side), job.mover, direction=direction, on_outcomes=outcomes.extend)


@pytest.mark.parametrize("name", ["fetch", "send", "damage_of"])
def test_what_raises_beside_the_mover_fails_that_object_only(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """In boto3's threads, where s5cmd's files are looked at too: more objects fail than there are threads."""
    outcomes: list[Outcome] = []
    direction = "fetch" if name == "fetch" else "send"
    pool = make_pool(rig, outcomes, direction)
    path = rig.folder / "file"
    path.write_bytes(b"x" if name == "damage_of" else b"")
    rig.source.put("empty", b"")

    def submit(number: int) -> None:
        size = path.stat().st_size  # s5cmd cannot be told of empty ones
        work = (
            Fetch(number, "empty", 0, str(path))
            if direction == "fetch"
            else Send(number, "key", size, str(path), 0, "")
        )
        pool.transfers.submit(pool.endpoints[0], pool.transfers.choose_tool(work), work)

    with monkeypatch.context() as patch:
        patch.setattr(*((dispatch, name) if name == "damage_of" else (FakeControl, name)), boom)
        for number in range(5):
            submit(number)
        wait_until(lambda: len(outcomes) == 5)
    assert {(outcome.trouble, outcome.message) for outcome in outcomes} == {(Trouble.OTHER, "Boom: boom")}
    submit(5)
    wait_until(lambda: len(outcomes) == 6)
    assert outcomes[-1].ok
    assert pool.refusal is None
    pool.transfers.close()


def test_a_mover_that_failed_is_replaced(rig: Rig) -> None:
    outcomes: list[Outcome] = []
    pool = make_pool(rig, outcomes, "fetch")
    rig.source.put("a", b"a")
    for number in (1, 2):
        pool.transfers.submit(pool.endpoints[0], S5CMD, Fetch(number, "a", 1, str(rig.folder / str(number))))
        wait_until(lambda number=number: len(outcomes) == number)  # type: ignore[misc]  # a default binds it
        FakeMover.made[-1].close()
    assert all(outcome.ok for outcome in outcomes)
    pool.transfers.close()


class FewPieces:
    """A ledger of parts that has none."""

    def keep_pieces(self, *_values: object) -> None:
        return


def test_what_raises_while_parts_are_recorded_fails_that_object_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = PartKeeper(FewPieces())  # type: ignore[arg-type]  # all that is asked of it here
    path = tmp_path / "file"
    path.write_bytes(b"x")
    works = [Fetch(number, "key", 1, str(path), "etag", 1, 1) for number in (1, 2)]
    with monkeypatch.context() as patch:
        patch.setattr(part_memory, "sync_file", boom)
        keeper.keep_fetched(works[0], Piece(0, 1, 0, (b"x" * 16,)))
        with pytest.raises(Boom):
            keeper.settle(works[0])
    keeper.keep_fetched(works[1], Piece(0, 1, 0, (b"x" * 16,)))
    keeper.settle(works[1])
    assert keeper.progressed(2) and not keeper.progressed(1)


# -- one that stands still ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("doing", "seconds", "stands"),
    [
        (Doing.IDLE, 1e6, False),  # nothing to do
        (Doing.WORKS, 89, False),
        (Doing.WORKS, 90, True),
        (Doing.ASKS, 90, False),  # boto3 asks three times, a minute each, and tells nothing meanwhile
        (Doing.ASKS, 899, False),
        (Doing.ASKS, 900, True),
        (Doing.MEDIUM, 90, False),  # an fsync behind gigabytes of other writes
        (Doing.MEDIUM, 1e6, False),  # a disk that is dead: a restart would not bring it back
    ],
)
def test_who_stands_still(doing: Doing, seconds: float, stands: bool) -> None:
    assert stands_still(Look("lane", doing, seconds), 90) is stands


def test_a_client_is_given_the_patience_of_the_job() -> None:
    assert not stands_still(Look("lane", Doing.ASKS, 1100), 1200)
    assert stands_still(Look("lane", Doing.ASKS, 1200), 1200)


def looked_at(name: str) -> Look:
    return next(look for look in workers.looks(time.monotonic()) if look.name == name)


class Held:
    """Something that does not come back until it is let go."""

    def __init__(self) -> None:
        self.reached, self.free = threading.Event(), threading.Event()

    def __call__(self, *_arguments: object, **_options: object) -> Any:
        self.reached.set()
        assert self.free.wait(60)
        raise Boom("boom")


@pytest.mark.parametrize(
    ("size", "name", "where", "attribute", "doing"),
    [
        (SMALL_SIZE, "native-fetch-0", downloads.Get, "end", Doing.WORKS),
        (SMALL_SIZE, "native-fetch-0", os, "pwrite", Doing.MEDIUM),
        (LARGE_SIZE, "native-fetch-large-0", downloads.Get, "end", Doing.WORKS),
        (LARGE_SIZE, "native-fetch-large-0", os, "pwrite", Doing.MEDIUM),
    ],
)
def test_a_lane_says_what_it_stands_at(
    moving: Callable[[str], Moving],
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    name: str,
    where: object,
    attribute: str,
    doing: Doing,
) -> None:
    mover, held = moving("fetch"), Held()
    assert mover.move(f"good-{size}", size).ok
    wait_until(lambda: looked_at(name).doing is Doing.IDLE)
    with monkeypatch.context() as patch:
        patch.setattr(where, attribute, held)
        mover.keys.append("bad")
        mover.mover.submit(Fetch(1, f"bad-{size}", size, str(mover.folder / "bad")))
        assert held.reached.wait(30)
        first = looked_at(name)
        wait_until(lambda: looked_at(name).seconds > first.seconds + 0.1)
        assert looked_at(name).doing is doing
        held.free.set()
        wait_until(lambda: "bad" in mover.outcomes)
    wait_until(lambda: looked_at(name).doing is Doing.IDLE)


def test_a_lane_that_waits_for_a_slow_store_gets_on(moving: Callable[[str], Moving], server: Any) -> None:
    """The store says nothing for a while: it is libcurl's to give up, and the lane looks at it all the time."""
    server.set_fault("stall", operation="GetObject", key=f"bad-{LARGE_SIZE}", where="headers", seconds=2.5)
    mover = moving("fetch")
    mover.keys.append("bad")
    mover.mover.submit(Fetch(0, f"bad-{LARGE_SIZE}", LARGE_SIZE, str(mover.folder / "bad")))
    longest = 0.0
    while "bad" not in mover.outcomes:
        longest = max(longest, looked_at("native-fetch-large-0").seconds)
        threading.Event().wait(0.05)
    assert mover.outcomes["bad"].ok
    assert longest < 2.0, "it turned while the store said nothing"
    server.clear_faults()


# -- broken off ---------------------------------------------------------------------------------------------------


def test_a_worker_ends_in_order_when_what_it_does_is_to_end() -> None:
    stop, errors, turns = Stop(), [], threading.Event()

    def work() -> None:
        while True:
            workers.beat()
            turns.set()

    worker = workers.start(work, "worker", errors.append, stop.is_set)
    assert turns.wait(30)
    stop.set()
    worker.join(30)
    assert not worker.is_alive()
    assert errors == []


def test_what_raises_reaches_the_guard() -> None:
    errors: list[BaseException] = []
    for error in (Boom("boom"), SystemExit(1), KeyboardInterrupt()):

        def work(error: BaseException = error) -> None:
            raise error

        workers.start(work, "worker", errors.append).join(30)
    assert [type(error) for error in errors] == [Boom, SystemExit, KeyboardInterrupt]


def test_a_stop_is_overdue_after_its_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    stop = Stop()
    assert not stop.is_overdue() and stop.seconds < 0
    stop.set()
    clock[0] += workers.GRACE_SECONDS - 1
    stop.set()
    assert not stop.is_overdue()
    clock[0] += 1
    assert stop.is_overdue(), "the first word counts"


def test_a_worker_says_what_it_does_and_since_when(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("snowsync.core.workers.time.monotonic", lambda: clock[0])
    seen: list[tuple[Doing, float]] = []
    errors: list[BaseException] = []

    def look() -> None:
        worker = threading.current_thread()
        assert isinstance(worker, Worker)
        seen.append((worker.doing, worker.since))
        clock[0] += 1

    def work() -> None:
        look()
        workers.beat()
        look()
        with workers.at_medium():
            look()
            workers.beat()
            look()
            with workers.asking():
                look()
            look()
        look()
        workers.idle()
        look()

    workers.start(work, "worker", errors.append).join(30)
    assert errors == []
    expected = ["IDLE", "WORKS", "MEDIUM", "MEDIUM", "ASKS", "MEDIUM", "WORKS", "IDLE"]
    assert seen == [(Doing[name], float(number)) for number, name in enumerate(expected)]


def test_nothing_is_said_by_a_thread_that_is_no_worker() -> None:
    workers.beat()
    workers.idle()
    with workers.at_medium(), workers.asking():
        assert not workers.is_over()
    assert not isinstance(threading.current_thread(), Worker)
    assert issubclass(BrokenOff, Exception)


class Endless:
    """Files that never end, once `begin` was called: whoever hashes one hashes for ever."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached = threading.Event()
        self._begun = False
        self._readv = os.readv
        monkeypatch.setattr(etag, "_BLOCK", 16)
        monkeypatch.setattr(os, "readv", self._read)

    def begin(self) -> None:
        self._begun = True

    def _read(self, descriptor: int, buffers: list[memoryview]) -> int:
        if not self._begun:
            return self._readv(descriptor, buffers)
        self.reached.set()
        return len(buffers[0])


@pytest.mark.parametrize("hop", ["source", "destination"])
def test_a_stop_breaks_off_what_is_hashed(rig: Rig, monkeypatch: pytest.MonkeyPatch, hop: str) -> None:
    """What arrived, and what is looked at before it is sent; nothing is blamed, and the next run goes on."""
    monkeypatch.setattr(workers, "GRACE_SECONDS", 0.2)
    endless = Endless(monkeypatch)
    rig.changes = {"reread": "always"}
    rig.source.put("object", b"object" * 10)
    if hop == "destination":
        rig.run(direction="source")
    endless.begin()
    running = rig.start(until="forever", direction=hop)
    assert endless.reached.wait(60)
    running.stop()
    assert rig.failures() == []
    monkeypatch.undo()
    install(monkeypatch, rig)
    rig.run()
    rig.assert_delivered()


def test_a_stop_breaks_off_a_look_through_a_volume_without_end(ledger: Ledger) -> None:
    """An older copy of a ledger looks for newer files than it knows: what it has seen a part of counts as not seen."""
    volume: Any = SimpleNamespace(staged_files=lambda: itertools.repeat("no name of the engine's"))
    seen: list[set[str]] = []
    looking = workers.start(
        lambda: seen.append(adoption.overtaken(ledger, volume, lambda: None)),
        "looking",
        workers.tell,
        lambda: True,
    )
    looking.join(30)
    assert (looking.is_alive(), seen) == (False, [])
