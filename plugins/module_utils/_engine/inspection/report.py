# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The report of a job: `dt_data_<start epoch>.json` in the format of the transfer scripts, and as text.

In this format `completion_percentage` is a fraction of 1, `failed_objects` maps keys to sizes, a value that is not
known yet is false, and "unsynced" is everything that is not proven at the destination. `status` is "Completed" only
when nothing is pending, staged, failed or quarantined. Whatever the format has no field for is under "snowsync".
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .. import VERSION
from ..core.errors import LocalError, Trouble
from ..core.machine import now_ms
from ..core.model import Evidence
from ..core.text import (
    bytes_text,
    count_text,
    counted_text,
    evidence_text,
    key_text,
    moment_text,
    plain_text,
    rate_text,
    seconds_text,
    table,
)
from ..ledger.binding import naming
from ..ledger.reader import LedgerReader
from ..ledger.records import Census, FailureRow, Forgotten, HopSum, Tally, VolumeRow
from .volume_status import VolumeStatus, away_text, unavailable, volume_statuses

if TYPE_CHECKING:
    from ..config.job_file import Job, Store

_Item = TypeVar("_Item")
_REPORTS_KEPT = 100
_FAILURES_KEPT = 1000  # in the file; all of them stay in the ledger
_NOT_PROVEN_KEPT = 1000
_FORGOTTEN_KEPT = 1000


@dataclass(frozen=True, slots=True)
class Period:
    """From `since_ms` to `until_ms`, which is never before it."""

    since_ms: int
    until_ms: int

    @property
    def seconds(self) -> float:
        return (self.until_ms - self.since_ms) / 1000


@dataclass(frozen=True, slots=True)
class Excerpt(Generic[_Item]):
    """Some items of `count`."""

    items: list[_Item] = field(default_factory=list)
    count: int = 0


@dataclass(frozen=True, slots=True)
class VolumeShare:
    """A volume, and what became `staged` there in the period."""

    row: VolumeRow
    staged: Tally


@dataclass(frozen=True, slots=True)
class Report:
    """What happened in a period. `running`: a unit is still running, so open objects are not failures."""

    period: Period
    running: bool
    census: Census
    hops: dict[str, HopSum]
    volumes: list[VolumeShare]
    failures: Excerpt[FailureRow]
    not_proven: list[str] = field(default_factory=list)  # keys of the first such objects
    forgotten: Excerpt[Forgotten] = field(default_factory=Excerpt)  # the most recent

    @property
    def status(self) -> str:
        if self.census.open.objects and self.running:
            return "Running"
        return "Failed" if self.census.open.objects or self.census.troubled.objects else "Completed"

    @property
    def words(self) -> str:
        """The status as text; open objects alone are not a failure."""
        if self.status == "Failed" and self.census.open.objects:
            return "not finished"
        return self.status.lower()


def gather(reader: LedgerReader, *, since_ms: int | None = None, running: bool = False) -> Report:
    """Everything except the list of moved objects. `since_ms` None: since the job's first run."""
    if since_ms is None:
        since_ms = reader.first_started_ms() or now_ms()
    census = reader.census(since_ms)
    return Report(
        Period(since_ms, until_ms=max(since_ms, now_ms())),  # in case the clock was set back
        running=running,
        census=census,
        hops=reader.hops(since_ms),
        volumes=_shares(reader, since_ms),
        failures=Excerpt(reader.failures(_FAILURES_KEPT, since_ms), reader.failure_count(since_ms)),
        not_proven=reader.not_proven(_NOT_PROVEN_KEPT) if _not_proven(census) else [],
        forgotten=Excerpt(reader.forgotten(_FORGOTTEN_KEPT, since_ms), reader.forgotten_count(since_ms)),
    )


def _shares(reader: LedgerReader, since_ms: int) -> list[VolumeShare]:
    volumes, staged = reader.volumes(), reader.staged_by_volume(since_ms)
    return [VolumeShare(volume, staged.get(volume.id, Tally())) for volume in volumes]


