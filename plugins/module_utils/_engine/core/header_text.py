# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The headers of an object as text: as the ledger keeps them, and as work takes them to a mover. No side effects."""

from __future__ import annotations

import functools
import json

from .model import Headers

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=dict).encode
_IN_ALL = Headers._fields.index("metadata")  # those before it have few values in a bucket


def dump_headers(headers: Headers) -> str:
    """Headers as compact JSON with only what is set; empty string when nothing is."""
    if not (headers.metadata or headers.tags):
        return _dump_plain(headers[:_IN_ALL])
    return _encode({name: value for name, value in zip(Headers._fields, headers, strict=True) if value})


@functools.lru_cache(maxsize=256)
def _dump_plain(values: tuple[str, ...]) -> str:
    present = {name: value for name, value in zip(Headers._fields, values, strict=False) if value}
    return _encode(present) if present else ""


def load_headers(text: str) -> Headers:
    return Headers(**json.loads(text)) if text else Headers()
