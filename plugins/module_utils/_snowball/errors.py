# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What can go wrong with a Snowball: every error says what was asked of which device, the cause, and the mend."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any


class SnowballError(Exception):
    """The client or the device refused, and nothing more is known than what it said."""

    trouble = "failed"
    mend = "Look at the words of the client above; the device keeps its state, running the task again is safe"

    def __init__(self, doing: str, device: str, cause: str, mend: str = "") -> None:
        self.device = device
        self.cause = cause.strip().rstrip(".")
        super().__init__(f"Failed to {doing} on Snowball {device}: {self.cause}. {mend or self.mend}.")

    def as_result(self) -> dict[str, Any]:
        """Keyword arguments for fail_json."""
        return {"msg": str(self), "trouble": self.trouble, "snowball": self.device}


class Misconfigured(SnowballError):
    trouble = "options"
    mend = "Correct the options of the task or the files in the snowdir"


class ClientMissing(SnowballError):
    trouble = "client_missing"
    mend = (
        "Install the Snowball Edge client (the role edgeops.snowsync.snowball does, from a tarball you provide), "
        "or name it with the option `client`"
    )


class ClientNotExecutable(SnowballError):
    trouble = "client_not_executable"
    mend = "Run `chmod u+x bin/snowballEdge jre/bin/java` in the folder of the client, for the user that runs this task"


class Unreachable(SnowballError):
    trouble = "unreachable"
    mend = (
        "Look whether the device is on and has booted (10 minutes, 20 in a cluster), whether its address is still the "
        "one in `endpoint` (DHCP changes it), and whether port 9091 is open; AWS names a wrong manifest or unlock "
        "code as another cause of the same words"
    )


class WrongCode(SnowballError):
    trouble = "wrong_code"
    mend = (
        "Compare the unlock code with that of this device's job (`aws snowball get-job-unlock-code --job-id ...`); "
        "manifest and code belong together, and a renewed certificate brings a new pair"
    )


class WrongManifest(SnowballError):
    trouble = "wrong_manifest"
    mend = (
        "Get the manifest of this device's job (`aws snowball get-job-manifest --job-id ...`); "
        "manifest and code belong together, and a renewed certificate brings a new pair"
    )


class WrongState(SnowballError):
    """The device is LOCKED or UNLOCKING, and what was asked needs it UNLOCKED."""

    trouble = "wrong_state"
    mend = "Unlock the device first, with the module edgeops.snowsync.snowball_unlock"


class FellBackToLocked(SnowballError):
    trouble = "fell_back_to_locked"
    mend = (
        "The device took the request and did not accept it in the end: compare manifest and unlock code with those of "
        "its job; if they are right, restart the device and try once more, then ask AWS Support"
    )


class TimedOut(SnowballError):
    trouble = "timed_out"
    mend = "The device goes on by itself: run the task again to wait on, or raise the option `timeout`"


class CommandTimedOut(SnowballError):
    trouble = "command_timed_out"
    mend = (
        "Look whether the address in `endpoint` is that of the device and a firewall drops port 9091; "
        "a slow network needs a higher `command_timeout`"
    )


class UnknownOutput(SnowballError):
    trouble = "unknown_output"
    mend = "Please report the client's version (`snowballEdge version`) and this output"


class AlreadyStarted(SnowballError):
    trouble = "already_started"
    mend = "Nothing is to be done; somebody else started the service in the meantime"


class WrongUpdateState(SnowballError):
    trouble = "wrong_update_state"
    mend = "See `snowballEdge describe-device-software`: another update is under way or a step was left out"


class NoCloudConnection(SnowballError):
    trouble = "no_cloud_connection"
    mend = "The device has no connection to its AWS region; bring the update to it as a file"


class Unsupported(SnowballError):
    trouble = "unsupported"
    mend = "This device does not know the operation, e.g. one for clusters on a single device"


class CannotBeStopped(SnowballError):
    trouble = "cannot_be_stopped"
    mend = "Leave it running, or use state=started to wait until it is ready"


class ServiceFailed(SnowballError):
    trouble = "service_failed"
    mend = "Stop the service and start it again; if that does not help, restart the device"


# What the client says, in lower case, and what it means. The class names are those of the device's API; the texts
# around them are not published, so any part of the text will do. Of several the first counts.
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
_LAUNCH_CODES = (126, 127)  # a shell's: found and not executable, not found


def from_words(command: str, device: str, code: int, words: str) -> SnowballError:
    """The error for a client command that exited with `code` and said `words` (stdout and stderr, without secrets)."""
    return kind_of(code, words)(f"run {command}", device, words.strip() or f"it said nothing (exit code {code})")


def kind_of(code: int, words: str) -> type[SnowballError]:
    """The class of error for the words of the client."""
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
    """The text with every secret in it replaced, as the client may repeat what it was given."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "********")
    return text
