# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The errors of a Snowball: each names the operation, the device, the cause and the fix."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any


class SnowballError(Exception):
    """The client or the device failed, and its message is not one of the known ones."""

    trouble = "failed"
    fix = "Read the client's message above; the device keeps its state, and it is safe to run the task again"

    def __init__(self, doing: str, device: str, cause: str, fix: str = "") -> None:
        self.device = device
        self.cause = cause.strip().rstrip(".")
        super().__init__(f"Failed to {doing} on Snowball {device}: {self.cause}. {fix or self.fix}.")

    def as_result(self) -> dict[str, Any]:
        """Keyword arguments for fail_json."""
        return {"msg": str(self), "trouble": self.trouble, "snowball": self.device}


class Misconfigured(SnowballError):
    trouble = "options"
    fix = "Fix the options of the task or the files in the snowdir"


class ClientMissing(SnowballError):
    trouble = "client_missing"
    fix = (
        "Install the Snowball Edge client (the role edgeops.snowsync.snowball does this from a tarball that you "
        "provide), or set the option `client`"
    )


class ClientNotExecutable(SnowballError):
    trouble = "client_not_executable"
    fix = "Run `chmod u+x bin/snowballEdge jre/bin/java` in the folder of the client, for the user that runs this task"


class Unreachable(SnowballError):
    trouble = "unreachable"
    fix = (
        "Check that the device is on and has booted (10 minutes, 20 in a cluster), that its address is still the "
        "one in `endpoint` (DHCP may change it), and that port 9091 is open; according to AWS, a wrong manifest or "
        "unlock code can cause the same message"
    )


class WrongCode(SnowballError):
    trouble = "wrong_code"
    fix = (
        "Compare the unlock code with that of this device's job (`aws snowball get-job-unlock-code --job-id ...`); "
        "manifest and code belong together, and a certificate renewal replaces both"
    )


class WrongManifest(SnowballError):
    trouble = "wrong_manifest"
    fix = (
        "Get the manifest of this device's job (`aws snowball get-job-manifest --job-id ...`); "
        "manifest and code belong together, and a certificate renewal replaces both"
    )


class WrongState(SnowballError):
    """The device is LOCKED or UNLOCKING, but the operation needs it UNLOCKED."""

    trouble = "wrong_state"
    fix = "Unlock the device first, with the module edgeops.snowsync.snowball_unlock"


class FellBackToLocked(SnowballError):
    trouble = "fell_back_to_locked"
    fix = (
        "The device accepted the request but did not unlock: compare manifest and unlock code with those of its job; "
        "if they are right, restart the device and try again, then contact AWS Support"
    )


class TimedOut(SnowballError):
    trouble = "timed_out"
    fix = "The device continues on its own: run the task again to keep waiting, or increase the option `timeout`"


class CommandTimedOut(SnowballError):
    trouble = "command_timed_out"
    fix = (
        "Check that the address in `endpoint` is that of the device and that no firewall drops port 9091; "
        "a slow network needs a higher `command_timeout`"
    )


class UnknownOutput(SnowballError):
    trouble = "unknown_output"
    fix = "Please report the client's version (`snowballEdge version`) and this output"


class AlreadyStarted(SnowballError):
    trouble = "already_started"
    fix = "No action is needed; the service was started by someone else in the meantime"


class WrongUpdateState(SnowballError):
    trouble = "wrong_update_state"
    fix = "See `snowballEdge describe-device-software`: another update is in progress or a step was skipped"


class NoCloudConnection(SnowballError):
    trouble = "no_cloud_connection"
    fix = "The device has no connection to its AWS region; provide the update as a file"


class Unsupported(SnowballError):
    trouble = "unsupported"
    fix = "This device does not support the operation, e.g. a cluster operation on a single device"


class CannotBeStopped(SnowballError):
    trouble = "cannot_be_stopped"
    fix = "Leave it running, or use state=started to wait until it is ready"


class ServiceFailed(SnowballError):
    trouble = "service_failed"
    fix = "Stop the service and start it again; if that does not help, restart the device"


# Parts of the client's messages, in lower case, and their errors. The class names are those of the device's API. The
# texts around them are not published, so a match anywhere in the text counts. The first match wins.
_SIGNS = (
    ("incorrectdevicemanifest", WrongManifest),
    ("incorrectdeviceupdatestate", WrongUpdateState),
    ("incorrectdevicestate", WrongState),
    ("servicealreadystarted", AlreadyStarted),
    ("nocloudconnection", NoCloudConnection),
    ("unsupportedoperation", Unsupported),
    ("connection refused", Unreachable),
    ("connect timed out", Unreachable),
    ("connection timed out", Unreachable),
    ("connection reset", Unreachable),
    ("no route to host", Unreachable),
    ("network is unreachable", Unreachable),
    ("unknownhost", Unreachable),
    ("unable to connect", Unreachable),
    ("failed to connect", Unreachable),
    ("could not connect", Unreachable),
)
_REFUSAL = (
    r"(?:invalid|not valid|incorrect|wrong|match|does not|doesn't|could not|cannot|unable|fail|damaged"
    r"|not found|no such|refus|reject)"
)
_CODE = re.compile(rf"unlock ?code.*{_REFUSAL}|{_REFUSAL}.*unlock ?code", re.DOTALL)
_MANIFEST = re.compile(rf"manifest.*{_REFUSAL}|{_REFUSAL}.*manifest", re.DOTALL)
_NOT_EXECUTABLE = re.compile(r"permission denied|exec format error|cannot execute")
_LAUNCH_CODES = (126, 127)  # of a shell: found but not executable, not found


def from_words(command: str, device: str, code: int, words: str) -> SnowballError:
    """The error for a client command that exited with `code` and printed `words` (stdout and stderr, no secrets)."""
    return kind_of(code, words)(f"run {command}", device, words.strip() or f"it printed nothing (exit code {code})")


def kind_of(code: int, words: str) -> type[SnowballError]:
    """The error class for the client's message."""
    lowered = words.lower()
    if code in _LAUNCH_CODES and _NOT_EXECUTABLE.search(lowered):
        return ClientNotExecutable
    for sign, kind in _SIGNS:
        if sign in lowered:
            return kind
    if _CODE.search(lowered):
        return WrongCode
    return WrongManifest if _MANIFEST.search(lowered) else SnowballError


def without(secrets: Iterable[str], text: str) -> str:
    """The text with every secret masked, because the client may repeat its input."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "********")
    return text
