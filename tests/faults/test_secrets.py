# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A secret is in no argv, no environment, no log, no result and no file but its own."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from faults.rig import SOURCE, Rig


def family(pid: int) -> list[int]:
    """A process and all its descendants; any of them may end at any moment."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for task in Path(f"/proc/{parent}/task").glob("*/children"):
                found.extend(int(child) for child in task.read_text().split())
    return found


def exposed(pid: int) -> bytes:
    """What `ps` and a look into /proc show of one process; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


@pytest.mark.parametrize("tool", ["native", "s5cmd"])
def test_secrets_stay_in_their_files(rig: Rig, tool: str) -> None:
    rig.config["mover"] = {"tool": tool}
    rig.fresh = True  # what /proc shows of a fork is not its own command line
    secret = rig.source.secret_key
    for number in range(60):
        rig.source.put(SOURCE, f"object-{number}", os.urandom(50_000))
    # Failures are where secrets leak: signatures, request dumps, tracebacks.
    rig.source.set_fault("status", operation="GetObject", status=403, code="AccessDenied", key="object-7$", count=2)
    rig.source.set_fault("latency", operation="GetObject", seconds=0.2)
    process = rig.start("--until-drained", "--json")
    seen = b""
    movers = set()
    while process.poll() is None:
        for pid in family(process.pid):
            text = exposed(pid)
            seen += text if secret.encode() in text else b""
            if b"s5cmd" in text.split(b"\0")[0]:
                movers.add(pid)
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    assert movers or tool == "native", "the test saw no mover: it proves nothing"
    assert seen == b"", "a process shows the secret"
    assert secret not in output + errors

    wrong = rig.folder / "credentials" / "source"
    wrong.write_text(wrong.read_text().replace(secret, "wrong-" + secret))
    code, _summary, refusal = rig.run()
    assert code == 5
    for arguments in (
        ["status", "JOB"],
        ["report", "JOB"],
        ["plan", "JOB"],
        ["ledger", "export", "JOB", "--format", "json"],
    ):
        result = rig.snowsync(*arguments)
        refusal += result.stdout + result.stderr
    assert secret not in refusal

    holders = [
        path
        for path in rig.folder.rglob("*")
        if path.is_file()
        and not path.is_relative_to(rig.folder / "credentials")
        and secret.encode() in path.read_bytes()
    ]
    assert holders == []