def _not_proven(census: Census) -> int:
    """How many objects are proven only by two reads of the source that agree."""
    return census.source.get(Evidence.NOT_PROVEN, 0)


def save(job: Job, reader: LedgerReader, report: Report) -> Path:
    """Write a gathered report atomically and durably; returns its path. LocalError when it cannot be written."""
    path = job.reports_path / f"dt_data_{report.period.since_ms // 1000}.json"
    try:
        if not job.reports_path.is_dir():
            job.reports_path.mkdir(mode=0o750, parents=True, exist_ok=True)
            _hand_over(job.reports_path, job.state_path)
        _write_atomically(path, _chunks(job, reader, report))
        for old in surplus(job.reports_path, path):
            old.unlink(missing_ok=True)
    except OSError as error:
        raise LocalError(Trouble.IO, f"write the report {path}", error.strerror or str(error)) from error
    return path


def surplus(folder: Path, newest: Path) -> list[Path]:
    """Reports beyond the last hundred, oldest first; `newest` was just written and is kept, whenever its run began."""
    found = [path for path in folder.glob("dt_data_*.json") if _is_ours(path) and path != newest]
    found.sort(key=lambda path: int(path.stem.removeprefix("dt_data_")))
    return found[: max(0, len(found) + 1 - _REPORTS_KEPT)]


def _is_ours(path: Path) -> bool:
    """Whether the name is that of a report: other files in the directory are kept."""
    return path.stem.removeprefix("dt_data_").isdecimal()


def _write_atomically(path: Path, chunks: Iterable[str]) -> None:
    import tempfile  # loads every compressor; a run that changed nothing saves no report

    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "w", encoding="utf-8") as stream:
            os.fchmod(stream.fileno(), 0o640)
            _hand_over(stream.fileno(), path.parent)
            stream.writelines(chunks)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _hand_over(what: Path | int, like: Path) -> None:
    """Give what root created to the owner of the parent directory, since the units write there too."""
    if os.geteuid() == 0:
        owner = like.stat()
        os.chown(what, owner.st_uid, owner.st_gid)


def _chunks(job: Job, reader: LedgerReader, report: Report) -> Iterator[str]:
    """The JSON document in pieces: the lists of objects may have millions of entries."""
    encode = json.JSONEncoder(ensure_ascii=False).encode
    head = {"service": "snowsync", **_side("src", job.source), **_side("dst", job.destination)}
    head |= {
        "max_workers": job.mover.workers,
        "start_time_epoch": report.period.since_ms // 1000,
        "status": report.status,
    }
    yield encode(head)[:-1]
    names = naming(job, reader.ledger.stores.bindings())
    yield ', "objects_moved": ['
    yield from _joined(reader.moved_json(names, report.period.since_ms))
    yield '],\n"failed_objects": {'
    yield from _joined(f"{encode(key)}: {size}" for key, size, _state, _message in reader.troubled())
    yield "},\n"
    yield encode(_totals(report) | {"snowsync": _more(job, report)})[1:]
    yield "\n"


def _joined(items: Iterable[str]) -> Iterator[str]:
    separator = "\n"
    for item in items:
        yield separator + item
        separator = ",\n"


def _side(name: str, store: Store | None) -> dict[str, Any]:
    return {
        f"{name}_bucket": store.bucket if store else "",
        f"{name}_prefix": store.prefix if store else "",
        f"{name}_region": store.region if store else "",
        f"{name}_endpoint_urls": list(store.endpoints or ("no_endpoint",)) if store else [],
    }


