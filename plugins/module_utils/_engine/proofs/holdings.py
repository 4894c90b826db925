# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Checks what a destination has for many keys at once: a listing costs one request per thousand objects."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Mapping

from ..config.job_file import Store
from ..core.backoff import is_often_over, pause
from ..core.errors import StoreError, Trouble
from ..core.keys import key_bytes
from ..core.model import Head, Headers, Page
from ..store.client import StoreClient
from ..store.request_errors import LATE
from .listing_route import ListingRoute, Wanted
from .proof import etag_is_digest

HURRY_SECONDS = 5.0  # how long one missing response may delay the others
_LEAST_KEYS = 16  # fewer keys than this are requested individually: HEADs go out eight at a time
_NO_HEADERS = Headers()


def found_at(client: StoreClient, store: Store, expected: Mapping[str, Wanted]) -> dict[str, Head | StoreError]:
    """key -> what the listing says, for those of `expected` that are listed as expected.

    Keys that are missing, differ, or could not be listed must be checked with HEAD: a listing may lag behind. It also
    does not show whether an object is under a KMS key, where the ETag is not a digest: it is used only after a HEAD of
    the first key shows no such key. If that HEAD finds no object, its error is the result for that key: a second HEAD
    might find it, and the fact that the store denied an acknowledged object would go unreported.
    """
    if len(expected) < _LEAST_KEYS or not store.sorted or store.list_version == "v1":
        return {}
    ordered = sorted(expected, key=key_bytes)
    start = ordered[0]
    first = next(iter(client.head_many([start], HURRY_SECONDS)))[1]
    if isinstance(first, StoreError):
        return {start: first} if first.trouble is Trouble.NOT_FOUND else {}
    found: dict[str, Head | StoreError] = {start: first}
    if etag_is_digest(store, first):
        route = ListingRoute(ordered, [expected[key].number for key in ordered], store.prefix)
        with contextlib.suppress(StoreError):  # listing is not allowed, or fails: HEAD decides, and reports the error
            while not route.is_over:
                page = client.list_page(
                    None, prefix=store.prefix, start_after=route.start_after(), max_keys=route.max_keys()
                )
                listed = list(_as_expected(page, expected))
                found.update(listed)
                route.take(page, len(listed))
    return found


def _as_expected(page: Page, expected: Mapping[str, Wanted]) -> Iterator[tuple[str, Head]]:
    for key, size, etag, modified_ms in page.objects:
        wanted = expected.get(key)
        if wanted and (wanted.digest, wanted.size) == (etag, size):
            yield key, Head(200, size, etag, modified_ms, _NO_HEADERS)


def ask_heads(
    client: StoreClient, object_keys: list[str], retries: int, *, is_hurried: bool = False
) -> Iterator[tuple[str, Head | StoreError]]:
    """HEADs, in order of completion, with up to `retries` retries after short-lived errors.

    Ends after the first timeout: each further one would take as long. `is_hurried`: a response that is LATE when all
    others have arrived is not waited for: the caller requests it separately.
    """
    for attempt in range(1, retries + 2):
        again = []
        for object_key, head in client.head_many(object_keys, HURRY_SECONDS if is_hurried else math.inf):
            if isinstance(head, StoreError) and attempt <= retries and is_often_over(head):
                again.append(object_key)
                continue
            yield object_key, head
            if isinstance(head, StoreError) and head.trouble is Trouble.TIMEOUT and head.code != LATE:
                return
        if not again:
            return
        time.sleep(pause(attempt))
        object_keys = again
