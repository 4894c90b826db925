# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Parsing and formatting of sizes for people."""

from __future__ import annotations

import re

_UNITS: dict[str, int] = {"": 1, "B": 1, "kB": 1000} | {
    f"{letter}{suffix}": base**power
    for power, letter in enumerate("KMGTP", start=1)
    for suffix, base in (("iB", 1024), ("B", 1000))
}
_SIZE = re.compile(r"([0-9]{1,20})(?:\.([0-9]{1,9}))? ?([A-Za-z]*)")


def parse_size(value: object) -> int:
    """Bytes from an integer or from text such as ``10GiB``, ``1.5 GB``, ``64KiB``; ValueError says how to fix it."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise ValueError("is negative; give a number of bytes, or text such as 10GiB")
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("is not a size; give a whole number of bytes, or text such as 10GiB or 500MB")
    whole, fraction, unit = match[1], match[2] or "", match[3]
    if unit not in _UNITS:
        letter = unit[0].upper()
        fix = f"{whole}{letter}iB or {whole}{letter}B" if letter in "KMGTP" else "10GiB or 500MB"
        raise ValueError(f"has the unknown unit {unit[:20]!r}; write {fix} (GiB counts by 1024, GB by 1000)")
    return int(int(whole + fraction) * _UNITS[unit] // 10 ** len(fraction))


def show_size(size: int) -> str:
    """Bytes in a readable form without rounding: ``5 MiB``, else the plain number."""
    for unit in ("PiB", "TiB", "GiB", "MiB", "KiB"):
        if size and size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]} {unit}"
    return f"{size} bytes"
