# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module snowball_client_config, and whether the client understands what it writes."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import run_module
from simulators.snowball import Fleet

Run = Callable[..., dict[str, Any]]

# A client that reads the code as Java reads a password: from a terminal, or not at all.
TERMINAL_CLIENT = """\
#!{python}
import getpass, json, os, sys, termios
path = os.path.expanduser("~/.aws/snowball/config/snowball-edge.config")
if not os.isatty(0):
    sys.exit("no terminal")
print("Configuration will stored at " + path)
endpoint = input("Default Endpoint: ")
manifest = input("Snowball Edge Manifest Path: ")
code = getpass.getpass("Unlock Code: ")
profile = {{"name": "default", "jobId": "JID1", "unlockCode": code, "manifestPath": manifest,
            "defaultEndpoint": endpoint, "isCluster": False, "deviceIps": []}}
with open(path, "w") as file:
    json.dump({{"version": 1, "profiles": {{"default": profile}}}}, file)
with open(os.path.dirname(os.path.abspath(__file__)) + "/mode", "w") as file:
    file.write("%o" % (os.stat(path).st_mode & 0o777))
"""


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    run_module.load_collection()
    fleet = Fleet(tmp_path)
    for name, value in fleet.environment().items():
        monkeypatch.setenv(name, value)
    return fleet


@pytest.fixture
def run(fleet: Fleet, tmp_path: Path) -> Run:
    def call(**options: Any) -> dict[str, Any]:
        return run_module.run_module("snowball_client_config", tmp_path, **options)

    return call


@pytest.fixture
def path(fleet: Fleet) -> Path:
    return fleet.home / ".aws/snowball/config/snowball-edge.config"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def client(fleet: Fleet, *words: str) -> Any:
    environment = os.environ | fleet.environment()
    done = subprocess.run(["snowballEdge", *words], env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("interactive", [False, True])
@pytest.mark.parametrize("generation", ["old", "new"])
def test_the_client_works_without_options_afterwards(
    run: Run, fleet: Fleet, path: Path, interactive: bool, generation: str
) -> None:
    fleet.set_client(generation)
    device = fleet.make("sb1", generation=generation)
    result = run(snowdir=str(device.snowdir), interactive=interactive)
    assert (result["changed"], result["profile"], result["config_file"]) == (True, "default", str(path))
    assert client(fleet, "describe-device")["DeviceId"] == device.show()["device_id"]
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)
    assert not run(snowdir=str(device.snowdir), interactive=interactive)["changed"]


@pytest.mark.parametrize("interactive", [False, True])
def test_what_configure_would_write(run: Run, fleet: Fleet, path: Path, interactive: bool) -> None:
    device = fleet.make("sb1")
    manifest = device.snowdir / f"{device.show()['job_id']}_manifest.bin"
    (device.snowdir / "manifest.bin").rename(manifest)
    run(snowdir=str(device.snowdir), profile="sb1", interactive=interactive)
    assert json.loads(path.read_text()) == {
        "version": 1,
        "profiles": {
            "sb1": {
                "name": "sb1",
                "jobId": device.show()["job_id"],
                "unlockCode": device.unlock_code,
                "manifestPath": str(manifest),
                "defaultEndpoint": device.endpoint,
                "isCluster": False,
                "deviceIps": [],
            }
        },
    }


@pytest.mark.parametrize("interactive", [False, True])
def test_other_profiles_and_unknown_fields_stay(run: Run, fleet: Fleet, path: Path, interactive: bool) -> None:
    one, two = fleet.make("sb1"), fleet.make("sb2")
    run(snowdir=str(one.snowdir), profile="sb1")
    document = json.loads(path.read_text())
    document["profiles"]["sb1"]["note"] = "rack 3"
    document["profiles"]["sb2"] = {"name": "sb2", "jobId": "JIDkept", "unlockCode": "old", "note": "rack 4"}
    path.write_text(json.dumps(document))
    run(snowdir=str(two.snowdir), profile="sb2", interactive=interactive)
    found = json.loads(path.read_text())["profiles"]
    assert found["sb1"] == document["profiles"]["sb1"]
    assert client(fleet, "describe-device", "--profile", "sb2")["DeviceId"] == two.show()["device_id"]
    if not interactive:
        assert (found["sb2"]["jobId"], found["sb2"]["note"]) == ("JIDkept", "rack 4")


