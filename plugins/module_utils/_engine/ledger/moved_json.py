# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What was moved, as JSON that SQLite makes: a page of objects becomes one text, which costs a third of the CPU time.

Keys are cut as bytes, since SQLite's text functions end at a NUL, which a key may contain.
"""

from __future__ import annotations

import json
import sqlite3

from .binding import Naming

_PAGE = 1000
_SECONDS = "({} / 1000.0)"


def moved_json(naming: Naming) -> tuple[str, tuple[str, ...]]:
    """A SELECT of (last id, text) of the next thousand objects, both NULL after the last one, and its parameters.

    The text has an object per line, separated by commas. The parameters follow two others: the id to continue after,
    and the earliest time of delivery in milliseconds.
    """
    prefixes = (naming.current, *naming.earlier)
    # The start of the transfer is not recorded per object: the time counts from when the object was first listed.
    values = {
        "src_key": "json_quote(key)",
        "dst_key": f"json_quote({_destination_key(len(prefixes))})",
        "bytes": "size",
        "epoch_time_start": _SECONDS.format("listed_ms"),
        "epoch_time_end": _SECONDS.format("delivered_ms"),
        "total_time_seconds": _SECONDS.format("MAX(0, delivered_ms - listed_ms)"),
    }
    line = " || ', ".join(f'"{name}": \' || {value}' for name, value in values.items())
    objects = (
        f"SELECT id, '{{{line} || '}}' AS line FROM objects"
        f" WHERE id > ?1 AND state IN (2, 3) AND delivered_ms >= ?2 ORDER BY id LIMIT {_PAGE}"
    )
    return f"SELECT MAX(id), group_concat(line, ',\n') FROM ({objects})", (naming.destination, *prefixes)


def _destination_key(prefixes: int) -> str:
    """The key at the destination, as `Naming.destination_key`, for parameters from ?3 on.

    A row written before prefixes were recorded has no name there: it is shown with its whole key.
    """
    begins = "substr(CAST(key AS BLOB), 1, length(CAST(?{0} AS BLOB))) = CAST(?{0} AS BLOB)"
    rest = "CAST(substr(CAST(key AS BLOB), length(CAST(?{0} AS BLOB)) + 1) AS TEXT)"
    cases = " ".join(f"WHEN {begins} THEN {rest}".format(number) for number in range(4, 4 + prefixes))
    return f"?3 || CASE {cases} ELSE key END"


def ensure_json_quote(db: sqlite3.Connection) -> None:
    """SQLite before 3.38 may have been built without its JSON functions: then Python quotes each key."""
    try:
        db.execute("SELECT json_quote('')")
    except sqlite3.OperationalError:
        quote_in_python(db)


def quote_in_python(db: sqlite3.Connection) -> None:
    db.create_function("json_quote", 1, json.JSONEncoder(ensure_ascii=False).encode, deterministic=True)
