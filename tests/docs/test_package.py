# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shipped archive, as `ansible-galaxy collection build` creates it, and the pinned versions."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PIN = re.compile(r"^([A-Za-z0-9_.-]+)==(\S+)", re.MULTILINE)
ENGINE_PINS = ROOT / "roles/engine/files/requirements.txt"


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Every text in the archive by its path."""
    folder = tmp_path_factory.mktemp("archive")
    galaxy = Path(sys.executable).with_name("ansible-galaxy")
    argv = [galaxy, "collection", "build", "--output-path", folder, ROOT]
    environment = {**os.environ, "ANSIBLE_HOME": str(folder / "home")}
    subprocess.run(argv, check=True, capture_output=True, cwd=folder, env=environment)
    (archive,) = folder.glob("edgeops-snowsync-*.tar.gz")
    with tarfile.open(archive) as tar:
        members = {member.name: tar.extractfile(member) for member in tar.getmembers()}
        return {name: stream.read().decode() for name, stream in members.items() if stream}


def test_all_that_runs_is_shipped(shipped: dict[str, str]) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "plugins", "roles"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    expected = {name for name in tracked.stdout.split() if (ROOT / name).exists()}
    expected |= {"README.md", "LICENSE", "LICENSES/BSD-2-Clause.txt", "LICENSES/GPL-3.0-or-later.txt", "CHANGELOG.md"}
    expected |= {"meta/runtime.yml", "playbooks/site.yml"}
    assert expected - shipped.keys() == set()


def test_nothing_else_is_shipped(shipped: dict[str, str]) -> None:
    pages = {"CHANGELOG.md", "LICENSE", "LICENSES", "README.md", "docs"}
    tops = {name.partition("/")[0] for name in shipped}
    assert tops - pages == {"FILES.json", "MANIFEST.json", "meta", "playbooks", "plugins", "roles"}
    assert {name for name in shipped if "/." in name or "demo" in name or "__pycache__" in name} == set()


def test_nothing_shipped_needs_the_tests(shipped: dict[str, str]) -> None:
    code = {name: text for name, text in shipped.items() if name.startswith(("plugins/", "roles/", "playbooks/"))}
    assert {name for name, text in code.items() if re.search(r"\btests/", text)} == set()


def test_the_version_is_said_once(shipped: dict[str, str]) -> None:
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    assert f'VERSION = "{version}"' in shipped["plugins/module_utils/_engine/__init__.py"]
    assert re.search(rf"^## {re.escape(version)}\b", shipped["CHANGELOG.md"], re.MULTILINE)


@pytest.mark.parametrize("name", ["demo.txt", "test.txt"])
def test_what_is_tested_is_what_hosts_get(name: str) -> None:
    hosts = dict(PIN.findall(ENGINE_PINS.read_text()))
    here = dict(PIN.findall((ROOT / "tests/requirements" / name).read_text()))
    assert len(hosts) > 5
    assert {package: here.get(package) for package in hosts} == hosts
