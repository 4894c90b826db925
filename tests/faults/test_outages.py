# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Outages: each has its own clear message or its own wait, nothing is lost, and the job goes on by itself."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.rig import DESTINATION, SOURCE, Rig, kill_group, wait_until

COUNT = 6


def fill(rig: Rig, count: int = COUNT) -> None:
    for number in range(count):
        rig.source.put(SOURCE, f"object-{number}", os.urandom(100_000 + number))


def status_text(rig: Rig) -> str:
    """What an operator sees while the job waits."""
    return rig.snowsync("status", "JOB").stdout


# -- what waiting cannot fix: say so once, clearly, and stop ------------------------------------------------------


@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_wrong_secret_stops_the_job_and_names_the_side(rig: Rig, side: str) -> None:
    fill(rig)
    path = Path(rig.config[side]["credentials_file"])
    path.write_text(path.read_text().replace("simulator-secret", "another-secret"))
    code, _summary, errors = rig.run()
    assert code == 5
    assert rig.config[side]["bucket"] in errors
    assert "SignatureDoesNotMatch" in errors
    assert "another-secret" not in errors


@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_wrong_bucket_stops_the_job_and_is_named(rig: Rig, side: str) -> None:
    fill(rig)
    rig.config[side]["bucket"] = "no-such-bucket"
    code, _summary, errors = rig.run()
    assert code == 5
    assert "no-such-bucket" in errors


def test_a_missing_credentials_file_is_named(rig: Rig) -> None:
    rig.config["source"]["credentials_file"] = "/nowhere/source"
    code, _summary, errors = rig.run()
    assert code == 2
    assert "/nowhere/source" in errors


def test_a_credential_revoked_under_way_stops_and_loses_nothing(rig: Rig) -> None:
    fill(rig)
    rule = rig.destination.set_fault("status", status=403, code="InvalidAccessKeyId", first=4)
    code, _summary, errors = rig.run()
    assert code == 5
    assert "InvalidAccessKeyId" in errors
    rig.destination.clear_faults(rule)
    code, _summary, errors = rig.run()
    assert code == 0, errors
    rig.assert_delivered()


# -- transient errors: wait, probe, continue ----------------------------------------------------------------------


def goes_on_by_itself(rig: Rig, expected: str, fix: object) -> None:
    """Start the job during an outage, see it wait with the right words, fix the cause, see it finish."""
    process = rig.start()
    try:
        wait_until(lambda: expected in status_text(rig), f"a status with {expected!r}")
        assert process.poll() is None, "an outage does not end the job"
        assert callable(fix)
        fix()
        _output, errors = process.communicate(timeout=90)
        assert process.returncode == 0, errors
    finally:
        if process.poll() is None:
            kill_group(process)
    rig.assert_delivered()
    assert rig.files_left() == []


@pytest.mark.parametrize("side", ["source", "destination"])
def test_an_endpoint_that_refuses(rig: Rig, side: str) -> None:
    fill(rig)
    store = rig.source if side == "source" else rig.destination
    store.listener("refuse")
    goes_on_by_itself(rig, f"waiting for the {side}", lambda: store.listener("open"))


def test_an_endpoint_that_refuses_in_the_middle(rig: Rig) -> None:
    fill(rig, 60)
    rig.source.set_fault("rate", operation="GetObject", bytes_per_second=500_000)
    process = rig.start()
    wait_until(lambda: rig.source.count("GetObject") > 5, "the first fetches")
    rig.source.listener("refuse", 3.0)
    rig.source.clear_faults()
    _output, errors = process.communicate(timeout=90)
    assert process.returncode == 0, errors
    rig.assert_delivered()


def test_an_endpoint_that_accepts_and_says_nothing(rig: Rig) -> None:
    fill(rig)
    rig.config["mover"] = {"stall_seconds": 3}
    rig.source.set_fault("stall", operation="GetObject", key="object-3$", count=1)
    code, _summary, errors = rig.run(timeout=90)
    assert code == 0, errors
    rig.assert_delivered()


