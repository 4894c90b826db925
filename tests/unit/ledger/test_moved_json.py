# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report's objects as SQLite writes them are those that Python would write, whatever their keys have."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest
from ledger_rows import bring_to

from snowsync.core import machine
from snowsync.core.model import State
from snowsync.ledger import moved_json, reader
from snowsync.ledger.binding import Naming
from snowsync.ledger.ledger import Ledger
from snowsync.ledger.reader import LedgerReader

HOSTILE = [
    *(f"in/{chr(code)}x" for code in range(0x21)),
    "in/\0",
    "in/a\0b\0",
    "in\0/a",  # does not begin with the prefix
    "in/\"'\\/\\u0041",
    "in/%s',\n'||{0}?1:name",
    "in/\x7f\x80\x9f\u2028\u2029\ufeff\uffff",
    "in/\N{GRINNING FACE}e\u0301\N{LATIN SMALL LETTER E WITH ACUTE}",
    "in/",
    "in/in/a",
    "in/1e999",
    "in/null",
    "IN/a",
    "i",
    "z\N{GREEK SMALL LETTER ALPHA}\N{GRINNING FACE}/a",
    "z\N{GREEK SMALL LETTER ALPHA}\N{GRINNING FACE}/deep/a",
    "in/" + "\x01" * 1021,
]
NAMINGS = [
    Naming("in/", (), "out/"),
    Naming("in/", ("z\N{GREEK SMALL LETTER ALPHA}\N{GRINNING FACE}/deep", "z\N{GREEK SMALL LETTER ALPHA}"), "'\"%s\\"),
    Naming("", (), ""),
    Naming("in\0", ("in",), "out\0"),
    Naming("no key has it", (), "out/"),
]


@pytest.fixture(params=["SQLite", "Python"])
def quoting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who quotes the keys."""
    if request.param == "Python":
        monkeypatch.setattr(reader, "ensure_json_quote", moved_json.quote_in_python)


def written_by_python(ledger: Ledger, naming: Naming, since_ms: int = 0) -> list[dict[str, Any]]:
    made = []
    for moved in LedgerReader(ledger).moved(since_ms):
        try:
            name = naming.destination_key(moved.key)
        except ValueError:
            name = naming.destination + moved.key
        made.append(
            {
                "src_key": moved.key,
                "dst_key": name,
                "bytes": moved.size,
                "epoch_time_start": moved.listed_ms / 1000,
                "epoch_time_end": moved.delivered_ms / 1000,
                "total_time_seconds": max(0, moved.delivered_ms - moved.listed_ms) / 1000,
            }
        )
    return made


def written(ledger: Ledger, naming: Naming, since_ms: int = 0) -> str:
    return ",\n".join(LedgerReader(ledger).moved_json(naming, since_ms))


def set_times(ledger: Ledger, key: str, size: int, listed_ms: int, delivered_ms: int) -> None:
    with ledger.database.transaction() as db:
        sql = "UPDATE objects SET size = ?, listed_ms = ?, delivered_ms = ? WHERE key = ?"
        assert db.execute(sql, (size, listed_ms, delivered_ms, key)).rowcount == 1


@pytest.mark.usefixtures("quoting")
@pytest.mark.parametrize("naming", NAMINGS)
def test_every_key_is_written_as_python_writes_it(ledger: Ledger, volume: int, naming: Naming) -> None:
    for key in HOSTILE:
        bring_to(ledger, key, State.RELEASED, volume)
    lines = written(ledger, naming)
    expected = written_by_python(ledger, naming)
    assert [each["src_key"] for each in expected] == HOSTILE
    assert json.loads(f"[{lines}]") == expected
    assert lines.split("\n") == ",\n".join(json.dumps(each, ensure_ascii=False) for each in expected).split("\n")


@pytest.mark.parametrize(
    ("listed_ms", "delivered_ms"),
    [
        (0, 0),
        (0, 1),
        (1_764_348_432_000, 1_764_348_433_000),
        (1_764_348_432_100, 1_764_348_432_120),
        (1_764_348_432_123, 1_764_348_439_999),
        (1_764_348_432_999, 1_764_348_432_001),  # the clock was set back
        (999_999_999_999_999, 999_999_999_999_999),
    ],
)
@pytest.mark.parametrize("size", [0, 1, 5 * 2**40])
def test_numbers_are_written_as_python_writes_them(
    ledger: Ledger, volume: int, size: int, listed_ms: int, delivered_ms: int
) -> None:
    bring_to(ledger, "in/a", State.DELIVERED, volume)
    set_times(ledger, "in/a", size, listed_ms, delivered_ms)
    expected = written_by_python(ledger, NAMINGS[0])
    assert [(each["bytes"], each["epoch_time_end"]) for each in expected] == [(size, delivered_ms / 1000)]
    assert written(ledger, NAMINGS[0]) == json.dumps(expected[0])


def test_pages_follow_each_other_in_the_order_of_the_listing(
    ledger: Ledger, volume: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        bring_to(ledger, f"in/{9 - number}", State.RELEASED if number != 3 else State.STAGED, volume)
    for size, pages in ((1, 5), (2, 3), (5, 1), (6, 1)):
        monkeypatch.setattr(moved_json, "_PAGE", size)
        found = list(LedgerReader(ledger).moved_json(NAMINGS[0]))
        assert len(found) == pages
        assert [each["src_key"] for each in json.loads(f"[{','.join(found)}]")] == [f"in/{n}" for n in (9, 8, 7, 5, 4)]


def test_only_what_was_delivered_since_then(ledger: Ledger, volume: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "now_ms", lambda: 1000)
    bring_to(ledger, "in/early", State.RELEASED, volume)
    monkeypatch.setattr(machine, "now_ms", lambda: 5000)
    bring_to(ledger, "in/late", State.DELIVERED, volume)
    bring_to(ledger, "in/staged", State.STAGED, volume)
    assert [each["src_key"] for each in json.loads(f"[{written(ledger, NAMINGS[0], 5000)}]")] == ["in/late"]
    assert list(LedgerReader(ledger).moved_json(NAMINGS[0], 5001)) == []


class WithoutJson(sqlite3.Connection):
    """SQLite as it may be built before 3.38."""

    def __init__(self) -> None:
        super().__init__(":memory:")
        self.has_json = False

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if "json_quote" in sql and not self.has_json:
            raise sqlite3.OperationalError("no such function: json_quote")
        return super().execute(sql, *parameters)

    def create_function(self, *arguments: Any, **options: Any) -> None:
        super().create_function(*arguments, **options)
        self.has_json = True


def test_python_quotes_only_where_sqlite_cannot() -> None:
    bare = WithoutJson()
    moved_json.ensure_json_quote(bare)
    assert bare.has_json
    assert bare.execute("SELECT json_quote(?)", ('a"\0',)).fetchone() == ('"a\\"\\u0000"',)

    whole = WithoutJson()
    whole.has_json = True
    whole.create_function = lambda *arguments, **options: pytest.fail("SQLite has it")  # type: ignore[method-assign]
    moved_json.ensure_json_quote(whole)
