# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Draining: nothing new is placed on a volume, and what is there is delivered.

The flag is in the ledger; a running source unit reads it every second, one that starts later reads it first.
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
    """The ledger's number of a volume, by name. ConfigError for an unknown name."""
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
    """Start or stop draining a volume. Durable when it returns; units apply it within seconds."""
    ledger = open_ledger(job)
    try:
        ledger.volumes.set_draining(number_of(ledger.volumes, job, name), draining)
    finally:
        ledger.close()


def look(job: Job, name: str) -> VolumeStatus:
    """The current status of the volume. Raises LedgerError if it cannot be determined."""
    found = volume_report.gather(job)
    status = found.named(name)
    if found.error:
        raise found.error
    if status is None:
        raise LedgerError(f"Volume {name} is no longer in the configuration of job {job.job}, and holds nothing")
    return status


def wait_until_drained(
    job: Job, name: str, timeout: float | None = None, say: Callable[[VolumeStatus], None] = lambda status: None
) -> bool:
    """Wait until nothing is left on a draining volume; `say` gets each status. False after `timeout` seconds."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        status = look(job, name)
        say(status)
        if status.is_drained:
            return True
        if not status.draining:
            raise LedgerError(f"Volume {name} of job {job.job} is no longer being drained: draining was undone")
        if deadline is not None and time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK_SECONDS)


def running_units(job: Job) -> list[str]:
    """The names of the job's running units."""
    with LedgerReader.open(job.ledger_path) as reader:
        return running([unit_status(run) for run in reader.runs()])
