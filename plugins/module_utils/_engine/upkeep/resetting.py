# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Resets a job: removes its own files from the volumes and puts its ledger aside; nothing else is touched.

Files first (volumes/clearing.py), ledger last: if interrupted in between, the units find files missing and fetch them
again. Files of another ledger are kept; those are given up volume by volume (disowning.py). A volume that is missing
belongs to the ledger put aside, which the next ledger knows: it takes the volume over, and the source unit removes what
is there.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..core.conditions import UNAVAILABLE
from ..core.errors import ConfigError, LedgerError, SnowsyncError
from ..core.layout import OWN_FOLDER
from ..core.removal import OperatorsWord
from ..core.text import bytes_text, counted_text, plain_text
from ..inspection import volume_report
from ..inspection.volume_status import VolumeStatus
from ..ledger.files import put_aside
from ..ledger.locks import locked_alone
from ..ledger.records import Tally
from ..volumes.clearing import JobFiles, clear

if TYPE_CHECKING:
    from ..config.job_file import Job


@dataclass(slots=True)
class VolumeReset:
    """One volume: what the ledger records for it, and what was found there."""

    status: VolumeStatus
    found: JobFiles = field(default_factory=JobFiles)

    def record(self) -> dict[str, Any]:
        status, found = self.status, self.found
        return {
            "name": status.name,
            "path": status.path,
            "identity": status.identity,
            "state": status.state,
            "reason": status.reason,
            **_losses([status]),
            "files": found.files.objects,
            "bytes": found.files.bytes,
            "kept": found.kept,
            "kept_count": found.kept_count,
            "problem": found.problem,
            "another_ledger": status.another,
        }


@dataclass(slots=True)
class Reset:
    """What a reset did, or would do if not `confirmed`. `ledger`: the path under which the ledger was put aside.

    `error` is why the ledger could not be read: what is undelivered is then unknown.
    """

    job: str
    confirmed: bool
    volumes: list[VolumeReset]
    changed: bool = False
    ledger: str = ""
    error: SnowsyncError | None = None

    def record(self) -> dict[str, Any]:
        """As `reset --json` prints it."""
        return {
            "job": self.job,
            "confirmed": self.confirmed,
            "changed": self.changed,
            "error": str(self.error) if self.error else "",
            **_losses([volume.status for volume in self.volumes]),
            "ledger": self.ledger,
            "volumes": [volume.record() for volume in self.volumes],
        }


def _losses(volumes: list[VolumeStatus]) -> dict[str, int]:
    sums = {
        "staged": sum((volume.held for volume in volumes), Tally()),
        "undelivered": sum((volume.undelivered for volume in volumes), Tally()),
        "dropped": sum((volume.dropped for volume in volumes), Tally()),
        "unavailable": sum((volume.unavailable for volume in volumes), Tally()),
    }
    return {f"{name}_{what}": getattr(tally, what) for name, tally in sums.items() for what in ("objects", "bytes")}


def survey(job: Job) -> Reset:
    """What a reset would lose and remove; nothing is changed. Works while units run."""
    found = _look(job, confirmed=False)
    for volume in found.volumes:
        _go_through(job, volume, None)
    return found


def reset(job: Job, confirm: str) -> Reset:
    """Reset the job if `confirm` is its name. Raises JobLocked while a unit runs, ConfigError for a wrong name."""
    if confirm != job.job:
        raise ConfigError("--confirm", [f"is {confirm!r}, but the job is {job.job!r}: nothing was changed"])
    with locked_alone(job):
        done = _look(job, confirmed=True)
        for volume in done.volumes:
            _go_through(job, volume, OperatorsWord("reset", confirm))
            done.changed = done.changed or volume.found.files.objects > 0
        if job.ledger_path.exists():
            done.ledger = str(put_aside(job.ledger_path))
            done.changed = True
    return done


def _look(job: Job, *, confirmed: bool) -> Reset:
    found = volume_report.gather(job)
    error = found.error if isinstance(found.error, LedgerError) else None
    volumes = [VolumeReset(line.status) for line in found.volumes]
    return Reset(job.job, confirmed, volumes, error=error)


def _go_through(job: Job, volume: VolumeReset, word: OperatorsWord | None) -> None:
    """Count and list what is on one volume; with the operator's confirmation remove the engine's own files."""
    status = volume.status
    if status.state in UNAVAILABLE or not os.path.isdir(f"{status.path}/{OWN_FOLDER}"):
        volume.found.problem = status.reason if status.state in UNAVAILABLE else ""
        return
    volume.found = clear(job, status.name, status.path, word)


# -- for people -------------------------------------------------------------------------------------------------


def render(found: Reset) -> str:
    """What was done, or would be done, as text."""
    lines = [f"job {found.job}: {found.error}"] if found.error else []
    for volume in found.volumes:
        lines += _volume_lines(volume, found.confirmed, knows=not found.error)
    losses = _losses([volume.status for volume in found.volumes])
    undelivered = losses["undelivered_objects"] - losses["dropped_objects"]
    size = losses["undelivered_bytes"] - losses["dropped_bytes"]
    lines.append(
        f"{counted_text(undelivered, 'object')} ({bytes_text(size)}) staged but not delivered:"
        " lost if the source no longer has them"
    )
    if losses["dropped_objects"]:
        dropped = counted_text(losses["dropped_objects"], "file")
        lines.append(f"{dropped} in drop folders: kept, and taken again")
    if found.confirmed:
        lines.append(f"the old ledger is now {found.ledger}" if found.ledger else "there was no ledger")
    else:
        lines.append(f"nothing was changed; to reset the job, stop its units and add: --confirm {found.job}")
    return "\n".join(lines)


def _volume_lines(volume: VolumeReset, confirmed: bool, *, knows: bool) -> list[str]:
    status, files = volume.status, volume.found.files
    size = f"{counted_text(files.objects, 'file')} ({bytes_text(files.bytes)})"
    lines = [f"volume {status.name} at {status.path}: {size} {'removed' if confirmed else 'would be removed'}"]
    if volume.found.problem:
        lines.append(f"  {plain_text(volume.found.problem)}; {_fate(status, knows=knows)}")
    lines += kept_lines(volume.found)
    return lines


def _fate(status: VolumeStatus, *, knows: bool) -> str:
    """What happens to files on a volume that could not be cleared."""
    if status.another or not knows:
        return "its files are kept"
    return "its files are removed when it is back, by the next run or by another reset before that"


def kept_lines(found: JobFiles) -> list[str]:
    lines = []
    if found.kept_count:
        lines.append(f"  kept, since not created by snowsync: {counted_text(found.kept_count, 'file')}")
        lines += [f"    {plain_text(name)}" for name in found.kept[:20]]
    return lines
