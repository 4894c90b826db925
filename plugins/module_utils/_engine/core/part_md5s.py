# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The MD5s of an object's parts in one value of bytes, as they are kept from the fetch until the object is released.

10,000 parts, the most that an upload can have, are 160 kB.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

MD5_BYTES = 16


def joined(digests: Sequence[bytes], part_size: int) -> bytes:
    """The MD5s of parts of `part_size` bytes; 0: the object is in one part, and there is nothing to keep."""
    return b"".join(digests) if part_size else b""


def split(md5s: bytes, digest: str) -> list[str]:
    """The MD5 (hex) of each part; none if they are not those of an object with this multipart ETag."""
    count = len(md5s) // MD5_BYTES
    if f"{hashlib.md5(md5s, usedforsecurity=False).hexdigest()}-{count}" != digest.lower():
        return []
    return [md5s[start : start + MD5_BYTES].hex() for start in range(0, count * MD5_BYTES, MD5_BYTES)]
