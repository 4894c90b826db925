# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The s5cmd mover with the real s5cmd, against a real store and against an endpoint that fails as told."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fault_server as faults
import pytest
from fault_server import FaultServer
from servers import Servers
from servers import Store as RunningStore
from servers.client import s3_client

from snowsync.config import credentials
from snowsync.config.job_file import MoverSettings, Store
from snowsync.core.errors import Trouble
from snowsync.core.header_text import dump_headers
from snowsync.core.model import MIB, Fetch, Headers, Outcome, Send
from snowsync.movers.s5cmd.s5cmd_mover import S5cmdMover

BUCKET = "bucket"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a filesystem needs root")

# rclone keeps keys as files: none that ends in a slash, has an empty component or a dot for one, or clashes.
KEYS = [
    "plain",
    "dir/with/parents",
    " lead",
    "two  spaces ",
    "it's",
    'say "x"',
    "`id` $(id)",
    "a;b&c|d",
    "*",
    "what?",
    "#first",
    "[ab]{c,d}",
    "back\\slash",
    "\x01\x7f",
    "nbsp\xa0",
    "e\u0301",
    "\xe9",
    "\U0001f600",
    "Case",
    "case",
    "-x",
    "--raw",
    "s3:/in/key",
    "%41+%2F",
    "<&>",
    "long/" + "x" * 200,
]


class Rig:
    """A mover at work in a folder that it reaches through a descriptor only."""

    def __init__(self, folder: Path, store: Store, credentials_file: Path, direction: str, **settings: Any) -> None:
        self.folder = folder
        self.descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        self.outcomes: dict[int, Outcome] = {}
        self._changed = threading.Condition()
        self.mover = S5cmdMover(
            store,
            store.endpoints[0],
            credentials.load(credentials_file),
            MoverSettings(**({"retries": 0} | settings)),
            direction=direction,
            pass_fds=[self.descriptor],
            on_outcome=self._receive,
        )

    def _receive(self, outcome: Outcome) -> None:
        with self._changed:
            assert outcome.id not in self.outcomes, "a second outcome"
            self.outcomes[outcome.id] = outcome
            self._changed.notify_all()

    def path(self, number: int) -> str:
        return f"/proc/self/fd/{self.descriptor}/{number}.part"

    def file(self, number: int) -> Path:
        return self.folder / f"{number}.part"

    def fetch(self, number: int, key: str, size: int) -> None:
        self.mover.submit(Fetch(number, key, size, self.path(number)))

    def send(self, number: int, key: str, size: int, part_size: int = 0, headers: Headers | None = None) -> None:
        self.mover.submit(Send(number, key, size, self.path(number), part_size, dump_headers(headers or Headers())))

    def wait(self, count: int) -> dict[int, Outcome]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.outcomes) >= count, 120), self.outcomes
        return self.outcomes

    def end(self) -> None:
        self.mover.close()
        os.close(self.descriptor)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


@pytest.fixture
def credentials_file(tmp_path: Path) -> Path:
    path = tmp_path / "credentials"
    path.touch(mode=0o600)
    path.write_text("[default]\naws_access_key_id = AKIDOPEN\naws_secret_access_key = the-secret\n")
    return path


@pytest.fixture
def rig(tmp_path: Path, server: FaultServer, credentials_file: Path) -> Iterator[Callable[..., Rig]]:
    """Makes rigs: `rig("fetch", **mover_settings)`, at the fault server unless `url` says otherwise."""
    made: list[Rig] = []

    def make(direction: str, folder: Path | None = None, url: str = "", **settings: Any) -> Rig:
        place = folder or tmp_path / f"volume{len(made)}"
        place.mkdir(exist_ok=True)
        store = Store(bucket=BUCKET, endpoints=(url or server.url,))
        made.append(Rig(place, store, credentials_file, direction, **settings))
        return made[-1]

    yield make
    for each in made:
        each.end()


# --- against a real store


@pytest.fixture(params=["rclone-http", "rclone-https"])
def real(request: pytest.FixtureRequest, servers: Servers) -> RunningStore:
    return servers.store(request.param)


def real_rig(real: RunningStore, folder: Path, direction: str, bucket: str, **settings: Any) -> Rig:
    store = Store(bucket=bucket, endpoints=(real.url,), region=real.region, ca_bundle=real.ca_bundle)
    folder.mkdir()
    return Rig(folder, store, Path(real.credentials_file), direction, **settings)


