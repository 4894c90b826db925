# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Asks the source what objects are, after their bytes arrived: the proof refers to these answers."""

from __future__ import annotations

from collections.abc import Callable, Collection

from ....core import workers
from ....core.errors import StoreError
from ....core.model import Head
from ....proofs.holdings import ask_heads
from ....store.endpoint import Endpoint
from ....store.request_errors import LATE
from ...crew import Crew
from ...flight import Item
from ...pool import EndpointPool


class ArrivalHeads:
    """Any thread may call these. `put_aside` carries out a step for items in a thread that nothing else waits for."""

    def __init__(
        self,
        pool: EndpointPool,
        crew: Crew,
        retries: int,
        put_aside: Callable[[Collection[Item], Callable[[], None]], None],
    ) -> None:
        self._pool = pool
        self._crew = crew
        self._retries = retries
        self._put_aside = put_aside

    def ask(
        self,
        endpoint: Endpoint,
        by_key: dict[str, Item],
        answered: Callable[[Item, Head | StoreError, Endpoint], None],
        *,
        is_hurried: bool = True,
    ) -> None:
        """Ask about objects, which are removed from `by_key`. `answered` also gets the endpoint that was asked.

        Answers that are late are waited for aside. None is given when the unit ends before an endpoint is healthy.
        """
        late = {}
        while by_key and (asked := self._who_answers(endpoint)):
            for key, head in ask_heads(asked.client(), list(by_key), self._retries, is_hurried=is_hurried):
                item = by_key.pop(key)
                if isinstance(head, StoreError) and head.code == LATE:
                    late[key] = item
                else:
                    answered(item, head, asked)
        if late:
            self._put_aside(late.values(), lambda: self.ask(endpoint, late, answered, is_hurried=False))

    def _who_answers(self, endpoint: Endpoint) -> Endpoint | None:
        """The endpoint, or another one of the store, as soon as one is healthy, so that no fetched data is discarded.

        None when the unit ends.
        """
        while not self._crew.ending.is_set():
            asked = endpoint if endpoint.is_up else self._pool.pick_to_ask()
            # An endpoint that is being probed may be down, and every request may time out.
            if asked and not self._pool.is_probed(asked):
                return asked
            workers.beat()
            self._crew.ending.wait(0.05)
        return endpoint if endpoint.is_up else None
