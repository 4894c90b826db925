# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Files that several Snowballs share: read and replaced as a whole, one writer at a time, never too permissive."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.secret_files import move_in

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

PRIVATE = 0o600
PUBLIC = 0o644
_LOCK = ".snowsync.lock"


@dataclass(frozen=True)
class Change:
    """The change of one file: `after` is its text, None if it is removed. `mode` None keeps the file's mode."""

    path: str
    before: str | None
    after: str | None
    mode: int | None
    mode_before: int | None

    @property
    def needed(self) -> bool:
        wrong_mode = self.mode is not None and self.mode != self.mode_before
        return self.before != self.after or (self.after is not None and wrong_mode)


def read_text(path: str) -> str | None:
    """The file's text, None if it does not exist; bytes that are not UTF-8 are preserved when it is written again."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return None


def change_of(path: str, before: str | None, after: str | None, mode: int | None) -> Change:
    """The change of a file that held `before`."""
    mode_before = None if before is None else stat.S_IMODE(os.stat(path).st_mode)
    return Change(path, before, after, mode, mode_before)


@contextlib.contextmanager
def one_writer(folder: str) -> Iterator[None]:
    """Creates the folder and locks it: Ansible's forks change these files at the same time."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    descriptor = os.open(os.path.join(folder, _LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def apply(module: AnsibleModule, change: Change) -> None:
    """Applies the change; raises OSError. A symlink is kept: the file it points to is replaced."""
    path = os.path.realpath(change.path)
    if change.after is None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return
    mode = change.mode if change.mode is not None else change.mode_before or PRIVATE
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    if change.before != change.after:
        _replace(module, path, change.after, mode)
    os.chmod(path, mode)


def _replace(module: AnsibleModule, path: str, text: str, mode: int) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=module.tmpdir)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    move_in(module, temporary, path, mode)