def test_objects_travel_there_and_back(real: RunningStore, tmp_path: Path) -> None:
    """Sent by one mover, looked at with boto3, fetched by another; small and large lanes, one PUT and many parts."""
    client = s3_client(real)
    client.create_bucket(Bucket="travel")
    bodies = {key: os.urandom(4096) + key.encode() for key in KEYS}
    bodies |= {"large/one-put": os.urandom(3 * MIB), "large/parts": os.urandom(12 * MIB + 1)}
    headers = Headers(content_type="text/plain", cache_control="a,  b", metadata={"some-name": "x=y,  z", "empty": ""})
    sender = real_rig(real, tmp_path / "out", "send", "travel", large_object=MIB)
    for number, (key, body) in enumerate(bodies.items()):
        sender.file(number).write_bytes(body)
        sender.send(number, key, len(body), 5 * MIB if key == "large/parts" else 0, headers)
    sent = sender.wait(len(bodies))
    sender.end()
    assert {outcome for outcome in sent.values() if not outcome.ok} == set()
    for key, body in bodies.items():
        assert client.get_object(Bucket="travel", Key=key)["Body"].read() == body, key

    for concurrency in (1, 3):
        settings = {"large_object": MIB, "part_size": 5 * MIB, "part_concurrency": concurrency}
        fetcher = real_rig(real, tmp_path / f"in{concurrency}", "fetch", "travel", **settings)
        for number, (key, body) in enumerate(bodies.items()):
            fetcher.fetch(number, key, len(body))
        fetched = fetcher.wait(len(bodies))
        fetcher.end()
        assert {outcome for outcome in fetched.values() if not outcome.ok} == set()
        assert [fetcher.file(number).read_bytes() for number in range(len(bodies))] == list(bodies.values())
        assert fetcher.mover.cpu_seconds > 0


def test_what_is_wrong_with_a_real_store_has_its_word(
    servers: Servers, tmp_path: Path, rig: Callable[..., Rig]
) -> None:
    plain, secure = servers.store("rclone-http"), servers.store("rclone-https")
    client = s3_client(plain)
    client.create_bucket(Bucket="words")

    def trouble(store: Store, credentials_file: str | Path) -> Trouble | None:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        one = Rig(folder, store, Path(credentials_file), "fetch")
        one.fetch(1, "absent", 10)
        outcome = one.wait(1)[1]
        one.end()
        return outcome.trouble

    wrong = tmp_path / "wrong"
    wrong.touch(mode=0o600)
    wrong.write_text(f"[default]\naws_access_key_id = {plain.access_key}\naws_secret_access_key = wrong\n")
    good = plain.credentials_file
    assert trouble(Store(bucket="words", endpoints=(plain.url,)), good) is Trouble.NOT_FOUND
    assert trouble(Store(bucket="no-such-bucket", endpoints=(plain.url,)), good) is Trouble.BUCKET
    assert trouble(Store(bucket="words", endpoints=(plain.url,)), wrong) is Trouble.CREDENTIAL
    assert trouble(Store(bucket="words", endpoints=(secure.url,)), good) is Trouble.TLS, "an unknown CA"
    https_to_http = plain.url.replace("http:", "https:")
    assert trouble(Store(bucket="words", endpoints=(https_to_http,)), good) is Trouble.TLS, "no TLS there"
    assert trouble(Store(bucket="words", endpoints=("http://127.0.0.1:1",)), good) is Trouble.REFUSED
    assert trouble(Store(bucket="words", endpoints=("http://nohost.invalid",)), good) is Trouble.DNS


# --- what is sent


