# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module snowball_info against simulated devices of both generations, in every state."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import run_module
import yaml
from simulators.snowball import Fleet
from snowball_shell import ask_in_this_process

pytestmark = pytest.mark.usefixtures("collection")
Run = Callable[..., dict[str, Any]]
PACKAGE = "ansible_collections.edgeops.snowsync.plugins"
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
        return run_module.run_module("snowball_info", tmp_path, **options)

    return call


@pytest.mark.parametrize("generation", GENERATIONS)
def test_everything_of_a_device_that_works(fleet: Fleet, run: Run, generation: str) -> None:
    fleet.set_client(generation)
    device = fleet.make("alpha", generation=generation, state="UNLOCKED")
    start = {"snowdir": str(device.snowdir), "service": "s3-snow", "poll_interval": 0.1}
    run_module.run_module("snowball_service", fleet.home, **start)
    shown = device.show()
    result = run(snowdir=str(device.snowdir))
    assert not result["changed"] and result["unavailable"] == {}
    assert (result["device_id"], result["state"]) == (shown["device_id"], "UNLOCKED")
    assert len(result["device"]["interfaces"]) == len(shown["physical_interfaces"])
    assert len(result["device"]["capacities"]) == (0 if generation == "old" else len(shown["capacities"]))
    assert result["client"] == {"version": "1.2.0", "build": 254 if generation == "old" else 661}
    assert (result["software"]["installed"], result["software"]["state"]) == ("118", "NA")
    assert result["certificate_days_left"] == result["software"]["certificate_days_left"] == 359
    assert set(result["services"]) == set(shown["services"])
    assert len(result["virtual_interfaces"]) == 2
    assert result["time_sources"] and result["features"] == {"remote_management_state": "INSTALLED_ONLY"}

    endpoints = result["s3_endpoints"]
    assert set(endpoints) == {"adapter", "object", "control"}
    assert [each["protocol"] for each in endpoints["adapter"]] == ["http", "https"]
    hosts = [each["ip_address"] for each in result["virtual_interfaces"]]
    assert [each["url"] for each in endpoints["control"] + endpoints["object"]] == [f"https://{h}:443" for h in hosts]
    (shown_at_the_endpoint,) = [
        each["pem"] for each in result["certificates"] if each["arn"] == endpoints["object"][0]["certificate_arn"]
    ]
    assert shown_at_the_endpoint == shown["certificate"]["pem"]


def test_the_documentation_knows_all_that_is_returned(fleet: Fleet, run: Run) -> None:
    device = fleet.make("alpha", state="UNLOCKED")
    documented = yaml.safe_load(importlib.import_module(f"{PACKAGE}.modules.snowball_info").RETURN)
    result = run(snowdir=str(device.snowdir))
    result.pop("invocation")
    assert set(result) - {"changed"} == set(documented) - {"trouble", "snowball"}
    assert set(result["device"]) == set(documented["device"]["contains"])
    for name in ("software", "client"):
        assert set(result[name]) == set(documented[name]["sample"]), name
    for name, found in (
        ("services", result["services"]["s3"]),
        ("endpoint", result["services"]["s3"]["endpoints"][0]),
    ):
        sample = documented["services"]["sample"]["s3"]
        assert set(found) == set(sample if name == "services" else sample["endpoints"][0]), name
    sample = documented["s3_endpoints"]["sample"]["adapter"][0]
    assert set(result["s3_endpoints"]["adapter"][0]) == set(sample)
    for name in ("certificates", "time_sources"):
        assert set(result[name][0]) == set(documented[name]["sample"][0]), name


@pytest.mark.parametrize("state", ["LOCKED", "UNLOCKING"])
def test_a_device_that_is_locked_gives_what_it_can(fleet: Fleet, run: Run, state: str) -> None:
    device = fleet.make("alpha", state=state, unlock_seconds=1000)
    result = run(snowdir=str(device.snowdir))
    assert result["state"] == state and result["device"]["interfaces"]
    assert result["client"]["build"] == 661 and result["time_sources"]
    assert set(result["unavailable"]) == {"certificates", "features", "interfaces", "services", "software"}
    assert "IncorrectDeviceStateException" in result["unavailable"]["services"]
    assert result["certificate_days_left"] is None and "services" not in result


def test_a_device_out_of_reach_fails(fleet: Fleet, run: Run) -> None:
    device = fleet.make("alpha", reachable=False)
    result = run(snowdir=str(device.snowdir))
    assert result["failed"] and result["trouble"] == "unreachable" and "alpha" in result["msg"]


def test_a_device_that_vanishes_in_between_fails(fleet: Fleet, run: Run) -> None:
    """What is gathered would be less than there is, and nobody could tell."""
    device = fleet.make("alpha", state="UNLOCKED")
    for command in ("list-certificates", "describe-service"):
        device.set(faults=[{"command": command, "message": "connection refused", "count": 1}])
        assert run(snowdir=str(device.snowdir))["trouble"] == "unreachable"


ADDED = {
    "certificates": {"certificates"},
    "client": {"client"},
    "features": {"features"},
    "interfaces": {"virtual_interfaces"},
    "services": {"services", "s3_endpoints"},
    "software": {"software"},
    "time": {"time_sources"},
}


