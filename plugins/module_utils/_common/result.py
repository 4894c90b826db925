# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""From what the command ``snowsync`` said to what a module returns. No effects here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CANNOT_START = 203  # as systemd says it

# What the exit codes of the command mean for somebody who has to do something next.
EXIT_CODES: Mapping[int, str] = {
    1: "The engine failed in a way nobody foresaw; please report it",
    2: "The configuration of the job is wrong; correct what is listed",
    3: "The run ended, but {failure_count} objects could not be moved; see `failures` and the report {report}",
    4: "A store could not be reached or failed; the ledger is kept, run the job again when the store answers",
    5: "A store refuses the credential or the bucket; correct it, trying again would not help",
    6: "A volume or the state folder of the job failed; what was staged and delivered so far is kept",
    7: "Another process runs this job; stop its units first, or wait for it",
    8: "The ledger of the job refuses; do not remove it, it knows what has been delivered",
    124: "Timed out before the job was drained; what was moved is kept, run the job again to go on",
    CANNOT_START: "The command could not be started; the role edgeops.snowsync.engine installs it",
}
_LAST_LINES = 20
_SPEAKER = "snowsync: "  # begins the error, log lines begin with their time


class CommandFailed(Exception):
    """The command exited with `code`, or said nothing that can be read; `document` holds what it said before that."""

    def __init__(self, command: str, job: str, code: int, document: Mapping[str, Any], stderr: str) -> None:
        self.code = code
        self.document = document
        self.said = last_words(stderr)
        meaning = EXIT_CODES.get(code, "It ended unexpectedly" if code else "It printed nothing that can be read")
        meaning = meaning.format(
            failure_count=document.get("failure_count", "some"), report=document.get("report") or "(none)"
        )
        super().__init__(
            f"Failed to {command} job {job} (exit code {code}). {meaning}." + (f"\n{self.said}" if self.said else "")
        )


def last_words(stderr: str) -> str:
    """The error the command ended with (it may have many lines), or the last lines of its log when there is none."""
    lines = stderr.strip().splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith(_SPEAKER)]
    said = lines[starts[-1] :] if starts else lines[-_LAST_LINES:]
    return "\n".join(said).removeprefix(_SPEAKER)


def from_plan(document: Mapping[str, Any]) -> dict[str, Any]:
    """The values a module returns for the document of ``snowsync plan --json``."""
    return {"job": document["job"], "changed": document["objects"] > 0, "plan": dict(document)}


def diff_of(plan: Mapping[str, Any]) -> dict[str, str]:
    """What would be at the destination afterwards and is not there now: the first keys, and how many more."""
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
    """A key as one line: as it is where that is safe to print, else escaped."""
    return key if key.isprintable() else ascii(key)
