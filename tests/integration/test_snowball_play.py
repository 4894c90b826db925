# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder of snowdirs and one playbook, as an operator runs it on the controller, against a simulated fleet."""

from __future__ import annotations

import configparser
import hashlib
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from simulators.snowball import Fleet
from simulators.snowball.archive import make_archive

ROOT = Path(__file__).resolve().parents[2]
NAMES = [f"sbe-{number:02}" for number in range(1, 7)]
WRONG_CODE, UNREACHABLE, UPDATING, SNOW = "sbe-02", "sbe-03", "sbe-04", "sbe-05"
READY = [name for name in NAMES if name not in (WRONG_CODE, UNREACHABLE)]
RECAP = re.compile(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)


@dataclass
class Run:
    """What one run of a playbook came to: its output, and of each device what changed and failed."""

    code: int
    output: str
    changed: dict[str, int] = field(init=False)
    failed: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        recap = RECAP.findall(self.output)
        self.changed = {name: int(changed) for name, changed, _unreachable, _failed in recap}
        self.failed = {name: int(unreachable) + int(failed) for name, _changed, unreachable, failed in recap}

    @property
    def verdicts(self) -> dict[str, str]:
        """The last words on each device."""
        found = re.findall(r'^ {8}("(?:[^"\\]|\\.)*"),?$', self.output, re.MULTILINE)
        return dict(json.loads(line).split(": ", 1) for line in found)


