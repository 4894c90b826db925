# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Dropped files that were moved aside to be deleted: `outgoing/<job>/<id>.delivered`.

What lies there after a crash is the file that was delivered, or another one that people had put in its place just
before: never delivered, and theirs. It is deleted only if it is known to be the first, else put back. The link
`outgoing/<job>/<id>` says where it was, and without it the ledger.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections.abc import Callable, Container, Iterator
from pathlib import Path

from .belonging import ASIDE
from .conditions import MISSING, word_of
from .ledger_file import Row
from .model import Origin, State

_log = logging.getLogger("snowsync.volumes")
_MOST_NAMES = 1000


def name_of(object_id: int) -> str:
    return f"{object_id}{ASIDE}"


def lies_in(outgoing: int, object_id: int) -> bool:
    try:
        os.lstat(name_of(object_id), dir_fd=outgoing)
    except FileNotFoundError:
        return False
    return True


def objects_in(outgoing: int) -> Iterator[int]:
    """The objects whose files lie aside."""
    for name in sorted(os.listdir(outgoing)):
        number = name.removesuffix(ASIDE)
        if name.endswith(ASIDE) and number.isdecimal():
            yield int(number)


def is_file_of(path: str, folder: int | None, size: int, modified_ms: int) -> bool:
    """Whether a file has this size (bytes) and time of its last change."""
    status = os.stat(path, dir_fd=folder, follow_symlinks=False)
    return (status.st_size, status.st_mtime_ns // 1_000_000) == (size, modified_ms)


def was_delivered(row: Row | None, size: int, modified_ms: int) -> bool:
    """Whether a file of this size and time, moved aside for an object, is the one that was delivered."""
    return (
        row is not None
        and row.origin == Origin.DROP
        and row.state in (State.DELIVERED, State.RELEASED)
        and (row.size, row.modified_ms) == (size, modified_ms)
    )


def place_of(outgoing: int, object_id: int, drop_folder: Path, fallback: str) -> str:
    """Where a file that lies aside belongs: where its link leads, else `fallback` (relative to the drop folder)."""
    with contextlib.suppress(OSError):
        path = os.readlink(str(object_id), dir_fd=outgoing)
        if os.path.normpath(path).startswith(f"{drop_folder}/"):
            return path
    return str(drop_folder / (fallback or name_of(object_id)))


def settle(
    outgoing: int,
    drop_folder: Path | None,
    row_of: Callable[[int], Row | None],
    relative_of: Callable[[Row], str],
    keep: Container[int] = (),
) -> None:
    """Delete what was delivered of the files that lie aside, and put the others back; `keep` are still looked at.

    `drop_folder` None: there is none any more, and what was not delivered stays where it is. OSError when the volume
    fails.
    """
    for number in objects_in(outgoing):
        if number in keep:
            continue
        row, name = row_of(number), name_of(number)
        try:
            status = os.lstat(name, dir_fd=outgoing)
            if was_delivered(row, status.st_size, status.st_mtime_ns // 1_000_000):
                os.unlink(name, dir_fd=outgoing)
            else:
                fallback = relative_of(row) if row and row.origin == Origin.DROP else ""
                _return(outgoing, number, drop_folder, fallback)
        except FileNotFoundError:
            continue  # whoever moved it aside was faster


def _return(outgoing: int, number: int, drop_folder: Path | None, fallback: str) -> None:
    if drop_folder is None or not drop_folder.is_dir():
        _log.error("a dropped file that was not delivered stays at %s of `outgoing`: no drop folder", name_of(number))
        return
    path = place_of(outgoing, number, drop_folder, fallback)
    try:
        path = put_back(name_of(number), outgoing, path)
    except FileNotFoundError:
        raise
    except OSError as error:
        if word_of(error) != MISSING:
            raise
        _log.error("a dropped file that was not delivered cannot be put back at %s: %s", path, error.strerror)
    else:
        _log.warning("a dropped file that was replaced before a crash was put back: %s", path)


def put_back(name: str, folder: int, path: str) -> str:
    """Return a file to people, beside the one that they have put in its place already. Returns where it lies now."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    for number in range(_MOST_NAMES):
        place = f"{path}.returned-{number}" if number else path
        try:
            os.link(name, place, src_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            if not _is_linked(name, folder, place):  # a crash came between the link and the unlink
                continue
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
                raise
            if os.path.lexists(place):  # a filesystem without hard links
                continue
            os.rename(name, place, src_dir_fd=folder)
            return place
        os.unlink(name, dir_fd=folder)
        return place
    raise FileExistsError(errno.EEXIST, f"there are too many files called {path}.returned-N")


def _is_linked(name: str, folder: int, place: str) -> bool:
    return os.path.samestat(os.lstat(name, dir_fd=folder), os.lstat(place))
