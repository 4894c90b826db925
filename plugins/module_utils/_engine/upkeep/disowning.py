# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Gives up what another ledger staged on one volume, so that this job's ledger can use it.

The confirmation is that ledger's id, which only the volume itself shows. The record stays: without files it does not
bind anything, and the next ledger that uses the volume takes it over.
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
from ..core.text import bytes_text, counted_text, plain_text
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
    """The effect of giving up another ledger's files, planned or `done`; `first` names some of the files."""

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
    """Remove another ledger's files of this job from a volume if `confirm` is that ledger's id; None: only look.

    Works while units run; they use the volume within seconds. Raises LedgerError for a volume without another ledger's
    files, ConfigError for a wrong id, LocalError when the volume fails.
    """
    config = _config(job, name)
    found = _look(job, config)
    if confirm is None:
        found.volume.found = clear(job, name, str(config.path), None)
        return found
    _check(found.record, confirm)
    # Blocks a takeover of the volume meanwhile: what is staged there afterwards must not be removed.
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
    """What is there of another ledger. LedgerError if there is nothing."""
    status = draining.look(job, config.name)
    if not status.another:
        raise LedgerError(
            f"Volume {config.name} of job {job.job} holds no files of another ledger ({status.words});"
            " for its own files see the commands drain, evacuate, refetch, and reset without --volume"
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
        problem = f"is {confirm!r}, but the files belong to ledger {record.short}: nothing was changed"
        raise ConfigError("--confirm", [problem])


def render(found: Disowned) -> str:
    """What was done, or would be done, as text."""
    volume, record, job = found.volume, found.record, found.job.job
    files = f"{counted_text(volume.found.files.objects, 'file')} ({bytes_text(volume.found.files.bytes)})"
    lines = [
        f"volume {volume.status.name} at {volume.status.path}:"
        f" {files} of another ledger {'removed' if found.done else 'would be removed'}",
        f"  the ledger: {record.words}",
    ]
    if not found.done:
        lines += [f"    {plain_text(name)}" for name in found.first]
        lines += ["    ..."] if len(found.first) == _NAMED else []
    lines += resetting.kept_lines(volume.found)
    if found.done:
        lines.append(f"job {job} uses the volume from now on")
        return "\n".join(lines)
    lines.append("it is unknown here which of them are delivered; others are lost if their source no longer has them")
    lines.append(f"nothing was changed; to keep the files, restore that ledger as {found.job.ledger_path}")
    lines.append(f"to discard them: snowsync reset {job} --volume {volume.status.name} --confirm {record.short}")
    return "\n".join(lines)
