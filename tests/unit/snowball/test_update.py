# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module snowball_update against a simulated device: whole runs, runs that are killed, and every failure."""

from __future__ import annotations

import hashlib
import importlib
import json
import multiprocessing
import os
import signal
import stat
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import run_module
from simulators.snowball import Fleet
from snowball_shell import ask_in_this_process

Run = Callable[..., dict[str, Any]]
QUICK: dict[str, Any] = {
    "unlock_seconds": 0.0,
    "boot_seconds": 0.05,
    "software": {"seconds": {"DOWNLOADING": 0.0, "DECRYPTING": 0.0, "INSTALLING": 0.0}},
}
CONTENT = b"an encrypted update" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
WHOLE = ["download", "stop_services", "install", "reboot", "unlock", "reboot", "unlock", "start_services"]
# What must not be ordered more often than a whole run orders it.
ORDERS = {"download-updates": 1, "install-updates": 1, "reboot-device": 2, "stop-service": 1, "start-service": 1}
EFFECTS = (*ORDERS, "unlock-device")


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    run_module.load_collection()
    fleet = Fleet(tmp_path)
    for name, value in fleet.environment().items():
        monkeypatch.setenv(name, value)
    ask_in_this_process(monkeypatch)
    return fleet


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "updates" / "with blank" / "offline-updates"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def run(fleet: Fleet, tmp_path: Path) -> Run:
    def call(device: Any, **options: Any) -> dict[str, Any]:
        fast = {"snowdir": str(device.snowdir), "poll_interval": 0.05, "timeout": 20}
        return run_module.run_module("snowball_update", tmp_path, **{**fast, **options})

    return call


def make(fleet: Fleet, name: str = "sb1", **fields: Any) -> Any:
    software = {**QUICK["software"], "internet": False, **fields.pop("software", {})}
    return fleet.make(name, **{**QUICK, "state": "UNLOCKED", **fields, "software": software})


def with_s3(device: Any, tmp_path: Path) -> list[str]:
    """Starts s3-snow; returns the virtual interfaces that it was started with."""
    options = {"snowdir": str(device.snowdir), "poll_interval": 0.05, "service": "s3-snow"}
    device.set(services={"s3-snow": {"start_seconds": 0.0, "stop_seconds": 0.0}})
    result = run_module.run_module("snowball_service", tmp_path, **options)
    return sorted(each["arn"] for each in result["interfaces"])


def orders(device: Any) -> Counter[str]:
    return Counter(call["command"] for call in device.calls() if call["command"] in ORDERS)


def state_of(device: Any) -> tuple[str, str, str]:
    shown = device.show()
    return shown["state"], shown["software"]["state"], shown["software"]["installed"]


@pytest.mark.parametrize("generation", ["old", "new"])
def test_a_whole_update_and_another_run(run: Run, fleet: Fleet, file: Path, tmp_path: Path, generation: str) -> None:
    device = make(fleet, generation=generation, software={"update_sha256": SHA256})
    interfaces = with_s3(device, tmp_path)
    before = orders(device)
    foretold = run(device, path=str(file), check=True)
    assert foretold["changed"] and foretold["steps"][:2] == WHOLE[:1] + WHOLE[2:3]
    assert orders(device) == before and not list(file.parent.glob("*.json"))
    result = run(device, path=str(file), diff=True)
    assert result["steps"] == WHOLE and result["changed"]
    assert (result["previous_version"], result["installed_version"], result["install_state"]) == ("118", "119", "NA")
    assert result["services_started"] == ["s3-snow"]
    assert result["diff"] == {"before": {"installed_version": "118"}, "after": {"installed_version": "119"}}
    assert state_of(device) == ("UNLOCKED", "NA", "119")
    service = device.show()["services"]["s3-snow"]
    assert (service["state"], sorted(service["vnis"])) == ("ACTIVE", interfaces)
    assert len(device.show()["virtual_interfaces"]) == 2
    assert orders(device) - before == Counter(ORDERS)
    for check in (True, False):
        again = run(device, path=str(file), check=check)
        assert (again["changed"], again["steps"]) == (False, [])
    assert orders(device) - before == Counter(ORDERS)
    file.unlink()
    assert not run(device, path=str(file))["changed"], "the file may go, as AWS wants it"
    notes = Path(result["state_file"])
    assert notes.parent == file.parent and "127.9.0." in notes.name
    assert stat.S_IMODE(notes.stat().st_mode) == 0o600
    assert device.unlock_code not in notes.read_text() + json.dumps(result)
    assert not any(call["code_in_argv"] for call in device.calls())


