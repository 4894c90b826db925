# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module snowball_unlock against simulated devices of both generations, healthy and not."""

from __future__ import annotations

import importlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import run_module
import yaml
from simulators.snowball import Fleet
from snowball_shell import ask_in_this_process

pytestmark = pytest.mark.usefixtures("collection")
Run = Callable[..., dict[str, Any]]
GENERATIONS = ("old", "new")


@pytest.fixture
def fleet(collection: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    fleet = Fleet(tmp_path)
    for name, value in fleet.environment().items():
        monkeypatch.setenv(name, value)
    ask_in_this_process(monkeypatch)
    return fleet


@pytest.fixture
def run(fleet: Fleet, tmp_path: Path) -> Run:
    def call(**options: Any) -> dict[str, Any]:
        return run_module.run_module("snowball_unlock", tmp_path, **{"poll_interval": 0.1, "timeout": 60, **options})

    return call


def address(device: Any) -> str:
    return str(device.endpoint).removeprefix("https://").partition(":")[0]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_check_do_check_do(fleet: Fleet, run: Run, generation: str) -> None:
    fleet.set_client(generation)
    device = fleet.make("alpha", generation=generation)
    options = {"snowdir": str(device.snowdir), "keys_file": "keys.yaml", "diff": True}

    first = run(check=True, **options)
    assert first["changed"] and first["state"] == "LOCKED" and "keys" not in first
    assert first["diff"] == {"before": {"state": "LOCKED"}, "after": {"state": "UNLOCKED"}}
    assert device.show()["state"] == "LOCKED" and not (device.snowdir / "keys.yaml").exists()

    second = run(**options)
    shown = device.show()
    assert second["changed"] and second["state"] == shown["state"] == "UNLOCKED"
    assert second["device_id"] == shown["device_id"]
    assert second["devices"] == [{"device_id": shown["device_id"], "state": "UNLOCKED", "ip_address": address(device)}]
    kept = yaml.safe_load((device.snowdir / "keys.yaml").read_text())
    assert kept == {"aws_access_key_id": shown["access_key"], "aws_secret_access_key": shown["secret_key"]}
    assert mode(device.snowdir / "keys.yaml") == 0o600

    for third in (run(check=True, **options), run(**options)):
        assert not third["changed"] and third["state"] == "UNLOCKED"
        assert third["diff"]["before"] == third["diff"]["after"]
    assert len(device.calls("unlock-device")) == 1


def test_a_device_is_unlocked_again_after_a_power_cut_and_nothing_else_is_touched(fleet: Fleet, run: Run) -> None:
    device = fleet.make("alpha", boot_seconds=0)
    options = {"snowdir": str(device.snowdir), "keys_file": "keys.yaml"}
    run(**options)
    written = (device.snowdir / "keys.yaml").stat()
    device.reboot()
    assert run(**options)["changed"]
    kept = (device.snowdir / "keys.yaml").stat()
    assert (kept.st_ino, kept.st_ctime_ns) == (written.st_ino, written.st_ctime_ns)


def test_a_device_that_unlocks_already_is_only_waited_for(fleet: Fleet, run: Run) -> None:
    device = fleet.make("alpha", state="UNLOCKING", unlock_seconds=1)
    assert run(snowdir=str(device.snowdir), check=True)["state"] == "UNLOCKING"
    result = run(snowdir=str(device.snowdir))
    assert not result["changed"] and result["state"] == "UNLOCKED"
    assert device.calls("unlock-device") == []


def test_the_client_s_own_profile_will_do(fleet: Fleet, run: Run, tmp_path: Path) -> None:
    device = fleet.make("alpha")
    module = importlib.import_module("ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.access")
    entry = module.profile_entry(module.access_of({"snowdir": str(device.snowdir)}), "mine")
    path = fleet.home / module.PROFILE_FILE
    path.parent.mkdir(parents=True)
    path.write_text(module.profile_document(entry))
    result = run(profile="mine", keys_file=str(tmp_path / "k.yaml"))
    assert result["state"] == "UNLOCKED" and (tmp_path / "k.yaml").exists()
    assert {call["profile"] for call in device.calls()} == {"mine"}


# -- trouble --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", GENERATIONS)
@pytest.mark.parametrize(
    ("fields", "trouble", "fix"),
    [
        ({"reachable": False}, "unreachable", "that the device is on"),
        ({"wrong_code": True}, "wrong_code", "get-job-unlock-code"),
        ({"wrong_manifest": True}, "wrong_manifest", "get-job-manifest"),
        ({"relock": True}, "fell_back_to_locked", "restart the device"),
        ({"relock": True, "unlock_seconds": 0}, "fell_back_to_locked", "restart the device"),
        ({"unlock_seconds": 1000}, "timed_out", "run the task again"),
        ({"answers": {"describe-device": {"raw": "Hello"}}}, "unknown_output", "report the client's version"),
        ({"answers": {"describe-device": {"omit": ["UnlockStatus"]}}}, "unknown_output", "report"),
        ({"faults": [{"command": "unlock-device", "message": "Full moon", "exit": 3}]}, "failed", "Full moon"),
    ],
)
def test_every_trouble_names_the_device_and_the_mend(
    fleet: Fleet, run: Run, client: str, fields: dict[str, Any], trouble: str, fix: str
) -> None:
    fleet.set_client(client)
    device = fleet.make("alpha", **fields)
    result = run(snowdir=str(device.snowdir), timeout=2)
    assert result["failed"] and result["trouble"] == trouble
    assert result["snowball"] == f"alpha ({device.endpoint})" and result["snowball"] in result["msg"]
    assert fix in result["msg"]


def test_the_wait_goes_through_silence(fleet: Fleet, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first answer of the device counts, refusals after it are transient."""
    device = fleet.make("alpha")
    client = importlib.import_module("ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.client")
    real = client.SnowballClient.unlock_device

    def unlock_and_pull_the_cable(self: Any) -> None:
        real(self)
        device.set(faults=[{"command": "describe-device", "message": "connection refused", "count": 3}])

    monkeypatch.setattr(client.SnowballClient, "unlock_device", unlock_and_pull_the_cable)
    assert run(snowdir=str(device.snowdir))["state"] == "UNLOCKED"
    assert len(device.calls("describe-device")) > 4


def test_somebody_else_who_unlocks_first_does_no_harm(fleet: Fleet, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    device = fleet.make("alpha")
    client = importlib.import_module("ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.client")
    real = client.SnowballClient.unlock_device

    def be_late(self: Any) -> None:
        device.set(state="UNLOCKING")
        real(self)

    monkeypatch.setattr(client.SnowballClient, "unlock_device", be_late)
    assert run(snowdir=str(device.snowdir))["state"] == "UNLOCKED"


# -- the file of keys -----------------------------------------------------------------------------------------------


def test_a_file_that_others_may_read_or_that_has_another_key_is_mended(fleet: Fleet, run: Run) -> None:
    device = fleet.make("alpha", state="UNLOCKED")
    path = device.snowdir / "keys.yaml"
    options = {"snowdir": str(device.snowdir), "keys_file": "keys.yaml", "diff": True}
    run(**options)
    right = path.read_text()

    path.chmod(0o644)
    result = run(**options)
    assert result["changed"] and mode(path) == 0o600
    assert (result["diff"]["before"]["keys_file"]["mode"], result["diff"]["after"]["keys_file"]["mode"]) == (
        "0644",
        "0600",
    )

    path.write_text(f"# kept\nregion: snow\naws_secret_access_key: old-secret\n{right.splitlines()[0]}\n")
    before = path.read_text()
    result = run(check=True, **options)
    assert result["changed"] and path.read_text() == before
    assert "old-secret" not in str(result)
    assert result["diff"]["before"]["keys_file"] != result["diff"]["after"]["keys_file"]
    run(**options)
    assert path.read_text().startswith("# kept\nregion: snow\n")
    assert yaml.safe_load(path.read_text()) == {"region": "snow", **yaml.safe_load(right)}
    assert not run(**options)["changed"]


def test_a_link_stays_a_link(fleet: Fleet, run: Run, tmp_path: Path) -> None:
    device = fleet.make("alpha", state="UNLOCKED")
    (device.snowdir / "keys.yaml").symlink_to(tmp_path / "elsewhere")
    run(snowdir=str(device.snowdir), keys_file="keys.yaml")
    assert (device.snowdir / "keys.yaml").is_symlink() and mode(tmp_path / "elsewhere") == 0o600


def test_a_new_file_is_private_whatever_the_umask(fleet: Fleet, run: Run, tmp_path: Path) -> None:
    """At no moment may anybody else read it, so what becomes of its mode is watched, not only how it ends."""
    device = fleet.make("alpha", state="UNLOCKED")
    seen: list[int] = []
    real = os.chmod

    def watch(path: Any, bits: int, **options: Any) -> None:
        if os.fspath(path) in (str(device.snowdir / "keys.yaml"), str(device.snowdir / "keys.yaml").encode()):
            seen.append(bits)
        real(path, bits, **options)

    umask = os.umask(0)
    os.chmod = watch  # type: ignore[assignment]  # put back below
    try:
        run(snowdir=str(device.snowdir), keys_file="keys.yaml")
    finally:
        os.umask(umask)
        os.chmod = real
    assert seen and set(seen) == {0o600}


@pytest.mark.parametrize(
    ("keys_file", "cause"), [("none/keys.yaml", "there is no folder"), (".", "is a folder"), ("", None)]
)
def test_a_place_where_nothing_can_be_written_is_told_before_anything_is_unlocked(
    fleet: Fleet, run: Run, keys_file: str, cause: str | None
) -> None:
    device = fleet.make("alpha")
    result = run(snowdir=str(device.snowdir), keys_file=keys_file)
    if cause is None:
        assert result["changed"] and "keys_file" not in result
        return
    assert result["trouble"] == "options" and cause in result["msg"]
    assert device.show()["state"] == "LOCKED"


def test_a_relative_name_needs_a_folder(fleet: Fleet, run: Run) -> None:
    result = run(profile="any", keys_file="keys.yaml")
    assert result["trouble"] == "options" and "there is no snowdir" in result["msg"]


# -- clusters -------------------------------------------------------------------------------------------------------


def test_a_cluster_is_unlocked_as_one(fleet: Fleet, run: Run) -> None:
    nodes = fleet.make_cluster("gamma", unlock_seconds=0.3)
    nodes[2].set(unlock_seconds=1)
    options = {"snowdir": str(nodes[0].snowdir), "device_ips": [address(node) for node in nodes]}
    assert run(check=True, **options)["changed"]
    result = run(**options)
    assert result["changed"] and [each["state"] for each in result["devices"]] == ["UNLOCKED"] * 3
    assert not run(**options)["changed"]
    assert sum(len(node.calls("unlock-cluster")) for node in nodes) == 1


def test_the_folder_of_a_cluster_says_that_it_is_one(fleet: Fleet, run: Run) -> None:
    nodes = fleet.make_cluster("gamma", unlock_seconds=0)
    result = run(snowdir=str(nodes[0].snowdir))
    assert len(result["devices"]) == 3 and result["state"] == "UNLOCKED"


def test_a_node_out_of_reach_is_a_warning(fleet: Fleet, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    nodes = fleet.make_cluster("gamma", unlock_seconds=0, boot_seconds=0)
    options = {"snowdir": str(nodes[0].snowdir)}
    run(**options)
    for node in nodes:
        node.reboot()
    nodes[1].set(reachable=False)
    result = run(**options)
    assert result["changed"] and result["state"] == "UNLOCKED"
    assert [each["state"] for each in result["devices"]] == ["UNLOCKED", "", "UNLOCKED"]
    assert f"Node {result['devices'][1]['device_id']} of Snowball gamma" in capsys.readouterr().err


def test_one_node_that_falls_back_fails_the_cluster(fleet: Fleet, run: Run) -> None:
    nodes = fleet.make_cluster("gamma", unlock_seconds=0.3)
    nodes[1].set(relock=True)
    result = run(snowdir=str(nodes[0].snowdir))
    assert result["trouble"] == "fell_back_to_locked" and nodes[1].show()["device_id"] in result["msg"]


# -- options --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"profile": "a", "snowdir": "/b"},
        {"profile": "a", "unlock_code": "0123a-bcdef-01234-56789-abcde"},
        {"profile": "a", "manifest": "/b"},
    ],
)
def test_options_that_contradict_each_other_are_refused(run: Run, options: dict[str, Any]) -> None:
    assert "mutually exclusive" in run(**options)["msg"]
