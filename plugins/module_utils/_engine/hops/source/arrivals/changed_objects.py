# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Objects that the source describes otherwise than it listed them: overwritten, or it contradicts itself."""

from __future__ import annotations

import contextlib
import logging

from ....core.errors import StoreError, Trouble
from ....core.etag import agree
from ....core.model import UNTOLD, Head, ListedObject
from ....core.text import plain_text
from ....ledger.rows import Failure, Row
from ....ledger.source_ports import SourceLedger
from ....store.endpoint import Endpoint
from ...flight import Item
from ...setbacks import Setbacks
from ..staging.fetching import Fetching

_log = logging.getLogger("snowsync.source")


class ChangedObjects:
    """Any thread may call these."""

    def __init__(self, ledger: SourceLedger, setbacks: Setbacks, fetching: Fetching) -> None:
        self._ledger = ledger
        self._setbacks = setbacks
        self._fetching = fetching
        self._has_told = False  # warned that the source contradicts itself

    def is_other(self, row: Row, head: Head) -> bool:
        """Whether the store's answer describes another object than the one listed, as far as it shows."""
        return head.size not in (row.size, UNTOLD) or not agree(self._fetching.notes.etag_to_read(row), head.etag)

    def as_read(self, item: Item, head: Head, endpoint: Endpoint) -> Head:
        """What HEAD says, unless the response to GET, which returns the bytes, says otherwise."""
        row = item.row
        with contextlib.suppress(StoreError):
            found = endpoint.client().head_by_get(row.key)
            if not self.is_other(row, found):
                self._tell_once(_contradiction(ListedObject(row.key, row.size, row.etag, row.modified_ms), head))
                return head._replace(size=found.size, etag=found.etag)
        return head

    def fetch_anew(self, item: Item, head: Head) -> None:
        """Another object was found: it is fetched as a new generation, unless the listing still shows the old one."""
        row = item.row
        listed = _as_listed(item, head)
        if self._ledger.listing.is_as_listed(row, listed):
            self._fetch_as_read(item, head, listed)
            return
        known = self._ledger.objects.row(row.id)
        if known and known.generation == row.generation:  # otherwise the lister has already seen it
            message = "the object was overwritten at the source while it was fetched"
            action = "fetched again as a new generation"
            failure = Failure(row, "source", Trouble.CHANGED, message, action, expected=row.etag, found=head.etag)
            self._setbacks.note(failure)
            self._ledger.journal.record(failure)
            self._ledger.listing.observe([listed])
        self._fetching.put_back(item, None)

    def _fetch_as_read(self, item: Item, head: Head, listed: ListedObject) -> None:
        """The listing is unchanged, but GET and HEAD show something else: they describe the actual bytes.

        The object is fetched as they show it, but remembered as listed, so that it is not new in the next pass. If the
        next response differs again, that is a failure of the object.
        """
        row = item.row
        said = _contradiction(listed, head)
        self._tell_once(said)
        if not self._fetching.notes.expect(row, head):
            self._setbacks.failed(
                Failure(row, "source", Trouble.CHANGED, said, "fetched again", expected=row.etag, found=head.etag)
            )
        elif head.size not in (row.size, UNTOLD):
            self._ledger.listing.read_otherwise(row, head.size)
        self._fetching.put_back(item, None)

    def _tell_once(self, said: str) -> None:
        if not self._has_told:
            self._has_told = True
            _log.warning(
                "the source contradicts itself: %s. Such objects are moved as read and remembered as listed; if the"
                " ETags of this store are not digests, set its `etag: opaque`",
                said,
            )


def _contradiction(listed: ListedObject, head: Head) -> str:
    """`its listing shows 'k' with 5 bytes and ETag 'x', HEAD shows 6 bytes and ETag 'y'`."""
    size = "no size" if head.size == UNTOLD else f"{head.size} bytes"
    return (
        f"its listing shows {plain_text(listed.key)!r} with {listed.size} bytes and ETag {listed.etag!r},"
        f" HEAD shows {size} and ETag {head.etag!r}"
    )


def _as_listed(item: Item, head: Head) -> ListedObject:
    """The object as a listing shows it now: HEAD rounds the time, which the next pass would mistake for a change."""
    key = item.row.key
    many = 1 if item.endpoint.store.sorted else 1000
    with contextlib.suppress(StoreError):
        for listed in item.endpoint.client().list_page(None, prefix=key, max_keys=many).objects:
            if listed.key == key:
                return listed
    return ListedObject(key, head.size, head.etag, head.modified_ms)