def test_a_locked_device_is_unlocked_first(run: Run, fleet: Fleet, file: Path) -> None:
    device = make(fleet, state="LOCKED", software={"fail_at": "DOWNLOADING"})
    assert run(device, path=str(file), check=True)["steps"] == ["unlock"]
    assert run(device, path=str(file))["steps"] == ["unlock", "download"]


def test_a_device_with_a_connection_gets_the_latest_by_itself(run: Run, fleet: Fleet) -> None:
    device = make(fleet, software={"internet": True, "latest": "121"})
    foretold = run(device, check=True, diff=True)
    assert foretold["diff"]["after"] == {"installed_version": "121"}
    result = run(device)
    assert (result["installed_version"], result["file"]) == ("121", "")
    assert device.calls("download-updates")[0]["argv"].count("--uri") == 0
    assert not run(device)["changed"]


def test_without_a_connection_and_a_file_there_is_nothing_to_install(run: Run, fleet: Fleet) -> None:
    assert run(make(fleet))["trouble"] == "no_cloud_connection"


def test_a_device_that_knows_to_have_the_latest_is_left_alone(run: Run, fleet: Fleet, file: Path) -> None:
    device = make(fleet, software={"internet": True, "latest": "118"})
    assert not run(device, path=str(file))["changed"]


@pytest.mark.parametrize(("version", "changed"), [("117", False), ("118", False), ("119", True)])
def test_a_version_that_is_there_is_not_installed(
    run: Run, fleet: Fleet, file: Path, version: str, changed: bool
) -> None:
    device = make(fleet, software={"fail_at": "DOWNLOADING"})
    assert run(device, path=str(file), version=version)["changed"] is changed


def test_another_version_than_wanted_is_an_error(run: Run, fleet: Fleet, file: Path) -> None:
    result = run(make(fleet), path=str(file), version="120")
    assert result["trouble"] == "update_failed" and "version 119 is installed instead of 120" in result["msg"]
    assert result["changed"] and result["installed_version"] == "119"


def test_force_installs_the_same_version_again(run: Run, fleet: Fleet, file: Path) -> None:
    device = make(fleet, software={"latest": "118"})
    assert run(device, path=str(file), version="118", force=True)["steps"] == [WHOLE[0], *WHOLE[2:7]]
    assert run(device, path=str(file), version="118", force=True, check=True)["steps"] == [WHOLE[0], *WHOLE[2:7]]


# -- services as they were before --------------------------------------------------------------------------------------


def test_nfs_comes_back_with_its_address_and_its_hosts(run: Run, fleet: Fleet, file: Path, tmp_path: Path) -> None:
    device = make(fleet)
    options = {"service": "nfs", "allowed_hosts": ["198.51.100.0/24"], "interfaces": [{"ip_address": "127.9.200.7"}]}
    nfs = {"snowdir": str(device.snowdir), "poll_interval": 0.05, **options}
    assert run_module.run_module("snowball_service", tmp_path, **nfs)["state"] == "ACTIVE"
    before = device.show()["services"]["nfs"]
    assert run(device, path=str(file))["services_started"] == ["nfs"]
    after = device.show()["services"]["nfs"]
    assert (after["state"], after["vnis"], after["configuration"]) == (
        "ACTIVE",
        before["vnis"],
        {"AllowedHosts": ["198.51.100.0/24"]},
    )


def test_services_of_an_installation_that_somebody_else_began(
    run: Run, fleet: Fleet, file: Path, tmp_path: Path
) -> None:
    device = make(fleet)
    with_s3(device, tmp_path)
    device.set(software={"state": "REQUIRE_REBOOT"})
    assert run(device, path=str(file))["services_started"] == ["s3-snow"]
    assert device.show()["services"]["s3-snow"]["state"] == "ACTIVE"


def test_interfaces_that_the_update_has_lost_are_made_again(run: Run, fleet: Fleet, file: Path, tmp_path: Path) -> None:
    device = make(fleet)
    physical = device.show()["physical_interfaces"][0]["PhysicalNetworkInterfaceId"]
    lost = [
        {"arn": f"gone-{number}", "physical_id": physical, "assignment": kind, "ip_address": ip, "netmask": "255.0.0.0"}
        for number, (kind, ip) in enumerate([("STATIC", "127.9.200.8"), ("DHCP", "127.9.200.9")])
    ]
    state = tmp_path / "state"
    state.write_text(json.dumps({"services": {"s3-snow": {"interfaces": lost, "allowed_hosts": None}}}))
    result = run(device, path=str(file), version="118", state_file=str(state))
    assert (result["steps"], result["services_started"]) == (["start_services"], ["s3-snow"])
    made = device.show()["virtual_interfaces"]
    assert [each["IpAddressAssignment"] for each in made] == ["STATIC", "DHCP"]
    assert made[0]["IpAddress"] == "127.9.200.8"
    assert json.loads(state.read_text())["services"] == {}


