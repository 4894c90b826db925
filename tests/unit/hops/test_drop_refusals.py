# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refused files of drop folders: whose fault an error is, and that each is told once."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace
from typing import Any

import pytest

from snowsync.core.errors import Trouble
from snowsync.core.model import Origin
from snowsync.hops.source.drops.drop_refusals import DropRefusals
from snowsync.ledger.rows import Failure


class Told:
    """Refusals of a volume, with what is recorded of them."""

    def __init__(self, *, is_well: bool = True) -> None:
        self.recorded: list[Failure] = []
        self.noted: list[Failure] = []
        self.volume: Any = SimpleNamespace(id=3, name="one", medium=SimpleNamespace(is_well=lambda: is_well))
        journal: Any = SimpleNamespace(record=self.recorded.append)
        setbacks: Any = SimpleNamespace(note=self.noted.append)
        self.refusals = DropRefusals(journal, setbacks)

    @property
    def messages(self) -> list[str]:
        return [failure.message for failure in self.recorded]


def test_a_refusal_is_recorded_and_counted() -> None:
    told = Told()
    told.refusals.refuse(told.volume, "caf\udce9", "too long")
    (failure,) = told.recorded
    assert told.noted == [failure]
    assert (failure.row.key, failure.row.origin, failure.row.volume) == ("caf\\udce9", Origin.DROP, 3)
    assert (failure.trouble, failure.action) == (Trouble.UNSUPPORTED, "left where it is")
    assert failure.message == "the dropped file 'caf\\\\udce9' on volume one was not taken: too long"


def test_a_file_is_told_once_for_as_long_as_every_scan_refuses_it() -> None:
    told = Told()
    for count in (1, 1, 1):
        told.refusals.refuse(told.volume, "a", "too long")
        told.refusals.refuse(told.volume, "a", "too long")
        told.refusals.end_scan()
        assert len(told.recorded) == count
    told.refusals.end_scan()  # a scan that does not refuse it
    told.refusals.refuse(told.volume, "a", "too long")
    assert len(told.recorded) == 2


def fail(number: int) -> int:
    raise OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("number", "is_too_recent", "reasons"),
    [
        (errno.ENOENT, 0, []),
        (errno.EAGAIN, 1, []),
        (errno.EACCES, 0, ["it cannot be read: Permission denied; make it readable for snowsync's user"]),
    ],
)
def test_a_file_that_cannot_be_read_is_its_own_matter(number: int, is_too_recent: int, reasons: list[str]) -> None:
    told = Told()
    assert told.refusals.attempt(told.volume, "a", lambda: fail(number)) == is_too_recent
    assert [message.partition("not taken: ")[2] for message in told.messages] == reasons


@pytest.mark.parametrize("found", [0, 1])
def test_a_step_that_succeeds_says_whether_a_file_is_too_recent(found: int) -> None:
    told = Told()
    assert told.refusals.attempt(told.volume, "a", lambda: found) == found


def test_a_volume_that_fails_is_not_the_file_s_matter() -> None:
    told = Told(is_well=False)
    with pytest.raises(OSError, match="Input/output error"):
        told.refusals.attempt(told.volume, "a", lambda: fail(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        told.refusals.unreadable_directory(told.volume, "a", OSError(errno.EIO, os.strerror(errno.EIO)))
    assert told.recorded == []


@pytest.mark.parametrize(("relative", "name"), [("", "."), ("deep", "deep")])
def test_a_directory_that_cannot_be_read_is_refused(relative: str, name: str) -> None:
    told = Told()
    told.refusals.unreadable_directory(told.volume, relative, OSError(errno.EACCES, os.strerror(errno.EACCES)))
    assert [failure.row.key for failure in told.recorded] == [name]
    for number in (errno.ENOENT, errno.ENOTDIR):  # removed, or replaced by a link
        told.refusals.unreadable_directory(told.volume, "other", OSError(number, os.strerror(number)))
    assert len(told.recorded) == 1
