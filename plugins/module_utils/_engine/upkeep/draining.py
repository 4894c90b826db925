# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Draining: nothing new is placed on a volume any more, what is there is delivered.

The word is in the ledger; a running source unit reads it every second, one that starts later reads it first.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..core.errors import ConfigError, LedgerError
from ..inspection import volume_report
from ..inspection.status import running, unit_status
from ..inspection.volume_status import VolumeStatus
from ..ledger.ledger import Ledger
from ..ledger.ports import KnownVolumes
from ..ledger.reader import LedgerNotReady, LedgerReader

if TYPE_CHECKING:
    from ..config.job_file import Job

_LOOK_SECONDS = 1.0


def open_ledger(job: Job) -> Ledger:
    """The ledger of a job that has run; raises LedgerNotReady before that."""
    if not job.ledger_path.exists():
        raise LedgerNotReady(f"There is no ledger at {job.ledger_path}: the job has not run yet")
    return Ledger(job.ledger_path)


def number_of(volumes: KnownVolumes, job: Job, name: str) -> int:
    """The ledger's number of a volume, by name. ConfigError for a name nobody knows."""
    known = volumes.known_volumes()
    if name in known:
        return known[name][0]
    names = sorted({*known, *(volume.name for volume in job.volumes)})
    if name in names:
        raise LedgerNotReady(f"Volume {name} of job {job.job} was never used: there is nothing to do")
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(names)}"
    raise ConfigError(f"job {job.job}", [f"has no volume {name!r}; {hint}"])


def set_draining(job: Job, name: str, draining: bool) -> None:
    """Begin to drain a volume, or take that back. Durable when it returns; units heed it within seconds."""
    ledger = open_ledger(job)
    try:
        ledger.volumes.set_draining(number_of(ledger.volumes, job, name), draining)
    finally:
        ledger.close()


def look(job: Job, name: str) -> VolumeStatus:
    """How the volume is now. Raises LedgerError when that cannot be said."""
    found = volume_report.gather(job)
    status = found.named(name)
    if found.error:
        raise found.error
    if status is None:
        raise LedgerError(f"Volume {name} of job {job.job} is gone from its configuration, and holds nothing")
    return status


def wait_until_drained(
    job: Job, name: str, timeout: float | None = None, say: Callable[[VolumeStatus], None] = lambda status: None
) -> bool:
    """Wait until nothing is left on a draining volume; `say` is told at every look. False after `timeout` seconds."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        status = look(job, name)
        say(status)
        if status.is_drained:
            return True
        if not status.draining:
            raise LedgerError(f"Volume {name} of job {job.job} is no longer being drained: somebody took that back")
        if deadline is not None and time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK_SECONDS)


def running_units(job: Job) -> list[str]:
    """The names of the job's units that run."""
    with LedgerReader.open(job.ledger_path) as reader:
        return running([unit_status(run) for run in reader.runs()])
