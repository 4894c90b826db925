# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MD5s of parts in one value, and when they count."""

from __future__ import annotations

import hashlib

import pytest

from snowsync.core.etag import multipart_etag
from snowsync.core.part_md5s import joined, split

DIGESTS = [hashlib.md5(part).digest() for part in (b"a", b"b", b"c")]
WHOLE = multipart_etag(DIGESTS)


def test_MD5s_of_parts_come_apart_as_they_were_joined() -> None:
    for digest in (WHOLE, WHOLE.upper()):
        assert split(joined(DIGESTS, 5), digest) == [md5.hex() for md5 in DIGESTS]


def test_nothing_is_kept_of_an_object_in_one_part() -> None:
    assert joined(DIGESTS[:1], 0) == b""


@pytest.mark.parametrize(
    ("md5s", "digest"),
    [
        (b"", WHOLE),
        (b"", ""),
        (b"".join(DIGESTS), ""),
        (b"".join(DIGESTS), WHOLE[:32]),
        (b"".join(DIGESTS), f"{WHOLE[:32]}-2"),
        (b"".join(DIGESTS[:2]), WHOLE),
        (b"".join(reversed(DIGESTS)), WHOLE),
        (b"".join(DIGESTS)[:-1], WHOLE),
        (b"".join(DIGESTS) + b"\0", WHOLE),
        (bytes([DIGESTS[0][0] ^ 1]) + b"".join(DIGESTS)[1:], WHOLE),
    ],
)
def test_MD5s_that_contradict_the_digest_are_ignored(md5s: bytes, digest: str) -> None:
    assert split(md5s, digest) == []


def test_ten_thousand_parts_are_160_kB() -> None:
    digests = DIGESTS[:1] * 10_000
    assert len(joined(digests, 5)) == 160_000
    assert len(split(joined(digests, 5), multipart_etag(digests))) == 10_000
