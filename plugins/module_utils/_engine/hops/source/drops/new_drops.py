# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Which files of drop folders are new: their keys, and what the ledger knows of them."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ....core.model import LONGEST_KEY, State
from ....ledger.rows import Row
from ....ledger.source_ports import KnownDrops
from ....volumes.file_identity import Identity, Likeness, compare

if TYPE_CHECKING:
    from ....config.job_file import Job

LINKED = "it has other hard links, through which it could be changed; put a copy there"
# States in which a file is known; a failed one waits for a change or a new name. A released one is there again because
# a user put it there again.
_KNOWN = (State.STAGED, State.DELIVERED, State.QUARANTINED, State.FAILED)


def key_of(prefix: str, relative: str) -> tuple[str, str]:
    """The key of a file in a drop folder, and why it cannot have one, otherwise ""."""
    try:
        relative.encode()
    except UnicodeEncodeError:
        return "", "its name is not valid UTF-8, as S3 keys must be; rename it"
    key = prefix + relative
    if len(key.encode()) > LONGEST_KEY:
        return "", f"its key would have more than {LONGEST_KEY} bytes; shorten its path"
    return key, ""


def is_known(row: Row | None, status: os.stat_result) -> bool:
    """Whether a file, given by its lstat, is the one in the row of its key, so that it is not taken again."""
    return row is not None and row.state in _KNOWN and compare(row, Identity.of(status)) is not Likeness.OTHER


@dataclass(frozen=True, slots=True)
class Waiting:
    """A file in a drop folder that no run has taken yet; `refusal` says why none will."""

    name: str
    key: str
    size: int
    refusal: str


def waiting(job: Job, drops: KnownDrops | None) -> Iterator[Waiting]:
    """The files in the job's drop folders that are new to the ledger. Only uses stat: nothing is opened."""
    prefix = job.source.prefix if job.source else ""
    for volume in job.volumes:
        top = volume.drop_path
        for relative, status in _regular_files(str(top)) if top and not top.is_symlink() else ():
            key, refusal = key_of(prefix, relative)
            if is_known(drops.dropped(key) if drops and key else None, status):
                continue
            refusal = refusal or (LINKED if status.st_nlink > 1 else "")
            yield Waiting(relative.encode(errors="backslashreplace").decode(), key, status.st_size, refusal)


def _regular_files(top: str) -> Iterator[tuple[str, os.stat_result]]:
    for folder, below, names in os.walk(top):
        below.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            with contextlib.suppress(FileNotFoundError):
                status = os.lstat(path)
                if stat.S_ISREG(status.st_mode):
                    yield os.path.relpath(path, top), status
