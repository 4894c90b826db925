# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The headers of an object as text: as the ledger keeps them, and as work takes them to a mover. No side effects."""

from __future__ import annotations

import json
from dataclasses import fields

from .model import Headers

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=dict).encode
_FIELDS = tuple(field.name for field in fields(Headers))


def dump_headers(headers: Headers) -> str:
    """Headers as compact JSON with only what is set; empty string when nothing is."""
    present = {name: value for name in _FIELDS if (value := getattr(headers, name))}
    return _encode(present) if present else ""


def load_headers(text: str) -> Headers:
    return Headers(**json.loads(text)) if text else Headers()
