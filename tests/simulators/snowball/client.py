# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of the client: options, profile, finding the device, and how failures look."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import timeline
from .errors import ClientError, DeviceError, UsageError, incorrect_state
from .fleet import Fleet
from .manifest import digest, open_manifest, read_manifest
from .profiles import choose, configure

COMMON = ("endpoint", "manifest-file", "unlock-code", "profile", "device-ip-addresses")
VERSIONS = {
    "old": "Snowball client version: 1.2.0  Build 254",
    "new": "Snowball Edge client version: 1.2.0  Build 661",
}


@dataclass
class Call:
    """One command on its way to a device; `device` is the device as it is now, and what is changed in it is kept."""

    fleet: Fleet
    command: str
    options: dict[str, list[str]]
    device: dict[str, Any] = field(default_factory=dict)
    now: float = 0.0

    @property
    def is_old(self) -> bool:
        return bool(self.device["generation"] == "old")

    def option(self, name: str) -> str:
        """The value of an option that the command needs."""
        values = self.options.get(name)
        if not values:
            raise UsageError(f"The command {self.command} needs --{name}.")
        return values[0]


@dataclass(frozen=True)
class Command:
    """`answer` returns what goes to stdout: text, or a value that is printed as JSON. `states` may send it."""

    answer: Callable[[Call], Any]
    options: tuple[str, ...] = ()
    states: tuple[str, ...] = ("UNLOCKED",)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    fleet = Fleet.of_environment()
    try:
        text = _run(fleet, arguments)
    except (ClientError, DeviceError) as error:
        print(_error_text(error, fleet.client), file=sys.stderr)
        return error.exit_code
    if text:
        print(text)
    return 0


def _error_text(error: ClientError | DeviceError, generation: str) -> str:
    if isinstance(error, ClientError):
        return str(error)
    if generation == "old":
        return f"{error.message} (Service: AmazonSnowballDevice; Status Code: 400; Error Code: {error.name})"
    return f"An error occurred ({error.name}): {error.message}"


def _run(fleet: Fleet, arguments: list[str]) -> str:
    from .commands import COMMANDS

    name, options = _parse(arguments, {command: each.options for command, each in COMMANDS.items()})
    if name in ("version", "help", "configure"):
        fleet.record(None, _record(name, arguments, options, None))
    if name == "version":
        return VERSIONS[fleet.client]
    if name == "help":
        return "Usage: snowballEdge COMMAND [OPTIONS]\nCommands: " + ", ".join(sorted([*COMMANDS, "version"]))
    if name == "configure":
        return _configure(fleet, options)
    return _printed(_send(fleet, COMMANDS[name], name, arguments, options))


def _printed(answer: Any) -> str:
    """JSON as Jackson prints it."""
    return answer if isinstance(answer, str) else json.dumps(answer, indent=2, separators=(",", " : "))


def _parse(arguments: list[str], known: dict[str, tuple[str, ...]]) -> tuple[str, dict[str, list[str]]]:
    """The command, and every option with its values: all words up to the next option."""
    if not arguments or arguments[0].startswith("-"):
        raise UsageError("No command was given, see snowballEdge help.")
    name = arguments[0]
    if name not in known and name not in ("version", "help", "configure"):
        raise UsageError(f"Unknown command {name}, see snowballEdge help.")
    options: dict[str, list[str]] = {}
    current: list[str] | None = None
    for word in arguments[1:]:
        if word.startswith("--"):
            if word[2:] not in (*COMMON, *known.get(name, ())):
                raise UsageError(f"Unknown option {word} of {name}.")
            current = options.setdefault(word[2:], [])
        elif current is None:
            raise UsageError(f"Unexpected argument of {name}.")
        else:
            current.append(word)
    return name, options


def _first(options: dict[str, list[str]], name: str) -> str | None:
    values = options.get(name)
    return values[0] if values else None


