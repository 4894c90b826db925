# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Times as stores write them: in headers, in listings, and as odd ones do. No effects here."""

from __future__ import annotations

import functools
import re
from datetime import datetime, timezone

_MONTHS = {"Jan": 1, "Feb": 2, "Mar": 3, "Apr": 4, "May": 5, "Jun": 6}
_MONTHS |= {"Jul": 7, "Aug": 8, "Sep": 9, "Oct": 10, "Nov": 11, "Dec": 12}


@functools.lru_cache(maxsize=4096)
def http_date_ms(text: str) -> int:
    """Milliseconds since the epoch of `Sat, 21 Nov 2026 13:08:32 GMT`; 0 if it is not an HTTP or e-mail date."""
    try:
        day, month, year = int(text[5:7]), _MONTHS[text[8:11]], int(text[12:16])
        hour, minute, second = int(text[17:19]), int(text[20:22]), int(text[23:25])
        moment = datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)
    except (ValueError, KeyError):
        return _other_date_ms(text)
    return int(moment.timestamp()) * 1000


def _other_date_ms(text: str) -> int:
    """Older forms of HTTP dates, and dates with an offset: RFC 850, asctime, RFC 5322."""
    from email.utils import parsedate_to_datetime  # slow to load, and hardly any store needs it

    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError, TypeError, IndexError):
        return 0
    return max(0, int((moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()) * 1000)


# --- listings


def iso_date_ms(text: str) -> int:
    """Milliseconds since the epoch of `2026-11-21T13:02:21.123Z`, or of other formats that stores use.

    0 if it is not a date: size and ETag still distinguish the generations of an object.
    """
    try:
        return max(0, _minute_ms(text[:16]) + _second_ms(text[17:].rstrip("Z")))
    except ValueError:
        return _odd_date_ms(text)


def _second_ms(text: str) -> int:
    second = float(text)
    if not 0 <= second < 61:  # float() also reads `inf` and `1e300`
        raise ValueError(text)
    return round(second * 1000)


_ODD_DATE = re.compile(r"\W*(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)([.,]\d+)?\s*(?:Z|UTC|GMT|([+-]\d\d):?(\d\d))?\s*")


@functools.lru_cache(maxsize=4096)
def _odd_date_ms(text: str) -> int:
    """Dates with an offset, without a zone, or in HTTP format; an odd date must not fail a whole listing."""
    found = _ODD_DATE.fullmatch(text)
    if not found:
        return http_date_ms(text.strip())
    day, second, fraction, hours, minutes = found.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{second}{hours or '+00'}:{minutes or '00'}")
    except ValueError:
        return 0
    milliseconds = round(float(f"0.{fraction[1:]}") * 1000) if fraction else 0
    return max(0, int(moment.timestamp()) * 1000 + milliseconds)


@functools.lru_cache(maxsize=1024)
def _minute_ms(text: str) -> int:
    return int(datetime.fromisoformat(text + "+00:00").timestamp()) * 1000
