# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an object is read from both sides, and what follows from the bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from snowsync.config.job_file import Store
from snowsync.core.errors import StoreError, Trouble
from snowsync.core.model import Head, Headers, ListedObject
from snowsync.inspection.judge import DIFFERS, SAME, UNPROVEN, Verdict
from snowsync.inspection.read_back import ReadBack
from snowsync.store.encodings import UNPACKED

STORE = Store(bucket="photos")
DOUBTFUL = Verdict(UNPROVEN, "its ETags cannot be compared", comparable=False)


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


class Side:
    """A store with one object, which fails with `errors` first."""

    def __init__(self, content: bytes, etag: str = "", *, errors: tuple[StoreError, ...] = ()) -> None:
        self.content, self.etag = content, etag or md5(content)
        self.errors = list(errors)
        self.reads = 0

    def head(self, _key: str, *, part_number: int = 0) -> Head:
        return Head(200, len(self.content), self.etag, 1000, Headers())

    def read(self, _key: str, sink: Callable[[bytes], object], _stored: Head) -> None:
        self.reads += 1
        if self.errors:
            raise self.errors.pop(0)
        sink(self.content)

    def listed(self) -> ListedObject:
        return ListedObject("a", len(self.content), self.etag, 1)


def read(source: Side | None, destination: Side, entry: Any = None, given: Verdict = DOUBTFUL) -> Verdict:
    sides: dict[str, Any] = {"destination": destination} | ({"source": source} if source else {})
    reading = ReadBack(STORE if source else None, sides, "needed")
    return reading.verdict(source.listed() if source else None, entry, destination.listed(), given)


@pytest.mark.parametrize(
    ("read", "same", "differs", "doubtful"),
    [("", False, False, False), ("needed", False, False, True), ("all", True, False, True)],
)
def test_when_an_object_is_read(read: str, same: bool, differs: bool, doubtful: bool) -> None:
    reading = ReadBack(STORE, {}, read)
    found = [reading.is_due(verdict) for verdict in (Verdict(SAME), Verdict(DIFFERS), DOUBTFUL)]
    assert found == [same, differs, doubtful]


def test_equal_bytes_that_the_source_proves_are_the_same() -> None:
    assert read(Side(b"x"), Side(b"x", "0" * 32)).symbol == SAME


def test_other_bytes_differ() -> None:
    verdict = read(Side(b"x"), Side(b"y"))
    assert (verdict.symbol, verdict.reason) == (
        DIFFERS,
        f"read back: {md5(b'x')} expected, {md5(b'y')} at the destination",
    )


def test_a_source_that_returns_other_bytes_than_its_etag_says_is_told() -> None:
    verdict = read(Side(b"x", md5(b"z")), Side(b"x"))
    assert verdict.symbol == DIFFERS
    assert "do not match its ETag" in verdict.reason


def test_an_etag_that_fits_nothing_leaves_a_doubt() -> None:
    verdict = read(Side(b"x", f"{'0' * 32}-2"), Side(b"x"))
    assert verdict.symbol == UNPROVEN
    assert verdict.doubt is not None


def test_without_a_source_the_ledger_has_the_digest() -> None:
    entry = SimpleNamespace(digest=md5(b"x"), part_size=0)
    assert read(None, Side(b"x"), entry).symbol == SAME
    assert read(None, Side(b"y"), entry).symbol == DIFFERS


@pytest.mark.parametrize("entry", [None, SimpleNamespace(digest="")])
def test_with_nothing_to_compare_with_nothing_is_read(entry: Any) -> None:
    destination = Side(b"x")
    assert read(None, destination, entry) is DOUBTFUL
    assert destination.reads == 0


def test_what_cannot_be_read_is_unproven_and_what_was_decompressed_is_read_again() -> None:
    broken = StoreError(Trouble.BROKEN, "fetch a", "the connection broke")
    verdict = read(Side(b"x"), Side(b"x", errors=(broken,)))
    assert (verdict.symbol, verdict.reason) == (UNPROVEN, f"could not be read back: {broken}")
    unpacked = StoreError(Trouble.OTHER, "fetch a", "it was decompressed", code=UNPACKED)
    again = Side(b"x", errors=(unpacked,))
    assert read(Side(b"x"), again).symbol == SAME
    assert again.reads == 2
    assert read(Side(b"x"), Side(b"x", errors=(unpacked, unpacked))).symbol == UNPROVEN, "once more, and not for ever"
