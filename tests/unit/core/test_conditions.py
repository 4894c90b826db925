# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a volume is, in one word."""

from __future__ import annotations

import errno
import os

import pytest

from snowsync.core.conditions import DRAINED, DRAINING, FAILED, IN_USE, MISSING, READ_ONLY, Seen, condition, word_of
from snowsync.core.errors import LocalError, Trouble


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (errno.EROFS, READ_ONLY),
        (errno.EIO, FAILED),
        (errno.EUCLEAN, FAILED),
        (errno.ESHUTDOWN, FAILED),
        (errno.ENODATA, FAILED),
        (errno.ENOENT, MISSING),
        (errno.EACCES, MISSING),
        (errno.ENOTDIR, MISSING),
    ],
    ids=errno.errorcode.get,
)
def test_what_an_error_says_of_a_volume(number: int, word: str) -> None:
    error = OSError(number, os.strerror(number))
    assert word_of(error) == word
    wrapped = LocalError(Trouble.IO, "read the marker", str(error))
    wrapped.__cause__ = error
    assert word_of(wrapped) == word


def test_an_error_without_a_number_says_that_it_is_not_there() -> None:
    assert word_of(LocalError(Trouble.IO, "use volume one", "nothing is mounted there")) == MISSING


@pytest.mark.parametrize(
    ("seen", "word", "reason"),
    [
        (Seen(), IN_USE, ""),
        (Seen(absence=MISSING, why="not mounted", is_draining=True), MISSING, "not mounted"),
        (Seen(absence=FAILED, why="EIO", trouble=MISSING, reason="x"), FAILED, "EIO"),
        (Seen(trouble=FAILED, reason="EIO"), FAILED, "EIO"),
        (Seen(trouble=FAILED, reason="EIO", is_draining=True), FAILED, "EIO"),
        (Seen(trouble=MISSING, reason="x"), IN_USE, ""),
        (Seen(trouble=MISSING, reason="permission", units_run=True), MISSING, "permission"),
        (Seen(is_read_only=True), READ_ONLY, "its filesystem is read-only"),
        (Seen(trouble=READ_ONLY, reason="EROFS", is_draining=True), READ_ONLY, "EROFS"),
        (Seen(is_draining=True, is_empty=False), DRAINING, ""),
        (Seen(is_draining=True, is_awaited=True), DRAINING, ""),
        (Seen(is_draining=True), DRAINED, ""),
    ],
)
def test_one_word_for_all_that_is_known(seen: Seen, word: str, reason: str) -> None:
    assert condition(seen) == (word, reason)
