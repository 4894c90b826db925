# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The files below the drop folder of a volume, by descriptors from the folder down: no link is followed."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

from ....volumes.file_identity import open_folder
from ....volumes.open_volume import OpenVolume
from .drop_refusals import DropRefusals


def files_of(volume: OpenVolume, refusals: DropRefusals) -> Iterator[tuple[int, str, os.stat_result]]:
    """(drop folder, path relative to it, lstat) of every regular file; links and special files are not followed.

    The drop folder is a descriptor, which stays open as long as this is iterated over. OSError when the volume is to
    blame.
    """
    if volume.config.drop_path is None or not volume.medium.still_there():
        return
    try:
        with volume.dropped.top() as top:
            yield from ((top, relative, status) for relative, status in _walk(volume, top, refusals))
    except FileNotFoundError:
        return
    except NotADirectoryError:
        refusals.refuse(volume, ".", "the drop folder is a link or not a directory; make it a directory")


def _walk(volume: OpenVolume, top: int, refusals: DropRefusals) -> Iterator[tuple[str, os.stat_result]]:
    pending = [""]
    while pending:
        relative = pending.pop()
        try:
            folder = open_folder(top, relative)
        except OSError as error:
            refusals.unreadable_directory(volume, relative, error)
            continue
        try:
            names = sorted(_names(volume, relative, folder, refusals))
            below = []
            for name in names:
                path = f"{relative}/{name}" if relative else name
                with contextlib.suppress(FileNotFoundError):
                    status = os.lstat(name, dir_fd=folder)
                    if stat.S_ISDIR(status.st_mode):
                        below.append(path)
                    elif stat.S_ISREG(status.st_mode):
                        yield path, status
                    else:
                        refusals.refuse(volume, path, "it is not a regular file; put the file itself there")
            pending.extend(reversed(below))
        finally:
            os.close(folder)


def _names(volume: OpenVolume, relative: str, folder: int, refusals: DropRefusals) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError as error:
        refusals.unreadable_directory(volume, relative, error)
        return []
