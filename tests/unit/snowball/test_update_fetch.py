# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Downloading the update: connections and runs that break, links that end, disks that are full, AWS that refuses."""

from __future__ import annotations

import errno
import io
import json
import multiprocessing
import os
import signal
import stat
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import run_module
from simulators.snowball import Fleet

CONTENT = bytes(range(256)) * 4096 + b"end"  # 1 MiB and a bit
JOB = "JID1a2b3c4d-1234-5678-9abc-def012345678"
SIGNATURE = "X-Amz-Signature=0123456789abcdef"


@dataclass
class Site:
    """What the server says. `cuts` are the bytes after which one answer each ends too early; 0 is at once."""

    url: str = ""
    content: bytes = CONTENT
    etag: str = '"one"'
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    has_ranges: bool = True
    ignores_if_range: bool = False
    tells_length: bool = True
    answer: dict[str, Any] = field(default_factory=dict)
    refusal: str = ""
    requests: list[str] = field(default_factory=list)
    sent: int = 0

    @property
    def link(self) -> str:
        return f"{self.url}/{JOB}/119/offline-updates?{SIGNATURE}"


def handler_of(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_arguments: Any) -> None:
            pass

        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            site.requests.append(wanted)
            if site.statuses:
                self._short(site.statuses.pop(0))
                return
            same = site.ignores_if_range or self.headers.get("If-Range") in (None, site.etag)
            start = int(wanted[6:-1]) if wanted and site.has_ranges and same else 0
            if start >= len(site.content):
                self._short(416, {"Content-Range": f"bytes */{len(site.content)}", "ETag": site.etag})
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(site.content) - 1}/{len(site.content)}")
            self.send_header("ETag", site.etag)
            body = site.content[start:]
            if site.tells_length:
                self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self._send(body[: site.cuts.pop(0)] if site.cuts else body)
            self.close_connection = True

        def _send(self, body: bytes) -> None:
            try:
                self.wfile.write(body)
                site.sent += len(body)
            except OSError:  # the client has what it wants
                self.close_connection = True

        def _short(self, status: int, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": "0", **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()

        def do_POST(self) -> None:
            """AWS itself, for boto3."""
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            site.requests.append(f"{self.headers['X-Amz-Target'].rpartition('.')[2]} {request['JobId']}")
            body = json.dumps({"__type": site.refusal, "Message": "no"} if site.refusal else site.answer).encode()
            self.send_response(400 if site.refusal else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(site))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield site
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def backend() -> Any:
    return run_module.backend("_snowball.update.download")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "updates" / "offline-updates"


@pytest.fixture
def naps() -> list[float]:
    return []


@pytest.fixture
def download(backend: Any, site: Site, path: Path, naps: list[float]) -> Any:
    return backend.Download(str(path), lambda: site.link, sleep=naps.append)


def test_a_file_is_fetched_once(download: Any, site: Site, path: Path) -> None:
    assert download.fetch() == len(CONTENT)
    assert path.read_bytes() == CONTENT
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not Path(download.part).exists()
    assert download.fetch() == 0
    assert SIGNATURE not in Path(download.note).read_text()


def test_it_goes_on_where_the_connection_broke(download: Any, site: Site, path: Path, naps: list[float]) -> None:
    site.cuts = [1000, 0, 50_000]
    assert download.fetch() == len(CONTENT)
    assert path.read_bytes() == CONTENT
    assert site.requests == ["", "bytes=1000-", "bytes=1000-", "bytes=51000-"]
    assert naps == [2.0], "it waits only when nothing came"
    assert site.sent == len(CONTENT), "no byte came twice"


def test_a_connection_that_gives_nothing_is_given_up_and_the_part_kept(
    download: Any, site: Site, backend: Any, path: Path, naps: list[float]
) -> None:
    site.cuts = [1000, *[0] * backend.TRIES]
    with pytest.raises(backend.DownloadError, match="1000 bytes are kept") as caught:
        download.fetch()
    assert SIGNATURE not in str(caught.value)
    assert naps == [2.0, 4.0, 8.0, 16.0]
    assert download.fetch() == len(CONTENT) - 1000
    assert path.read_bytes() == CONTENT


def test_a_busy_store_is_asked_again(download: Any, site: Site, path: Path) -> None:
    site.statuses = [503, 500]
    download.fetch()
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("behaviour", ["range", "ignores_if_range", "no_ranges"])
def test_bytes_of_two_versions_are_never_joined(download: Any, site: Site, path: Path, behaviour: str) -> None:
    site.cuts = [1000, *[0] * 5]
    with pytest.raises(Exception, match="bytes are kept"):
        download.fetch()
    site.content, site.etag = CONTENT[::-1], '"two"'
    site.has_ranges, site.ignores_if_range = behaviour != "no_ranges", behaviour == "ignores_if_range"
    download.fetch()
    assert path.read_bytes() == CONTENT[::-1]


def test_a_store_without_ranges_sends_all_again(download: Any, site: Site, path: Path) -> None:
    site.cuts, site.has_ranges = [1000], False
    download.fetch()
    assert path.read_bytes() == CONTENT


def test_another_file_at_the_link_replaces_the_one_before(download: Any, site: Site, path: Path) -> None:
    download.fetch()
    site.content, site.etag = CONTENT[::-1], '"two"'
    assert download.fetch() == len(CONTENT)
    assert path.read_bytes() == CONTENT[::-1]


def test_a_part_that_was_complete_is_only_renamed(download: Any, site: Site, path: Path) -> None:
    """Killed between the last byte and the new name."""
    download.fetch()
    path.rename(download.part)
    assert download.fetch() == 0
    assert path.read_bytes() == CONTENT


def test_a_part_that_nobody_knows_is_not_trusted(download: Any, site: Site, path: Path) -> None:
    path.parent.mkdir()
    Path(download.part).write_bytes(b"x" * 500)
    Path(download.note).write_text("{")
    download.fetch()
    assert path.read_bytes() == CONTENT


def test_a_part_that_is_too_long_is_fetched_anew(download: Any, site: Site, path: Path) -> None:
    path.parent.mkdir()
    Path(download.part).write_bytes(CONTENT + b"more")
    Path(download.note).write_text(json.dumps({"etag": site.etag, "size": len(CONTENT)}))
    download.fetch()
    assert path.read_bytes() == CONTENT


def test_a_store_that_does_not_tell_the_size(download: Any, site: Site, path: Path) -> None:
    site.tells_length = False
    download.fetch()
    assert path.read_bytes() == CONTENT


def test_a_file_that_is_told_to_be_bad_is_fetched_again(download: Any, site: Site, path: Path) -> None:
    download.fetch()
    download.forget()
    assert download.fetch() == len(CONTENT)


def test_a_link_that_has_ended_is_asked_for_again_once(backend: Any, site: Site, path: Path) -> None:
    links = iter([site.link, f"{site.link}&new", f"{site.link}&newer"])
    site.statuses = [403]
    backend.Download(str(path), lambda: next(links)).fetch()
    assert next(links).endswith("newer")
    path.unlink()
    site.statuses = [403, 403]
    with pytest.raises(backend.LinkRefused, match=r"HTTP 403.*two days") as caught:
        backend.Download(str(path), lambda: site.link).fetch()
    assert SIGNATURE not in str(caught.value) and caught.value.__cause__ is None


@pytest.mark.parametrize("link", ["file:///etc/passwd", "ftp://192.0.2.1/x", "/etc/passwd"])
def test_only_the_web_is_downloaded_from(backend: Any, path: Path, link: str) -> None:
    with pytest.raises(backend.DownloadError, match="neither https nor http"):
        backend.Download(str(path), lambda: link).fetch()


def test_a_file_that_has_no_room_is_refused_before_it_comes(
    download: Any, backend: Any, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = backend.shutil.disk_usage("/")
    monkeypatch.setattr(backend.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(backend.DiskFull, match=f"{len(CONTENT)} bytes remain, but only 1000 are free"):
        download.fetch()


class FullDisk(io.FileIO):
    """A file on a disk with room for 1000 bytes more."""

    left = 1000

    def write(self, data: Any) -> int:
        room, self.left = self.left, 0
        if room:
            return super().write(bytes(data)[:room])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_that_fills_up_is_a_clear_error_and_what_is_there_is_kept(
    download: Any, backend: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_on_full_disk(path: str, mode: str = "r", **options: Any) -> Any:
        binary = "b" in mode
        return io.BufferedWriter(FullDisk(path, mode.replace("b", ""))) if binary else open(path, mode, **options)

    monkeypatch.setattr(backend, "open", open_on_full_disk, raising=False)
    with pytest.raises(backend.DiskFull, match="the disk is full"):
        download.fetch()
    monkeypatch.undo()
    assert os.path.getsize(download.part) == 1000 and not path.exists()
    assert download.fetch() == len(CONTENT) - 1000
    assert path.read_bytes() == CONTENT


def test_two_tasks_that_want_one_file_fetch_it_once(backend: Any, site: Site, path: Path) -> None:
    """Nodes of a cluster share the file."""
    fetched: list[int] = []
    tasks = [
        threading.Thread(target=lambda: fetched.append(backend.Download(str(path), lambda: site.link).fetch()))
        for _number in range(3)
    ]
    for task in tasks:
        task.start()
    for task in tasks:
        task.join()
    assert sorted(fetched) == [0, 0, len(CONTENT)]


def _fetch_and_die(path: str, link: str) -> None:
    from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.update import download as backend

    original = backend.os.fsync
    # Killed when all bytes that will come have come, and before anything is made of them.
    backend.os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL) or original(descriptor)
    backend.Download(path, lambda: link).fetch()


def test_killed_in_the_middle_it_goes_on_in_the_next_run(download: Any, site: Site, path: Path) -> None:
    site.cuts = [700_000]
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
    child = context.Process(target=_fetch_and_die, args=(str(path), site.link))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL and not path.exists()
    have = os.path.getsize(download.part)
    assert 0 < have <= 700_000
    assert download.fetch() == len(CONTENT) - have
    assert path.read_bytes() == CONTENT
    assert site.requests[-1] == f"bytes={have}-"


# -- the module, from AWS to the device --------------------------------------------------------------------------------


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    run_module.load_collection()
    fleet = Fleet(tmp_path)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {**fleet.environment(), "AWS_EC2_METADATA_DISABLED": "true"}.items():
        monkeypatch.setenv(name, value)
    seconds = {"DOWNLOADING": 0.0, "DECRYPTING": 0.0, "INSTALLING": 0.0}
    software = {"seconds": seconds, "internet": False}
    return fleet.make("sb1", state="UNLOCKED", unlock_seconds=0.0, boot_seconds=0.05, software=software)


def run(device: Any, site: Site, tmp_path: Path, **options: Any) -> dict[str, Any]:
    account = {
        "job_id": JOB,
        "region": "eu-central-1",
        "aws_endpoint_url": site.url,
        "aws_access_key": "AKIACLOUD",
        "aws_secret_key": "cloud-secret",
    }
    fast = {"snowdir": str(device.snowdir), "poll_interval": 0.05, "timeout": 20}
    given = {**fast, **(options if "url" in options else {**account, **options})}
    return run_module.run_module("snowball_update", tmp_path, **given)


def test_from_the_job_to_the_new_version(device: Any, site: Site, tmp_path: Path) -> None:
    site.answer = {"UpdatesURI": site.link}
    foretold = run(device, site, tmp_path, check=True)
    assert foretold["steps"][:2] == ["fetch", "download"] and foretold["fetched_bytes"] == 0
    result = run(device, site, tmp_path, delete_file=True)
    assert result["steps"][:2] == ["fetch", "download"] and result["installed_version"] == "119"
    assert result["fetched_bytes"] == len(CONTENT)
    assert result["file"] == f"{device.snowdir}/offline-updates" and not os.path.exists(result["file"])
    again = run(device, site, tmp_path)
    assert not again["changed"] and again["fetched_bytes"] == 0, "the version is told by the link"
    assert site.requests.count(f"GetSoftwareUpdates {JOB}") == 3
    for secret in (SIGNATURE, "cloud-secret", device.unlock_code):
        assert secret not in str([foretold, result, again])


@pytest.mark.parametrize(
    ("refusal", "fix"),
    [
        ("InvalidJobStateException", "WithCustomer"),
        ("InvalidResourceException", "region"),
        ("AccessDeniedException", "snowball:GetSoftwareUpdates"),
        ("Oops", "credentials"),
    ],
)
def test_aws_refuses(device: Any, site: Site, tmp_path: Path, refusal: str, fix: str) -> None:
    site.refusal = refusal
    result = run(device, site, tmp_path)
    assert result["trouble"] == "cloud" and JOB in result["msg"] and fix in result["msg"]
    assert device.calls() == []


def test_aws_has_nothing(device: Any, site: Site, tmp_path: Path) -> None:
    assert "no update" in run(device, site, tmp_path)["msg"]


def test_aws_is_not_asked_once_the_installation_has_begun(device: Any, site: Site, tmp_path: Path) -> None:
    """The job may be in another state by then, and the link is needed no more."""
    device.set(software={"state": "REQUIRE_REBOOT"})
    state = tmp_path / "state"
    state.write_text(json.dumps({"install_sent": True, "target": "119", "source": "x"}))
    site.refusal = "InvalidJobStateException"
    result = run(device, site, tmp_path, state_file=str(state))
    assert result["installed_version"] == "119" and "fetch" not in result["steps"]


def test_a_download_that_fails_leaves_the_device_alone(device: Any, site: Site, tmp_path: Path) -> None:
    site.statuses = [403, 403]
    result = run(device, site, tmp_path, url=site.link)
    assert result["trouble"] == "fetch_failed" and "two days" in result["msg"]
    assert SIGNATURE not in str(result)
    assert device.calls("download-updates") == []


def test_without_boto3_the_library_is_named(
    device: Any, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib

    module = importlib.import_module(f"{run_module.PACKAGE}.modules.snowball_update")
    monkeypatch.setattr(module, "BOTO3_ERROR", ImportError("boto3"))
    assert "boto3" in run(device, site, tmp_path)["msg"]


def test_of_options_for_the_file_one_is_enough(device: Any, site: Site, tmp_path: Path) -> None:
    assert "mutually exclusive" in run(device, site, tmp_path, url=site.link, job_id=JOB)["msg"]
    result = run_module.run_module("snowball_update", tmp_path, profile="default", url=site.link)
    assert "neither `path` nor `snowdir`" in result["msg"]
    result = run_module.run_module("snowball_update", tmp_path, profile="default")
    assert "state file" in result["msg"]
