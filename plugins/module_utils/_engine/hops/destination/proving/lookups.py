# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Asks the destination what it holds, from the endpoint that an object was sent to or from another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from ....core.errors import StoreError
from ....core.model import Head
from ....ledger.binding import Naming
from ....proofs.holdings import ask_heads, found_at
from ....proofs.listing_route import Wanted
from ....store.endpoint import Endpoint
from ....store.request_errors import LATE
from ...flight import Item
from ...pool import EndpointPool
from ..unsent.departures import Departures
from .batches import Batch


class Answer(NamedTuple):
    """What an endpoint says about an item: what is there, or why that is unknown."""

    item: Item
    endpoint: Endpoint
    found: Head | StoreError


class Lookups:
    """Used by the provers. `retries` of a HEAD after a short-lived error."""

    def __init__(self, naming: Naming, pool: EndpointPool, departures: Departures, *, retries: int) -> None:
        self._naming = naming
        self._pool = pool
        self._departures = departures
        self._retries = retries

    def listed(self, items: list[Item]) -> Iterator[Answer]:
        """What the destination holds for each item, from a listing, or with HEAD where a listing is not enough."""
        endpoint = self._who_answers(items[0].endpoint) if items else None
        if endpoint is None:
            yield from self.heads(items)
            return
        by_key = {self._naming.destination_key(item.row.key): item for item in items}
        expected = {key: Wanted(item.row.digest, item.row.size, item.row.id) for key, item in by_key.items()}
        for key, head in found_at(endpoint.client(), endpoint.store, expected).items():
            yield Answer(by_key.pop(key), endpoint, head)
        yield from self.heads(list(by_key.values()))

    def heads(self, items: list[Item], *, is_hurried: bool = True) -> Iterator[Answer]:
        """Ask with HEAD. Items without an answer leave the unit, and are checked again before they are sent again."""
        for first in {item.endpoint.url: item.endpoint for item in items}.values():
            by_key = {self._naming.destination_key(item.row.key): item for item in items if item.endpoint is first}
            endpoint = self._who_answers(first)
            if endpoint:
                for key, found in ask_heads(endpoint.client(), list(by_key), self._retries, is_hurried=is_hurried):
                    yield Answer(by_key.pop(key), endpoint, found)
            for item in by_key.values():
                self._departures.leave(item)

    def _who_answers(self, endpoint: Endpoint) -> Endpoint | None:
        """The endpoint an object was sent to, or another one of the store."""
        return endpoint if endpoint.is_up else self._pool.pick_to_ask()


def in_time(
    batch: Batch, answers: Iterator[Answer], conclude: Callable[[], None], put_late: Callable[[Batch], None]
) -> Iterator[Answer]:
    """The answers that arrived; late provers, by `put_late`, wait for the others, so that nothing is delayed.

    In a late batch `conclude` is called after each answer, since the next one may never arrive.
    """
    late = []
    for answer in answers:
        if isinstance(answer.found, StoreError) and answer.found.code == LATE:
            late.append(answer.item)
        else:
            yield answer
            if batch.is_late:
                conclude()
    if late:
        put_late(Batch(late, batch.is_large, batch.is_doubtful, is_late=True, outcomes=batch.outcomes))
