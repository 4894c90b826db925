# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An error crosses the boundary of a process as it is: type, text, exit code, attributes."""

from __future__ import annotations

import json
import sqlite3
import traceback

import pytest

from snowsync.core.errors import (
    ConfigError,
    JobLocked,
    JobStopped,
    LedgerError,
    LocalError,
    ObjectsFailed,
    SnowsyncError,
    StoreError,
    Trouble,
)
from snowsync.running.error_messages import as_message, from_message


def across(error: BaseException) -> BaseException:
    return from_message(json.loads(json.dumps(as_message(error))))


class OfAnotherFile(StoreError):
    """A more specific error that only its own file knows."""


@pytest.mark.parametrize(
    "error",
    [
        SnowsyncError("something"),
        ConfigError("job photos", ["a: is wrong", "b: is wrong"]),
        ObjectsFailed("two objects"),
        StoreError(Trouble.SERVER, "list", "HTTP 500", code="InternalError", status=500),
        JobStopped(Trouble.CREDENTIAL, "list", "wrong", code="SignatureDoesNotMatch", status=403),
        LocalError(Trouble.SPACE, "write", "no space"),
        JobLocked("another one"),
        LedgerError("two\nlines \u00e4"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_of_the_engine_arrives_as_it_was(error: SnowsyncError) -> None:
    arrived = across(error)
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert vars(arrived) == vars(error)


def test_an_error_that_only_one_file_knows_is_one_of_its_kind() -> None:
    arrived = across(OfAnotherFile(Trouble.BROKEN, "fetch", "too short"))
    assert arrived.__class__ is StoreError
    assert (arrived.trouble, str(arrived)) == (Trouble.BROKEN, "Failed to fetch: too short")


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


class Unknown(Exception):
    """Not of the engine, nor of Python."""


@pytest.mark.parametrize(
    "error",
    [
        ZeroDivisionError("a bug"),
        KeyError("key"),  # its text is not what it was made of
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),  # made of more than a text
        Unknown("what"),
        SystemExit(3),  # must end nothing here
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_that_nobody_foresaw_has_its_name_text_and_traceback(error: BaseException) -> None:
    arrived = across(raised(error))
    assert isinstance(arrived, Exception)
    assert (type(arrived).__name__, str(arrived)) == (type(error).__name__, str(error))
    assert "in raised" in "".join(traceback.format_exception(arrived)), "where it happened"


def test_a_built_in_error_is_itself() -> None:
    assert across(ZeroDivisionError("a bug")).__class__ is ZeroDivisionError


def test_a_damaged_ledger_is_told_as_the_command_tells_it() -> None:
    arrived = across(sqlite3.DatabaseError("malformed"))
    assert isinstance(arrived, LedgerError)
    assert str(arrived).startswith("Failed to read the ledger: malformed; check its disk")
