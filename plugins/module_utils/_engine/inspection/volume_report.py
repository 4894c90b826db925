# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The output of `snowsync volumes`: state, space, contents, and recent transfer rates."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.conditions import UNAVAILABLE
from ..core.errors import ConfigError, SnowsyncError
from ..core.machine import ticks_ms
from ..core.text import bytes_text, count_text, rate_text, table
from ..ledger.reader import LedgerReader
from ..volumes.claims import NoLedger
from .status import jobs_in, lately, running, unit_status
from .volume_status import VolumeStatus, away_text, volume_statuses

if TYPE_CHECKING:
    from ..config.job_file import Job


@dataclass(frozen=True, slots=True)
class VolumeLine:
    """One volume with the bytes per second that become durable on it and that are delivered from it."""

    status: VolumeStatus
    in_rate: float = 0.0
    out_rate: float = 0.0

    def record(self) -> dict[str, Any]:
        """One element of `volumes --json`."""
        status = self.status
        return {
            "name": status.name,
            "path": status.path,
            "identity": status.identity,
            "state": status.state,
            "reason": status.reason,
            "total": status.total,
            "available": status.free,
            "limit": status.limit,
            "staged_objects": status.held.objects,
            "staged_bytes": status.held.bytes,
            "undelivered_objects": status.undelivered.objects,
            "undelivered_bytes": status.undelivered.bytes,
            "unavailable_objects": status.unavailable.objects,
            "unavailable_bytes": status.unavailable.bytes,
            "in_rate": round(self.in_rate),
            "out_rate": round(self.out_rate),
            "draining": status.draining,
        }


@dataclass(frozen=True, slots=True)
class JobVolumes:
    """The volumes of one job. `error`: why the ledger could not be read; their contents are then unknown."""

    job: str
    volumes: list[VolumeLine] = field(default_factory=list)
    error: SnowsyncError | None = None

    def record(self) -> dict[str, Any]:
        return {
            "job": self.job,
            "error": str(self.error) if self.error else "",
            "volumes": [line.record() for line in self.volumes],
        }

    def named(self, name: str) -> VolumeStatus | None:
        return next((line.status for line in self.volumes if line.status.name == name), None)


def gather(job: Job) -> JobVolumes:
    """One job's volumes; a ledger that cannot be read becomes its `error`."""
    if not job.ledger_path.exists():
        return JobVolumes(job.job, [VolumeLine(status) for status in volume_statuses(job, [], ledger=NoLedger())])
    try:
        with LedgerReader.open(job.ledger_path) as reader:
            units = [unit_status(run) for run in reader.runs()]
            rates = _rates(reader)
            statuses = volume_statuses(job, reader.volumes_seen(), running(units), reader.ledger.volumes)
            return JobVolumes(job.job, [VolumeLine(status, *rates.get(status.number, (0, 0))) for status in statuses])
    except SnowsyncError as error:
        return JobVolumes(job.job, [VolumeLine(status) for status in volume_statuses(job, [])], error)


def gather_all(jobs_dir: Path) -> list[JobVolumes]:
    """The volumes of every job that has a file in `jobs_dir`; a job with an invalid file has its error set."""
    return [
        JobVolumes(path.stem, error=job) if isinstance(job, ConfigError) else gather(job)
        for path, job in jobs_in(jobs_dir)
    ]


def _rates(reader: LedgerReader) -> dict[int, tuple[float, float]]:
    """Volume -> bytes per second in and out."""
    sums: dict[int, list[float]] = {}
    groups, seconds = lately(reader, ticks_ms())
    for group in groups:
        if group.volume is not None:
            sums.setdefault(group.volume, [0.0, 0.0])[group.hop == "destination"] += group.bytes / seconds
    return {volume: (came, went) for volume, (came, went) in sums.items()}


def render(volumes: JobVolumes) -> str:
    """One job's volumes as text."""
    lines = [f"job {volumes.job}: {volumes.error}" if volumes.error else f"job {volumes.job}"]
    if not volumes.volumes:
        return lines[0]
    rows = []
    for line in volumes.volumes:
        status = line.status
        known = status.total > 0
        rows.append(
            (
                status.name,
                count_text(status.held.objects),
                bytes_text(status.held.bytes),
                bytes_text(status.undelivered.bytes),
                bytes_text(status.free) if known else "?",
                bytes_text(status.total) if known else "?",
                bytes_text(status.limit) if status.limit is not None else "-",
                rate_text(line.in_rate),
                rate_text(line.out_rate),
                status.path,
                status.words,
            )
        )
    heads = ("volume", "objects", "staged", "undelivered", "free", "size", "limit", "in", "out", "path", "")
    lines.append(table(heads, rows, left=(0, 9, 10)))
    lines += [
        f"{line.status.name}: {away_text(line.status.unavailable)}"
        for line in volumes.volumes
        if line.status.state in UNAVAILABLE and line.status.unavailable.objects
    ]
    return "\n".join(lines)
