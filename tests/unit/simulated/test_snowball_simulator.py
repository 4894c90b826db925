# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated Snowball Edge: unlocking, what its client prints in both generations, profiles, failures."""

from __future__ import annotations

import configparser
import io
import json
import ssl
import sys
from pathlib import Path

import pytest
from simulators.snowball import Device, Fleet
from simulators.snowball.commands import COMMANDS
from simulators.snowball.profiles import profile_file
from snowball_shell import FOR_EVER, GENERATIONS, Shell, addresses, lines, make_interfaces, open_fleet, state_of


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    return open_fleet(tmp_path, monkeypatch)


@pytest.fixture
def shell(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(fleet, capsys)


# -- unlocking ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_device_is_locked_unlocking_and_unlocked(fleet: Fleet, shell: Shell, generation: str) -> None:
    device = fleet.make("alpha", generation=generation, unlock_seconds=FOR_EVER)
    assert state_of(shell, device) == "LOCKED"
    said = shell.call(device, "unlock-device")
    assert said.out.startswith("Your Snowball Edge device is unlocking. You may determine the unlock state")
    assert state_of(shell, device) == "UNLOCKING"
    device.set(unlock_seconds=0)
    assert state_of(shell, device) == "UNLOCKED"
    assert device.show()["unlocks"] == 1


def test_a_device_may_fall_back_to_locked(fleet: Fleet, shell: Shell) -> None:
    device = fleet.make("alpha", relock=True, unlock_seconds=FOR_EVER)
    shell.call(device, "unlock-device")
    assert state_of(shell, device) == "UNLOCKING"
    device.set(unlock_seconds=0)
    assert state_of(shell, device) == "LOCKED"


@pytest.mark.parametrize("state", ["UNLOCKING", "UNLOCKED"])
def test_unlocking_again(fleet: Fleet, shell: Shell, state: str) -> None:
    device = fleet.make("alpha", state=state, unlock_seconds=FOR_EVER)
    assert "IncorrectDeviceStateException" in shell.error(device, "unlock-device")
    device.set(unlock_again="ok")
    assert shell.call(device, "unlock-device").code == 0
    assert device.show()["unlocks"] == 0


@pytest.mark.parametrize("command", sorted(name for name in COMMANDS if "LOCKED" not in COMMANDS[name].states))
@pytest.mark.parametrize("state", ["LOCKED", "UNLOCKING"])
def test_what_a_locked_device_refuses(fleet: Fleet, shell: Shell, command: str, state: str) -> None:
    device = fleet.make("alpha", state=state, unlock_seconds=FOR_EVER)
    assert "IncorrectDeviceStateException" in shell.error(device, command)


def test_a_reboot_locks_and_takes_its_time(fleet: Fleet, shell: Shell) -> None:
    device = fleet.make("alpha", state="UNLOCKED", boot_seconds=FOR_EVER)
    assert shell.call(device, "reboot-device").out == "Rebooting device now.\n"
    assert "connection refused" in shell.error(device, "describe-device")
    device.set(booting_until=0)
    assert state_of(shell, device) == "LOCKED"


# -- what is wrong before a device is asked ----------------------------------------------------------------------------


def test_a_wrong_code(fleet: Fleet, shell: Shell) -> None:
    device = fleet.make("alpha", wrong_code=True)
    wrong = lines((device.snowdir / "sbe_config.yaml").read_text().removeprefix("---\n"))["unlock_key"]
    access = ("--endpoint", device.endpoint, "--manifest-file", str(device.manifest), "--unlock-code")
    ran = shell.run("unlock-device", *access, wrong)
    assert (ran.code, "does not match the manifest" in ran.err) == (1, True)
    assert wrong not in ran.err
    assert "not valid" in shell.run("unlock-device", *access, "12345").err
    device.set(wrong_code="refused")
    assert "connection refused" in shell.run("unlock-device", *access, wrong).err
    assert device.show()["state"] == "LOCKED"


def test_a_manifest_of_another_device(fleet: Fleet, shell: Shell) -> None:
    device = fleet.make("alpha", wrong_manifest=True)
    other = fleet.make("beta")
    manifest = str(device.snowdir / "manifest.bin")
    ran = shell.run(
        "unlock-device", "--endpoint", device.endpoint, "--manifest-file", manifest, "--unlock-code", device.unlock_code
    )
    assert "IncorrectDeviceManifestException" in ran.err
    swapped = ("--manifest-file", str(other.manifest), "--unlock-code", other.unlock_code)
    assert "IncorrectDeviceManifestException" in shell.run("unlock-device", "--endpoint", device.endpoint, *swapped).err


@pytest.mark.parametrize("content", [None, b"", b"no manifest", "damaged"])
def test_a_manifest_that_is_none(fleet: Fleet, shell: Shell, tmp_path: Path, content: bytes | str | None) -> None:
    device = fleet.make("alpha")
    path = tmp_path / "manifest.bin"
    if content == "damaged":
        path.write_bytes(device.manifest.read_bytes()[:40])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    access = ("--endpoint", device.endpoint, "--manifest-file", str(path), "--unlock-code", device.unlock_code)
    ran = shell.run("describe-device", *access)
    assert ran.code == 1
    assert ("could not be read" if content is None else "could not be decrypted") in ran.err


@pytest.mark.parametrize("generation", GENERATIONS)
def test_an_unreachable_device(fleet: Fleet, shell: Shell, generation: str) -> None:
    fleet.set_client(generation)
    device = fleet.make("alpha", reachable=False)
    assert "connection refused" in shell.error(device, "unlock-device").lower()
    device.set(reachable=True, endpoint="https://127.9.200.1")
    nobody = ("--endpoint", "https://127.9.0.1:9091", "--manifest-file", str(device.manifest))
    ran = shell.run("describe-device", *nobody, "--unlock-code", device.unlock_code)
    assert (ran.code, "connection refused" in ran.err.lower()) == (1, True)


def test_the_port_of_an_endpoint_may_be_left_out(fleet: Fleet) -> None:
    fleet.make("alpha", endpoint="https://127.9.0.7:9091")
    fleet.make("beta", endpoint="https://127.9.0.7:9999")
    assert fleet.find("https://127.9.0.7") == fleet.find("https://127.9.0.7:9091/") == "alpha"
    assert fleet.find("https://127.9.0.7:9999") == "beta"
    assert fleet.find("http://127.9.0.7") is None


@pytest.mark.parametrize(
    "words",
    [
        (), ("--profile", "x"), ("unlock",), ("lock-device",), ("describe-device", "alpha"),
        ("describe-device", "--debug"), ("describe-device", "--service-id", "s3"),
    ],
)  # fmt: skip
def test_a_command_line_that_makes_no_sense(shell: Shell, words: tuple[str, ...]) -> None:
    assert shell.run(*words).code == 2


# -- the shapes of both generations ------------------------------------------------------------------------------------


def test_describe_device(fleet: Fleet, shell: Shell) -> None:
    old = shell.call(fleet.make("alpha", generation="old"), "describe-device").json
    new = shell.call(fleet.make("beta"), "describe-device").json
    assert set(old) == {"DeviceId", "UnlockStatus", "ActiveNetworkInterface", "PhysicalNetworkInterfaces"}
    assert set(new) - set(old) == {"DeviceCapacities", "DeviceType", "Tags"}
    assert not any("MtuSize" in interface for interface in old["PhysicalNetworkInterfaces"])
    assert {interface["MtuSize"] for interface in new["PhysicalNetworkInterfaces"]} == {"1500"}
    assert {interface["PhysicalConnectorType"] for interface in new["PhysicalNetworkInterfaces"]} == {"RJ45", "QSFP"}


def test_json_is_printed_as_jackson_does(fleet: Fleet, shell: Shell) -> None:
    assert '"State" : "LOCKED"' in shell.call(fleet.make("alpha"), "describe-device").out


def test_software_as_text_and_as_json(fleet: Fleet, shell: Shell) -> None:
    old = fleet.make("alpha", generation="old", state="UNLOCKED")
    new = fleet.make("beta", state="UNLOCKED")
    assert shell.call(old, "check-for-updates").out == "Latest version: 119\nInstalled version: 118\n"
    assert shell.call(new, "check-for-updates").json == {"InstalledVersion": "118", "LatestVersion": "119"}
    printed = lines(shell.call(old, "describe-device-software").out)
    assert list(printed) == ["Installed version", "Installing version", "Install State", "CertificateExpiry"]
    assert list(shell.call(new, "describe-device-software").json.values())[:3] == list(printed.values())[:3]
    new.set(software={"state": "DECRYPT_FAILED", "error": "No space."})
    assert shell.call(new, "describe-device-software").json["ErrorMessage"] == "No space."


@pytest.mark.parametrize("generation", GENERATIONS)
def test_the_program_has_generations_too(fleet: Fleet, shell: Shell, generation: str) -> None:
    fleet.set_client(generation)
    expected = {
        "old": "Snowball client version: 1.2.0  Build 254",
        "new": "Snowball Edge client version: 1.2.0  Build 661",
    }
    assert shell.run("version").out == expected[generation] + "\n"


@pytest.mark.parametrize("generation", GENERATIONS)
def test_virtual_interfaces_bare_and_wrapped(fleet: Fleet, shell: Shell, generation: str) -> None:
    device = fleet.make("alpha", generation=generation, state="UNLOCKED")
    assert shell.call(device, "describe-virtual-network-interfaces").json == (
        [] if generation == "old" else {"VirtualNetworkInterfaces": []}
    )
    first, second = make_interfaces(shell, device)
    found = shell.call(device, "describe-virtual-network-interfaces").json
    listed = found if generation == "old" else found["VirtualNetworkInterfaces"]
    assert [each["VirtualNetworkInterfaceArn"] for each in listed] == [first, second]
    assert [each["IpAddressAssignment"] for each in listed] == ["DHCP", "STATIC"]


def test_virtual_interfaces_that_cannot_be_made(fleet: Fleet, shell: Shell) -> None:
    device = fleet.make("alpha", state="UNLOCKED")
    make_interfaces(shell, device)
    physical = device.show()["physical_interfaces"][0]["PhysicalNetworkInterfaceId"]
    on = ("create-virtual-network-interface", "--physical-network-interface-id")
    static = ("--ip-address-assignment", "static", "--static-ip-address-configuration")
    again = shell.error(device, *on, physical, *static, "IpAddress=127.9.9.9,Netmask=255.0.0.0")
    assert "InvalidParameterValueException" in again
    assert "ResourceNotFoundException" in shell.error(device, *on, "s.ni-0", "--ip-address-assignment", "dhcp")
    assert shell.call(device, *on, physical, *static, "IpAddress=127.9.9.8").code == 2


def test_answers_may_be_bent(fleet: Fleet, shell: Shell) -> None:
    device = fleet.make("alpha")
    device.set(answers={"describe-device": {"omit": ["PhysicalNetworkInterfaces"], "add": {"Colour": "grey"}}})
    answer = shell.call(device, "describe-device").json
    assert "PhysicalNetworkInterfaces" not in answer
    assert answer["Colour"] == "grey"
    device.set(answers={"describe-device": {"raw": "no JSON at all"}})
    assert shell.call(device, "describe-device").out == "no JSON at all\n"


def test_failures_on_order(fleet: Fleet, shell: Shell) -> None:
    fault = {"command": "describe-device", "error": "InternalFailureException", "exit": 3, "count": 2}
    device = fleet.make("alpha", faults=[fault])
    ran = [shell.call(device, "describe-device") for each in range(3)]
    assert [each.code for each in ran] == [3, 3, 0]
    assert "InternalFailureException" in ran[0].err


def test_features_and_time_sources(fleet: Fleet, shell: Shell) -> None:
    device = fleet.make("alpha")
    assert shell.call(device, "describe-time-sources").json["Sources"][0]["State"] == "CURRENT"
    device.set(state="UNLOCKED")
    assert shell.call(device, "describe-features").json == {"RemoteManagementState": "INSTALLED_ONLY"}


# -- keys and certificates ---------------------------------------------------------------------------------------------


def test_the_secret_is_ini(fleet: Fleet, shell: Shell) -> None:
    device = fleet.make("alpha", state="UNLOCKED")
    (access_key,) = shell.call(device, "list-access-keys").json["AccessKeyIds"]
    parser = configparser.ConfigParser()
    parser.read_string(shell.call(device, "get-secret-access-key", "--access-key-id", access_key).out)
    assert parser.sections() == ["snowballEdge"]
    shown = device.show()
    assert dict(parser["snowballEdge"]) == {
        "aws_access_key_id": access_key,
        "aws_secret_access_key": shown["secret_key"],
    }
    assert "ResourceNotFoundException" in shell.error(device, "get-secret-access-key", "--access-key-id", "AKIA")


def certificate_of(shell: Shell, device: Device) -> str:
    """The ARN that belongs to the S3 endpoint."""
    endpoints = shell.call(device, "describe-service", "--service-id", "s3").json["Endpoints"]
    (secure,) = [each for each in endpoints if each["Protocol"] == "https"]
    return str(secure["CertificateAssociation"]["CertificateArn"])


@pytest.mark.parametrize("generation", GENERATIONS)
def test_certificates(fleet: Fleet, shell: Shell, generation: str) -> None:
    device = fleet.make("alpha", generation=generation, state="UNLOCKED", endpoint="https://127.9.0.5")
    listed = shell.call(device, "list-certificates").json["Certificates"]
    arn = certificate_of(shell, device)
    assert arn in [each["CertificateArn"] for each in listed]
    if generation == "old":
        assert [each["SubjectAlternativeNames"] for each in listed] == [["127.9.0.5"]]
    else:
        assert {name for each in listed for name in each["SubjectAlternativeNames"]} == {
            f"ID:{device.show()['device_id']}"
        }
        assert listed[0]["CertificateArn"] != arn
    pem = shell.call(device, "get-certificate", "--certificate-arn", arn).out
    assert pem.startswith("-----BEGIN CERTIFICATE-----\n")
    context = ssl.create_default_context(cadata=pem)
    assert context.cert_store_stats()["x509_ca"] >= 1
    assert "ResourceNotFoundException" in shell.error(device, "get-certificate", "--certificate-arn", arn + "0")


def test_another_address_makes_another_certificate(fleet: Fleet, shell: Shell) -> None:
    device = fleet.make("alpha", unlock_seconds=0, boot_seconds=0)
    shell.call(device, "unlock-device")
    first = certificate_of(shell, device)
    device.reboot()
    shell.call(device, "unlock-device")
    assert certificate_of(shell, device) == first
    device.reboot()
    device.set(endpoint="https://127.9.77.1")
    shell.call(device, "unlock-device")
    assert certificate_of(shell, device) != first
    assert "ResourceNotFoundException" in shell.error(device, "get-certificate", "--certificate-arn", first)


# -- the profile file --------------------------------------------------------------------------------------------------


def answer_prompts(monkeypatch: pytest.MonkeyPatch, *answers: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{answer}\n" for answer in answers)))


@pytest.mark.parametrize("generation", GENERATIONS)
def test_configure(fleet: Fleet, shell: Shell, monkeypatch: pytest.MonkeyPatch, generation: str) -> None:
    fleet.set_client(generation)
    alpha, beta = fleet.make("alpha"), fleet.make("beta")
    answer_prompts(monkeypatch, str(alpha.manifest), alpha.unlock_code, alpha.endpoint)
    ran = shell.run("configure")
    will = {"old": "will stored", "new": "will be stored"}[generation]
    assert ran.out == (
        f"Configuration {will} at {profile_file(fleet.home)}\n"
        "Snowball Edge Manifest Path: Unlock Code: Default Endpoint: "
    )
    answer_prompts(monkeypatch, str(beta.manifest), beta.unlock_code, beta.endpoint)
    assert shell.run("configure", "--profile", "second").code == 0
    content = json.loads(profile_file(fleet.home).read_text())
    assert content["version"] == 1
    assert set(content["profiles"]) == {"default", "second"}
    assert content["profiles"]["second"] == {
        "name": "second",
        "jobId": beta.show()["job_id"],
        "unlockCode": beta.unlock_code,
        "manifestPath": str(beta.manifest),
        "defaultEndpoint": beta.endpoint,
        "isCluster": False,
        "deviceIps": [],
    }
    assert shell.run("describe-device").json["DeviceId"] == alpha.show()["device_id"]
    assert shell.run("describe-device", "--profile", "second").json["DeviceId"] == beta.show()["device_id"]


def test_configure_writes_nothing_that_is_wrong(fleet: Fleet, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    alpha, beta = fleet.make("alpha"), fleet.make("beta")
    for answers in (
        (str(alpha.manifest), beta.unlock_code, alpha.endpoint),
        (str(alpha.manifest) + "x", alpha.unlock_code, alpha.endpoint),
        (str(alpha.manifest), alpha.unlock_code, "127.9.0.1"),
        (str(alpha.manifest),),
    ):
        answer_prompts(monkeypatch, *answers)
        assert shell.run("configure").code == 1
        assert not profile_file(fleet.home).exists()


def test_profiles_by_hand(fleet: Fleet, shell: Shell) -> None:
    """As others have written them: without isCluster and deviceIps."""
    device = fleet.make("alpha")
    path = profile_file(fleet.home)
    path.parent.mkdir(parents=True)
    profile = {
        "name": "mine",
        "jobId": "JID",
        "unlockCode": device.unlock_code,
        "manifestPath": str(device.manifest),
        "defaultEndpoint": device.endpoint,
    }
    path.write_text(json.dumps({"version": 1, "profiles": {"mine": profile}}))
    assert shell.run("unlock-device", "--profile", "mine").code == 0
    assert "The profile default does not exist" in shell.run("unlock-device").err
    assert (
        "connection refused" in shell.run("describe-device", "--profile", "mine", "--endpoint", "https://127.9.8.7").err
    )
    for broken in ("{", "[]", '{"profiles": {}}', '{"version": 1, "profiles": []}'):
        path.write_text(broken)
        assert shell.run("describe-device", "--profile", "mine").code == 1


def test_a_profile_of_a_cluster_names_its_nodes(fleet: Fleet, shell: Shell) -> None:
    nodes = fleet.make_cluster("gamma", 3, unlock_seconds=0)
    given = ("--manifest-file", str(nodes[0].manifest), "--unlock-code", nodes[0].unlock_code)
    shell.run("configure", *given, "--endpoint", nodes[0].endpoint, *addresses(nodes))
    assert shell.run("unlock-cluster").code == 0
    assert {node.show()["state"] for node in nodes} == {"UNLOCKED"}