def test_headers_and_parts_arrive_as_they_were_ordered(server: FaultServer, rig: Callable[..., Rig]) -> None:
    sender = rig("send", part_concurrency=2)
    everything = Headers(
        content_type="text/plain; charset=utf-8",
        cache_control="max-age=1, public",
        content_encoding="gzip",
        content_disposition='attachment; filename="a b"',
        expires="Tue, 01 Oct 2024 20:30:00 GMT",
        metadata={"some-name": "x=y, z", "other_name": "-q '\"\\ $(id)", "empty": ""},
    )
    page = b"<html><body>hello</body></html>"
    sizes = {1: len(page), 2: 10, 3: 21 * MIB, 4: 16 * MIB}
    sender.file(1).write_bytes(page)
    for number in (2, 3, 4):
        sender.file(number).write_bytes(b"x" * sizes[number])
    sender.send(1, "untyped", sizes[1])
    sender.send(2, "all", sizes[2], 0, everything)
    sender.send(3, "parts", sizes[3], 8 * MIB, everything)
    sender.send(4, "one put", sizes[4])
    outcomes = sender.wait(4)
    assert {number: outcome.trouble for number, outcome in outcomes.items()} == dict.fromkeys(sizes, None)
    assert server.objects["untyped"].headers["content-type"] == "binary/octet-stream", "no guess from the bytes"
    for key in ("all", "parts"):
        arrived = server.objects[key].headers
        names = ("content-type", "cache-control", "content-encoding", "content-disposition", "expires")
        assert [arrived[name] for name in names] == [
            "text/plain; charset=utf-8",
            "max-age=1, public",
            "gzip",
            'attachment; filename="a b"',
            "Tue, 01 Oct 2024 20:30:00 GMT",
        ]
        assert {name: text for name, text in arrived.items() if name.startswith("x-amz-meta-")} == {
            f"x-amz-meta-{name}": text for name, text in everything.metadata.items()
        }
    assert server.objects["parts"].parts == [8 * MIB, 8 * MIB, 5 * MIB]
    assert server.objects["one put"].parts == []


def test_a_fetch_is_one_ranged_get(server: FaultServer, rig: Callable[..., Rig]) -> None:
    server.objects["large"] = faults.Stored(b"x" * (80 * MIB))
    fetcher = rig("fetch", part_concurrency=1)
    fetcher.fetch(1, "large", 80 * MIB)
    assert fetcher.wait(1)[1].ok
    assert [request.headers.get("range") for request in server.asked("large") if request.method == "GET"] == [
        f"bytes=0-{80 * MIB - 1}"
    ]


def test_many_workers_are_several_processes(server: FaultServer, rig: Callable[..., Rig]) -> None:
    fetcher = rig("fetch", workers=40)
    for number in range(60):
        server.faults[f"k{number}"] = faults.trickle(0.2)
        fetcher.fetch(number, f"k{number}", 1000)
    assert len(fetcher.mover.pids) == 2
    assert all(outcome.ok for outcome in fetcher.wait(60).values())


# --- what is wrong

FAULTS: dict[str, tuple[faults.Fault, Trouble | None, Trouble | None]] = {
    "no-bucket": (faults.refusing(404, "NoSuchBucket"), Trouble.BUCKET, Trouble.BUCKET),
    "no-key": (faults.refusing(404, "NoSuchKey"), Trouble.NOT_FOUND, Trouble.NOT_FOUND),
    "denied": (faults.refusing(403, "AccessDenied"), Trouble.DENIED, Trouble.DENIED),
    "signature": (faults.refusing(403, "SignatureDoesNotMatch"), Trouble.CREDENTIAL, Trouble.CREDENTIAL),
    "access-key": (faults.refusing(403, "InvalidAccessKeyId"), Trouble.CREDENTIAL, Trouble.CREDENTIAL),
    "expired": (faults.refusing(400, "ExpiredToken"), Trouble.CREDENTIAL, Trouble.CREDENTIAL),
    "skewed": (faults.refusing(403, "RequestTimeTooSkewed"), Trouble.SERVER, Trouble.SERVER),
    "slow-down": (faults.refusing(503, "SlowDown"), Trouble.THROTTLED, Trouble.THROTTLED),
    "internal": (faults.refusing(500, "InternalError"), Trouble.SERVER, Trouble.SERVER),
    "full": (faults.refusing(507, "InsufficientStorage"), Trouble.FULL, Trouble.FULL),
    "digest": (faults.refusing(400, "BadDigest"), Trouble.MISMATCH, Trouble.MISMATCH),
    "moved": (faults.refusing(301, "PermanentRedirect"), Trouble.BUCKET, Trouble.BUCKET),
    "region": (faults.refusing(400, "AuthorizationHeaderMalformed"), Trouble.CREDENTIAL, Trouble.CREDENTIAL),
    "archived": (faults.refusing(403, "InvalidObjectState"), Trouble.UNSUPPORTED, Trouble.UNSUPPORTED),
    "not-built": (faults.refusing(501, "NotImplemented"), Trouble.UNSUPPORTED, Trouble.UNSUPPORTED),
    "bare-403": (faults.refusing(403), Trouble.DENIED, Trouble.DENIED),
    "bare-404": (faults.refusing(404), Trouble.NOT_FOUND, Trouble.NOT_FOUND),
    "bare-429": (faults.refusing(429), Trouble.THROTTLED, Trouble.THROTTLED),
    "bare-500": (faults.refusing(500), Trouble.SERVER, Trouble.SERVER),
    "bare-503": (faults.refusing(503), Trouble.THROTTLED, Trouble.THROTTLED),
    "page-403": (faults.page(403), Trouble.SERVER, Trouble.SERVER),
    "page-503": (faults.page(503), Trouble.THROTTLED, Trouble.THROTTLED),
    # s5cmd calls these three a success: an empty file, a file that holds the page, an upload nobody has.
    "bare-416": (faults.refusing(416), Trouble.MISMATCH, Trouble.CHANGED),
    "page-200": (faults.page(200), Trouble.MISMATCH, None),
    "hang-up": (faults.hang_up, Trouble.BROKEN, Trouble.BROKEN),
    "cut-off": (faults.cut_off(reset=False), Trouble.BROKEN, None),
    "reset": (faults.cut_off(reset=True), Trouble.BROKEN, None),
}