# -- every state that a device can be found in -----------------------------------------------------------------------

# Steps of a run on a device that was found in this state. Those that end with "install" are made to fail there, as what
# follows is the same for all.
FOUND = {
    "NA": ["download", "install"],
    "DOWNLOADING": ["install"],
    "DOWNLOAD_FAILED": ["download", "install"],
    "DECRYPTING": ["install"],
    "DECRYPT_FAILED": ["download", "install"],
    "DOWNLOADED": ["install"],
    "INSTALLING": WHOLE[3:7],
    "INSTALL_FAILED": ["download", "install"],
    "REQUIRE_REBOOT": WHOLE[3:7],
}


@pytest.mark.parametrize("state", FOUND)
def test_it_goes_on_from_wherever_the_device_is(run: Run, fleet: Fleet, file: Path, state: str) -> None:
    fails = FOUND[state][-1] == "install"
    seconds = {"DOWNLOADING": 0.4, "DECRYPTING": 0.4, "INSTALLING": 0.4}
    device = make(fleet, software={"seconds": seconds, "fail_at": "INSTALLING" if fails else None})
    device.set(software={"state": state})
    result = run(device, path=str(file))
    assert result["steps"] == FOUND[state]
    assert state_of(device) == ("UNLOCKED", *(("INSTALL_FAILED", "118") if fails else ("NA", "119")))


@pytest.mark.parametrize("state", ["DOWNLOAD_FAILED", "DECRYPT_FAILED"])
def test_a_download_that_fails_on_the_device_fails_once(run: Run, fleet: Fleet, file: Path, state: str) -> None:
    device = make(fleet, generation="old", software={"fail_at": state})
    result = run(device, path=str(file))
    assert result["trouble"] == "update_failed" and state in result["msg"] and "sb1" in result["msg"]
    assert result["install_state"] == state
    assert orders(device) == Counter({"download-updates": 1})


def test_an_installation_that_fails_leaves_the_services_running(
    run: Run, fleet: Fleet, file: Path, tmp_path: Path
) -> None:
    device = make(fleet, software={"fail_at": "INSTALLING"})
    with_s3(device, tmp_path)
    before = orders(device)
    result = run(device, path=str(file))
    assert result["install_state"] == "INSTALL_FAILED"
    assert "Failed while" in result["msg"], "the device's own words"
    assert orders(device) - before == Counter(ORDERS) - Counter({"reboot-device": 2})
    assert device.show()["services"]["s3-snow"]["state"] == "ACTIVE"
    device.set(software={"fail_at": None})
    assert run(device, path=str(file))["installed_version"] == "119"
    assert device.show()["services"]["s3-snow"]["state"] == "ACTIVE"


def test_a_device_that_never_has_enough_of_restarts(run: Run, fleet: Fleet, file: Path) -> None:
    device = make(fleet, software={"reboots": 99})
    result = run(device, path=str(file))
    assert "REQUIRE_REBOOT" in result["msg"] and orders(device)["reboot-device"] == 3


def test_the_wrong_file_is_found_by_the_device(run: Run, fleet: Fleet, file: Path) -> None:
    device = make(fleet, software={"update_sha256": "0" * 64})
    assert "belongs to another job" in run(device, path=str(file))["msg"]


def test_a_missing_file_is_named_before_anything_is_ordered(run: Run, fleet: Fleet, tmp_path: Path) -> None:
    device = make(fleet)
    assert str(tmp_path / "none") in run(device, path=str(tmp_path / "none"))["msg"]
    assert orders(device) == Counter()


def test_time_is_over_and_the_next_run_waits_on(run: Run, fleet: Fleet, file: Path) -> None:
    device = make(fleet, software={"seconds": {"DOWNLOADING": 600.0}})
    result = run(device, path=str(file), timeout=0.5)
    assert result["trouble"] == "timed_out" and "DOWNLOADING" in result["msg"]
    assert result["steps"] == ["download"] and result["changed"]
    device.set(software={"seconds": {"DOWNLOADING": 0.0}})
    assert run(device, path=str(file))["installed_version"] == "119"
    assert orders(device)["download-updates"] == 1


