# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Clears a volume of a job: removes the engine's own files, as an operator confirmed, and touches nothing else.

Files are identified by place and name alone, so that an interrupted clearing is simply repeated.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..core import keys
from ..core.errors import LocalError, Trouble
from ..core.layout import INCOMING, JOB_FOLDERS, OUTGOING, OWN_FOLDER, STAGED, is_link, is_partial, object_of
from ..core.removal import OperatorsWord, Place, prune, remove
from ..ledger.records import Tally
from . import outgoing_files
from .open_volume import syncfs

if TYPE_CHECKING:
    from pathlib import Path

    from ..config.job_file import Job

_log = logging.getLogger("snowsync.volumes")
_NAMED = 100  # kept files that are listed per volume


def is_own(folder: str, relative: str, mode: int) -> bool:
    """Whether the engine created a file: `relative` to the job's folder in `folder`, `mode` from lstat."""
    if folder == OUTGOING:  # links to dropped files; a dropped file itself, moved there before deletion, is not ours
        return stat.S_ISLNK(mode) and is_link(relative)
    if not stat.S_ISREG(mode):
        return False
    if folder == STAGED:
        return keys.is_staging_path(relative)
    return is_partial(relative) if folder == INCOMING else object_of(relative) is not None


@dataclass(slots=True)
class JobFiles:
    """The files of a job on one volume: the engine's `files`, and files that are kept (the first ones by name)."""

    files: Tally = field(default_factory=Tally)
    kept: list[str] = field(default_factory=list)
    kept_count: int = 0
    problem: str = ""  # why its files were not removed


def clear(job: Job, name: str, path: str, word: OperatorsWord | None) -> JobFiles:
    """Count and list the job's files on a mounted volume, and with `word` remove the engine's."""
    found = JobFiles()
    top = f"{path}/{OWN_FOLDER}"
    try:
        if word:
            config = next((config for config in job.volumes if config.name == name), None)
            _return_dropped(f"{top}/{OUTGOING}/{job.job}", config.drop_path if config else None)
        for folder in JOB_FOLDERS:
            _go_through_folder(f"{top}/{folder}/{job.job}", folder, found, word)
    except OSError as error:
        found.problem = f"Failed to clear volume {name}: {error.strerror}"
    return found


def _return_dropped(top: str, drop_folder: Path | None) -> None:
    """Return dropped files that were about to be deleted to the drop folder: no ledger will know them."""
    try:
        outgoing = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        outgoing_files.settle(outgoing, drop_folder, lambda _number: None, lambda _row: "")
    finally:
        os.close(outgoing)


def _go_through_folder(top: str, folder: str, found: JobFiles, word: OperatorsWord | None) -> None:
    try:
        descriptor = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        for relative, name, directory, status in _files(descriptor, empty=word is not None):
            if is_own(folder, relative, status.st_mode):
                if word:
                    remove(Place(folder), directory, name, word)
                found.files += Tally(1, status.st_size)
            else:
                found.kept_count += 1
                if len(found.kept) < _NAMED:
                    found.kept.append(f"{top}/{relative}")
        if word:
            syncfs(descriptor)
    finally:
        os.close(descriptor)


def _raise(error: OSError) -> None:
    raise error


def _files(top: int, *, empty: bool) -> Iterator[tuple[str, str, int, os.stat_result]]:
    """(relative path, name, descriptor of its directory, lstat) of everything below that is not a directory.

    `empty`: directories that are empty afterwards are removed.
    """
    for path, directories, names, descriptor in os.fwalk(".", topdown=False, onerror=_raise, dir_fd=top):
        prefix = path.removeprefix(".").removeprefix("/")
        for name in (*names, *directories):
            try:
                status = os.lstat(name, dir_fd=descriptor)
            except FileNotFoundError:
                continue  # just pruned; or a running unit removed it while files are only counted
            if not stat.S_ISDIR(status.st_mode):  # fwalk treats a link to a directory as a directory
                yield f"{prefix}/{name}" if prefix else name, name, descriptor, status
        if empty and prefix:
            prune(top, prefix)


def clear_given_up(job: Job, name: str, path: Path) -> None:
    """Remove what a ledger staged on a volume that was absent when the operator reset that ledger. OSError.

    The loss was reported and confirmed then. The caller holds the names of the staging tree.
    """
    found = clear(job, name, str(path), OperatorsWord("reset", "confirmed while the volume was away"))
    if found.problem:
        raise LocalError(Trouble.IO, f"use volume {name} at {path}", found.problem)
    _log.info("volume %s: removed %d files of the ledger that was reset", name, found.files.objects)
