# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""From the output of the command ``snowsync`` to the result of a module. No side effects here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CANNOT_START = 203  # as in systemd

# The meaning of the command's exit codes, with the next action.
EXIT_CODES: Mapping[int, str] = {
    1: "Unexpected failure of the engine; please report it",
    2: "The configuration of the job is wrong; fix the listed problems",
    3: "The run ended, but {objects} could not be moved; see `failures` and the report {report}",
    4: "A store is unreachable or failed; the ledger is kept, run the job again when the store responds",
    5: "A store rejected the credentials or the bucket; fix this first, a retry would not help",
    6: "A volume or the state folder of the job failed; everything staged and delivered so far is kept",
    7: "Another process is running this job; stop its units first, or wait for it",
    8: "The ledger of the job cannot be used; do not remove it, it records what has been delivered",
    124: "Timed out before the job was drained; what was moved is kept, run the job again to continue",
    CANNOT_START: "The command could not be started; install it with the role edgeops.snowsync.engine",
}
_LAST_LINES = 20
_SPEAKER = "snowsync: "  # starts the error; log lines start with their time


class CommandFailed(Exception):
    """The command exited with `code`, or its output cannot be parsed; `document` is the JSON it printed, if any."""

    def __init__(self, command: str, job: str, code: int, document: Mapping[str, Any], stderr: str) -> None:
        self.code = code
        self.document = document
        self.said = last_words(stderr)
        meaning = EXIT_CODES.get(code, "It exited unexpectedly" if code else "Its output cannot be parsed")
        meaning = meaning.format(
            objects=_objects(document.get("failure_count")), report=document.get("report") or "(none)"
        )
        super().__init__(
            f"Failed to {command} job {job} (exit code {code}). {meaning}." + (f"\n{self.said}" if self.said else "")
        )


def _objects(count: int | None) -> str:
    return "some objects" if count is None else f"{count} object{'s' * (count != 1)}"


def last_words(stderr: str) -> str:
    """The final error of the command (it may have many lines), or the last lines of its log if there is none."""
    lines = stderr.strip().splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith(_SPEAKER)]
    said = lines[starts[-1] :] if starts else lines[-_LAST_LINES:]
    return "\n".join(said).removeprefix(_SPEAKER)


def from_plan(document: Mapping[str, Any]) -> dict[str, Any]:
    """The values a module returns for the document of ``snowsync plan --json``."""
    return {"job": document["job"], "changed": document["objects"] > 0, "plan": dict(document)}


def diff_of(plan: Mapping[str, Any]) -> dict[str, str]:
    """The objects that would be added to the destination: the first keys, and how many more."""
    keys = list(plan["keys"])
    lines = [json_line(key) for key in keys]
    if plan["objects"] > len(keys):
        lines.append(f"... and {plan['objects'] - len(keys)} more")
    header = f"{plan['job']}: {plan['objects']} objects, {plan['bytes']} bytes to move"
    return {
        "before_header": header,
        "after_header": header,
        "before": "",
        "after": "".join(f"{line}\n" for line in lines),
    }


def json_line(key: str) -> str:
    """A key as one line: unchanged if it is printable, else escaped."""
    return key if key.isprintable() else ascii(key)