def test_every_fault_has_its_word(server: FaultServer, rig: Callable[..., Rig]) -> None:
    server.faults = {key: fault for key, (fault, _, _) in FAULTS.items()}
    fetcher, sender = rig("fetch"), rig("send")
    for number, key in enumerate(FAULTS):
        fetcher.fetch(number, key, 1000)
        sender.file(number).write_bytes(b"x" * 1000)
        sender.send(number, key, 1000)
    fetched, sent = fetcher.wait(len(FAULTS)), sender.wait(len(FAULTS))
    assert {key: (fetched[number].trouble, sent[number].trouble) for number, key in enumerate(FAULTS)} == {
        key: (of_fetch, of_send) for key, (_, of_fetch, of_send) in FAULTS.items()
    }
    assert len(fetcher.mover.pids) == 1, "none of it ended the process"
    assert [path.name for path in fetcher.folder.iterdir() if not path.name.endswith(".part")] == []


def test_an_error_in_a_later_part_is_the_stores(server: FaultServer, rig: Callable[..., Rig]) -> None:
    async def refuse_second_part(request: faults.Request) -> bool:
        return request.query.get("partNumber") == "2" and await faults.refusing(503, "SlowDown")(request)

    async def forget_upload(request: faults.Request) -> bool:
        return (
            "uploadId" in request.query
            and request.method == "POST"
            and await faults.refusing(404, "NoSuchUpload")(request)
        )

    server.faults = {"part": refuse_second_part, "complete": forget_upload}
    sender = rig("send")
    for number, key in enumerate(server.faults):
        sender.file(number).write_bytes(b"x" * (6 * MIB))
        sender.send(number, key, 6 * MIB, 5 * MIB)
    outcomes = sender.wait(2)
    assert [outcomes[number].trouble for number in (0, 1)] == [Trouble.THROTTLED, Trouble.UNKNOWN]


def test_an_object_of_another_size_is_no_success(server: FaultServer, rig: Callable[..., Rig]) -> None:
    server.objects["grown"] = faults.Stored(b"x" * 2000)
    fetcher = rig("fetch")
    fetcher.fetch(1, "grown", 1000)
    assert fetcher.wait(1)[1] == Outcome(1, Trouble.MISMATCH, "s5cmd moved 2000 bytes, 1000 were expected")


def test_a_file_that_is_not_there_is_the_volumes_fault(server: FaultServer, rig: Callable[..., Rig]) -> None:
    sender = rig("send")
    sender.send(1, "k", 10, 0, Headers(metadata={"a": "b", "c": f"d {sender.path(2)} s3://{BUCKET}/k"}))
    outcome = sender.wait(1)[1]
    assert outcome.trouble is Trouble.IO
    assert outcome.message == f"given object {sender.path(1)} not found"


# --- what is stuck