def _configure(fleet: Fleet, options: dict[str, list[str]]) -> str:
    names = {"manifestPath": "manifest-file", "unlockCode": "unlock-code", "defaultEndpoint": "endpoint"}
    given = {field: value for field, name in names.items() if (value := _first(options, name))}
    addresses = options.get("device-ip-addresses", [])
    return configure(fleet.home, fleet.client, _first(options, "profile"), given, addresses)


def _record(name: str, arguments: list[str], options: dict[str, list[str]], profile: str | None) -> dict[str, Any]:
    secret = {code for code in options.get("unlock-code", []) if code}
    argv = ["***" if word in secret else word for word in arguments]
    return {
        "time": time.time(),
        "command": name,
        "argv": argv,
        "code_in_argv": bool(secret),
        "profile": profile,
        "pid": os.getpid(),
    }


def _send(fleet: Fleet, command: Command, name: str, arguments: list[str], options: dict[str, list[str]]) -> Any:
    """Everything the client does before it asks the device, in its order, and then the device."""
    explicit = all(options.get(each) for each in COMMON[:3])
    profile = choose(fleet.home, _first(options, "profile"), needed=not explicit)
    endpoint = _first(options, "endpoint") or profile.get("defaultEndpoint") or ""
    code = _first(options, "unlock-code") or profile.get("unlockCode") or ""
    found = fleet.find(endpoint)
    fleet.record(found, _record(name, arguments, options, _first(options, "profile")))
    if profile.get("deviceIps"):
        options.setdefault("device-ip-addresses", list(profile["deviceIps"]))
    manifest = read_manifest(_first(options, "manifest-file") or profile.get("manifestPath") or "")
    stale = fleet.load(found) if found else {}
    try:
        open_manifest(manifest, code)
    except ClientError as error:
        raise (_refused(endpoint, fleet.client) if stale.get("wrong_code") == "refused" else error) from error
    if found is None:
        raise _refused(endpoint, fleet.client)
    time.sleep(stale["latency_seconds"])
    call = Call(fleet, name, options)
    return fleet.change(found, lambda device: _answer(call, command, device, manifest, code))


def _answer(call: Call, command: Command, device: dict[str, Any], manifest: bytes, code: str) -> Any:
    """What the device says to a client that has a manifest and its code."""
    call.device = device
    call.now = time.time()
    if not timeline.is_reachable(device):
        raise _refused(device["endpoint"], call.fleet.client)
    _raise_fault(device, call.command)
    if digest(manifest) != device["manifest_sha256"]:
        raise DeviceError("IncorrectDeviceManifestException", "The manifest does not match this device.")
    if code != device["unlock_code"]:
        raise ClientError("The unlock code does not match this device.")
    if device["state"] not in command.states:
        raise incorrect_state(f"The device is {device['state']}, {call.command} needs {' or '.join(command.states)}.")
    answer = command.answer(call)
    return _bent(answer, device["answers"].get(call.command, {}))


def _refused(endpoint: str, generation: str) -> ClientError:
    if generation == "old":
        return ClientError(f"Unable to connect to {endpoint}: Connection refused (Connection refused)")
    return ClientError(f"Could not connect to the device at {endpoint}: connection refused")


def _raise_fault(device: dict[str, Any], command: str) -> None:
    """A failure that the administrator ordered: {"command", "message", "error": class, "exit", "count"}."""
    for fault in device["faults"]:
        if fault.get("command") in (None, command) and fault.get("count", 1) > 0:
            fault["count"] = fault.get("count", 1) - 1
            error: ClientError | DeviceError = ClientError(fault.get("message", "Internal failure"))
            if fault.get("error"):
                error = DeviceError(fault["error"], fault.get("message", "Internal failure"))
            error.exit_code = int(fault.get("exit", 1))
            raise error


def _bent(answer: Any, changes: dict[str, Any]) -> Any:
    """An answer with fields left out or added, or replaced by text: what other software versions may print."""
    if "raw" in changes:
        return str(changes["raw"])
    if isinstance(answer, dict):
        kept = {name: value for name, value in answer.items() if name not in changes.get("omit", ())}
        return {**kept, **changes.get("add", {})}
    return answer
