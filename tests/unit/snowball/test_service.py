# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module snowball_service against simulated devices, and its decisions without one."""

from __future__ import annotations

import importlib
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
PACKAGE = "ansible_collections.edgeops.snowsync.plugins"
GENERATIONS = ("old", "new")
FILES = {"old": "fileinterface", "new": "nfs"}


@pytest.fixture
def fleet(collection: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    fleet = Fleet(tmp_path)
    for name, value in fleet.environment().items():
        monkeypatch.setenv(name, value)
    ask_in_this_process(monkeypatch)
    return fleet


@pytest.fixture
def device(fleet: Fleet) -> Any:
    return fleet.make("alpha", state="UNLOCKED")


@pytest.fixture
def run(fleet: Fleet, tmp_path: Path) -> Run:
    def call(service: str = "s3-snow", **options: Any) -> dict[str, Any]:
        fixed = {"snowdir": str(fleet.snowdirs / "alpha"), "poll_interval": 0.1, "timeout": 30, "service": service}
        return run_module.run_module("snowball_service", tmp_path, **{**fixed, **options})

    return call


def utils(name: str) -> Any:
    return importlib.import_module(f"{PACKAGE}.module_utils.{name}")


def changes(device: Any) -> list[str]:
    """The commands that changed something, in their order."""
    asking = ("describe-", "list-", "get-")
    return [call["command"] for call in device.calls() if not call["command"].startswith(asking)]


@pytest.mark.parametrize("generation", GENERATIONS)
def test_check_do_check_do(fleet: Fleet, run: Run, generation: str) -> None:
    fleet.set_client(generation)
    device = fleet.make("alpha", generation=generation, state="UNLOCKED")
    first = run(check=True, diff=True)
    assert first["changed"] and first["state"] == "INACTIVE" and first["steps"] == ["start"]
    assert [each["created"] for each in first["interfaces"]] == [True, True]
    assert first["diff"]["after"] == {"service": "s3-snow", "state": "ACTIVE", "interfaces": ["DHCP", "DHCP"]}
    assert changes(device) == []

    second = run(diff=True)
    interfaces = device.show()["virtual_interfaces"]
    assert second["changed"] and second["state"] == "ACTIVE" and len(interfaces) == 2
    assert [each["arn"] for each in second["interfaces"]] == [each["VirtualNetworkInterfaceArn"] for each in interfaces]
    assert [each["kind"] for each in second["service"]["endpoints"]] == ["control", "object"]
    assert second["diff"]["before"]["state"] == "INACTIVE" and second["diff"]["after"]["state"] == "ACTIVE"
    assert changes(device) == ["create-virtual-network-interface"] * 2 + ["start-service"]

    for third in (run(check=True, diff=True), run(diff=True)):
        assert not third["changed"] and third["steps"] == [] and third["interfaces"] == []
        assert third["diff"]["before"] == third["diff"]["after"]


def test_stopping_and_starting_again_makes_no_new_interfaces(device: Any, run: Run) -> None:
    run()
    assert run(state="stopped", check=True, diff=True)["diff"]["after"]["state"] == "INACTIVE"
    stopped = run(state="stopped")
    assert stopped["changed"] and stopped["state"] == "INACTIVE"
    assert not run(state="stopped")["changed"]
    again = run()
    assert [each["created"] for each in again["interfaces"]] == [False, False]
    assert len(device.show()["virtual_interfaces"]) == 2


def test_an_interface_of_another_service_is_left_to_it(device: Any, run: Run) -> None:
    run("nfs", allowed_hosts=["192.0.2.0/24"])
    result = run()
    assert [each["created"] for each in result["interfaces"]] == [True, True]
    assert len(device.show()["virtual_interfaces"]) == 3


def test_static_addresses_on_a_port_of_choice(device: Any, run: Run) -> None:
    interfaces = [
        {"physical": "QSFP", "ip_address": "127.77.0.1", "netmask": "255.255.0.0"},
        {"ip_address": "127.77.0.2"},
    ]
    run(interfaces=interfaces)
    shown = device.show()
    made = shown["virtual_interfaces"]
    assert [(each["IpAddress"], each["Netmask"]) for each in made] == [
        ("127.77.0.1", "255.255.0.0"),
        ("127.77.0.2", "255.0.0.0"),
    ]
    ports = {each["PhysicalNetworkInterfaceId"]: each["PhysicalConnectorType"] for each in shown["physical_interfaces"]}
    assert [ports[each["PhysicalNetworkInterfaceId"]] for each in made] == ["QSFP", "RJ45"]
    run(state="stopped")
    assert [each["created"] for each in run(interfaces=interfaces)["interfaces"]] == [False, False]


def test_an_interface_may_be_named(device: Any, run: Run) -> None:
    first = run()
    run(state="stopped")
    arns = [each["arn"] for each in reversed(first["interfaces"])]
    second = run(interfaces=[{"arn": arn} for arn in arns])
    assert [each["arn"] for each in second["interfaces"]] == arns
    run(state="stopped")
    wrong = run(interfaces=[{"arn": arns[0]}, {"arn": arns[0]}])
    assert wrong["trouble"] == "options" and arns[1] in wrong["msg"]


@pytest.mark.parametrize(
    ("interfaces", "said"),
    [
        ([{}], "needs 2 virtual interfaces"),
        ([{"physical": "WIFI"}, {}], "there is no interface WIFI"),
        ([{"arn": "arn:none"}, {}], "arn:none does not exist"),
    ],
)
def test_interfaces_that_cannot_be_had_are_told_before_anything_is_made(
    device: Any, run: Run, interfaces: list[dict[str, str]], said: str
) -> None:
    result = run(interfaces=interfaces)
    assert result["trouble"] == "options" and said in result["msg"] and "alpha" in result["msg"]
    assert changes(device) == []


@pytest.mark.parametrize("interface", [{"arn": "a", "physical": "b"}, {"netmask": "255.0.0.0"}])
def test_options_of_an_interface_that_contradict_each_other_are_refused(
    device: Any, run: Run, interface: dict[str, str]
) -> None:
    assert run(interfaces=[interface])["failed"]
    assert device.calls() == []


# -- NFS ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("generation", GENERATIONS)
def test_other_hosts_need_a_restart_and_the_interface_stays(fleet: Fleet, run: Run, generation: str) -> None:
    device = fleet.make("alpha", generation=generation, state="UNLOCKED")
    service = FILES[generation]
    run(service, allowed_hosts=["192.0.2.0/24", "198.51.100.1"], interfaces=[{"ip_address": "127.77.0.1"}])
    assert not run(service, allowed_hosts=["198.51.100.1", "192.0.2.0/24"])["changed"]
    assert not run(service)["changed"]

    planned = run(service, allowed_hosts=["203.0.113.0/24"], check=True, diff=True)
    assert planned["steps"] == ["stop", "start"]
    assert planned["diff"]["before"]["allowed_hosts"] == ["192.0.2.0/24", "198.51.100.1"]
    assert planned["diff"]["after"]["allowed_hosts"] == ["203.0.113.0/24"]
    done = run(service, allowed_hosts=["203.0.113.0/24"])
    assert done["service"]["allowed_hosts"] == ["203.0.113.0/24"]
    assert [each["IpAddress"] for each in device.show()["virtual_interfaces"]] == ["127.77.0.1"]


def test_no_hosts_at_all_is_a_warning(device: Any, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run("nfs")
    assert "denies all mounts" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("service", "hosts", "said"),
    [("s3-snow", ["192.0.2.1"], "only nfs and fileinterface"), ("nfs", ["a,b"], "'a,b'"), ("nfs", [""], "''")],
)
def test_hosts_that_make_no_sense_are_refused(device: Any, run: Run, service: str, hosts: list[str], said: str) -> None:
    result = run(service, allowed_hosts=hosts)
    assert result["trouble"] == "options" and said in result["msg"]
    assert device.calls() == []


def test_after_a_power_cut_nfs_is_stopped_before_it_is_started(fleet: Fleet, run: Run) -> None:
    device = fleet.make("alpha", state="UNLOCKED", boot_seconds=0)
    run("nfs", allowed_hosts=["192.0.2.0/24"])
    device.reboot()
    device.set(state="UNLOCKED")
    assert device.show()["services"]["nfs"]["state"] == "DEACTIVATED"
    assert not run("nfs", state="stopped", check=True)["changed"]
    result = run("nfs", allowed_hosts=["192.0.2.0/24"])
    assert result["steps"] == ["stop", "start"] and result["state"] == "ACTIVE"


# -- states ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", ["s3", "ec2", "sts", "iam"])
def test_what_cannot_be_stopped_is_said_before_the_device_is_asked(device: Any, run: Run, service: str) -> None:
    result = run(service, state="stopped")
    assert result["trouble"] == "cannot_be_stopped" and "s3, ec2, sts, iam" in result["msg"]
    assert device.calls() == []


def test_what_the_device_refuses_to_stop_is_said(device: Any, run: Run) -> None:
    device.set(services={"ssm": {"stoppable": False, "state": "ACTIVE"}})
    result = run("ssm", state="stopped")
    assert result["trouble"] == "cannot_be_stopped" and "ssm" in result["msg"]


def test_what_always_runs_is_waited_for(device: Any, run: Run) -> None:
    assert run("ec2")["state"] == "ACTIVE"
    device.set(services={"ec2": {"state": "ACTIVATING", "start_seconds": 0.5}})
    result = run("ec2")
    assert not result["changed"] and result["state"] == "ACTIVE"
    assert changes(device) == []


def test_a_service_that_starts_already_is_only_waited_for(device: Any, run: Run) -> None:
    device.set(services={"s3-snow": {"state": "ACTIVATING", "start_seconds": 0.5}})
    assert not run(check=True)["changed"]
    result = run()
    assert not result["changed"] and result["state"] == "ACTIVE"


def test_a_service_that_stops_is_waited_for_and_started(device: Any, run: Run) -> None:
    device.set(services={"s3-snow": {"state": "DEACTIVATING", "stop_seconds": 0.5}})
    assert run(check=True)["steps"] == ["start"]
    assert run(state="stopped", check=True)["steps"] == []
    assert run()["state"] == "ACTIVE"


def test_endpoints_that_are_listed_are_no_service_that_works(device: Any, run: Run) -> None:
    """s3-snow lists them while it is ACTIVATING; only the top-level state counts."""
    device.set(services={"s3-snow": {"hangs": True}})
    result = run(timeout=1)
    assert result["trouble"] == "timed_out" and "ACTIVATING (Attaching storage)" in result["msg"]
    assert run(state="stopped")["state"] == "INACTIVE"


@pytest.mark.parametrize(("becomes", "works"), [("DEGRADED", True), ("UNHEALTHY", False), ("INACTIVE", False)])
def test_where_a_start_may_end(
    device: Any, run: Run, capsys: pytest.CaptureFixture[str], becomes: str, works: bool
) -> None:
    device.set(services={"s3-snow": {"becomes": becomes}})
    result = run()
    if works:
        assert result["state"] == becomes and becomes in capsys.readouterr().err
        assert not run()["changed"]
    else:
        assert result["trouble"] == "service_failed" and becomes in result["msg"]


def test_an_unhealthy_service_is_not_restarted_unasked(device: Any, run: Run) -> None:
    device.set(services={"s3-snow": {"state": "UNHEALTHY", "details": "Disk 3"}})
    result = run()
    assert result["trouble"] == "service_failed" and "UNHEALTHY (Disk 3)" in result["msg"]
    assert changes(device) == []
    assert run(state="stopped")["state"] == "INACTIVE"


def test_a_service_that_the_device_has_not_names_those_it_has(device: Any, run: Run) -> None:
    result = run("greengrass")
    assert result["trouble"] == "options" and "only: nfs, s3" in result["msg"]


def test_a_device_that_is_locked_says_what_to_do(fleet: Fleet, run: Run) -> None:
    fleet.make("alpha")
    result = run()
    assert result["trouble"] == "wrong_state" and "snowball_unlock" in result["msg"]


def test_somebody_else_who_starts_it_first_does_no_harm(device: Any, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    client = utils("_snowball.client").SnowballClient
    real = client.start_service

    def be_late(self: Any, *arguments: Any) -> None:
        real(self, *arguments)
        real(self, *arguments)

    monkeypatch.setattr(client, "start_service", be_late)
    assert run()["state"] == "ACTIVE"


# -- decisions ------------------------------------------------------------------------------------------------------

STATES = {
    "ACTIVE": {"started": (), "stopped": ("stop",)},
    "DEGRADED": {"started": (), "stopped": ("stop",)},
    "INACTIVE": {"started": ("start",), "stopped": ()},
    "DEACTIVATED": {"started": ("stop", "start"), "stopped": ()},
    "UNHEALTHY": {"started": None, "stopped": ("stop",)},
    "SOMETHING_NEW": {"started": None, "stopped": ("stop",)},
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("wanted", ["started", "stopped"])
def test_the_steps_from_every_settled_state(state: str, wanted: str) -> None:
    service = utils("_snowball.service")
    described = utils("_snowball.model").Service("nfs", state)
    wish = service.Wish("nfs", wanted)
    assert service.is_settled(described, wish)
    expected = STATES[state][wanted]
    if expected is None:
        with pytest.raises(utils("_snowball.errors").ServiceFailed):
            service.plan("x", state, described, wish)
    else:
        assert service.plan("x", state, described, wish) == expected


def test_hosts_that_the_device_does_not_tell_are_taken_for_right() -> None:
    service = utils("_snowball.service")
    described = utils("_snowball.model").Service("nfs", "ACTIVE", allowed_hosts=None)
    assert service.plan("x", "ACTIVE", described, service.Wish("nfs", "started", allowed_hosts=("a",))) == ()


def test_the_documentation_knows_all_that_is_returned(device: Any, run: Run) -> None:
    documented = yaml.safe_load(importlib.import_module(f"{PACKAGE}.modules.snowball_service").RETURN)
    result = run(diff=True)
    assert set(result) - {"changed", "diff", "invocation"} == set(documented) - {"trouble", "snowball"}
    assert set(result["interfaces"][0]) == set(documented["interfaces"]["sample"][0])
    assert set(result["service"]) == set(documented["service"]["sample"])
