# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of a multipart upload."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from snowsync.core import etag
from snowsync.core.errors import StoreError, Trouble
from snowsync.core.model import Send
from snowsync.core.parts import SentPart, Upload
from snowsync.movers.native.upload_parts import UploadParts

WORK = Send(1, "key", 25, "/file", 10, "")
UPLOAD = Upload(1, 1, "http://host", "bucket", "key", "id", 10, 0)
MD5S = [hashlib.md5(part).hexdigest() for part in (b"a" * 10, b"b" * 10, b"c" * 5)]
SENT = [SentPart(number, md5, md5) for number, md5 in enumerate(MD5S, 1)]
WHOLE = etag.multipart_etag([bytes.fromhex(md5) for md5 in MD5S])


@pytest.fixture
def parts() -> UploadParts:
    return UploadParts(WORK, UPLOAD)


def test_parts_cover_the_file(parts: UploadParts) -> None:
    assert parts.count == 3
    assert [(parts.start_of(number), parts.length_of(number)) for number in (1, 2, 3)] == [(0, 10), (10, 10), (20, 5)]
    assert parts.missing() == [1, 2, 3]
    assert not parts.are_all_sent


def test_what_was_recorded_counts_if_the_store_still_lists_it(parts: UploadParts) -> None:
    parts.know([SENT[0], SENT[1]], {1: (SENT[0].etag, 10), 2: ("another", 10)})
    assert parts.missing() == [2, 3]


def test_what_was_recorded_counts_for_a_store_that_cannot_list(parts: UploadParts) -> None:
    parts.know([SENT[0], SENT[2]], None)
    assert parts.missing() == [2]


def test_a_listed_part_with_the_bytes_of_the_file_is_not_sent_again(parts: UploadParts) -> None:
    parts.know([], {1: (MD5S[0].upper(), 10), 2: (MD5S[1], 9)})
    assert parts.missing() == [1, 2, 3], "it is compared first"
    assert parts.found(1, MD5S[0]) == SentPart(1, MD5S[0].upper(), MD5S[0])
    assert parts.found(1, MD5S[1]) is None
    assert parts.found(2, MD5S[1]) is None, "it has another length"


def test_all_parts_together_are_the_proven_bytes(parts: UploadParts) -> None:
    for part in reversed(SENT):  # they end in any order
        parts.add(part)
    assert parts.are_all_sent
    assert parts.in_order() == SENT
    assert parts.proven_etag("send it") == WHOLE
    proven = UploadParts(WORK._replace(digest=WHOLE.upper()), UPLOAD)
    damaged = UploadParts(WORK._replace(digest=f"{MD5S[0]}-3"), UPLOAD)
    for each in (proven, damaged):
        each.know(SENT, None)
    assert proven.proven_etag("send it") == WHOLE
    with pytest.raises(StoreError, match="was damaged on its volume") as caught:
        damaged.proven_etag("send it")
    assert caught.value.trouble is Trouble.MISMATCH


def proven_parts(md5s: list[str], digest: str = WHOLE) -> UploadParts:
    return UploadParts(WORK._replace(digest=digest, part_md5s=bytes.fromhex("".join(md5s))), UPLOAD)


def test_the_MD5s_from_the_proof_are_known_before_a_part_is_read() -> None:
    parts = proven_parts(MD5S)
    assert [parts.proven_md5(number) for number in (1, 2, 3)] == MD5S


@pytest.mark.parametrize(
    ("md5s", "digest"),
    [
        ([], WHOLE),
        (MD5S, ""),
        (MD5S[::-1], WHOLE),
        (MD5S[:2], etag.multipart_etag([bytes.fromhex(m) for m in MD5S[:2]])),
    ],
    ids=["none", "no digest", "of other bytes", "of parts of another size"],
)
def test_MD5s_that_are_not_of_this_upload_are_ignored(md5s: list[str], digest: str) -> None:
    parts = proven_parts(md5s, digest)
    assert [parts.proven_md5(number) for number in (1, 2, 3)] == ["", "", ""]
    parts.know(SENT, None)
    assert parts.missing() == []


@pytest.mark.parametrize("listed", [True, False])
def test_a_recorded_part_with_other_bytes_than_were_proven_is_sent_again(listed: bool) -> None:
    """The file was damaged when it was sent, and is fetched again since."""
    parts = proven_parts(MD5S)
    damaged = replace(SENT[1], md5=MD5S[0], etag=MD5S[0])
    at_store = {1: (MD5S[0], 10), 2: (MD5S[0], 10), 3: (MD5S[2], 5)}
    parts.know([SENT[0], damaged, SENT[2]], at_store if listed else None)
    assert parts.missing() == [2]
    assert parts.found(2, MD5S[1]) is None


def test_parts_without_an_ETag_get_the_listed_one_or_their_MD5(parts: UploadParts) -> None:
    parts.know([SENT[0], replace(SENT[1], etag=""), replace(SENT[2], etag="")], None)
    named = parts.named({2: ("listed", 10)}, "send it")
    assert [part.etag for part in named] == [MD5S[0], "listed", MD5S[2]]
    with pytest.raises(StoreError, match="part 2 with 9 bytes, but 10 were sent"):
        parts.named({2: ("listed", 9)}, "send it")
