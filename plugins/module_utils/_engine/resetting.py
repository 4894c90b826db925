# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Resetting a job: its own files leave the volumes, its ledger is put aside, and nothing else is touched.

What is on the volumes is judged by its place and its name alone, so that a reset that was cut off is simply begun
again. Files first, ledger last: cut off in between, the units find files gone and fetch them again. What belongs to
another ledger is left alone; that is given up volume by volume (disowning.py). A volume that is away belongs to the
ledger put aside, which the next one knows: it takes the volume over, and the source unit removes what is there.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import asides, keys, volume_report
from .conditions import UNAVAILABLE
from .errors import ConfigError, LedgerError, LocalError, SnowsyncError, Trouble
from .ledger_file import put_aside
from .ledger_records import Tally
from .locks import locked_alone
from .present import bytes_text, count_text, plain_text
from .removal import OperatorsWord, Place, prune, remove
from .volume_layout import INCOMING, JOB_FOLDERS, OUTGOING, OWN_FOLDER, STAGED, is_link, is_partial, object_of
from .volume_status import VolumeStatus
from .volumes import syncfs

if TYPE_CHECKING:
    from pathlib import Path

    from .config import Job

_log = logging.getLogger("snowsync.volumes")
_NAMED = 100  # kept files of one volume that are named


def is_own(folder: str, relative: str, mode: int) -> bool:
    """Whether the engine made a file: `relative` to a job's part of `folder`, `mode` as lstat has it."""
    if folder == OUTGOING:  # links to dropped files; a dropped file itself, moved there at the last moment, is not ours
        return stat.S_ISLNK(mode) and is_link(relative)
    if not stat.S_ISREG(mode):
        return False
    if folder == STAGED:
        return _is_staged(relative)
    return is_partial(relative) if folder == INCOMING else object_of(relative) is not None


def _is_staged(relative: str) -> bool:
    try:
        keys.from_path(relative)
    except ValueError:
        return False
    return True


@dataclass(slots=True)
class VolumeReset:
    """One volume: what the ledger says of it, the engine's `files` there, and files that stay (the first by name)."""

    status: VolumeStatus
    files: Tally = field(default_factory=Tally)
    kept: list[str] = field(default_factory=list)
    kept_count: int = 0
    problem: str = ""  # why its files stay

    def record(self) -> dict[str, Any]:
        status = self.status
        return {
            "name": status.name,
            "path": status.path,
            "identity": status.identity,
            "state": status.state,
            "reason": status.reason,
            **_losses([status]),
            "files": self.files.objects,
            "bytes": self.files.bytes,
            "kept": self.kept,
            "kept_count": self.kept_count,
            "problem": self.problem,
            "another_ledger": status.another,
        }


@dataclass(slots=True)
class Reset:
    """What a reset does, or would do where it is not `confirmed`. `ledger`: the name under which it was put aside.

    `error` is why the ledger could not be asked: what is undelivered is then unknown.
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
    """What a reset would lose and remove; nothing is changed. Works beside running units."""
    found = _look(job, confirmed=False)
    for volume in found.volumes:
        _go_through(job, volume, None)
    return found


def reset(job: Job, confirm: str) -> Reset:
    """Reset the job, if `confirm` is its name. Raises JobLocked while a unit runs, ConfigError for another name."""
    if confirm != job.job:
        raise ConfigError("--confirm", [f"names {confirm!r}, the job is {job.job!r}: nothing was changed"])
    with locked_alone(job):
        done = _look(job, confirmed=True)
        for volume in done.volumes:
            _go_through(job, volume, OperatorsWord("reset", confirm))
            done.changed = done.changed or volume.files.objects > 0
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
    """Count and name what is on one volume, and with the operator's word remove what is the engine's."""
    status = volume.status
    if status.state in UNAVAILABLE or not os.path.isdir(f"{status.path}/{OWN_FOLDER}"):
        volume.problem = status.reason if status.state in UNAVAILABLE else ""
        return
    clear(job, volume, word)


def clear(job: Job, volume: VolumeReset, word: OperatorsWord | None) -> None:
    """Count and name what the job has on a volume that is there, and with `word` remove what is the engine's."""
    status = volume.status
    top = f"{status.path}/{OWN_FOLDER}"
    try:
        if word:
            config = next((config for config in job.volumes if config.name == status.name), None)
            _return_dropped(f"{top}/{OUTGOING}/{job.job}", config.drop_path if config else None)
        for folder in JOB_FOLDERS:
            _go_through_folder(f"{top}/{folder}/{job.job}", folder, volume, word)
    except OSError as error:
        volume.problem = f"Failed to clear volume {status.name}: {error.strerror}"


