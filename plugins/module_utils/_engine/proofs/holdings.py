# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Checks what a destination has for many keys at once: a listing costs one request per thousand objects."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping

from ..config.job_file import Store
from ..core.backoff import is_often_over, pause
from ..core.errors import StoreError, Trouble
from ..core.keys import key_bytes
from ..core.model import Head, Headers
from ..store.client import StoreClient
from ..store.listing_walk import ListingWalk
from ..store.request_errors import LATE
from .proof import etag_is_digest

HURRY_SECONDS = 5.0  # how long one missing response may delay the others
_LEAST_KEYS = 32  # fewer keys than this are requested individually
_LEAST_SHARE = 0.25  # if less than this share of a page is ours, the next page is not worth a request


def found_at(
    client: StoreClient, store: Store, expected: Mapping[str, tuple[str, int]]
) -> dict[str, Head | StoreError]:
    """key -> what the listing says, for those of `expected` (key -> digest, size) that are listed as expected.

    Keys that are missing, differ, or could not be listed must be checked with HEAD: a listing may lag behind. It also
    does not show whether an object is under a KMS key, where the ETag is not a digest: it is used only after a HEAD of
    the first key shows no such key. If that HEAD finds no object, its error is the result for that key: a second HEAD
    might find it, and the fact that the store denied an acknowledged object would go unreported.
    """
    if len(expected) < _LEAST_KEYS or not store.sorted or store.list_version == "v1":
        return {}
    ordered = sorted(expected, key=key_bytes)
    start, last = ordered[0], key_bytes(ordered[-1])  # a listing starts after a key, never at one
    first = next(iter(client.head_many([start], HURRY_SECONDS)))[1]
    if isinstance(first, StoreError):
        return {start: first} if first.trouble is Trouble.NOT_FOUND else {}
    found: dict[str, Head | StoreError] = {start: first}
    if not etag_is_digest(store, first):
        return found
    walk = ListingWalk(store, start_after=start)
    try:
        while not walk.is_over:
            page = client.list_page(walk.token, prefix=store.prefix, start_after=walk.start_after)
            hits = 0
            for listed in page.objects:
                if expected.get(listed.key) == (listed.etag, listed.size):
                    hits += 1
                    found[listed.key] = Head(200, listed.size, listed.etag, listed.modified_ms, Headers())
            past_the_end = not page.objects or key_bytes(page.objects[-1].key) >= last
            if past_the_end or hits < len(page.objects) * _LEAST_SHARE:
                break
            walk.take(page)
    except StoreError:
        pass  # listing is not allowed, or fails: HEAD decides, and reports the error
    return found


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