def test_an_unreachable_device_is_an_error_unless_it_boots(run: Run, fleet: Fleet, file: Path) -> None:
    device = make(fleet, reachable=False)
    assert run(device, path=str(file), timeout=0.2)["trouble"] == "unreachable"


def test_a_device_that_locks_itself_while_it_is_waited_for(
    run: Run, fleet: Fleet, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut during the download: it is unlocked, and the download is ordered again by the next run only."""
    device = make(fleet, software={"seconds": {"DOWNLOADING": 600.0}})
    client = importlib.import_module(f"{run_module.PACKAGE}.module_utils._snowball.client").SnowballClient
    original, asked = client.call, []

    def call(self: Any, command: str, *arguments: str, **options: Any) -> str:
        asked.append(command)
        if "power cut" not in asked and asked[-3:] == ["describe-device-software"] * 3:
            asked.append("power cut")
            device.reboot()
            device.set(software={"seconds": {"DOWNLOADING": 0.0}})
        return str(original(self, command, *arguments, **options))

    monkeypatch.setattr(client, "call", call)
    result = run(device, path=str(file))
    assert result["trouble"] in ("unreachable", "update_failed")
    assert run(device, path=str(file))["installed_version"] == "119"


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '{"unknown": 1}', '{"services": []}'])
def test_a_damaged_state_file_is_named_and_kept(run: Run, fleet: Fleet, file: Path, tmp_path: Path, text: str) -> None:
    path = tmp_path / "state"
    path.write_text(text)
    device = make(fleet)
    result = run(device, path=str(file), state_file=str(path))
    assert result["trouble"] == "damaged_file" and str(path) in result["msg"]
    assert path.read_text() == text and orders(device) == Counter()


def test_the_file_is_deleted_on_request_once_the_version_is_there(run: Run, fleet: Fleet, file: Path) -> None:
    device = make(fleet, software={"fail_at": "DOWNLOADING"})
    options = {"path": str(file), "version": "119", "delete_file": True}
    assert run(device, **options)["failed"] and file.exists()
    device.set(software={"state": "NA", "installed": "119", "installing": "NA"})
    assert run(device, **options)["changed"] and not file.exists()
    assert not run(device, **options)["changed"]


# -- runs that are killed ---------------------------------------------------------------------------------------------


def _run_and_die(folder: str, options: dict[str, Any], after: int, before: int) -> None:
    """A run that is killed right after its `after`th order was sent, or right before its `before`th; 0 for never."""
    client = importlib.import_module(f"{run_module.PACKAGE}.module_utils._snowball.client").SnowballClient
    original, count = client.call, 0

    def call(self: Any, command: str, *arguments: str, **given: Any) -> str:
        nonlocal count
        count += command in EFFECTS
        if command in EFFECTS and count == before:
            os.kill(os.getpid(), signal.SIGKILL)
        said = original(self, command, *arguments, **given)
        if command in EFFECTS and count == after:
            os.kill(os.getpid(), signal.SIGKILL)
        return str(said)

    client.call = call
    run_module.run_module("snowball_update", Path(folder), **options)


@pytest.mark.parametrize("when", [{"after": 1, "before": 0}, {"after": 0, "before": 2}], ids=["after", "before"])
def test_killed_after_each_step_it_does_none_twice(
    run: Run, fleet: Fleet, file: Path, tmp_path: Path, when: dict[str, int]
) -> None:
    """Each run gets one order out and is killed: before it can note it, or after it noted what it is about to do.

    The device is silent when the next run comes, and content with one restart, so only the memory counts the second.
    """
    device = make(fleet, boot_seconds=1.0, software={"reboots": 1})
    interfaces = with_s3(device, tmp_path)
    before = orders(device)
    options = {"snowdir": str(device.snowdir), "poll_interval": 0.05, "timeout": 20, "path": str(file)}
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
    deaths = 0
    for _attempt in range(20):
        child = context.Process(target=_run_and_die, args=(str(tmp_path), options), kwargs=when)
        child.start()
        child.join()
        deaths += child.exitcode == -signal.SIGKILL
        if child.exitcode == 0:
            break
    assert child.exitcode == 0 and deaths >= 6
    assert orders(device) - before == Counter(ORDERS)
    assert state_of(device) == ("UNLOCKED", "NA", "119")
    service = device.show()["services"]["s3-snow"]
    assert (service["state"], sorted(service["vnis"])) == ("ACTIVE", interfaces)
    assert not run(device, path=str(file))["changed"]