@pytest.mark.parametrize("subset", ADDED)
def test_a_subset_is_asked_for_alone(fleet: Fleet, run: Run, subset: str) -> None:
    device = fleet.make("alpha", state="UNLOCKED")
    always = {"changed", "device", "device_id", "state", "unavailable", "certificate_days_left", "invocation"}
    assert set(run(snowdir=str(device.snowdir), gather=[subset])) - always == ADDED[subset]


def test_nothing_but_the_device_is_one_command(fleet: Fleet, run: Run) -> None:
    device = fleet.make("alpha", state="UNLOCKED")
    run(snowdir=str(device.snowdir), gather=[])
    assert [call["command"] for call in device.calls()] == ["describe-device"]


COMMANDS = {
    "list-certificates": "certificates",
    "get-certificate": "certificates",
    "list-services": "services",
    "describe-service": "services",
    "describe-device-software": "software",
    "describe-virtual-network-interfaces": "interfaces",
    "describe-features": "features",
    "describe-time-sources": "time",
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("fault", ["text", "error"])
def test_one_answer_that_is_spoilt_costs_no_other(fleet: Fleet, run: Run, command: str, fault: str) -> None:
    device = fleet.make("alpha", state="UNLOCKED")
    if fault == "text":
        device.set(answers={command: {"raw": "Something else"}})
    else:
        device.set(faults=[{"command": command, "message": "Full moon", "count": 100}])
    result = run(snowdir=str(device.snowdir), gather=[COMMANDS[command], "client"])
    assert result["client"]["build"] == 661
    if command == "describe-service":
        assert result["unavailable"] == {}
        assert {each["state"] for each in result["services"].values()} == {""}
        assert ("Something else" if fault == "text" else "Full moon") in result["services"]["s3"]["details"]
        return
    assert list(result["unavailable"]) == [COMMANDS[command]]
    assert ("Something else" if fault == "text" else "Full moon") in result["unavailable"][COMMANDS[command]]


OPTIONAL = {
    "describe-device": [
        "ActiveNetworkInterface",
        "PhysicalNetworkInterfaces",
        "DeviceCapacities",
        "DeviceType",
        "Tags",
    ],
    "describe-service": ["Endpoints", "Storage", "ServiceCapacities", "Autostart", "ServiceConfiguration"],
    "describe-device-software": ["InstallingVersion", "InstallState", "CertificateExpiry"],
}


@pytest.mark.parametrize("generation", GENERATIONS)
def test_every_optional_field_may_be_missing(fleet: Fleet, run: Run, generation: str) -> None:
    answers = {command: {"omit": fields, "add": {"Later": {"x": [1]}}} for command, fields in OPTIONAL.items()}
    device = fleet.make("alpha", generation=generation, state="UNLOCKED", answers=answers)
    result = run(snowdir=str(device.snowdir))
    assert result["unavailable"] == {} and result["device"]["interfaces"] == []
    assert result["s3_endpoints"] == {"adapter": [], "object": [], "control": []}


# -- certificates ---------------------------------------------------------------------------------------------------


def text_in(days: float) -> str:
    return (datetime.now(timezone.utc) + timedelta(days=days)).strftime("%a %b %d %H:%M:%S UTC %Y")


@pytest.mark.parametrize(
    ("days", "limit", "said"),
    [
        (31.5, {}, None),
        (30.5, {}, "expires in 30 days"),
        (0.5, {}, "expires in 0 days"),
        (-3.5, {}, "expired 4 days ago"),
        (59.5, {"certificate_warning_days": 60}, "expires in 59 days"),
        (20.5, {"certificate_warning_days": 10}, None),
    ],
)
def test_a_certificate_that_ends_soon_is_a_warning(
    fleet: Fleet, run: Run, capsys: pytest.CaptureFixture[str], days: float, limit: dict[str, int], said: str | None
) -> None:
    device = fleet.make("alpha", state="UNLOCKED", software={"certificate_expiry": text_in(days)})
    result = run(snowdir=str(device.snowdir), gather=["software"], **limit)
    warned = capsys.readouterr().err
    assert result["certificate_days_left"] == int(days // 1)
    assert (said in warned and "alpha" in warned) if said else warned == ""


def test_the_certificates_themselves_are_enough(fleet: Fleet, run: Run) -> None:
    answers = {"describe-device-software": {"omit": ["CertificateExpiry"]}}
    device = fleet.make("alpha", state="UNLOCKED", answers=answers)
    result = run(snowdir=str(device.snowdir))
    assert result["software"]["certificate_days_left"] is None
    assert result["certificate_days_left"] == 359


def test_a_device_that_tells_no_end_is_no_warning(fleet: Fleet, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    device = fleet.make("alpha", state="UNLOCKED", software={"certificate_expiry": "some day"})
    result = run(snowdir=str(device.snowdir), gather=["software"])
    assert result["software"]["certificate_expiry_text"] == "some day"
    assert result["certificate_days_left"] is None and capsys.readouterr().err == ""