def test_a_body_that_stops_in_the_middle_for_ever(rig: Rig) -> None:
    fill(rig)
    rig.config["mover"] = {"stall_seconds": 3}
    rig.source.set_fault("stall", where="body", after=50_000, operation="GetObject", key="object-2$", count=1)
    code, _summary, errors = rig.run(timeout=90)
    assert code == 0, errors
    rig.assert_delivered()


def test_a_body_that_ends_early(rig: Rig) -> None:
    fill(rig)
    rig.source.set_fault("cut", after=50_000, operation="GetObject", count=8, reset=True)
    code, _summary, errors = rig.run()
    assert code == 0, errors
    rig.assert_delivered()


@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_storm_of_503(rig: Rig, side: str) -> None:
    fill(rig, 20)
    store = rig.source if side == "source" else rig.destination
    store.set_fault("status", status=503, code="SlowDown", probability=0.4, seed=7, count=60)
    code, summary, errors = rig.run(timeout=400)  # rests of up to a minute between probes that fail by chance
    assert code == 0, errors
    rig.assert_delivered()
    assert summary["states"]["released"] == 20


def test_every_request_is_throttled_for_a_while(rig: Rig) -> None:
    fill(rig)
    rule = rig.source.set_fault("status", status=503, code="SlowDown")
    goes_on_by_itself(rig, "waiting for the source", lambda: rig.source.clear_faults(rule))


def test_an_endpoint_without_dns(rig: Rig) -> None:
    fill(rig)
    url = rig.config["source"]["endpoints"][0]
    rig.config["source"]["endpoints"] = ["http://no-such-host.invalid:9000"]
    code, _summary, errors = rig.run("--timeout", "5")
    assert code == 124
    assert "no-such-host.invalid" in errors
    rig.config["source"]["endpoints"] = [url]
    code, _summary, errors = rig.run()
    assert code == 0, errors
    rig.assert_delivered()


def test_a_certificate_nobody_trusts(tls_rig: Rig) -> None:
    fill(tls_rig)
    ca_bundle = tls_rig.config["source"]["ca_bundle"]
    tls_rig.config["source"]["ca_bundle"] = tls_rig.config["destination"]["ca_bundle"]
    code, _summary, errors = tls_rig.run("--timeout", "5")
    assert code == 124
    assert "certificate" in errors
    tls_rig.config["source"]["ca_bundle"] = ca_bundle
    code, _summary, errors = tls_rig.run()
    assert code == 0, errors
    tls_rig.assert_delivered()


def test_a_second_endpoint_takes_over(rig: Rig) -> None:
    fill(rig, 20)
    rig.config["source"]["endpoints"].insert(0, "http://127.0.0.1:9")
    code, _summary, errors = rig.run()
    assert code == 0, errors
    rig.assert_delivered()


# -- volumes ------------------------------------------------------------------------------------------------------


class LoopVolume:
    """A small real filesystem on a loop device, mounted at `path`."""

    def __init__(self, image: Path, path: Path, mebibytes: int) -> None:
        self.image, self.path = image, path
        path.mkdir(exist_ok=True)
        with image.open("wb") as stream:
            stream.truncate(mebibytes * 1024 * 1024)
        subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
        self.mount()

    def mount(self, *options: str) -> None:
        subprocess.run(["mount", "-o", ",".join(["loop", *options]), str(self.image), str(self.path)], check=True)

    def remount(self, option: str) -> bool:
        command = ["mount", "-o", f"remount,{option}", str(self.path)]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    def unmount(self) -> None:
        subprocess.run(["umount", "-l", str(self.path)], check=False, capture_output=True)


@pytest.fixture
def mounted(rig: Rig) -> Iterator[LoopVolume]:
    """The rig with one volume only, a real mount of 64 MiB."""
    if os.geteuid() != 0:
        pytest.fail("mounting loop devices needs root")
    path = rig.folder / "mounted"
    volume = LoopVolume(rig.folder / "disk.img", path, 64)
    rig.volumes = [path]
    rig.config["volumes"] = [{"name": "disk", "path": str(path), "require_mount": True}]
    rig.config["space"] = {"reserve": "4MiB"}
    yield volume
    volume.unmount()


