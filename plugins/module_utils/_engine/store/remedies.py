# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Which option of the job file fixes an error response. No side effects."""

from __future__ import annotations

import re
from typing import NamedTuple

from ..core.errors import Trouble
from ..core.text import plain_text

_find_expected_region = re.compile(r"expecting '([\w-]+)'").search
_WRONG_PLACE = frozenset({"PermanentRedirect", "TemporaryRedirect", "IllegalLocationConstraintException"})


class Refusal(NamedTuple):
    """The `<Error>` of a store: its code, its message, and the bucket's location if the error names it."""

    code: str
    message: str
    region: str = ""
    endpoint: str = ""


class AskedWith(NamedTuple):
    """The options a request was made with. `listing`: the version of a listing, "" for other requests."""

    region: str = ""
    addressing: str = ""
    listing: str = ""


def told_region(message: str) -> str:
    """The region that only the text of an error names."""
    found = _find_expected_region(message)
    return found[1] if found else ""


def remedy(trouble: Trouble, status: int, refusal: Refusal, asked: AskedWith) -> str:
    """What to do, to be appended to the cause; "" if no option helps."""
    return _place(status, refusal, asked) or _bucket(trouble, refusal, asked) or _listing(trouble, status, asked)


def _place(status: int, refusal: Refusal, asked: AskedWith) -> str:
    if refusal.region and refusal.region != asked.region:
        found = f"; the store reports region {refusal.region!r}, this job has {asked.region!r}: correct `region`"
        where = f", and set `endpoints` to the address of that region{_named(refusal)}"
        return found + where if status < 400 else found
    if refusal.endpoint:
        return f"; set `endpoints` to its address{_named(refusal)}"
    if refusal.code == "AuthorizationHeaderMalformed":
        return f"; this job has {asked.region!r}: correct `region`"
    if refusal.code in _WRONG_PLACE or 300 <= status < 400:
        return "; check `region` and `endpoints`"
    return ""


def _named(refusal: Refusal) -> str:
    if not refusal.endpoint:
        return ""
    return (
        f": the store names {plain_text(refusal.endpoint)!r} (if it starts with the bucket name, remove that part and"
        " set `addressing: virtual`)"
    )


def _bucket(trouble: Trouble, refusal: Refusal, asked: AskedWith) -> str:
    if trouble is not Trouble.BUCKET or not asked.addressing or refusal.code not in ("", "NoSuchBucket"):
        return ""
    return f"; check `bucket` and `endpoints`{otherwise_addressed(asked)}"


def otherwise_addressed(asked: AskedWith) -> str:
    """What may help if the store did not see the bucket name."""
    if asked.addressing == "virtual":
        return "; if the store requires the bucket name in the path, set `addressing: path`"
    before = "; if the store requires the bucket name before the host, set `addressing: virtual`"
    return before if asked.addressing else ""


def _listing(trouble: Trouble, status: int, asked: AskedWith) -> str:
    is_unknown = trouble in (Trouble.UNSUPPORTED, Trouble.NOT_FOUND) or (trouble is Trouble.OTHER and status == 400)
    if not asked.listing or not is_unknown:
        return ""
    other = "v2" if asked.listing == "v1" else "v1"
    return f"; if the store does not support this version of listings, set `list_version: {other}`"
