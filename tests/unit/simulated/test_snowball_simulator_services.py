# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated Snowball Edge: services, the software update, clusters."""

from __future__ import annotations

from pathlib import Path

import pytest
from simulators.snowball import Device, Fleet, timeline
from simulators.snowball.model import ALWAYS_ON, INSTALL_STATES, merge, new_device
from snowball_shell import FOR_EVER, GENERATIONS, Shell, addresses, lines, make_interfaces, open_fleet


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    return open_fleet(tmp_path, monkeypatch)


@pytest.fixture
def shell(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(fleet, capsys)


# -- services ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("generation", GENERATIONS)
def test_object_storage_starts(fleet: Fleet, shell: Shell, generation: str) -> None:
    hanging = {"hangs": True, "start_seconds": 0}
    device = fleet.make("alpha", generation=generation, state="UNLOCKED", services={"s3-snow": hanging})
    assert "s3-snow" in shell.call(device, "list-services").json["ServiceIds"]
    start = ("start-service", "--service-id", "s3-snow", "--virtual-network-interface-arns")
    arns = make_interfaces(shell, device)
    assert "InvalidParameterValueException" in shell.error(device, *start, arns[0])
    assert "ResourceNotFoundException" in shell.error(device, *start, arns[0], "arn:aws:none")
    assert shell.call(device, *start, *arns).out.startswith("Starting the AWS service on your Snowball Edge.")
    waiting = shell.call(device, "describe-service", "--service-id", "s3-snow").json
    assert waiting["Status"]["State"] == "ACTIVATING"
    assert ("Details" in waiting["Status"]) == (generation == "new")
    assert len(waiting["Endpoints"]) == 2
    assert "ServiceAlreadyStartedException" in shell.error(device, *start, *arns)
    device.set(services={"s3-snow": {"hangs": False}})
    ready = shell.call(device, "describe-service", "--service-id", "s3-snow").json
    assert ready["Status"]["State"] == "ACTIVE"
    assert ready["Autostart"] is False
    control, objects = ready["Endpoints"]
    assert {
        "old": ("s3-snow bucket API endpoint", "s3-snow object API endpoint"),
        "new": (
            "s3-snow bucket API endpoint (for s3control SDK)",
            "s3-snow object & bucket API endpoint (for s3api SDK)",
        ),
    }[generation] == (control["Description"], objects["Description"])
    assert (objects["Host"], objects["Port"]) == ("127.9.9.9", 443)


@pytest.mark.parametrize("service_id", ALWAYS_ON)
def test_services_that_cannot_be_stopped(fleet: Fleet, shell: Shell, service_id: str) -> None:
    device = fleet.make("alpha", state="UNLOCKED")
    service = ("--service-id", service_id)
    assert shell.call(device, "describe-service", *service).json["Status"]["State"] == "ACTIVE"
    assert "UnsupportedOperationException" in shell.error(device, "stop-service", *service)
    assert "ServiceAlreadyStartedException" in shell.error(device, "start-service", *service)


def test_a_service_stops_in_its_time(fleet: Fleet, shell: Shell) -> None:
    device = fleet.make("alpha", state="UNLOCKED", services={"nfs": {"state": "ACTIVE", "stop_seconds": FOR_EVER}})
    nfs = ("--service-id", "nfs")
    assert shell.call(device, "stop-service", *nfs).out.startswith("Stopping the AWS service on your Snowball Edge.")
    assert shell.call(device, "describe-service", *nfs).json["Status"]["State"] == "DEACTIVATING"
    assert "IncorrectDeviceStateException" in shell.error(device, "stop-service", *nfs)
    assert "IncorrectDeviceStateException" in shell.error(device, "start-service", *nfs)
    device.set(services={"nfs": {"stop_seconds": 0}})
    assert shell.call(device, "describe-service", *nfs).json["Status"]["State"] == "INACTIVE"


@pytest.mark.parametrize("ends", ["DEGRADED", "UNHEALTHY"])
def test_a_service_that_starts_badly(fleet: Fleet, shell: Shell, ends: str) -> None:
    device = fleet.make("alpha", state="UNLOCKED", services={"ssm": {"becomes": ends, "start_seconds": 0}})
    shell.call(device, "start-service", "--service-id", "ssm")
    assert shell.call(device, "describe-service", "--service-id", "ssm").json["Status"]["State"] == ends


def test_nfs_after_a_power_cut(fleet: Fleet, shell: Shell) -> None:
    """It is DEACTIVATED, and has to be stopped before it can be started."""
    fields = {"start_seconds": 0, "stop_seconds": 0}
    device = fleet.make("alpha", state="UNLOCKED", unlock_seconds=0, boot_seconds=0, services={"nfs": fields})
    nfs = ("--service-id", "nfs")
    start = ("start-service", *nfs, "--virtual-network-interface-arns", make_interfaces(shell, device)[0])
    shell.call(device, *start, "--service-configuration", "AllowedHosts=10.0.0.0/8,192.0.2.0/24")
    active = shell.call(device, "describe-service", *nfs).json
    assert active["ServiceConfiguration"]["AllowedHosts"] == ["10.0.0.0/8", "192.0.2.0/24"]
    assert [(each["Protocol"], each["Port"]) for each in active["Endpoints"]] == [("nfs", 2049)]
    device.reboot()
    shell.call(device, "unlock-device")
    assert shell.call(device, "describe-service", *nfs).json["Status"]["State"] == "DEACTIVATED"
    assert "IncorrectDeviceStateException" in shell.error(device, *start)
    shell.call(device, "stop-service", *nfs)
    assert shell.call(device, *start).code == 0
    assert shell.call(device, "describe-service", *nfs).json["Status"]["State"] == "ACTIVE"


def test_services_after_a_reboot(fleet: Fleet, shell: Shell) -> None:
    """Those that are always on, and those that start by themselves, need nobody."""
    services = {"s3-snow": {"state": "ACTIVE", "autostart": True, "start_seconds": 0}, "ssm": {"state": "ACTIVE"}}
    device = fleet.make("alpha", state="UNLOCKED", unlock_seconds=0, boot_seconds=0, services=services)
    device.reboot()
    assert {each["state"] for each in device.show()["services"].values()} == {"INACTIVE"}
    shell.call(device, "unlock-device")
    states = {name: each["state"] for name, each in device.show()["services"].items()}
    assert states == dict.fromkeys((*ALWAYS_ON, "s3-snow"), "ACTIVE") | {"ssm": "INACTIVE", "nfs": "INACTIVE"}


# -- the software update -----------------------------------------------------------------------------------------------


def install_state(shell: Shell, device: Device) -> str:
    return str(shell.call(device, "describe-device-software").json["InstallState"])


@pytest.mark.parametrize("state", INSTALL_STATES)
def test_every_install_state_can_be_set(fleet: Fleet, shell: Shell, state: str) -> None:
    seconds = dict.fromkeys(("DOWNLOADING", "DECRYPTING", "INSTALLING"), FOR_EVER)
    old = fleet.make("alpha", generation="old", state="UNLOCKED", software={"state": state, "seconds": seconds})
    new = fleet.make("beta", state="UNLOCKED", software={"state": state, "seconds": seconds})
    assert install_state(shell, new) == lines(shell.call(old, "describe-device-software").out)["Install State"] == state


def test_a_whole_update(fleet: Fleet, shell: Shell, tmp_path: Path) -> None:
    slow = dict.fromkeys(("DOWNLOADING", "DECRYPTING", "INSTALLING"), FOR_EVER)
    device = fleet.make("alpha", state="UNLOCKED", unlock_seconds=0, boot_seconds=0, software={"seconds": slow})
    update = tmp_path / "offline update"
    update.write_bytes(b"sealed")
    uri = update.as_uri()
    assert shell.call(device, "download-updates", "--uri", uri).out.startswith("Download started.")
    for state, following in (("DOWNLOADING", "DECRYPTING"), ("DECRYPTING", "DOWNLOADED")):
        assert install_state(shell, device) == state
        device.set(software={"seconds": {state: 0}})
        assert install_state(shell, device) == following
    assert shell.call(device, "install-updates").out == "Installation started.\n"
    assert install_state(shell, device) == "INSTALLING"
    device.set(software={"seconds": {"INSTALLING": 0}})
    for reboot in range(2):
        assert install_state(shell, device) == "REQUIRE_REBOOT", f"before reboot {reboot + 1}"
        assert shell.call(device, "describe-device-software").json["InstalledVersion"] == "118"
        shell.call(device, "reboot-device")
        shell.call(device, "unlock-device")
    assert list(shell.call(device, "describe-device-software").json.values())[:3] == ["119", "NA", "NA"]


@pytest.mark.parametrize("step", ["DOWNLOAD", "DECRYPT", "INSTALL"])
@pytest.mark.parametrize("written", ["ING", "_FAILED"])
def test_a_step_that_fails(fleet: Fleet, shell: Shell, step: str, written: str) -> None:
    at_once = dict.fromkeys(("DOWNLOADING", "DECRYPTING", "INSTALLING"), 0)
    device = fleet.make("alpha", state="UNLOCKED", software={"seconds": at_once, "fail_at": step + written})
    shell.call(device, "download-updates")
    if step == "INSTALL":
        shell.call(device, "install-updates")
    assert install_state(shell, device) == f"{step}_FAILED"
    device.set(software={"fail_at": None})
    assert shell.call(device, "download-updates").code == 0
    assert install_state(shell, device) == "DOWNLOADED"


@pytest.mark.parametrize(
    ("state", "command"),
    [(state, "install-updates") for state in INSTALL_STATES if state != "DOWNLOADED"]
    + [(s, "download-updates") for s in ("DOWNLOADING", "DECRYPTING", "DOWNLOADED", "INSTALLING", "REQUIRE_REBOOT")],
)
def test_steps_out_of_order(fleet: Fleet, shell: Shell, state: str, command: str) -> None:
    seconds = dict.fromkeys(("DOWNLOADING", "DECRYPTING", "INSTALLING"), FOR_EVER)
    device = fleet.make("alpha", state="UNLOCKED", software={"state": state, "seconds": seconds})
    assert "IncorrectDeviceUpdateStateException" in shell.error(device, command)
    assert install_state(shell, device) == state


def test_running_services_forbid_the_installation(fleet: Fleet, shell: Shell) -> None:
    device = fleet.make(
        "alpha", state="UNLOCKED", software={"state": "DOWNLOADED"}, services={"nfs": {"state": "ACTIVE"}}
    )
    error = shell.error(device, "install-updates")
    assert "IncorrectDeviceStateException" in error
    assert "nfs" in error
    assert "s3" not in error


def test_a_device_without_the_internet(fleet: Fleet, shell: Shell, tmp_path: Path) -> None:
    device = fleet.make("alpha", state="UNLOCKED", software={"internet": False})
    assert "NoCloudConnectionException" in shell.error(device, "check-for-updates")
    assert "NoCloudConnectionException" in shell.error(device, "download-updates")
    (tmp_path / "update").write_bytes(b"sealed")
    assert shell.call(device, "download-updates", "--uri", (tmp_path / "update").as_uri()).code == 0


def test_an_update_file_that_is_no_good(fleet: Fleet, shell: Shell, tmp_path: Path) -> None:
    at_once = {"DOWNLOADING": 0, "DECRYPTING": 0}
    device = fleet.make("alpha", state="UNLOCKED", software={"seconds": at_once, "update_sha256": "0" * 64})
    update = tmp_path / "update"
    assert "could not be read" in shell.error(device, "download-updates", "--uri", update.as_uri())
    update.touch()
    assert "empty" in shell.error(device, "download-updates", "--uri", update.as_uri())
    assert "not valid" in shell.error(device, "download-updates", "--uri", str(update))
    assert install_state(shell, device) == "NA"
    update.write_bytes(b"of another device")
    shell.call(device, "download-updates", "--uri", update.as_uri())
    assert install_state(shell, device) == "DECRYPT_FAILED"


@pytest.mark.parametrize("state", ["DOWNLOADING", "DECRYPTING", "INSTALLING"])
def test_a_power_cut_in_an_update(state: str) -> None:
    device = new_device("alpha", "https://127.9.0.1")
    merge(device, {"state": "UNLOCKED", "software": {"state": state, "since": 100.0}})
    timeline.power_cycle(device, 100.0)
    assert device["software"]["state"] == timeline.STEPS[state][1]


# -- clusters ----------------------------------------------------------------------------------------------------------


def test_a_cluster(fleet: Fleet, shell: Shell) -> None:
    nodes = fleet.make_cluster("gamma", 3, unlock_seconds=FOR_EVER, boot_seconds=0)
    assert len({node.unlock_code for node in nodes} | {node.manifest.read_bytes() for node in nodes}) == 2
    assert sorted(path.name for path in (fleet.snowdirs / "gamma").iterdir()) == ["manifest.bin", "sbe_config.yaml"]
    said = shell.call(nodes[0], "unlock-cluster", *addresses(nodes))
    assert said.out.startswith("Your Snowball Edge Cluster is unlocking.")
    described = shell.call(nodes[1], "describe-cluster").json
    assert [each["UnlockStatus"]["State"] for each in described["Devices"]] == ["UNLOCKING"] * 3
    for node in nodes:
        node.set(unlock_seconds=0)
    assert [node.show()["state"] for node in nodes] == ["UNLOCKED"] * 3
    association = shell.call(nodes[2], "describe-device").json["ClusterAssociation"]
    assert association == {"State": "ASSOCIATED", "ClusterId": described["ClusterId"]}


def test_a_cluster_with_an_unreachable_node(fleet: Fleet, shell: Shell) -> None:
    nodes = fleet.make_cluster("gamma", 3, unlock_seconds=0, boot_seconds=0)
    nodes[2].set(reachable=False)
    unlock = ("unlock-cluster", *addresses(nodes))
    assert "Only 2 of 3 nodes" in shell.error(nodes[0], *unlock)
    lost = shell.call(nodes[0], "describe-cluster").json["Devices"][2]
    assert "UnlockStatus" not in lost
    assert lost["NetworkReachability"] == {"State": "UNREACHABLE"}
    nodes[2].set(reachable=True)
    assert shell.call(nodes[0], *unlock).code == 0
    nodes[2].set(reachable=False)
    for node in nodes:
        node.reboot()
    assert shell.call(nodes[0], *unlock).code == 0, "a quorum is enough once the cluster was formed"
    assert [node.show()["state"] for node in nodes] == ["UNLOCKED", "UNLOCKED", "LOCKED"]


def test_cluster_commands_want_a_cluster(fleet: Fleet, shell: Shell) -> None:
    device = fleet.make("alpha")
    (node, *others) = fleet.make_cluster("gamma", 3)
    assert "UnsupportedOperationException" in shell.error(device, "describe-cluster")
    assert "UnsupportedOperationException" in shell.error(device, "unlock-cluster", *addresses([device]))
    assert "InvalidParameterValueException" in shell.error(node, "unlock-cluster", *addresses([node, device]))
    assert shell.call(node, "unlock-cluster").code == 2
    assert {each.show()["state"] for each in (node, *others)} == {"LOCKED"}
