# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Dropped files that were moved aside to be deleted: `outgoing/<job>/<id>.delivered`.

If the drop folder is a separate filesystem, they stay in their own folder as `.snowsync-<id>-<name>` instead.

A file found aside after a crash is either the delivered one, or another one that a user put in its place just before:
that one was never delivered. It is deleted only if its inode and digest prove that it is the delivered one, otherwise
it is put back. Its original place is in the link `outgoing/<job>/<id>`, or else in the ledger.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import re
from collections.abc import Callable, Container, Iterator
from pathlib import Path

from ..core.conditions import MISSING, word_of
from ..core.layout import aside_name, object_aside
from ..core.model import Origin, State
from ..core.removal import AtDestination, OtherName, Place, remove
from ..ledger.rows import Row
from .file_identity import Identity, digest_of, has_inode_of, made_folder, open_file, open_folder
from .open_writers import WriterWatch

_log = logging.getLogger("snowsync.volumes")
_MOST_NAMES = 1000
_LONGEST_NAME = 255
_HIDDEN = re.compile(r"\.snowsync-([0-9]+)-(.+)", re.DOTALL)


# -- names ------------------------------------------------------------------------------------------------------------


def hidden_name(object_id: int, name: str) -> str:
    """The name of a file that cannot leave its folder; a name that gets too long is cut at its end."""
    return _shortened(f".snowsync-{object_id}-{name}", "")


def _shortened(name: str, ending: str) -> str:
    room = _LONGEST_NAME - len(ending)
    return (
        os.fsencode(name)[:room].decode("utf-8", "ignore") + ending if len(os.fsencode(name)) > room else name + ending
    )


def lies_in(folder: int, name: str) -> bool:
    try:
        os.lstat(name, dir_fd=folder)
    except FileNotFoundError:
        return False
    return True


def objects_in(outgoing: int) -> Iterator[int]:
    """The objects whose files were moved aside."""
    for name in sorted(os.listdir(outgoing)):
        number = object_aside(name)
        if number is not None:
            yield number


def place_of(outgoing: int, object_id: int, drop_folder: Path, fallback: str) -> str:
    """The original place of a file that was moved aside, below the drop folder: from its link, else `fallback`."""
    with contextlib.suppress(OSError):
        path = os.path.normpath(os.readlink(str(object_id), dir_fd=outgoing))
        if path.startswith(f"{drop_folder}/"):
            return os.path.relpath(path, drop_folder)
    return fallback or aside_name(object_id)


# -- what lies aside --------------------------------------------------------------------------------------------------


def was_delivered(row: Row | None) -> bool:
    """Whether the object for which a file was moved aside is delivered, and from a drop folder."""
    return row is not None and row.origin == Origin.DROP and row.state in (State.DELIVERED, State.RELEASED)


def is_untouched(
    folder: int,
    name: str,
    file: int,
    known: Identity,
    watch: WriterWatch,
    digest: tuple[str, int] | None,
    beat: Callable[[], None],
) -> bool:
    """Whether `name` in `folder` is the open `file`, still as it was `known`, and nobody writes to it.

    `digest` (with its part size) is compared too where it is given: that reads the file.
    """
    status = os.fstat(file)
    found = Identity.of(status)
    if not known.has_stayed(found) or not is_called(folder, name, status):
        return False
    if digest and (digest_of(file, digest[1], beat) != digest[0] or Identity.of(os.fstat(file)) != found):
        return False
    return not watch.is_written()


def is_called(folder: int, name: str, status: os.stat_result) -> bool:
    """Whether this name leads to the file now."""
    try:
        return os.path.samestat(os.lstat(name, dir_fd=folder), status)
    except FileNotFoundError:
        return False


def settle(
    outgoing: int,
    drop_folder: Path | None,
    row_of: Callable[[int], Row | None],
    relative_of: Callable[[Row], str],
    keep: Container[int] = (),
    beat: Callable[[], None] = lambda: None,
) -> None:
    """Delete what was delivered of the files that lie aside, and put the others back; `keep` are still looked at.

    `drop_folder` None: there is none any more, and what was not delivered stays where it is. Files that may be deleted
    are read; `beat` is called meanwhile. OSError when the volume fails.
    """
    for number in objects_in(outgoing):
        if number in keep:
            continue
        row = row_of(number)
        try:
            if row is None or not _deleted(outgoing, row, beat):
                fallback = relative_of(row) if row and row.origin == Origin.DROP else ""
                _return(outgoing, number, drop_folder, fallback)
        except FileNotFoundError:
            continue  # whoever moved it aside was faster