def test_stalled_fetches_are_found_and_moving_ones_are_left_alone(server: FaultServer, rig: Callable[..., Rig]) -> None:
    server.objects |= {"good": faults.Stored(b"x" * 1000), "silent": faults.Stored(b"x" * 1000)}
    server.faults = {"silent": faults.say_nothing, "stalled": faults.stall_in_body, "slow": faults.trickle(8.0)}
    fetcher = rig("fetch", stall_seconds=2.0)
    for number, key in enumerate(["silent", "stalled", "slow", "good"]):
        fetcher.fetch(number, key, 1000)
    outcomes = fetcher.wait(4)
    assert [outcomes[number].trouble for number in range(4)] == [
        Trouble.TIMEOUT,
        Trouble.TIMEOUT,
        Trouble.UNKNOWN,
        None,
    ]
    assert outcomes[0].message == "no progress for 2 s"
    assert [path.name for path in fetcher.folder.iterdir()] == ["3.part"], "s5cmd took its temporary files away"
    fetcher.fetch(9, "good", 1000)
    assert fetcher.wait(5)[9].ok, "a new process goes on"


def test_a_fetch_that_is_slow_but_moves_is_not_stopped(server: FaultServer, rig: Callable[..., Rig]) -> None:
    server.faults = {"slow": faults.trickle(4.0)}
    fetcher = rig("fetch", stall_seconds=1.5)
    fetcher.fetch(1, "slow", 1000)
    assert fetcher.wait(1)[1].ok


def test_a_stalled_upload_is_found(server: FaultServer, rig: Callable[..., Rig]) -> None:
    server.faults = {"stalled": faults.stall_in_body}
    sender = rig("send", stall_seconds=1.0, answer_seconds=1.0)
    sender.file(1).write_bytes(b"x" * (8 * MIB))
    sender.send(1, "stalled", 8 * MIB)
    assert sender.wait(1)[1].trouble is Trouble.TIMEOUT


def test_an_upload_that_is_slow_but_moves_is_not_stopped(server: FaultServer, rig: Callable[..., Rig]) -> None:
    server.faults = {"slow": faults.trickle(4.0)}
    sender = rig("send", stall_seconds=1.5, answer_seconds=1.5)
    sender.file(1).write_bytes(b"x" * (40 * MIB))  # more than the buffers of a socket take at once
    sender.send(1, "slow", 40 * MIB)
    assert sender.wait(1)[1].ok


def test_an_upload_that_all_others_overtake_is_stuck(server: FaultServer, rig: Callable[..., Rig]) -> None:
    server.faults = {"stalled": faults.stall_in_body}
    sender = rig("send", stall_seconds=1.0, answer_seconds=1.0, workers=2)
    for number in range(2):
        sender.file(number).write_bytes(b"x" * 500_000)
    sender.send(0, "stalled", 500_000)
    number = 0
    while 0 not in sender.outcomes:
        number += 1
        os.link(sender.file(1), sender.file(number)) if number > 1 else None
        sender.send(number, "good", 500_000)
    assert sender.outcomes[0].trouble is Trouble.TIMEOUT
    assert "while others were sent" in sender.outcomes[0].message
    sender.wait(number + 1)


# --- the process


def test_the_process_shows_no_secret_and_ends_with_its_temporary_files(
    server: FaultServer, rig: Callable[..., Rig]
) -> None:
    server.faults = {"stalled": faults.stall_in_body}
    fetcher = rig("fetch")
    for number in range(4):
        fetcher.fetch(number, "stalled", 1000)
    while len(list(fetcher.folder.iterdir())) < 4:
        time.sleep(0.01)
    (process,) = fetcher.mover.pids
    proc = Path(f"/proc/{process}")
    assert os.path.realpath(proc / "exe").endswith("/s5cmd/bin/s5cmd"), "the program itself, no wrapper around it"
    told = (proc / "cmdline").read_bytes() + (proc / "environ").read_bytes()
    assert b"the-secret" not in told and b"AKIDOPEN" not in told
    assert b"--credentials-file" in told
    fetcher.mover.close()
    assert {outcome.trouble for outcome in fetcher.outcomes.values()} == {Trouble.UNKNOWN}
    assert len(fetcher.outcomes) == 4
    assert list(fetcher.folder.iterdir()) == []
    assert not proc.exists()


def test_a_killed_process_is_replaced(server: FaultServer, rig: Callable[..., Rig]) -> None:
    server.objects["good"] = faults.Stored(b"x" * 1000)
    server.faults = {"silent": faults.say_nothing}
    fetcher = rig("fetch")
    fetcher.fetch(1, "silent", 1000)
    os.kill(fetcher.mover.pids[0], signal.SIGKILL)
    assert fetcher.wait(1)[1] == Outcome(1, Trouble.UNKNOWN, "s5cmd ended with signal 9")
    fetcher.fetch(2, "good", 1000)
    assert fetcher.wait(2)[2].ok