@dataclass
class Site:
    """A controller with the folder, and the devices that it leads to."""

    folder: Path
    fleet: Fleet

    def play(self, playbook: str, *words: str) -> Run:
        argv = [
            Path(sys.executable).with_name("ansible-playbook"),
            "--inventory=snowdirs.yml",
            "--extra-vars=@settings.json",
            "--forks=10",
            f"edgeops.snowsync.{playbook}",
            *words,
        ]
        environment = {
            **os.environ,
            "HOME": str(self.fleet.home),
            "SNOWBALL_SIM": str(self.fleet.folder),
            "ANSIBLE_HOME": str(self.folder / "ansible"),
            "ANSIBLE_COLLECTIONS_PATH": str(self.folder / "collections"),
            "ANSIBLE_CONFIG": str(ROOT / "tests/ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
        }
        done = subprocess.run(
            list(map(str, argv)),
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return Run(done.returncode, done.stdout)

    @property
    def secrets(self) -> list[str]:
        """Every code and every secret key there is, right or wrong."""
        devices = [self.fleet.load(name) for name in NAMES]
        codes = [
            yaml.safe_load(path.read_text())["unlock_key"] for path in self.folder.glob("snowdirs/*/sbe_config.yaml")
        ]
        return [*codes, *(device[key] for device in devices for key in ("unlock_code", "secret_key"))]

    def stored(self) -> dict[str, bytes]:
        """All that the playbook has written, and what it was given."""
        places = [self.folder / "snowdirs", self.folder / "stores", self.fleet.home / ".aws"]
        files = [path for place in places for path in place.rglob("*") if path.is_file()]
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    fleet = Fleet(folder)
    for name in NAMES:
        fleet.make(name, wrong_code=name == WRONG_CODE, generation="old" if name == "sbe-06" else "new")
    fleet[UNREACHABLE].set(reachable=False)
    fleet[UPDATING].set(software={"state": "DOWNLOADED"})
    with (folder / "snowdirs" / SNOW / "sbe_config.yaml").open("a") as config:
        config.write("services: [{service: s3-snow}]\n")
    tree = folder / "collections/ansible_collections/edgeops"
    tree.mkdir(parents=True)
    (tree / "snowsync").symlink_to(ROOT)
    (folder / "snowdirs.yml").write_text("plugin: edgeops.snowsync.snowdirs\npath: snowdirs\n")
    archive = folder / "snowball-client-linux.tar.gz"
    make_archive(archive)
    settings = {
        "snowball_client_archive": str(archive),
        "snowball_client_checksum": f"sha256:{hashlib.sha256(archive.read_bytes()).hexdigest()}",
        "snowball_poll_interval": 0.2,
        "snowball_timeout": 60,
        "snowball_store_hosts": ["localhost"],
        "__snowball_stores": str(folder / "stores"),  # not the /etc of the machine that tests
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    yield Site(folder, fleet)


@pytest.fixture(scope="module")
def first(site: Site) -> Run:
    return site.play("unlock")


def test_four_are_ready_and_two_are_named(site: Site, first: Run) -> None:
    assert {name for name, failed in first.failed.items() if failed} == {WRONG_CODE, UNREACHABLE}, first.output
    assert first.code == 2
    assert {name: site.fleet.current(name)["state"] for name in READY} == dict.fromkeys(READY, "UNLOCKED")
    assert [name for name, words in first.verdicts.items() if words == "ready"] == READY
    wrong, away = first.verdicts[WRONG_CODE], first.verdicts[UNREACHABLE]
    assert f"Snowball {WRONG_CODE}" in wrong and "Compare the unlock code" in wrong
    assert f"Snowball {UNREACHABLE}" in away and "connection refused" in away and "port 9091" in away


def test_what_the_forerunners_left_is_there(site: Site, first: Run) -> None:
    for name in READY:
        device = site.fleet.load(name)
        keys = site.folder / "snowdirs" / name / "keys.yaml"
        found = yaml.safe_load(keys.read_text())
        assert (found["aws_access_key_id"], found["aws_secret_access_key"]) == (
            device["access_key"],
            device["secret_key"],
        )
        assert stat.S_IMODE(keys.stat().st_mode) == 0o600


def test_each_has_a_profile_named_like_its_folder(site: Site, first: Run) -> None:
    aws = configparser.ConfigParser(interpolation=None)
    aws.read([site.fleet.home / ".aws/config", site.fleet.home / ".aws/credentials"])
    assert set(aws.sections()) == {f"profile {name}" for name in READY} | set(READY)
    for name in READY:
        profile = aws[f"profile {name}"]
        assert (profile["region"], profile["output"]) == ("snow", "json")
        assert site.fleet.load(name)["certificate"]["pem"].strip() in Path(profile["ca_bundle"]).read_text()
    client = json.loads((site.fleet.home / ".aws/snowball/config/snowball-edge.config").read_text())
    assert set(client["profiles"]) == set(READY)


def test_the_client_answers_without_options_afterwards(site: Site, first: Run) -> None:
    (client,) = (site.fleet.home / ".snowsync/snowball-client").glob("*/bin/snowballEdge")
    done = subprocess.run(
        [client, "describe-device", "--profile", "sbe-01"],
        env={**os.environ, **site.fleet.environment()},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["UnlockStatus"]["State"] == "UNLOCKED"


def test_jobs_find_the_store_of_each(site: Site, first: Run) -> None:
    stores = {path.stem: yaml.safe_load(path.read_text()) for path in (site.folder / "stores").glob("*.yml")}
    assert set(stores) == set(READY)
    assert stores["sbe-01"]["list_version"] == "v1" and stores["sbe-01"]["sorted"] is False
    assert "list_version" not in stores[SNOW], "s3-snow lists as S3 does, and was started"
    for name, store in stores.items():
        assert site.fleet.load(name)["certificate"]["pem"].strip() in Path(store["ca_bundle"]).read_text()
        keys = site.folder / "stores" / f"{name}.credentials"
        assert site.fleet.load(name)["secret_key"] in keys.read_text()
        assert stat.S_IMODE(keys.stat().st_mode) == 0o600


def test_no_code_was_on_a_command_line(site: Site, first: Run) -> None:
    calls = [call for name in NAMES for call in site.fleet.calls(name)]
    assert calls and not [call for call in calls if call["code_in_argv"]]


def test_nothing_secret_is_for_others_to_read(site: Site, first: Run) -> None:
    # The devices know their own secrets, and the simulated client the code that is always wrong.
    private = {site.fleet.folder, *site.fleet.home.glob(".snowsync/snowball-client/*/lib")}
    files = [path for path in site.folder.rglob("*") if path.is_file() and not private & set(path.parents)]
    open_to_all = [path for path in files if stat.S_IMODE(path.stat().st_mode) & 0o077]
    secrets = [secret.encode() for secret in site.secrets]
    assert len(open_to_all) > 10
    assert [path for path in open_to_all if any(secret in path.read_bytes() for secret in secrets)] == []


def test_a_second_run_changes_nothing_and_a_restart_is_unlocked_again(site: Site, first: Run) -> None:
    """Each device has a second run, two of them after a restart of one; no secret is in the most that Ansible says."""
    before = site.stored()
    again = site.play("unlock", "-vvvv", "--diff", "--limit=snowballs:!sbe-01:!sbe-04")
    assert set(again.changed) == {*NAMES} - {"sbe-01", "sbe-04"}
    assert set(again.changed.values()) == {0}
    assert site.stored() == before

    site.fleet["sbe-01"].set(boot_seconds=0)
    site.fleet["sbe-01"].reboot()
    predicted = site.play("unlock", "--check", "--limit=sbe-01,sbe-04")
    assert predicted.changed == {"sbe-01": 1, "sbe-04": 0} and predicted.code == 0, predicted.output
    assert site.fleet.current("sbe-01")["state"] == "LOCKED"

    after = site.play("unlock", "-vvvv", "--diff", "--limit=sbe-01,sbe-04")
    assert after.changed == predicted.changed
    assert site.stored() == before
    assert len(again.output) > 100_000 and len(after.output) > 30_000
    assert [secret for secret in site.secrets if secret in again.output + after.output] == []


def test_a_code_that_was_mended_is_all_it_takes(site: Site, first: Run) -> None:
    config = site.folder / "snowdirs" / WRONG_CODE / "sbe_config.yaml"
    config.write_text(
        re.sub(r"unlock_key: .*", f"unlock_key: {site.fleet[WRONG_CODE].unlock_code}", config.read_text())
    )
    mended = site.play("unlock", f"--limit={WRONG_CODE}")
    assert mended.code == 0 and mended.verdicts == {WRONG_CODE: "ready"}


def test_the_status_of_all_is_one_line_each(site: Site, first: Run) -> None:
    status = site.play("snowball_status")
    assert status.code == 0 and set(status.changed.values()) == {0}
    assert set(status.verdicts) == set(NAMES)
    assert status.verdicts["sbe-01"].startswith("UNLOCKED, software 118 (NA), certificate expires in 3")
    assert "DOWNLOADED" in status.verdicts[UPDATING]
    assert "connection refused" in status.verdicts[UNREACHABLE]


def test_an_archive_that_is_not_the_pinned_one_is_refused(site: Site, first: Run) -> None:
    refused = site.play("unlock", "--limit=sbe-01", "--extra-vars=snowball_client_checksum=sha256:00ff")
    assert refused.code == 2 and "Download the archive from AWS again" in refused.verdicts["sbe-01"]


def test_an_incomplete_folder_says_what_it_lacks(site: Site, first: Run) -> None:
    (site.folder / "snowdirs/sbe-07").mkdir()
    incomplete = site.play("unlock", "--limit=sbe-07")
    assert incomplete.code == 2 and "there is no *manifest.bin" in incomplete.verdicts["sbe-07"]
