# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Which encoding reads of one endpoint welcome: what is stored is to come as it is stored. Shared by all who ask there.

Without a word on encodings a proxy may pack what is not packed. But some stores unpack what is stored in gzip unless
gzip is welcome: that shows by more bytes than are stored, under the same ETag.
"""

from __future__ import annotations

from typing import Protocol

from ..core.etag import agree
from ..core.model import UNTOLD, Head

PLAIN, PACKED = "identity", "gzip"
UNPACKED = "unpacked"  # the code of a StoreError: what was read is not what is stored, and reading again may help


class Described(Protocol):
    """What somebody says of an object: its listing, HEAD, or the answer to a GET."""

    @property
    def size(self) -> int: ...

    @property
    def etag(self) -> str: ...


class Packing:
    """What is known of one endpoint. Any thread may ask and tell."""

    def __init__(self) -> None:
        self.welcome = PLAIN

    def is_to_be_asked_again(self, welcomed: str) -> bool:
        """An answer to a read that welcomed this encoding was unpacked. False where another one brings no more."""
        self.welcome = PACKED
        return welcomed == PLAIN


def is_unpacked(stored: Described, answered: Described) -> bool:
    """Whether an answer is about what is stored, and longer. A shorter one counts only of what HEAD says is packed."""
    is_known = isinstance(stored, Head) and bool(stored.headers.content_encoding)
    is_other = answered.size > stored.size or (is_known and answered.size not in (stored.size, UNTOLD))
    return is_other and stored.size >= 0 and bool(stored.etag) and agree(stored.etag, answered.etag)


def hint(head: Head, tool: str) -> str:
    """What may have happened to an object that came with another size, by a tool that cannot ask otherwise."""
    if not head.headers.content_encoding or tool == "native":
        return ""
    return (
        f"; it is stored with Content-Encoding {head.headers.content_encoding}: the store, or a proxy before it, seems"
        f" to unpack what {tool or 'this tool'} fetches; set `mover.tool: native`, which asks for it as it is stored"
    )


def why_longer(size: int, stored: int) -> str:
    """The reason for people where even a read that welcomes gzip is unpacked."""
    return (
        f"{size} bytes come and {stored} are stored under the same ETag: the store, or a proxy before it, unpacks what"
        " has a Content-Encoding, whatever is asked for; turn that off there (Google: `Cache-Control: no-transform`)"
    )
