# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Where a listing continues, and whether it has ended: the state of one walk over its pages. No side effects.

An end is accepted only if the store says so, or if a request for what comes after the last key returns nothing. Every
walk ends: a token is followed only once, the keys must ascend, and empty pages are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from ..core.errors import StoreError, Trouble
from ..core.keys import key_bytes
from ..core.model import ListedObject, Page
from ..core.text import url_text

if TYPE_CHECKING:
    from ..config.job_file import Store

EMPTY_PAGES = 1000  # limit of consecutive empty pages: versioned buckets return some, but not only those


class Standstill:
    """Notices that a walk no longer moves on: what it has passed is passed again, or page after page is empty."""

    def __init__(self) -> None:
        self._seen: set[int] = set()  # hashes of tokens and, for an unsorted store, of the pages' last keys
        self._empty_pages = 0

    def empty_page(self) -> bool:
        """Count an empty page; whether too many in a row are empty."""
        self._empty_pages += 1
        return self._empty_pages > EMPTY_PAGES

    def full_page(self) -> None:
        """A page has objects."""
        self._empty_pages = 0

    def has_passed(self, mark: str) -> bool:
        return hash(mark) in self._seen

    def passes(self, mark: str) -> bool:
        """Remember a mark; whether it was passed before."""
        was_passed = self.has_passed(mark)
        self._seen.add(hash(mark))
        return was_passed


class ListingWalk:
    """One walk over the listing of a store, from after the key `start_after` to its end.

    Request a page with `token` and `start_after`, pass it to `take`, and continue until `is_over`. `take` raises
    StoreError (UNSUPPORTED) for a page that leads in a circle, goes backwards, or leaves the end unclear.
    """

    def __init__(self, store: Store, start_after: str = "") -> None:
        self.token: str | None = None
        self.start_after = start_after
        self.is_over = False
        self._store = store
        self._last_key = start_after
        self._is_ascending = True  # so far, also within pages
        self._standstill = Standstill()
        self._said_end = False  # the previous page said that it is the last one, and gave a token

    @property
    def is_by_key(self) -> bool:
        """Whether the listing can continue after any text, because keys are sorted."""
        return self._store.sorted and self._is_ascending

    def take(self, page: Page) -> None:
        """Process the requested page, and determine where to continue."""
        self._advance(page.objects)
        says_end, was_said = page.more is False, self._said_end
        self._said_end = says_end
        if says_end and (page.next_token is None or (was_said and not page.objects)):
            self.is_over = True
        elif page.next_token is not None and not self._led_nowhere(page):
            # Even if the store says that this was the last page: an extra request loses nothing.
            self._follow(page.next_token)
        else:
            self._go_on_after_last_key(page)

    def go_on_without_token(self) -> None:
        """Another endpoint may not know this one's token: continue after the last key, if keys are sorted."""
        if not self._store.sorted:
            return
        if not self._is_ascending:
            raise self._error("the listing is not in the order of keys; set `sorted: false` for this store")
        self.token, self.start_after = None, self._last_key

    def prefer_keys(self) -> None:
        """Continue after the last key, if keys are sorted."""
        if self.is_by_key and self.token is not None:
            self.token, self.start_after = None, self._last_key

    def skip_to(self, text: str) -> None:
        """Continue after a text beyond the unreadable part."""
        self.token, self.start_after, self._last_key = None, text, text

    def give_up(self) -> None:
        """The rest of the listing cannot be read."""
        self.is_over = True

    def _advance(self, objects: Sequence[ListedObject]) -> None:
        if not objects:
            if self._standstill.empty_page():
                raise self._error(f"the store returned {EMPTY_PAGES} empty pages in a row, each with a next page")
            return
        self._standstill.full_page()
        self._check_order(objects)
        self._last_key = objects[-1].key

    def _check_order(self, objects: Sequence[ListedObject]) -> None:
        last_key = objects[-1].key
        if not self._store.sorted:
            self._pass(f"key {last_key}", "the store lists the same keys again; the listing would never end")
            return
        positions = [key_bytes(listed.key) for listed in objects]
        self._is_ascending = self._is_ascending and all(one < other for one, other in pairwise(positions))
        if positions[-1] <= key_bytes(self._last_key) and self._last_key:
            raise self._error(
                f"after the key {url_text('', self._last_key)[6:]!r} the listing goes back to"
                f" {url_text('', last_key)[6:]!r}; try another `list_version`, or set `sorted: false` if this store"
                " does not list in the order of keys"
            )
        if self._store.list_version == "v1" and not self._is_ascending:
            raise self._error("the listing is not in the order of keys, and V1 continues by key; set `sorted: false`")

    def _follow(self, token: str) -> None:
        self._pass(f"token {token}", "the store leads back to an earlier page; the listing would never end")
        self.token, self.start_after = token, ""

    def _led_nowhere(self, page: Page) -> bool:
        """Whether an empty page only repeats a token, and the listing can continue by key instead."""
        return (
            page.more is None
            and not page.objects
            and self._store.sorted
            and bool(self._last_key)
            and self._standstill.has_passed(f"token {page.next_token}")
        )

    def _pass(self, mark: str, problem: str) -> None:
        if self._standstill.passes(mark):
            raise self._error(f"{problem}; try another `list_version`")

    def _go_on_after_last_key(self, page: Page) -> None:
        """The store gives no token: it says that there is more, or says nothing."""
        was_asked_by_key = self.token is None
        if not page.objects and (was_asked_by_key or not self._store.sorted):
            if page.more:
                raise self._error(
                    "the store says that there is more, but not where to continue; try another `list_version`"
                )
            self.is_over = True
        elif not (self._store.sorted and self._is_ascending):
            raise self._error(
                "the end of the listing is not clear: the store says neither that this is all (IsTruncated) nor where"
                " to continue; try another `list_version`, or set `sorted: true` if it lists in the order of keys"
            )
        else:
            self.token, self.start_after = None, self._last_key

    def _error(self, detail: str) -> StoreError:
        return StoreError(Trouble.UNSUPPORTED, f"list {url_text(self._store.bucket, self._store.prefix)}", detail)