def _deleted(outgoing: int, row: Row, beat: Callable[[], None]) -> bool:
    """Delete the file that was moved aside for a delivered object. False: it may be another one, and is there still."""
    name = aside_name(row.id)
    if not was_delivered(row):
        return False
    try:
        file = open_file(outgoing, name)
    except BlockingIOError:
        return False  # somebody is about to write to it
    try:
        known = Identity.of(os.fstat(file))
        with WriterWatch(file) as watch:
            if not has_inode_of(row, known) or not is_untouched(
                outgoing, name, file, known, watch, (row.digest, row.part_size), beat
            ):
                return False
            remove(Place.DROP, outgoing, name, permit_of(row))
    finally:
        os.close(file)
    return True


def permit_of(row: Row) -> AtDestination:
    """The permit to delete the file of a delivered object."""
    return AtDestination(row.id, row.key, row.generation, row.target, row.destination_etag)


# -- back to people ---------------------------------------------------------------------------------------------------


def _return(outgoing: int, number: int, drop_folder: Path | None, fallback: str) -> None:
    name = aside_name(number)
    try:
        top = os.open(drop_folder or "", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        _log.error("a dropped file that was not delivered stays in `outgoing` as %s: no drop folder", name)
        return
    place = ""
    try:
        place = place_of(outgoing, number, drop_folder or Path(), fallback)
        place = put_back(name, outgoing, top, place)
    except FileNotFoundError:
        raise
    except OSError as error:
        if word_of(error) != MISSING:
            raise
        _log.error("a dropped file that was not delivered cannot be put back at %r: %s", place, error.strerror)
    else:
        _log.warning("put back a dropped file that was moved aside before a crash: %r", place)
    finally:
        os.close(top)


def put_back(name: str, folder: int, top: int, relative: str) -> str:
    """Return a file to people, beside the one that they have put in its place already.

    Returns where it lies now, relative to the drop folder `top`: at its top where a folder on the way became a link, or
    a file.
    """
    above, _, wanted = relative.rpartition("/")
    try:
        parent = made_folder(top, above)
    except NotADirectoryError:
        above, parent = "", open_folder(top, "")
    try:
        place = _put_into(parent, wanted, name, folder)
    finally:
        os.close(parent)
    return f"{above}/{place}" if above else place


def _put_into(parent: int, wanted: str, name: str, folder: int) -> str:
    for number in range(_MOST_NAMES):
        place = _shortened(wanted, f".returned-{number}") if number else wanted
        try:
            os.link(name, place, src_dir_fd=folder, dst_dir_fd=parent, follow_symlinks=False)
        except FileExistsError:
            # A crash came between the link and the removal.
            if not is_called(parent, place, os.lstat(name, dir_fd=folder)):
                continue
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
                raise
            if lies_in(parent, place):  # a filesystem without hard links
                continue
            os.rename(name, place, src_dir_fd=folder, dst_dir_fd=parent)
            return place
        remove(Place.DROP, folder, name, OtherName(name))
        return place
    raise FileExistsError(errno.EEXIST, f"there are too many files called {wanted}.returned-N")


def returned_hidden(
    top: int, folder: str, name: str, row_of: Callable[[int], Row | None], relative_of: Callable[[Row], str]
) -> bool:
    """Put back what a crash left under a hidden name in `folder` of a drop folder. False: it is people's own file.

    While the destination unit is about to delete it, it stays.
    """
    match = _HIDDEN.fullmatch(name)
    row = row_of(int(match[1])) if match else None
    if row is None or row.origin != Origin.DROP:
        return False
    relative = relative_of(row)
    if os.path.dirname(relative) != folder or hidden_name(row.id, os.path.basename(relative)) != name:
        return False
    parent = open_folder(top, folder)
    try:
        file = open_file(parent, name)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _log.warning("put back a dropped file: %r", put_back(name, parent, top, relative))
        finally:
            os.close(file)
    except (BlockingIOError, FileNotFoundError):
        pass  # it is being deleted this moment
    finally:
        os.close(parent)
    return True
