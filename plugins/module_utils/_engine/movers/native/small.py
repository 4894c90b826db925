# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Small objects of the native mover: one request each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from ...core import etag
from ...core.model import Fetch, Head, Outcome, Send
from .downloads import Get
from .errands import Errand
from .incoming_file import Target
from .outcomes import Result, fetched, outcome_of
from .requests import Bucket, Request, object_headers, with_md5
from .uploads import Put, close_sent, open_to_send

_MD5_OF_NOTHING = hashlib.md5(usedforsecurity=False).hexdigest()


def fetch_small(bucket: Bucket, work: Fetch, tell: Callable[[Outcome], None]) -> Errand:
    """A GET, hashed while it is received."""
    target = Target(work.path)
    digests: list[etag.PartDigests] = []

    def make() -> Request:
        digests[:] = [etag.PartDigests(0)]
        return Get(bucket, work, target, 0, work.size, digests[0])

    def told(result: Result) -> None:
        try:
            target.close()
        except OSError as error:
            result = error
        if isinstance(result, Head) and digests:
            tell(fetched(bucket, work, result, digests[0].etag()))
        else:
            tell(outcome_of(bucket, work, result))

    return Errand(make, told, work.size)


def send_small(bucket: Bucket, work: Send, tell: Callable[[Outcome], None]) -> Errand:
    """A PUT, aborted if the file is not the proven one."""
    descriptor: list[int] = []

    def make() -> Request:
        if not descriptor:
            descriptor.append(open_to_send(bucket, work))
        md5 = work.md5 if work.size else _MD5_OF_NOTHING
        headers = with_md5(object_headers(work), md5)
        return Put(bucket, work, descriptor[0], 0, work.size, parameters={}, headers=headers, md5=md5)

    def told(result: Result) -> None:
        if descriptor:
            close_sent(descriptor[0])
        tell(outcome_of(bucket, work, result))

    return Errand(make, told, work.size)