def _totals(report: Report) -> dict[str, Any]:
    census = report.census
    final = census.done
    initial = Tally(final.objects - census.moved.objects, final.bytes - census.moved.bytes)
    ended = report.status != "Running"
    return {
        "end_time_epoch": report.period.until_ms // 1000 if ended else False,
        "total_duration_seconds": report.period.seconds if ended else False,
        "initial_synced_objects": initial.objects,
        "initial_unsynced_objects": census.total.objects - initial.objects,
        "final_synced_objects": final.objects,
        "final_unsynced_objects": census.total.objects - final.objects,
        "completion_percentage": final.objects / census.total.objects if census.total.objects else 1.0,
        "total_bytes_to_move": census.total.bytes - initial.bytes,
        "bytes_transferred": census.moved.bytes,
        "remaining_bytes": census.total.bytes - final.bytes,
    }


def _availability(status: VolumeStatus | None) -> dict[str, Any]:
    """The state of a volume when the report is written; empty for one that was removed from the job and is empty."""
    if status is None:
        return {}
    away = status.unavailable
    return {
        "state": status.state,
        "reason": status.reason,
        "unavailable_objects": away.objects,
        "unavailable_bytes": away.bytes,
    }


def _statuses(job: Job, report: Report) -> list[VolumeStatus]:
    """The volumes when the report is written."""
    return volume_statuses(job, [share.row for share in report.volumes])


def _more(job: Job, report: Report) -> dict[str, Any]:
    statuses = {status.name: status for status in _statuses(job, report)}
    return {
        "version": VERSION,
        "job": job.job,
        "states": {
            state.label: {"objects": tally.objects, "bytes": tally.bytes}
            for state, tally in report.census.states.items()
        },
        "hops": {
            hop: {"objects": sums.objects, "bytes": sums.bytes, "seconds": sums.seconds}
            for hop, sums in report.hops.items()
        },
        "evidence": evidence_counts(report.census),
        "not_proven": {"objects": _not_proven(report.census), "keys": report.not_proven},
        "forgotten_count": report.forgotten.count,
        "forgotten": [
            {"key": each.key, "size": each.size, "reason": each.reason, "time_epoch": each.at_ms / 1000}
            for each in report.forgotten.items
        ],
        "volumes": [
            {
                "name": share.row.name,
                "uuid": share.row.uuid,
                "path": share.row.path,
                "staged_objects": share.staged.objects,
                "staged_bytes": share.staged.bytes,
                "held_objects": share.row.held.objects,
                "held_bytes": share.row.held.bytes,
                **_availability(statuses.get(share.row.name)),
            }
            for share in report.volumes
        ],
        "failure_count": report.failures.count,
        "failures": [failure_record(failure) for failure in report.failures.items],
    }


def evidence_counts(census: Census) -> dict[str, dict[str, int]]:
    """{"source": {"store_digest": n}, "destination": {...}}, as in `run --json`."""
    return {
        hop: {level.name.lower(): rungs[level] for level in Evidence if level in rungs}
        for hop, rungs in (("source", census.source), ("destination", census.destination))
    }


def failure_record(failure: FailureRow) -> dict[str, Any]:
    return {
        "key": failure.key,
        "time_epoch": failure.at_ms / 1000,
        "first_epoch": failure.first_ms / 1000,
        "hop": failure.hop,
        "trouble": failure.trouble,
        "message": failure.message,
        "expected": failure.expected,
        "found": failure.found,
        "action": failure.action,
        "times": failure.times,
        "state": failure.state.label if failure.state is not None else None,
    }


# -- for people -------------------------------------------------------------------------------------------------


