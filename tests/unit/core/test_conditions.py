# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a volume is, in one word."""

from __future__ import annotations

import errno
import os

import pytest

from snowsync.core.conditions import (
    DRAINED,
    DRAINING,
    FAILED,
    IN_USE,
    MISSING,
    OUT_OF_FILES,
    READ_ONLY,
    Drain,
    Reported,
    Seen,
    condition,
    word_of,
)
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
        (Seen(absence=MISSING, why="not mounted", drain=Drain(is_on=True)), MISSING, "not mounted"),
        (Seen(absence=FAILED, why="EIO", reported=Reported(MISSING, "x")), FAILED, "EIO"),
        (Seen(reported=Reported(FAILED, "EIO")), FAILED, "EIO"),
        (Seen(reported=Reported(FAILED, "EIO"), drain=Drain(is_on=True)), FAILED, "EIO"),
        (Seen(reported=Reported(MISSING, "x")), IN_USE, ""),
        (Seen(reported=Reported(MISSING, "permission", units_run=True)), MISSING, "permission"),
        (Seen(is_out_of_files=True), IN_USE, OUT_OF_FILES),
        (Seen(is_read_only=True), READ_ONLY, "its filesystem is read-only"),
        (Seen(reported=Reported(READ_ONLY, "EROFS"), drain=Drain(is_on=True)), READ_ONLY, "EROFS"),
        (Seen(drain=Drain(is_on=True, is_empty=False)), DRAINING, ""),
        (Seen(drain=Drain(is_on=True, is_awaited=True)), DRAINING, ""),
        (Seen(drain=Drain(is_on=True)), DRAINED, ""),
    ],
)
def test_one_word_for_all_that_is_known(seen: Seen, word: str, reason: str) -> None:
    assert condition(seen) == (word, reason)


@pytest.mark.parametrize("is_on", [True, False])
@pytest.mark.parametrize("is_empty", [True, False])
@pytest.mark.parametrize("is_awaited", [True, False])
def test_a_volume_is_drained_when_nothing_is_there_and_nothing_comes(
    is_on: bool, is_empty: bool, is_awaited: bool
) -> None:
    drain = Drain(is_on, is_empty, is_awaited)
    assert drain.is_over is ((is_on, is_empty, is_awaited) == (True, True, False))


@pytest.mark.parametrize(
    ("trouble", "units_run", "expected"),
    [
        ("", True, False),
        (FAILED, False, True),
        (FAILED, True, True),
        (MISSING, True, True),
        (MISSING, False, False),  # it may have come back since
        (READ_ONLY, True, False),
    ],
)
def test_which_reports_make_a_volume_unavailable(trouble: str, units_run: bool, expected: bool) -> None:
    assert Reported(trouble, "a reason", units_run=units_run).is_unavailable is expected
