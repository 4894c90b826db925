# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For tests of the simulated Snowball Edge: its client, run in this process, and what its answers say."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import run_module
from simulators.snowball import Device, Fleet, client

FOR_EVER = 10**9
GENERATIONS = ("old", "new")


@dataclass(frozen=True)
class Ran:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


class Shell:
    """Runs the client in this process; `call` gives it the options that name a device."""

    def __init__(self, fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
        self.fleet = fleet
        self._capsys = capsys

    def run(self, *words: str) -> Ran:
        self._capsys.readouterr()
        code = client.main(words)
        return Ran(code, *self._capsys.readouterr())

    def call(self, device: Device, command: str, *words: str) -> Ran:
        access = ("--endpoint", device.endpoint, "--manifest-file", str(device.manifest))
        return self.run(command, *words, *access, "--unlock-code", device.unlock_code)

    def error(self, device: Device, command: str, *words: str) -> str:
        ran = self.call(device, command, *words)
        assert ran.code != 0
        assert ran.out == ""
        return ran.err


def open_fleet(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """A fleet whose devices the client in this process finds."""
    fleet = Fleet(folder)
    for name, value in fleet.environment().items():
        monkeypatch.setenv(name, value)
    return fleet


def ask_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The modules' questions are answered by the simulated client in this process: two interpreters less for each.

    For tests of what modules ask and decide. How a client is started and ended is shown in snowball/test_client.py and
    snowball/test_secrets.py, and whole runs with real ones here and there, and in integration/test_snowball_play.py.
    """
    snowball = importlib.import_module(f"{run_module.PACKAGE}.module_utils._snowball.client")
    start = snowball.SnowballClient._run

    def run(self: Any, words: Sequence[str], limit: float, data: str) -> tuple[int, str, str, bool]:
        if words[0] != str(Fleet.of_environment().executable):
            return start(self, words, limit, data)  # type: ignore[no-any-return]
        output, errors = io.StringIO(), io.StringIO()
        with (
            mock.patch.dict(os.environ, snowball.environment(self.home)),
            mock.patch("sys.stdin", io.StringIO(data)),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(errors),
        ):
            code = client.main(words[1:])
        return code, output.getvalue(), errors.getvalue(), False

    monkeypatch.setattr(snowball.SnowballClient, "_run", run)


def lines(text: str) -> dict[str, str]:
    """`Key: value` lines."""
    return dict(line.split(": ", 1) for line in text.splitlines())


def state_of(shell: Shell, device: Device) -> str:
    return str(shell.call(device, "describe-device").json["UnlockStatus"]["State"])


def make_interfaces(shell: Shell, device: Device) -> list[str]:
    """One by DHCP and one static, their ARNs."""
    physical = shell.call(device, "describe-device").json["PhysicalNetworkInterfaces"][0]["PhysicalNetworkInterfaceId"]
    on = ("create-virtual-network-interface", "--physical-network-interface-id", physical, "--ip-address-assignment")
    static = ("--static-ip-address-configuration", "IpAddress=127.9.9.9,NetMask=255.0.0.0")
    made = [shell.call(device, *on, "dhcp").json, shell.call(device, *on, "static", *static).json]
    return [each["VirtualNetworkInterface"]["VirtualNetworkInterfaceArn"] for each in made]


def addresses(nodes: list[Device]) -> list[str]:
    return ["--device-ip-addresses", *(node.endpoint.split("/")[2].split(":")[0] for node in nodes)]
