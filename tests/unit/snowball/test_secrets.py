# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No secret in a command line, in what Ansible prints at -vvvv, in a log, or in a file that others may read.

Ansible runs for real here: modules packed, sent and started as on a host.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from simulators.snowball import Fleet
from unit.run_module import COLLECTIONS, load_collection

BIN = Path(sys.executable).parent


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


class Ansible:
    """`ansible localhost` at its most talkative, with a umask that hides nothing; watches every command line."""

    def __init__(self, fleet: Fleet, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "ansible.log"
        self.environment = {
            **os.environ,
            **fleet.environment(),
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_HOME": str(folder / "ansible"),
            "ANSIBLE_LOCAL_TEMP": str(folder / "ansible/local"),
            "ANSIBLE_REMOTE_TEMP": str(folder / "ansible/tmp"),
            "ANSIBLE_LOG_PATH": str(self.log),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_NOCOLOR": "true",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        }
        self.command_lines: set[str] = set()

    def module(self, name: str, *extra: str, **options: Any) -> str:
        """All that is printed."""
        return self._run("ansible", "localhost", *extra, "-m", f"edgeops.snowsync.{name}", "-a", json.dumps(options))

    def play(self, name: str, **options: Any) -> str:
        """The same with options that no command line has: in a playbook that only its owner may read."""
        path = self.folder / "play.yml"
        path.touch(mode=0o600)
        task = {"name": "Ask", f"edgeops.snowsync.{name}": options}
        path.write_text(json.dumps([{"name": "Play", "hosts": "all", "gather_facts": False, "tasks": [task]}]))
        return self._run("ansible-playbook", str(path))

    def _run(self, program: str, *arguments: str) -> str:
        process = subprocess.Popen(
            [str(BIN / program), "-i", "localhost,", "-c", "local", "-vvvv", "--diff", *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            umask=0,
        )
        over = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(over,))
        watcher.start()
        try:
            printed = process.communicate(timeout=100)[0]
        finally:
            over.set()
            watcher.join()
        return printed

    def _watch(self, over: threading.Event) -> None:
        while not over.wait(0.02):
            self.command_lines.update(command_lines())


def command_lines() -> Iterator[str]:
    """Of every process, as `ps` shows them."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue


def code_of_its_own() -> str:
    """Another one than in tests beside this one, some of which give theirs to the client in a command line."""
    digits = secrets.token_hex(13)
    return "-".join(digits[start : start + 5] for start in range(0, 25, 5))


@pytest.fixture
def ansible(fleet: Fleet, tmp_path: Path) -> Ansible:
    load_collection()
    return Ansible(fleet, tmp_path)


def readable_by_others(folder: Path) -> Iterator[Path]:
    """Files below a folder whose own mode lets others read them, whatever the folders on the way to them say."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            yield path


def where(secret: str, folder: Path, apart_from: Path) -> list[str]:
    found = (path for path in readable_by_others(folder) if not path.is_relative_to(apart_from))
    return [str(path) for path in found if secret.encode() in path.read_bytes()]


def test_no_secret_leaves_by_any_way_when_all_is_well(fleet: Fleet, ansible: Ansible, tmp_path: Path) -> None:
    device = fleet.make("alpha", unlock_code=code_of_its_own(), unlock_seconds=0.5, latency_seconds=0.2)
    shown = device.show()
    kept = [device.unlock_code, shown["secret_key"]]
    folder = {"snowdir": str(device.snowdir)}
    printed = ansible.module("snowball_unlock", poll_interval=0.2, keys_file="keys.yaml", **folder)
    printed += ansible.module("snowball_info", **folder)
    printed += ansible.module("snowball_unlock", "--check", keys_file="keys.yaml", **folder)

    assert '"state": "UNLOCKED"' in printed and printed.count("SUCCESS") + printed.count("CHANGED") >= 3
    assert shown["secret_key"] in (device.snowdir / "keys.yaml").read_text()
    seen = "\n".join(ansible.command_lines)
    assert "snowballEdge describe-device --endpoint" in seen, "the watcher saw the client"
    for secret in kept:
        assert secret not in printed
        assert secret not in ansible.log.read_text()
        assert secret not in seen
        assert where(secret, tmp_path, apart_from=fleet.folder) == []
    assert device.calls() and not any(call["code_in_argv"] for call in device.calls())
    assert not any(secret in word for call in device.calls() for word in call["argv"] for secret in kept)
    assert list(fleet.home.rglob("snowball-edge.config")) == [], "nothing was written for the user"


@pytest.mark.parametrize(
    "fields", [{"wrong_code": True}, {"relock": True}, {"answers": {"describe-device": {"raw": "%CODE%"}}}]
)
def test_no_secret_leaves_by_any_way_when_it_fails(
    fleet: Fleet, ansible: Ansible, tmp_path: Path, fields: dict[str, Any]
) -> None:
    own = code_of_its_own()
    fields = json.loads(json.dumps(fields).replace("%CODE%", f"It is {own}"))
    device = fleet.make("alpha", unlock_code=own, unlock_seconds=0.2, **fields)
    code = (device.snowdir / "sbe_config.yaml").read_text().split()[2]
    printed = ansible.module("snowball_unlock", poll_interval=0.2, timeout=10, snowdir=str(device.snowdir))
    assert "FAILED" in printed and "alpha" in printed
    assert code not in printed + ansible.log.read_text() + "\n".join(ansible.command_lines)
    assert where(code, tmp_path, apart_from=fleet.folder) == []


def test_a_code_that_is_given_as_an_option_is_masked(fleet: Fleet, ansible: Ansible, tmp_path: Path) -> None:
    device = fleet.make("alpha", unlock_code=code_of_its_own(), unlock_seconds=0.2)
    options = {"endpoint": device.endpoint, "manifest": str(device.manifest), "unlock_code": device.unlock_code}
    printed = ansible.play("snowball_unlock", poll_interval=0.2, **options)
    assert '"state": "UNLOCKED"' in printed and '"unlock_code": "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"' in printed
    assert device.unlock_code not in printed + ansible.log.read_text() + "\n".join(ansible.command_lines)
    assert where(device.unlock_code, tmp_path, apart_from=fleet.folder) == []
    device.set(unlock_code="0123a-bcdef-01234-56789-abcde", state="LOCKED")
    printed = ansible.play("snowball_unlock", **options)
    assert "wrong_code" in printed and device.endpoint in printed
    assert options["unlock_code"] not in printed + ansible.log.read_text()


def test_what_ansible_is_told_to_keep_holds_no_profile_file(fleet: Fleet, ansible: Ansible, tmp_path: Path) -> None:
    """ANSIBLE_KEEP_REMOTE_FILES keeps a module and its options; the file for the client goes all the same."""
    device = fleet.make("alpha", state="UNLOCKED")
    ansible.environment["ANSIBLE_KEEP_REMOTE_FILES"] = "true"
    assert "UNLOCKED" in ansible.module("snowball_unlock", snowdir=str(device.snowdir))
    kept = [path for path in (tmp_path / "ansible").rglob("*") if path.is_file()]
    assert any("snowball_unlock" in path.name for path in kept), "Ansible kept what it was told to"
    assert [path for path in kept if device.unlock_code.encode() in path.read_bytes()] == []