def _return_dropped(top: str, drop_folder: Path | None) -> None:
    """Files that were about to be deleted from a drop folder go back there: no ledger will know them."""
    try:
        outgoing = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        asides.settle(outgoing, drop_folder, lambda _number: None, lambda _row: "")
    finally:
        os.close(outgoing)


def _go_through_folder(top: str, folder: str, volume: VolumeReset, word: OperatorsWord | None) -> None:
    try:
        descriptor = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        for relative, name, directory, status in _files(descriptor, empty=word is not None):
            if is_own(folder, relative, status.st_mode):
                if word:
                    remove(Place(folder), directory, name, word)
                volume.files += Tally(1, status.st_size)
            else:
                volume.kept_count += 1
                if len(volume.kept) < _NAMED:
                    volume.kept.append(f"{top}/{relative}")
        if word:
            syncfs(descriptor)
    finally:
        os.close(descriptor)


def _raise(error: OSError) -> None:
    raise error


def _files(top: int, *, empty: bool) -> Iterator[tuple[str, str, int, os.stat_result]]:
    """(relative path, name, descriptor of its directory, lstat) of all below a directory that is no directory.

    `empty`: directories that are empty afterwards go.
    """
    for path, directories, names, descriptor in os.fwalk(".", topdown=False, onerror=_raise, dir_fd=top):
        prefix = path.removeprefix(".").removeprefix("/")
        for name in (*names, *directories):
            try:
                status = os.lstat(name, dir_fd=descriptor)
            except FileNotFoundError:
                continue  # pruned just now; or, beside a survey, a unit that runs took it
            if not stat.S_ISDIR(status.st_mode):  # fwalk takes a link to a directory for a directory
                yield f"{prefix}/{name}" if prefix else name, name, descriptor, status
        if empty and prefix:
            prune(top, prefix)


def clear_given_up(job: Job, name: str, path: Path) -> None:
    """Remove what a ledger staged on a volume that was away when the operator had that ledger reset. OSError.

    What would be lost with it was told then, and confirmed. The caller holds the names of the staging tree.
    """
    volume = VolumeReset(VolumeStatus(0, name, str(path), "", 0, 0, None, Tally()))
    clear(job, volume, OperatorsWord("reset", "confirmed while the volume was away"))
    if volume.problem:
        raise LocalError(Trouble.IO, f"use volume {name} at {path}", volume.problem)
    _log.info("volume %s: removed %d files of the ledger that was reset", name, volume.files.objects)


# -- for people -------------------------------------------------------------------------------------------------


def render(found: Reset) -> str:
    """What was, or would be, done, as text."""
    lines = [f"job {found.job}: {found.error}"] if found.error else []
    for volume in found.volumes:
        lines += _volume_lines(volume, found.confirmed, knows=not found.error)
    losses = _losses([volume.status for volume in found.volumes])
    undelivered = losses["undelivered_objects"] - losses["dropped_objects"]
    size = losses["undelivered_bytes"] - losses["dropped_bytes"]
    verb = "were" if found.confirmed else "are"
    lines.append(
        f"{count_text(undelivered)} objects ({bytes_text(size)}) {verb} staged and not delivered:"
        " they are lost where the source no longer has them"
    )
    if losses["dropped_objects"]:
        lines.append(f"{count_text(losses['dropped_objects'])} files in drop folders stay, and are taken again")
    if found.confirmed:
        lines.append(f"the ledger is now {found.ledger}" if found.ledger else "there was no ledger")
    else:
        lines.append(f"nothing was changed; to reset it, stop its units and add: --confirm {found.job}")
    return "\n".join(lines)


def _volume_lines(volume: VolumeReset, confirmed: bool, *, knows: bool) -> list[str]:
    status, files = volume.status, volume.files
    size = f"{count_text(files.objects)} files ({bytes_text(files.bytes)})"
    lines = [f"volume {status.name} at {status.path}: {size} {'removed' if confirmed else 'would be removed'}"]
    if volume.problem:
        lines.append(f"  {plain_text(volume.problem)}; {_fate(status, knows=knows)}")
    lines += kept_lines(volume)
    return lines


def _fate(status: VolumeStatus, *, knows: bool) -> str:
    """What becomes of files on a volume that could not be cleared."""
    if status.another or not knows:
        return "what is there stays"
    return "what is left there is removed when it is back: by the next run, or by another reset before that"


def kept_lines(volume: VolumeReset) -> list[str]:
    lines = []
    if volume.kept_count:
        lines.append(f"  {count_text(volume.kept_count)} files are not the engine's, and stay:")
        lines += [f"    {plain_text(name)}" for name in volume.kept[:20]]
    return lines
