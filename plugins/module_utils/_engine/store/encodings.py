# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The Accept-Encoding for reads from one endpoint, so that objects arrive exactly as stored. Shared by its clients.

Without Accept-Encoding a proxy may compress an object. But some stores decompress objects that are stored as gzip
unless gzip is accepted: the response then has more bytes than are stored, under the same ETag.
"""

from __future__ import annotations

from typing import Protocol

from ..core.etag import agree
from ..core.model import UNTOLD, Head

PLAIN, PACKED = "identity", "gzip"
UNPACKED = "unpacked"  # the code of a StoreError: the object was decompressed in transit; reading again may help


class Described(Protocol):
    """A description of an object: from its listing, HEAD, or the response to a GET."""

    @property
    def size(self) -> int: ...

    @property
    def etag(self) -> str: ...


class Packing:
    """The Accept-Encoding to use for one endpoint. Thread-safe."""

    def __init__(self) -> None:
        self.welcome = PLAIN

    def is_to_be_asked_again(self, welcomed: str) -> bool:
        """Record that a response was decompressed despite this Accept-Encoding. False if another one will not help."""
        self.welcome = PACKED
        return welcomed == PLAIN


def is_unpacked(stored: Described, answered: Described) -> bool:
    """Whether a response is of the stored object but longer. A shorter one counts only if HEAD gives an encoding."""
    is_known = isinstance(stored, Head) and bool(stored.headers.content_encoding)
    is_other = answered.size > stored.size or (is_known and answered.size not in (stored.size, UNTOLD))
    return is_other and stored.size >= 0 and bool(stored.etag) and agree(stored.etag, answered.etag)


def hint(head: Head, tool: str) -> str:
    """A hint for an object that arrived with another size, by a tool that cannot set Accept-Encoding."""
    if not head.headers.content_encoding or tool == "native":
        return ""
    return (
        f"; it is stored with Content-Encoding {head.headers.content_encoding}: the store, or a proxy before it, seems"
        f" to decompress what {tool or 'this tool'} fetches; set `mover.tool: native`, which requests it as stored"
    )


def why_longer(size: int, stored: int) -> str:
    """The message if an object is decompressed even though gzip is accepted."""
    return (
        f"got {size} bytes, {stored} are stored under the same ETag: the store, or a proxy before it, decompresses"
        " objects that have a Content-Encoding; turn that off there (Google: `Cache-Control: no-transform`)"
    )
