# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""One profile in the profile file of the client: written by editing the JSON, or with ``snowballEdge configure``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball import shared_files
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.access import (
    PROFILE_FILE,
    Access,
    access_of,
    profile_entry,
)
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.client import SnowballClient, find_executable
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.errors import Misconfigured, UnknownOutput

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

DEFAULT_PROFILE = "default"
SECRET = "unlockCode"
HIDDEN = "********"
PRIVATE_FOLDER = 0o700

# The prompts of `configure`, as the end of an output line, and the fields that answer them.
QUESTIONS = {
    r"manifest[^\n]*:\s*$": "manifestPath",
    r"unlock\s*code[^\n]*:\s*$": SECRET,
    r"endpoint[^\n]*:\s*$": "defaultEndpoint",
}
# Java reads secrets only from a terminal, so the client gets one without echo. The answers come as JSON on standard
# input, and each is sent when its prompt is at the end of the output.
TERMINAL = r"""
import json, os, pty, re, sys, termios
answers = [(re.compile(question, re.I), answer) for question, answer in json.load(sys.stdin)]
child, master = pty.fork()
if child == 0:
    settings = termios.tcgetattr(0)
    settings[3] &= ~termios.ECHO
    termios.tcsetattr(0, termios.TCSANOW, settings)
    try:
        os.execv(sys.argv[1], sys.argv[1:])
    except OSError as error:
        os.write(1, os.fsencode("%s: %s" % (sys.argv[1], error.strerror)))
        os._exit(126)
line = ""
while True:
    try:
        part = os.read(master, 4096).decode("utf-8", "replace").replace("\r", "")
    except OSError:
        break
    if not part:
        break
    sys.stdout.write(part)
    sys.stdout.flush()
    line = (line + part).rpartition("\n")[2]
    for question, answer in answers:
        if question.search(line):
            sys.stdout.write("\n")
            os.write(master, os.fsencode(answer + "\n"))
            line = ""
            break
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 255)
"""


class Damaged(Misconfigured):
    """The profile file is not valid JSON of this kind."""

    trouble = "damaged_file"
    fix = "Repair the file or move it away; it was not changed, because it may hold other profiles"


def run(module: AnsibleModule) -> dict[str, Any]:
    """Updates the file to the module's options; returns the module's result. Raises SnowballError."""
    options = module.params
    name = options["profile"]
    path = os.path.abspath(options["config_file"])
    access = access_of({**options, "profile": None}) if options["state"] == "present" else None
    if access:
        module.no_log_values.add(access.unlock_code)
    writing = access is not None or os.path.isdir(os.path.dirname(path))
    with shared_files.one_writer(os.path.dirname(path)) if writing and not module.check_mode else nullcontext():
        before = read(path)
        after = with_profile(before, name, access) if access else without_profile(before, name)
        change = change_for(path, before, after)
        loose = is_loose(path) and access is not None
        if change.needed and not module.check_mode:
            if options["interactive"] and access and before != after:
                configure(module, access, name, path)
                change = change_for(path, made := read(path), with_profile(made, name, access))
            shared_files.apply(module, change)
        if loose and not module.check_mode:
            os.chmod(os.path.dirname(path), PRIVATE_FOLDER)
    result = {"changed": before != after or change.needed or loose, "profile": name, "config_file": path}
    if module._diff:
        result["diff"] = diff_of(path, before, after, name)
    return result


def read(path: str) -> dict[str, Any]:
    """The file's document, an empty one if it does not exist or is empty; raises Damaged."""
    text = shared_files.read_text(path) or ""
    if not text.strip():
        return {}
    doing = "read the client's profile file"
    try:
        document = json.loads(text)
    except ValueError as error:
        # Only the line number, and not as the cause: the error contains the text, which holds unlock codes.
        place = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise Damaged(doing, "profiles", f"{path} is not JSON{place}") from None
    profiles = document.get("profiles", {}) if isinstance(document, dict) else None
    if not isinstance(profiles, dict) or not all(isinstance(entry, dict) for entry in profiles.values()):
        raise Damaged(doing, "profiles", f"{path} has no mapping `profiles` of mappings")
    return document


def with_profile(document: Mapping[str, Any], name: str, access: Access) -> dict[str, Any]:
    """The document with the profile; all other content is kept, and unknown values are not changed."""
    profiles = document.get("profiles", {})
    made = profile_entry(access, name)
    known = {key: value for key, value in made.items() if value}
    entry = {**made, **profiles.get(name, {}), **known}
    if access.device_ips:
        entry["deviceIps"] = list(access.device_ips)
    return {"version": 1, **document, "profiles": {**profiles, name: entry}}


def without_profile(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The document without the profile."""
    profiles = document.get("profiles", {})
    if name not in profiles:
        return dict(document)
    return {**document, "profiles": {key: entry for key, entry in profiles.items() if key != name}}


def change_for(path: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> shared_files.Change:
    """The change of the file; equal content is not written again, even if its layout differs."""
    text = shared_files.read_text(path)
    wanted = text if before == after else json.dumps(after, indent=2) + "\n"
    return shared_files.change_of(path, text, wanted, None if wanted is None else shared_files.PRIVATE)


def is_loose(path: str) -> bool:
    """Whether others can read the client's own folder; the mode of any other folder is not changed."""
    folder = os.path.dirname(os.path.realpath(path))
    return (
        path.endswith(os.sep + PROFILE_FILE)
        and os.path.isdir(folder)
        and bool(os.stat(folder).st_mode & 0o777 & ~PRIVATE_FOLDER)
    )


def configure(module: AnsibleModule, access: Access, name: str, path: str) -> None:
    """Has the client write the profile, which checks the code against the manifest; raises SnowballError."""
    executable = find_executable(module, module.params["client"], access)
    entry = profile_entry(access, name)
    answers = [(question, entry[field]) for question, field in QUESTIONS.items()]
    terminal = SnowballClient(module, executable, access, module.params["command_timeout"])
    terminal.keep_secret(access.unlock_code)
    terminal = replace(terminal, through=(sys.executable, "-ISc", TERMINAL))
    named = [] if name == DEFAULT_PROFILE else ["--profile", name]
    umask = os.umask(0o077)  # the client does not protect its file
    try:
        said = terminal.call("configure", *named, data=json.dumps(answers), addressed=False)
    finally:
        os.umask(umask)
    if name not in read(path).get("profiles", {}):
        raise UnknownOutput(
            "configure the client",
            access.name,
            f"it wrote no profile {name} to {path}. Its output: {said.strip()}",
            "Set `config_file` to the file that it names, or omit `interactive`",
        )


def diff_of(path: str, before: Mapping[str, Any], after: Mapping[str, Any], name: str) -> dict[str, str]:
    """This profile before and after; for the unlock code only whether it changed."""
    old, new = (document.get("profiles", {}).get(name) for document in (before, after))
    another = bool(old and new and old.get(SECRET) != new.get(SECRET))
    header = f"{path} (profile {name})"
    return {
        "before_header": header,
        "after_header": header,
        "before": _shown(old, HIDDEN),
        "after": _shown(new, f"{HIDDEN} (changed)" if another else HIDDEN),
    }


def _shown(entry: Mapping[str, Any] | None, code: str) -> str:
    return "" if entry is None else json.dumps({**entry, SECRET: code}, indent=2) + "\n"
