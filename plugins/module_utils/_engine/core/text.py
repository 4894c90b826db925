# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Formatting of numbers, times and keys for people. No side effects.

A key is written as is, unless a terminal or a line-based reader would misread it: a key that has control or invisible
characters, starts or ends with white space, starts with a double quote, or is empty is written as a JSON string, in
double quotes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone

from .model import MIB

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def key_text(object_key: str) -> str:
    """The key on one line, without characters that move a cursor; a JSON string if it is not plain."""
    plain = object_key.isprintable() or all(
        character.isprintable() or (character.isspace() and character >= "\xa0" and character not in "\u2028\u2029")
        for character in object_key
    )
    if plain and object_key and object_key == object_key.strip() and not object_key.startswith('"'):
        return object_key
    return json.dumps(object_key).replace("\x7f", "\\u007f")


def plain_text(text: str) -> str:
    """A message on one line: control characters become visible escapes."""
    if text.isprintable():
        return text
    return "".join(x if x.isprintable() else x.encode("unicode_escape").decode("ascii") for x in text)


def url_text(bucket: str, object_key: str = "") -> str:
    """`s3://bucket/key` for messages: on one line, control characters escaped, long keys cut."""
    text = object_key if object_key.isprintable() else ascii(object_key)[1:-1]
    return f"s3://{bucket}/{text if len(text) <= 300 else text[:300] + '...'}"


def bytes_text(size: float) -> str:
    """`1.5 GiB`; whole bytes below one KiB."""
    value = float(size)
    for unit in _UNITS:
        if abs(value) < 1024 or unit == _UNITS[-1]:
            break
        value /= 1024
    return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"


def rate_text(bytes_per_second: float) -> str:
    return f"{bytes_per_second / MIB:.1f} MiB/s"


def evidence_text(rungs: Mapping[str, int]) -> str:
    """`5 by store digest, 2 not proven`: object counts by the label of their evidence; empty for none."""
    words = {level: "not proven" if level == "not_proven" else f"by {level.replace('_', ' ')}" for level in rungs}
    return ", ".join(f"{count_text(number)} {words[level]}" for level, number in rungs.items())


def seconds_text(seconds: float) -> str:
    """`4.2 s`, `3 min 20 s`, `5 h 07 min`, `3 d 4 h`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    return f"{hours // 24} d {hours % 24} h"


def count_text(number: int) -> str:
    return f"{number:,}"


def counted_text(number: int, noun: str) -> str:
    """`1 object`, `2,000 objects`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def iso_text(at_ms: int) -> str:
    """`2026-11-21T13:00:00.123Z` from milliseconds since the epoch."""
    moment = datetime.fromtimestamp(at_ms // 1000, timezone.utc).isoformat()
    return f"{moment[:19]}.{at_ms % 1000:03d}Z"


def moment_text(at_ms: int) -> str:
    """`2026-11-21 13:00:00 UTC`."""
    return f"{datetime.fromtimestamp(at_ms // 1000, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[int] = (0,)) -> str:
    """Columns two spaces apart, right-aligned except those in `left`; no trailing blanks."""
    lines = [list(headers), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