def test_data_larger_than_the_volume_waits_and_never_fills_it(rig: Rig, mounted: LoopVolume) -> None:
    for number in range(30):
        rig.source.put(SOURCE, f"object-{number:02}", os.urandom(5_000_000))
    rig.destination.set_fault("latency", operation="PutObject", seconds=0.1)
    process = rig.start()
    lowest = 1 << 60
    while process.poll() is None:
        status = os.statvfs(mounted.path)
        lowest = min(lowest, status.f_bavail * status.f_frsize)
        time.sleep(0.01)
    assert process.returncode == 0, process.communicate()[1]
    assert lowest > 2_000_000, "the volume was filled"
    rig.assert_delivered()
    assert rig.failures() == []


def test_a_volume_that_others_fill_under_way(rig: Rig, mounted: LoopVolume) -> None:
    fill(rig, 40)
    hog = mounted.path / "somebody-elses-file"
    status = os.statvfs(mounted.path)
    hog.write_bytes(bytes(status.f_bavail * status.f_frsize - 200_000))
    process = rig.start()
    wait_until(lambda: "waiting for space" in status_text(rig), "the wait for space")
    hog.unlink()
    _output, errors = process.communicate(timeout=90)
    assert process.returncode == 0, errors
    rig.assert_delivered()


def test_a_volume_that_goes_read_only(rig: Rig, mounted: LoopVolume) -> None:
    fill(rig, 300)
    rig.source.set_fault("latency", operation="GetObject", seconds=0.4)
    process = rig.start()
    wait_until(lambda: rig.source.count("GetObject") > 4, "the first fetches")
    # Refused while anybody has a file open for writing, which the movers do most of the time: hence the waiting.
    wait_until(lambda: mounted.remount("ro"), "the read-only remount")
    wait_until(lambda: "waiting for a volume" in status_text(rig), "the wait for the volume")
    assert process.poll() is None
    assert mounted.remount("rw")
    rig.source.clear_faults()
    _output, errors = process.communicate(timeout=90)
    assert process.returncode == 0, errors
    rig.assert_delivered()
    assert rig.files_left() == []


def test_a_volume_unmounted_under_way(rig: Rig, mounted: LoopVolume) -> None:
    fill(rig, 300)
    rig.source.set_fault("latency", operation="GetObject", seconds=0.4)
    process = rig.start()
    wait_until(lambda: rig.source.count("GetObject") > 4, "the first fetches")
    mounted.unmount()
    wait_until(lambda: "waiting for a volume" in status_text(rig), "the wait for the volume")
    assert list(mounted.path.iterdir()) == [], "something was written below the unmounted mount point"
    mounted.mount()
    rig.source.clear_faults()
    _output, errors = process.communicate(timeout=90)
    assert process.returncode == 0, errors
    rig.assert_delivered()
    assert rig.files_left() == []


def test_a_mount_point_with_nothing_mounted(rig: Rig, mounted: LoopVolume) -> None:
    fill(rig)
    mounted.unmount()
    code, _summary, errors = rig.run("--timeout", "3")
    assert code == 124
    assert "nothing is mounted there" in errors
    assert list(mounted.path.iterdir()) == []


def test_an_object_larger_than_every_volume_is_named_and_the_rest_goes_on(rig: Rig) -> None:
    fill(rig)
    rig.source.put(SOURCE, "giant", bytes(2_000_000))
    for volume in rig.config["volumes"]:
        volume["limit"] = "1MB"
    code, summary, _errors = rig.run()
    assert code == 3
    (failure,) = summary["failures"]
    assert failure["key"] == "giant"
    assert "larger volume" in failure["message"]
    assert len(rig.destination.list(DESTINATION)) == COUNT
