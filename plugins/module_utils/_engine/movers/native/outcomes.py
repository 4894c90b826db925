# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The outcome of an object in the native mover, from the results of its requests. No side effects."""

from __future__ import annotations

from typing import TypeAlias

from ...core.errors import StoreError, Trouble, file_error
from ...core.header_text import dump_headers
from ...core.model import Arrived, Fetch, Head, Outcome, Received, Send
from ...core.s3_limits import can_be_sent
from .errands import LaneFailed
from .requests import Bucket

Result: TypeAlias = "Head | Exception | None"  # None: given up


def fetched(bucket: Bucket, work: Fetch, head: Head, digest: str) -> Outcome:
    """The outcome of a small object that was received completely; its bytes have this MD5 (hex)."""
    is_proven = (
        bucket.told_digest(head) is not None
        and digest == head.etag.lower()
        and not head.tag_count
        and can_be_sent(work.size, 0)
    )
    if is_proven:
        return Outcome(work.id, arrived=Arrived(digest, dump_headers(head.headers)))
    return Outcome(work.id, received=Received(head, digest, 0))


def outcome_of(bucket: Bucket, work: Fetch | Send, result: Result, received: Received | None = None) -> Outcome:
    """The outcome of a piece of work."""
    if isinstance(result, Head):
        return Outcome(work.id, received=received, answered=result if isinstance(work, Send) else None)
    return Outcome(work.id, *_failure(bucket, work, result))


def _failure(bucket: Bucket, work: Fetch | Send, error: Exception | None) -> tuple[Trouble, str]:
    if error is None:
        return Trouble.UNKNOWN, "the mover was closed"
    if isinstance(error, LaneFailed):
        return Trouble.UNKNOWN, str(error)
    if isinstance(error, StoreError):
        return error.trouble, str(error)
    if isinstance(error, OSError):
        local = file_error(bucket.action("fetch" if isinstance(work, Fetch) else "send", work.key), error)
        return local.trouble, str(local)
    return Trouble.OTHER, f"{type(error).__name__}: {error}"
