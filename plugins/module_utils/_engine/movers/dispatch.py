# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Dispatches work to a mover, or to a separate thread for work that blocks for as long as the object takes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ..config.credentials import Keys
from ..core import etag
from ..core.errors import Trouble, file_error
from ..core.model import Fetch, Outcome, Send
from ..store.endpoint import Endpoint
from ..store.upload_bodies import rotten
from .blocking_work import BlockingWork
from .mover_set import MoverSet
from .tools import BOTO3, TOOLS, MoverSetup

if TYPE_CHECKING:
    from ..store.boto_client import Control


class Dispatch:
    """Runs work at an endpoint with a tool. Outcomes are delivered to the same callback as those of the movers."""

    def __init__(self, setup: MoverSetup, keys: Keys | None) -> None:
        self.movers = MoverSet(setup, keys)
        self._is_large = setup.settings.is_large
        self._tell = setup.on_outcome
        # Separate lanes, so that two objects of a terabyte do not delay small ones.
        self._small_lane, self._large_lane = (
            BlockingWork(f"{setup.direction}-control{size}", self._failed, setup.on_error) for size in ("", "-large")
        )

    def submit(self, endpoint: Endpoint, tool: str, *works: Fetch | Send) -> None:
        """All on one volume. Blocks while the mover's lane is full."""
        movable = []
        for work in works:
            step = self._blocking_step(endpoint, tool, work)
            if step:
                (self._large_lane if self._is_large(work.size) else self._small_lane).submit(work, step)
            else:
                movable.append(work)
        if movable:
            self._by_mover(endpoint, tool, *movable)

    def close(self) -> None:
        """End the movers; what they had in flight becomes UNKNOWN. A boto3 transfer in flight is abandoned."""
        self.movers.close()
        for lane in (self._small_lane, self._large_lane):
            lane.close()

    def _blocking_step(self, endpoint: Endpoint, tool: str, work: Fetch | Send) -> Callable[[], None] | None:
        """The step to run in a lane because it blocks for as long as the object takes. None: a mover gets the work."""
        if tool == BOTO3:
            return partial(self._by_boto3, endpoint, work)
        if isinstance(work, Send) and not TOOLS[tool].compares:
            return partial(self._compare_and_send, endpoint, tool, work)
        return None

    def _by_boto3(self, endpoint: Endpoint, work: Fetch | Send) -> None:
        self._tell(by_boto3(endpoint.control(), work))

    def _compare_and_send(self, endpoint: Endpoint, tool: str, work: Send) -> None:
        """The tool sends whatever it reads, so the file is compared with its digest first."""
        damage = damage_of(work)
        if damage:
            self._tell(damage)
        else:
            self._by_mover(endpoint, tool, work)

    def _by_mover(self, endpoint: Endpoint, tool: str, *works: Fetch | Send) -> None:
        mover = self.movers.get(endpoint, tool)
        if mover:
            mover.submit(*works)
            return
        for work in works:
            self._tell(Outcome(work.id, Trouble.UNKNOWN, "the movers were closed"))

    def _failed(self, work: Fetch | Send, error: Exception) -> None:
        """Work that raised an unexpected exception must still get its outcome."""
        self._tell(Outcome(work.id, Trouble.OTHER, f"{type(error).__name__}: {error}"))


def by_boto3(control: Control, work: Fetch | Send) -> Outcome:
    """Move an object; blocks until it is done."""
    return control.fetch(work) if isinstance(work, Fetch) else control.send(work)


def damage_of(work: Send) -> Outcome | None:
    """The failure of a file that is about to be sent; None if it still has its proven digest."""
    if not work.digest:
        return None
    action = f"send {work.key!r}"
    try:
        found = etag.file_etag(work.path, work.part_size)
    except OSError as error:
        local = file_error(action, error)
        return Outcome(work.id, local.trouble, str(local))
    if found != work.digest.lower():
        return Outcome(work.id, Trouble.MISMATCH, str(rotten(action, work.digest, found)))
    return None
