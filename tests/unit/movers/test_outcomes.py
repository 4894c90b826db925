# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a mover may call proven of a small object that it fetched."""

from __future__ import annotations

from typing import Any

import pytest

from snowsync.core.header_text import dump_headers
from snowsync.core.model import Fetch, Head, Headers
from snowsync.core.s3_limits import LARGEST_PUT
from snowsync.movers.native.outcomes import fetched
from snowsync.movers.native.requests import Bucket

MD5, OTHER = "0123456789abcdef" * 2, "f" * 32
HEADERS = Headers(content_type="video/mp4", metadata={"owner": "me"})
HEAD = Head(200, 4, MD5, 1000, HEADERS)
WORK = Fetch(7, "film", 4, "/incoming/7", MD5)


def bucket_of(etag: str = "auto") -> Bucket:
    made: Any = Bucket.__new__(Bucket)
    made._etags_are_opaque = etag == "opaque"
    return made  # type: ignore[no-any-return]


def test_bytes_with_the_digest_of_the_response_are_proven() -> None:
    outcome = fetched(bucket_of(), WORK, HEAD._replace(etag=MD5.upper()), MD5)
    assert outcome.ok
    assert outcome.received is None
    assert outcome.arrived
    assert (outcome.arrived.digest, outcome.arrived.header_text) == (MD5, dump_headers(HEADERS))


@pytest.mark.parametrize(
    ("head", "digest"),
    [
        (HEAD, OTHER),
        (HEAD._replace(etag=OTHER), MD5),
        (HEAD._replace(etag=""), MD5),
        (HEAD._replace(etag=f"{MD5}-1"), MD5),
        (HEAD._replace(etag="not-a-digest"), "not-a-digest"),
        (HEAD._replace(encryption="aws:kms"), MD5),
        (HEAD._replace(encryption="customer"), MD5),
        (HEAD._replace(tag_count=1), MD5),
    ],
    ids=["other bytes", "other ETag", "no ETag", "parts", "opaque", "KMS", "customer key", "tags"],
)
def test_everything_else_is_proven_later(head: Head, digest: str) -> None:
    outcome = fetched(bucket_of(), WORK, head, digest)
    assert outcome.arrived is None
    assert outcome.received
    assert (outcome.received.head, outcome.received.etag, outcome.received.part_size) == (head, digest, 0)


def test_an_etag_that_the_job_calls_opaque_proves_nothing() -> None:
    assert fetched(bucket_of("opaque"), WORK, HEAD, MD5).arrived is None


def test_an_object_that_cannot_be_sent_in_one_request_is_proven_with_its_parts() -> None:
    assert fetched(bucket_of(), WORK._replace(size=LARGEST_PUT + 1), HEAD, MD5).arrived is None