def render(job: Job, report: Report, path: Path | None = None, *, names: int = 20) -> str:
    """The report as text; lists at most `names` failures."""
    census, period = report.census, report.period
    sections = [
        f"job {job.job}: {report.words}, {moment_text(period.since_ms)} to {moment_text(period.until_ms)}"
        f" ({seconds_text(period.seconds)})",
        table(
            ("state", "objects", "bytes"),
            [
                (state.label, count_text(tally.objects), bytes_text(tally.bytes))
                for state, tally in census.states.items()
                if tally.objects
            ]
            + [("all", count_text(census.total.objects), bytes_text(census.total.bytes))],
        ),
        table(
            ("hop", "objects", "bytes", "seconds", "objects/s", "rate", "evidence"),
            [_hop_row(hop, sums, evidence_counts(census)[hop]) for hop, sums in report.hops.items()],
            left=(0, 6),
        ),
    ]
    if report.volumes:
        sections.append(
            table(("volume", "staged", "bytes", "still there", "bytes", "path"), _volume_rows(report), left=(0, 5))
        )
    away = unavailable(_statuses(job, report))
    if away.objects:
        sections.append(away_text(away))
    sections += [_not_proven_lines(report, names), _forgotten_lines(report, names), _failure_lines(report, names)]
    if path:
        sections.append(f"report: {path}")
    return "\n\n".join(section for section in sections if section)


def _hop_row(hop: str, sums: HopSum, evidence: dict[str, int]) -> tuple[str, ...]:
    title = {"source": "source to volumes", "destination": "volumes to destination"}[hop]
    return (
        title,
        count_text(sums.objects),
        bytes_text(sums.bytes),
        f"{sums.seconds:.1f}",
        f"{sums.objects / sums.seconds:,.0f}" if sums.seconds else "-",
        rate_text(sums.bytes / sums.seconds) if sums.seconds else "-",
        evidence_text(evidence) or "-",
    )


def _volume_rows(report: Report) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for share in report.volumes:
        staged, held = share.staged, share.row.held
        counts = (
            count_text(staged.objects),
            bytes_text(staged.bytes),
            count_text(held.objects),
            bytes_text(held.bytes),
        )
        rows.append((share.row.name, *counts, share.row.path))
    return rows


def _forgotten_lines(report: Report, names: int) -> str:
    if not report.forgotten.count:
        return ""
    lines = [f"{counted_text(report.forgotten.count, 'object')} removed from the ledger, newest first:"]
    lines += [f"  {key_text(each.key)}: {plain_text(each.reason)}" for each in report.forgotten.items[:names]]
    lines += ["  ... and more: see the report file and the ledger"] if len(report.forgotten.items) > names else []
    return "\n".join(lines)


def _not_proven_lines(report: Report, names: int) -> str:
    count = _not_proven(report.census)
    if not count:
        return ""
    lines = [f"{count_text(count)} not proven at the source: two reads agreed, but no better proof is available:"]
    lines += [f"  {key_text(object_key)}" for object_key in report.not_proven[:names]]
    if count > names:
        lines.append(f"  ... and {count_text(count - names)} more: see source_evidence in `snowsync ledger export`")
    return "\n".join(lines)


def _failure_lines(report: Report, names: int) -> str:
    if not report.failures.count:
        return "no failures, nothing quarantined"
    lines = [f"{counted_text(report.failures.count, 'failure')}; by object, newest first:"]
    for failure in report.failures.items[:names]:
        lines += failure_lines(failure)
        if failure.expected or failure.found:
            lines.append(
                f"    expected {plain_text(failure.expected or '-')}, found {plain_text(failure.found or '-')}"
            )
    if len(report.failures.items) > names:
        lines.append("  ... and more: see the report file and the ledger")
    return "\n".join(lines)


def whereabouts(failure: FailureRow) -> str:
    """The current state of the object."""
    return f"now {failure.state.label}" if failure.state is not None else "not in the ledger"


def failure_lines(failure: FailureRow) -> list[str]:
    """One failure as text, with what was done about it."""
    times = f", {failure.times} times, first {moment_text(failure.first_ms)}" if failure.times > 1 else ""
    return [
        f"  {key_text(failure.key)}: {whereabouts(failure)}",
        f"    {failure.trouble} at the {failure.hop}{times}, last {moment_text(failure.at_ms)}:"
        f" {plain_text(failure.message)}; {plain_text(failure.action)}",
    ]
