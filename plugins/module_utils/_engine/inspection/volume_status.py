# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The current state of a job's volumes, from the ledger and the volumes themselves, without asking a unit."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..core import conditions
from ..core.conditions import Drain, Reported, Seen
from ..core.errors import LocalError
from ..core.layout import OWN_FOLDER
from ..core.text import bytes_text, counted_text, plain_text
from ..ledger.records import Tally, VolumeRow
from ..volumes.claims import LedgerView, Record, Whose, look, refusal
from ..volumes.disk_calls import DiskCalls
from ..volumes.marker import is_folder, read_marker
from ..volumes.placement import is_out_of_files

if TYPE_CHECKING:
    from ..config.job_file import Job
    from ..config.job_file import Volume as VolumeConfig


@dataclass(frozen=True, slots=True)
class VolumeStatus:
    """One volume; `problem` is empty if it is available. `total` and `free` in bytes (0: unknown).

    `number` is the ledger's, 0 for a volume that it does not know yet; `identity` the UUID of its marker. `state` is
    one of conditions.WORDS, `reason` why. `held` is what is on it, `undelivered` the staged part of that.
    """

    number: int
    name: str
    path: str
    problem: str
    total: int
    free: int
    limit: int | None
    held: Tally
    identity: str = ""
    state: str = conditions.IN_USE
    reason: str = ""
    undelivered: Tally = field(default_factory=Tally)
    dropped: Tally = field(default_factory=Tally)
    draining: bool = False
    is_drained: bool = False
    awaited: bool = False  # the source unit is running and may have objects in flight to it
    another: str = ""  # short id of another ledger whose files of this job are there

    @property
    def usable(self) -> int:
        """Bytes that objects may occupy: the limit, or the whole filesystem."""
        return self.total if self.limit is None else self.limit

    @property
    def unavailable(self) -> Tally:
        """What is staged there and cannot be delivered now."""
        return self.undelivered if self.state in conditions.UNAVAILABLE else Tally()

    @property
    def words(self) -> str:
        """The state with its reason, as text."""
        return f"{self.state}: {plain_text(self.reason)}" if self.reason else self.state


_disks: dict[str, DiskCalls] = {}  # by path, so that a disk that hangs is asked only once


def volume_statuses(
    job: Job, known: list[VolumeRow], running: Collection[str] = (), ledger: LedgerView | None = None
) -> list[VolumeStatus]:
    """The current state of the job's volumes, and of others that still hold its objects.

    `known` is what the ledger records, `running` the names of the running units. Without `ledger` it is unknown whether
    the files on a volume are the ledger's own, and none are attributed to another ledger.
    """
    rows = {volume.name: volume for volume in known}
    found = [
        _volume(job, config, rows.pop(config.name, VolumeRow(0, config.name, "", "")), running, ledger)
        for config in job.volumes
    ]
    found += [_left_out(row) for row in rows.values() if row.held.objects]
    return found


def unavailable(volumes: list[VolumeStatus]) -> Tally:
    """What is staged on volumes that are missing or cannot be read."""
    return sum((volume.unavailable for volume in volumes), Tally())


def away_text(away: Tally) -> str:
    return f"{counted_text(away.objects, 'staged object')} ({bytes_text(away.bytes)}) unavailable"


def _left_out(row: VolumeRow) -> VolumeStatus:
    problem = "is no longer in the job's configuration, but holds objects"
    seen = Seen(conditions.MISSING, problem, drain=Drain(row.draining, is_empty=False))
    return _status(row, row.path, problem, (0, 0), None, seen)


def _volume(
    job: Job, config: VolumeConfig, row: VolumeRow, running: Collection[str], ledger: LedgerView | None
) -> VolumeStatus:
    total = free = 0
    read_only = out_of_files = False
    another: Record | None = None
    absence, problem, identity, space = _answers(config, row)
    if identity and not problem and ledger:
        another = of_another(job, config, ledger, row.id)
        absence, problem = (conditions.MISSING, refusal(job, config.name, another)) if another else ("", "")
    if space and not problem:
        total, free = space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize
        read_only = bool(space.f_flag & os.ST_RDONLY)
        out_of_files = is_out_of_files(space, job.space.low_watermark)
    known = row if row.id else replace(row, uuid=identity, path=str(config.path))
    seen = Seen(
        absence=absence,
        why=problem,
        reported=Reported(known.trouble, known.reason, units_run=bool(running)),
        is_read_only=read_only,
        is_out_of_files=out_of_files,
        drain=Drain(
            known.draining,
            is_empty=not known.undelivered.objects and (job.keep_staged or not known.held.objects),
            is_awaited=known.placing and "source" in running,
        ),
    )
    status = _status(known, str(config.path), problem, (total, free), config.limit, seen)
    return replace(status, another=another.short) if another else status


def of_another(job: Job, config: VolumeConfig, ledger: LedgerView, number: int) -> Record | None:
    """The record of another ledger whose files of this job are on a volume; None also if that cannot be determined."""
    try:
        root = os.open(config.path / OWN_FOLDER, os.O_RDONLY | os.O_DIRECTORY)
        try:
            verdict, record = look(job, root, ledger, number)
        finally:
            os.close(root)
    except OSError:
        return None  # the volume's own problem is reported elsewhere; without permission nothing wrong is claimed
    return record if verdict is Whose.ANOTHERS else None


def _status(
    row: VolumeRow, path: str, problem: str, space: tuple[int, int], limit: int | None, seen: Seen
) -> VolumeStatus:
    total, free = space
    state, reason = conditions.condition(seen)
    return VolumeStatus(
        row.id,
        row.name,
        path,
        problem,
        total,
        free,
        limit,
        row.held,
        identity=row.uuid,
        state=state,
        reason=reason,
        undelivered=row.undelivered,
        dropped=row.dropped,
        draining=row.draining,
        is_drained=seen.drain.is_over,
        awaited=seen.drain.is_awaited,
    )


def _answers(config: VolumeConfig, row: VolumeRow) -> tuple[str, str, str, os.statvfs_result | None]:
    """(MISSING or FAILED, why, the marker's identity, its space); the first two are '' for an available volume.

    Does not wait for a disk that hangs.
    """
    disk = _disks.setdefault(str(config.path), DiskCalls(config.name))
    try:
        problem, identity, space = disk.ask(lambda: _ask(config, row))
    except OSError as error:
        return conditions.word_of(error), f"does not answer: {error.strerror}", "", None
    except LocalError as error:
        return conditions.word_of(error), str(error), "", None
    return conditions.MISSING if problem else "", problem, identity, space


def _ask(config: VolumeConfig, row: VolumeRow) -> tuple[str, str, os.statvfs_result | None]:
    problem, identity = _problem(config, row)
    return problem, identity, None if problem else os.statvfs(config.path)


def _problem(config: VolumeConfig, row: VolumeRow) -> tuple[str, str]:
    if not is_folder(config.path):
        return "there is no such directory", ""
    if config.require_mount and not os.path.ismount(config.path):
        return "nothing is mounted there", ""
    marker = read_marker(config.path)
    identity = marker["uuid"] if marker else ""
    if not row.id:
        return "", identity
    if marker is None:
        return "its marker is missing: another disk, or an empty mount point", ""
    if identity != row.uuid:
        return f"another volume ({marker['name']}, {identity}) is mounted there", identity
    return "", identity
