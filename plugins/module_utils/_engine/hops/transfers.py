# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Hands objects to the movers of one side of a job, and passes on their outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ..config.credentials import Keys
from ..core.model import Fetch, Outcome, Send
from ..movers.dispatch import Dispatch
from ..movers.tool_choice import ToolChoice
from ..movers.tools import MoverSetup
from ..store.connections import streams_for
from ..store.endpoint import Endpoint
from .assignments import Assignments, Streams
from .flight import Item


class Transfers:
    """The objects that were handed over, and the movers that carry them out.

    `setup` is for all movers; its `on_outcomes`, which they call from their threads, is called once the objects count
    as ended in `assigned`, and its `on_room` also when a large object ended. Its `on_error` gets what `on_outcomes`
    raises.
    """

    def __init__(self, setup: MoverSetup, keys: Keys | None, assigned: Assignments) -> None:
        self._setup = setup
        self._assigned = assigned
        self._choice = ToolChoice(setup.settings, setup.memory)
        self._dispatch = Dispatch(replace(setup, on_outcomes=self._ended), keys)

    def owned(self) -> set[int]:
        """The objects that were handed over and have no outcome yet."""
        return self._assigned.objects()

    def has_room(self, endpoint: Endpoint, size: int, volume: int) -> bool:
        """Whether `submit` of such work would not block, as far as the mover can tell; `on_room` is called if not."""
        return self._setup.settings.is_large(size) or self._dispatch.movers.has_room(endpoint, volume)

    def hand_over(self, works: Iterable[tuple[Item, Fetch | Send]]) -> None:
        """Have these items moved, each by the tool for its next attempt. All on one volume; blocks as `submit` does."""
        together: dict[tuple[Endpoint, str], list[Fetch | Send]] = {}
        for item, work in works:
            item.tool = self.choose_tool(work)
            together.setdefault((item.endpoint, item.tool), []).append(work)
        for (endpoint, tool), some in together.items():
            self.submit(endpoint, tool, *some)

    def choose_tool(self, work: Fetch | Send) -> str:
        """The tool for the next attempt to move an object, to be passed to `submit`."""
        return self._choice.choose(work)

    def submit(self, endpoint: Endpoint, tool: str, *works: Fetch | Send) -> None:
        """Hand over work on one volume. Blocks while the mover's lane is full.

        Large objects only after `pick_for_large`.
        """
        self._assigned.begin(endpoint.url, [(work.id, self._streams(work)) for work in works])
        self._dispatch.submit(endpoint, tool, *works)

    def _streams(self, work: Fetch | Send) -> Streams:
        settings = self._setup.settings
        if not settings.is_large(work.size):
            return Streams(0, work.volume)
        part_size = settings.part_size if isinstance(work, Fetch) else work.part_size
        return Streams(streams_for(settings, work.size, part_size), work.volume)

    def _ended(self, outcomes: Sequence[Outcome]) -> None:
        any_large = self._assigned.end([outcome.id for outcome in outcomes])
        try:
            self._setup.on_outcomes(outcomes)
        except Exception as error:  # otherwise these objects would be lost silently
            self._setup.on_error(error)
        if any_large:
            self._setup.on_room()

    # -- the movers -------------------------------------------------------------------------------------------

    def set_descriptors(self, descriptors: Sequence[int]) -> None:
        """Set the directories that movers may access, by their descriptors."""
        self._dispatch.movers.set_descriptors(descriptors)

    def follow_credentials(self) -> None:
        """Use the current credentials for new work."""
        self._dispatch.movers.follow_credentials()

    def traffic(self) -> int:
        """Bytes that the running movers have read and written: grows while a long transfer makes progress."""
        return self._dispatch.movers.traffic()

    def close(self) -> None:
        """End the movers; what they had in flight becomes UNKNOWN. A running boto3 transfer is abandoned."""
        self._dispatch.close()