def test_a_file_that_says_the_same_keeps_its_layout_but_not_its_mode(run: Run, fleet: Fleet, path: Path) -> None:
    device = fleet.make("sb1")
    run(snowdir=str(device.snowdir))
    text = json.dumps(json.loads(path.read_text()), indent=7)
    path.write_text(text)
    assert not run(snowdir=str(device.snowdir))["changed"]
    path.chmod(0o644)
    path.parent.chmod(0o755)
    assert run(snowdir=str(device.snowdir), check=True)["changed"]
    assert (mode(path), mode(path.parent)) == (0o644, 0o755)
    assert run(snowdir=str(device.snowdir))["changed"]
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)
    assert path.read_text() == text
    assert not run(snowdir=str(device.snowdir))["changed"]


def test_a_folder_elsewhere_keeps_its_mode(run: Run, fleet: Fleet, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    run(snowdir=str(fleet.make("sb1").snowdir), config_file=str(shared / "client.json"))
    assert (mode(shared), mode(shared / "client.json")) == (0o755, 0o600)


def test_check_mode_writes_nothing(run: Run, fleet: Fleet, path: Path) -> None:
    device = fleet.make("sb1")
    assert run(snowdir=str(device.snowdir), check=True)["changed"]
    assert run(snowdir=str(device.snowdir), check=True, interactive=True)["changed"]
    assert not path.parent.exists()
    assert fleet.calls() == []


def test_absent_takes_one_profile(run: Run, fleet: Fleet, path: Path) -> None:
    for name in ("sb1", "sb2"):
        run(snowdir=str(fleet.make(name).snowdir), profile=name)
    assert run(profile="sb1", state="absent", check=True)["changed"]
    assert run(profile="sb1", state="absent")["changed"]
    assert list(json.loads(path.read_text())["profiles"]) == ["sb2"]
    assert not run(profile="sb1", state="absent")["changed"]
    assert mode(path) == 0o600


def test_absent_where_nothing_ever_was(run: Run, path: Path) -> None:
    assert not run(profile="sb1", state="absent")["changed"]
    assert not path.parent.exists()


DAMAGED = [
    '{"version":1,"profiles":{"a":{"unlockCode":"abcde-secret"}}}}',  # as printed in a page of AWS
    "abcde-secret",
    '["abcde-secret"]',
    '{"profiles": []}',
    '{"profiles": {"a": "abcde-secret"}}',
]


@pytest.mark.parametrize("text", DAMAGED)
@pytest.mark.parametrize("state", ["present", "absent"])
def test_a_damaged_file_is_named_and_left_alone(run: Run, fleet: Fleet, path: Path, text: str, state: str) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(text)
    result = run(snowdir=str(fleet.make("sb1").snowdir), state=state)
    assert str(path) in result["msg"] and result["trouble"] == "damaged_file"
    assert "abcde-secret" not in str(result)
    assert path.read_text() == text


def test_an_empty_file_is_none(run: Run, fleet: Fleet, path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.touch()
    assert run(snowdir=str(fleet.make("sb1").snowdir))["changed"]
    assert client(fleet, "describe-device")["UnlockStatus"]


@pytest.mark.parametrize("folder", ["", "below"])
def test_the_manifest_is_noted_with_its_absolute_path(
    run: Run, fleet: Fleet, path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    device = fleet.make("sb1")
    monkeypatch.chdir(device.snowdir)
    run(manifest="manifest.bin", endpoint=device.endpoint, unlock_code=device.unlock_code)
    monkeypatch.chdir("/")
    assert client(fleet, "describe-device")["DeviceId"] == device.show()["device_id"]


def test_a_node_of_a_cluster(run: Run, fleet: Fleet, path: Path) -> None:
    device = fleet.make("sb1")
    options = {"snowdir": str(device.snowdir), "device_ips": ["192.0.2.1", "192.0.2.2"]}
    run(**options)
    entry = json.loads(path.read_text())["profiles"]["default"]
    assert (entry["isCluster"], entry["deviceIps"]) == (True, ["192.0.2.1", "192.0.2.2"])
    assert not run(**options)["changed"]
    options["device_ips"] = ["192.0.2.1"]
    assert run(**options)["changed"]
    assert json.loads(path.read_text())["profiles"]["default"]["deviceIps"] == ["192.0.2.1"]


def test_no_secret_is_shown(run: Run, fleet: Fleet, path: Path) -> None:
    old, new = fleet.make("sb1"), fleet.make("sb2")
    results = [run(snowdir=str(old.snowdir), diff=True), run(snowdir=str(new.snowdir), diff=True, check=True)]
    results.append(run(snowdir=str(new.snowdir), diff=True, interactive=True))
    for device in (old, new):
        assert device.unlock_code not in str(results)
    assert '"unlockCode": "********"' in results[0]["diff"]["after"]
    assert "(changed)" in results[1]["diff"]["after"] and results[1]["diff"] == results[2]["diff"]
    assert all(new.unlock_code not in " ".join(call["argv"]) for call in fleet.calls())


def test_the_client_checks_the_code_against_the_manifest(run: Run, fleet: Fleet, path: Path) -> None:
    device = fleet.make("sb1", wrong_code=True)
    result = run(snowdir=str(device.snowdir), interactive=True)
    assert "sb1" in result["msg"] and result["trouble"] == "wrong_code"
    (device.snowdir / "manifest.bin").write_bytes(b"none")
    assert "manifest" in run(snowdir=str(device.snowdir), interactive=True)["msg"]
    assert not path.exists()
    assert "00bad" not in str(result)


def test_a_client_that_wants_a_terminal_and_asks_in_another_order(
    run: Run, fleet: Fleet, path: Path, tmp_path: Path
) -> None:
    program = tmp_path / "client" / "snowballEdge"
    program.parent.mkdir()
    program.write_text(TERMINAL_CLIENT.format(python=sys.executable))
    program.chmod(0o755)
    device = fleet.make("sb1")
    result = run(snowdir=str(device.snowdir), interactive=True, client=str(program))
    assert result["changed"]
    assert client(fleet, "describe-device")["DeviceId"] == device.show()["device_id"]
    assert (program.parent / "mode").read_text() == "600", "others could read it while the client wrote it"


def test_a_client_that_asks_something_else_is_ended(run: Run, fleet: Fleet, path: Path, tmp_path: Path) -> None:
    program = tmp_path / "snowballEdge"
    program.write_text(f"#!{sys.executable}\ninput('What is your favourite colour? ')\n")
    program.chmod(0o755)
    device = fleet.make("sb1")
    result = run(snowdir=str(device.snowdir), interactive=True, client=str(program), command_timeout=2)
    assert result["trouble"] == "command_timed_out" and "favourite colour" in result["msg"]


def test_a_client_that_writes_elsewhere_is_an_error(run: Run, fleet: Fleet, tmp_path: Path) -> None:
    device = fleet.make("sb1")
    result = run(snowdir=str(device.snowdir), interactive=True, config_file=str(tmp_path / "elsewhere"))
    assert "no profile default" in result["msg"] and str(fleet.home) in result["msg"]


def test_without_a_client_the_file_is_written_all_the_same(run: Run, fleet: Fleet, path: Path) -> None:
    device = fleet.make("sb1")
    assert run(snowdir=str(device.snowdir), client="/none/snowballEdge")["changed"]
    shutil.rmtree(path.parent)
    assert run(snowdir=str(device.snowdir), client="/none/x", interactive=True)["trouble"] == "client_missing"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "snowdir, manifest"),
        ({"manifest": "/none", "endpoint": "https://192.0.2.1"}, "unlock code"),
        ({"snowdir": "/none"}, "/none"),
    ],
)
def test_what_is_missing_is_named(run: Run, path: Path, options: dict[str, Any], words: str) -> None:
    assert words in run(**options)["msg"]
    assert not path.exists()
