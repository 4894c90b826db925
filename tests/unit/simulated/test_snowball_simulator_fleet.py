# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder of simulated Snowballs: what is kept, by many processes at once, and its administration."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from simulators.snowball import Fleet, timeline
from simulators.snowball.__main__ import main as administer
from simulators.snowball.fleet import HERE
from simulators.snowball.model import STATES, new_device
from snowball_shell import Shell, open_fleet


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    return open_fleet(tmp_path, monkeypatch)


@pytest.fixture
def shell(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(fleet, capsys)


# -- the folder --------------------------------------------------------------------------------------------------------


def test_calls_are_recorded_without_secrets(fleet: Fleet, shell: Shell) -> None:
    device = fleet.make("alpha")
    shell.call(device, "describe-device")
    shell.run("configure", "--manifest-file", str(device.manifest), "--unlock-code", device.unlock_code, "--endpoint",
              device.endpoint)  # fmt: skip
    shell.run("unlock-device")
    by_options, by_profile = device.calls()
    assert (by_options["command"], by_options["code_in_argv"]) == ("describe-device", True)
    assert (by_profile["argv"], by_profile["code_in_argv"]) == (["unlock-device"], False)
    for log in (fleet.folder / "calls.jsonl", device.folder / "calls.jsonl"):
        assert device.unlock_code not in log.read_text()
        assert "***" in log.read_text()


def test_a_call_that_is_refused_is_recorded_too(fleet: Fleet, shell: Shell) -> None:
    device = fleet.make("alpha", reachable=False)
    shell.call(device, "describe-device")
    assert [call["command"] for call in device.calls()] == ["describe-device"]


def test_changes_reach_where_they_are_meant_to(fleet: Fleet) -> None:
    device = fleet.make("alpha")
    device.set(services={"s3-snow": {"hangs": True}}, **{"software.seconds.INSTALLING": 9})
    shown = device.show()
    assert shown["services"]["s3-snow"]["hangs"]
    assert shown["services"]["s3-snow"]["vnis_needed"] == 2
    assert shown["software"]["seconds"]["INSTALLING"] == 9
    with pytest.raises(ValueError, match="state: 'OPEN' is not one of"):
        device.set(state="OPEN")


def test_names_and_addresses_are_a_devices_own(fleet: Fleet) -> None:
    devices = [fleet.make(name) for name in ("alpha", "beta", "gamma")]
    assert len({device.endpoint for device in devices}) == 3
    assert len({device.unlock_code for device in devices}) == 3
    for name in ("alpha", "snowdirs", "../alpha", ".hidden"):
        with pytest.raises(ValueError, match="device"):
            fleet.make(name)
    with pytest.raises(KeyError, match=r"no device 'delta' .* alpha, beta, gamma"):
        fleet["delta"]


def test_a_snowdir(fleet: Fleet, tmp_path: Path) -> None:
    device = fleet.make("alpha", snowdir=tmp_path / "elsewhere")
    assert device.snowdir == tmp_path / "elsewhere/alpha"
    config = device.snowdir / "sbe_config.yaml"
    assert config.read_text() == f"---\nunlock_key: {device.unlock_code}\nendpoint_url: {device.endpoint}\n"
    assert config.stat().st_mode & 0o077 == 0
    assert (device.snowdir / "manifest.bin").read_bytes() == device.manifest.read_bytes()


def test_time_passes_by_the_clock() -> None:
    device = new_device("alpha", "https://127.9.0.1")
    device.update(state="UNLOCKING", since=100.0, unlock_seconds=30)
    timeline.advance(device, 129.9)
    assert device["state"] == "UNLOCKING"
    timeline.advance(device, 130.0)
    assert (device["state"], device["since"]) == ("UNLOCKED", 130.0)
    device["software"].update(state="DOWNLOADING", since=200.0, seconds={"DOWNLOADING": 10, "DECRYPTING": 10})
    for now, state in ((209.0, "DOWNLOADING"), (219.0, "DECRYPTING"), (220.0, "DOWNLOADED")):
        timeline.advance(device, now)
        assert device["software"]["state"] == state
    assert set(STATES) == {"LOCKED", "UNLOCKING", "UNLOCKED"}


# -- as processes ------------------------------------------------------------------------------------------------------


@pytest.fixture
def process(fleet: Fleet) -> Callable[..., subprocess.Popen[str]]:
    """Starts the client with the environment of the fleet and nothing else."""

    def start(*words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["snowballEdge", *words],
            env=fleet.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def test_the_client_is_a_program(fleet: Fleet, process: Callable[..., subprocess.Popen[str]]) -> None:
    device = fleet.make("alpha", unlock_seconds=0)
    out, error = process("configure").communicate(f"{device.manifest}\n{device.unlock_code}\n{device.endpoint}\n")
    assert out.endswith("Default Endpoint: ")
    assert process("unlock-device").wait() == 0
    described, error = process("describe-device").communicate()
    assert json.loads(described)["UnlockStatus"]["State"] == "UNLOCKED"
    refused = process("unlock-device")
    out, error = refused.communicate()
    assert (refused.returncode, out) == (1, "")
    assert "IncorrectDeviceStateException" in error


def test_many_clients_at_once_lose_nothing(fleet: Fleet, process: Callable[..., subprocess.Popen[str]]) -> None:
    device = fleet.make("alpha", state="UNLOCKED")
    physical = device.show()["physical_interfaces"][0]["PhysicalNetworkInterfaceId"]
    access = (
        "--endpoint",
        device.endpoint,
        "--manifest-file",
        str(device.manifest),
        "--unlock-code",
        device.unlock_code,
    )
    make = ("create-virtual-network-interface", "--ip-address-assignment", "dhcp", "--physical-network-interface-id")
    clients = [process(*make, physical, *access) for each in range(8)]
    assert [client.wait() for client in clients] == [0] * 8
    interfaces = device.show()["virtual_interfaces"]
    assert len({each["IpAddress"] for each in interfaces}) == 8
    assert len(device.calls()) == 8


def test_the_standard_library_is_enough() -> None:
    """But for a certificate on a host without openssl."""
    allowed = {*sys.stdlib_module_names, "snowball", "s3_store"}
    for path in (*HERE.glob("*.py"), HERE / "snowballEdge"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                modules = [str(node.module)]
            for module in modules:
                known = allowed | {"cryptography"} if path.name == "certificates.py" else allowed
                assert module.partition(".")[0] in known, path


def test_the_archive_is_installed_as_the_real_one(fleet: Fleet, tmp_path: Path) -> None:
    """`chmod u+x` is wanted for the client and for its Java, and the archive is the same each time it is made."""
    for name in ("one.tar.gz", "other.tar.gz"):
        assert administer(["archive", str(tmp_path / name)]) == 0
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "other.tar.gz").read_bytes()
    subprocess.run(["tar", "-xzf", tmp_path / "one.tar.gz", "-C", tmp_path], check=True)
    (top,) = tmp_path.glob("snowball-client-linux-*")
    command, java = top / "bin/snowballEdge", top / "jre/bin/java"
    assert command.stat().st_mode & 0o111 == 0
    command.chmod(0o744)

    def version() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [command, "version"], env=fleet.environment(), capture_output=True, text=True, check=False
        )

    assert "jre/bin/java: Permission denied" in version().stderr
    java.chmod(0o744)
    assert version().stdout == "Snowball Edge client version: 1.2.0  Build 661\n"


# -- administration ----------------------------------------------------------------------------------------------------


def test_administration(fleet: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def ask(*words: str) -> Any:
        assert administer(words) == 0
        return json.loads(capsys.readouterr().out)

    made = ask("make", "alpha", "--snowdir", str(tmp_path / "s"), "--generation", "old", "--field", "boot_seconds=0")
    assert (made["generation"], made["boot_seconds"], made["snowdir"]) == ("old", 0, str(tmp_path / "s/alpha"))
    changed = ask("set", "alpha", "state=UNLOCKED", "software.fail_at=INSTALLING", "services.s3-snow.hangs=true")
    assert (changed["state"], changed["software"]["fail_at"]) == ("UNLOCKED", "INSTALLING")
    assert changed["services"]["s3-snow"]["hangs"] is True
    assert ask("reboot", "alpha")["state"] == "LOCKED"
    assert len(ask("cluster", "gamma", "--nodes", "3")) == 3
    assert ask("list") == ["alpha", "gamma-1", "gamma-2", "gamma-3"]
    assert ask("client", "old") is None
    assert fleet.client == "old"
    for words in (["show", "delta"], ["make", "alpha"], ["set", "alpha", "state=OPEN"], ["set", "alpha", "state"]):
        with pytest.raises(SystemExit) as stopped:
            administer(words)
        assert stopped.value.code not in (0, None)