def test_no_mover_outlives_its_engine(server: FaultServer, tmp_path: Path, credentials_file: Path) -> None:
    server.faults = {"silent": faults.say_nothing}
    engine = textwrap.dedent(f"""\
        import pathlib, threading, time
        from snowsync.config import credentials
        from snowsync.config.job_file import MoverSettings, Store
        from snowsync.core.model import Fetch
        from snowsync.movers.s5cmd.s5cmd_mover import S5cmdMover
        store = Store(bucket="{BUCKET}", endpoints=("{server.url}",))
        mover = S5cmdMover(store, "{server.url}", credentials.load("{credentials_file}"), MoverSettings(),
                           direction="fetch", pass_fds=[], on_outcome=print)
        # From a thread that ends: the child must not end with it, but with the engine.
        thread = threading.Thread(target=mover.submit, args=[Fetch(1, "silent", 10, "{tmp_path}/x.part")])
        thread.start()
        thread.join()
        time.sleep(0.3)
        print(*mover.pids, flush=True)
        time.sleep(60)
        """)
    with subprocess.Popen([sys.executable, "-c", engine], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        child = Path(f"/proc/{process.stdout.readline().strip()}")
        assert "s5cmd" in os.readlink(child / "exe")
        process.kill()
    gone_by = time.monotonic() + 30
    while child.exists() and time.monotonic() < gone_by:
        time.sleep(0.01)
    assert not child.exists()


# --- the volume


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A small ext4 filesystem of its own."""
    image, mount_point = tmp_path / "image", tmp_path / "volume"
    mount_point.mkdir()
    subprocess.run(["truncate", "--size=24M", image], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, mount_point], check=True)
    (mount_point / "incoming").mkdir()
    yield mount_point
    subprocess.run(["umount", "-l", mount_point], check=False, stderr=subprocess.DEVNULL)


@needs_root
def test_an_unmounted_volume_is_still_the_one_that_is_written(
    server: FaultServer, rig: Callable[..., Rig], volume: Path
) -> None:
    server.objects["good"] = faults.Stored(b"x" * 1000)
    fetcher = rig("fetch", folder=volume / "incoming")
    fetcher.fetch(1, "good", 1000)
    assert fetcher.wait(1)[1].ok
    subprocess.run(["umount", "-l", volume], check=True)
    fetcher.fetch(2, "good", 1000)
    fetcher.mover.submit(Fetch(3, "good", 1000, f"/proc/self/fd/{fetcher.descriptor}/new/folder/3.part"))
    outcomes = fetcher.wait(3)
    assert outcomes[2].ok and outcomes[3].ok
    assert list(volume.iterdir()) == [], "nothing below the mount point"
    assert sorted(os.listdir(f"/proc/self/fd/{fetcher.descriptor}")) == ["1.part", "2.part", "new"]


@needs_root
def test_what_is_wrong_with_a_volume_has_its_word(server: FaultServer, rig: Callable[..., Rig], volume: Path) -> None:
    server.objects |= {"good": faults.Stored(b"x" * 1000), "large": faults.Stored(b"x" * (30 * MIB))}
    fetcher, sender = rig("fetch", folder=volume / "incoming"), rig("send", folder=volume / "incoming")
    fetcher.fetch(1, "large", 30 * MIB)
    assert fetcher.wait(1)[1].trouble is Trouble.SPACE
    assert list(fetcher.folder.iterdir()) == []
    fetcher.file(9).write_bytes(b"x" * 1000)
    subprocess.run(["mount", "-o", "remount,ro", volume], check=True)
    fetcher.fetch(2, "good", 1000)
    assert fetcher.wait(2)[2].trouble is Trouble.READONLY
    subprocess.run(["mount", "-o", "remount,rw", volume], check=True)
    descriptor = os.open(volume, os.O_RDONLY)
    fcntl.ioctl(descriptor, 0x8004587D, struct.pack("I", 2))  # EXT4_IOC_SHUTDOWN: from now on everything is EIO
    os.close(descriptor)
    fetcher.fetch(3, "good", 1000)
    sender.send(9, "k", 1000)
    assert fetcher.wait(3)[3].trouble is Trouble.IO
    assert sender.wait(1)[9].trouble is Trouble.IO
