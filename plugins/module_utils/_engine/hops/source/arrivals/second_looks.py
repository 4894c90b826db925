# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Objects that were not served, or seem to be gone or changed: the store's own answer decides what they are."""

from __future__ import annotations

from ....core.backoff import persistently
from ....core.errors import StoreError, Trouble
from ....store.encodings import hint
from ....store.endpoint import Endpoint
from ...flight import Item
from ..staging.fetching import Fetching
from .changed_objects import ChangedObjects
from .vanished_objects import VanishedObjects


class SecondLooks:
    """Any thread may call these. `retries` of a request after errors that are often over."""

    def __init__(self, retries: int, fetching: Fetching, vanished: VanishedObjects, changed: ChangedObjects) -> None:
        self._retries = retries
        self._fetching = fetching
        self._vanished = vanished
        self._changed = changed

    def look_again(self, item: Item, trouble: Trouble, message: str) -> None:
        """The object seems to be gone or changed; the store's own answer decides, not the mover's message."""
        try:
            client, retries = item.endpoint.client(), self._retries
            head = persistently(lambda: client.head(item.row.key), retries)
            if trouble is Trouble.CHANGED and not self._changed.is_other(item.row, head):
                # GET, which returns the bytes, may disagree with HEAD.
                head = persistently(lambda: client.head_by_get(item.row.key), retries)
        except StoreError as error:
            self.was_not_told(item, error, None)
            return
        if self._changed.is_other(item.row, head):
            self._changed.fetch_anew(item, head)
        else:
            self._fetching.not_arrived(item, trouble, message + hint(head, item.tool))

    def was_not_told(self, item: Item, error: StoreError, endpoint: Endpoint | None) -> None:
        """The store's own answer is an error, of `endpoint` (None: where the object was fetched from)."""
        if error.trouble is Trouble.NOT_FOUND:
            self._vanished.use_what_is_left(item)
        else:
            self._fetching.not_arrived(item, error.trouble, str(error), endpoint)
