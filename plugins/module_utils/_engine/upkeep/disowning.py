# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Giving up what another ledger staged on one volume, so that this job's ledger may use it.

Who confirms it names that ledger, by the id that only a look at the volume tells. The record stays: without files it
binds nobody, and whoever uses the volume next takes it over.
"""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..core.errors import ConfigError, LedgerError, LocalError, Trouble
from ..core.layout import OWN_FOLDER, STAGED
from ..core.removal import OperatorsWord
from ..core.text import bytes_text, count_text, plain_text
from ..ledger.records import Tally
from ..volumes.claims import UNKNOWN, Record, held, read_record
from ..volumes.clearing import clear
from ..volumes.folders import names_held
from . import draining, resetting
from .resetting import VolumeReset

if TYPE_CHECKING:
    from ..config.job_file import Job
    from ..config.job_file import Volume as VolumeConfig

_NAMED = 20
_PATIENCE_SECONDS = 10.0


@dataclass(slots=True)
class Disowned:
    """What giving up another ledger's files means, or meant once it is `done`; `first` names some of the files."""

    job: Job
    volume: VolumeReset
    record: Record
    first: list[str]
    done: bool = False

    def as_json(self) -> dict[str, Any]:
        return {
            "job": self.job.job,
            "confirmed": self.done,
            "changed": self.done and self.volume.found.files != Tally(),
            "ledger": self.record.short,
            "host": self.record.host,
            "path": self.record.path,
            "first": self.first,
            "volume": self.volume.record(),
        }


def give_up(job: Job, name: str, confirm: str | None) -> Disowned:
    """Remove another ledger's files of this job from a volume, if `confirm` is that ledger's id; None: only look.

    Works beside running units, which use the volume within seconds. Raises LedgerError for a volume that holds
    nothing of another ledger, ConfigError for another id, LocalError when the volume fails.
    """
    config = _config(job, name)
    found = _look(job, config)
    if confirm is None:
        found.volume.found = clear(job, name, str(config.path), None)
        return found
    _check(found.record, confirm)
    # Whoever would take the volume over waits: what it stages there afterwards is not ours to remove.
    own = config.path / OWN_FOLDER
    (own / STAGED / job.job).mkdir(mode=0o750, parents=True, exist_ok=True)
    staged = os.open(own / STAGED / job.job, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with names_held(staged, _PATIENCE_SECONDS):
            found = _look(job, config)
            _check(found.record, confirm)
            found.volume.found = clear(job, name, str(config.path), OperatorsWord(f"reset --volume {name}", confirm))
    finally:
        os.close(staged)
    if found.volume.found.problem:
        raise LocalError(Trouble.IO, f"give up what is on volume {name} of job {job.job}", found.volume.found.problem)
    found.done = True
    return found


def _config(job: Job, name: str) -> VolumeConfig:
    names = [volume.name for volume in job.volumes]
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(names)}"
        raise ConfigError(f"job {job.job}", [f"has no volume {name!r}; {hint}"])
    return job.volumes[names.index(name)]


def _look(job: Job, config: VolumeConfig) -> Disowned:
    """What lies there of another ledger. LedgerError where nothing does."""
    status = draining.look(job, config.name)
    if not status.another:
        raise LedgerError(
            f"Volume {config.name} of job {job.job} holds no other ledger's files ({status.words}):"
            " only such files are given up so; see the commands drain, evacuate, refetch, and reset without --volume"
        )
    root = os.open(config.path / OWN_FOLDER, os.O_RDONLY | os.O_DIRECTORY)
    try:
        record = read_record(root, job.job) or Record(UNKNOWN)
        first = [name for folder, name in islice(held(root, job.job), _NAMED) if folder == STAGED]
    finally:
        os.close(root)
    return Disowned(job, VolumeReset(status), record, first)


def _check(record: Record, confirm: str) -> None:
    if confirm not in (record.short, record.ledger):
        problem = f"names {confirm!r}, the files belong to ledger {record.short}: nothing was changed"
        raise ConfigError("--confirm", [problem])


def render(found: Disowned) -> str:
    """What was, or would be, done, as text."""
    volume, record, job = found.volume, found.record, found.job.job
    files = f"{count_text(volume.found.files.objects)} files ({bytes_text(volume.found.files.bytes)})"
    lines = [
        f"volume {volume.status.name} at {volume.status.path}:"
        f" {files} of another ledger {'were removed' if found.done else 'would be removed'}",
        f"  the ledger: {record.words}",
    ]
    if not found.done:
        lines += [f"    {plain_text(name)}" for name in found.first]
        lines += ["    ..."] if len(found.first) == _NAMED else []
    lines += resetting.kept_lines(volume.found)
    if found.done:
        lines.append(f"the volume is used by job {job} from now on")
        return "\n".join(lines)
    lines.append("nobody here knows which of them are delivered: what is not is lost where its source no longer has it")
    lines.append(f"nothing was changed; to keep them, put that ledger back as {found.job.ledger_path}")
    lines.append(f"to give them up: snowsync reset {job} --volume {volume.status.name} --confirm {record.short}")
    return "\n".join(lines)
