# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The tools that move objects: how to create a mover of each, and the properties of each tool.

The code of a tool is loaded with the first object for it: a run with nothing to move needs none.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..config.job_file import MoverSettings
from ..core.model import Fetch, Outcome, Send
from ..core.parts import PartMemory
from ..store.connections import NO_LIMIT, Lanes, lanes_within
from ..store.endpoint import Access
from .port import Mover

if TYPE_CHECKING:
    from .native.native_mover import NativeMover
    from .s5cmd.s5cmd_mover import S5cmdMover

NATIVE, S5CMD = "native", "s5cmd"
BOTO3 = "boto3"  # for objects that no mover supports; it is not a mover itself, see movers/blocking_work.py


@dataclass(frozen=True, slots=True)
class MoverSetup:
    """Settings and callbacks shared by all movers of one side of a job.

    `lanes` are those of the native mover, `memory` remembers the parts of large objects.
    """

    settings: MoverSettings
    direction: str
    lanes: Lanes | None
    memory: PartMemory
    on_outcomes: Callable[[Sequence[Outcome]], None]
    on_part: Callable[[int], None]
    on_room: Callable[[], None]
    on_error: Callable[[BaseException], None]

    def on_outcome(self, outcome: Outcome) -> None:
        """For a mover that tells outcomes one by one."""
        self.on_outcomes((outcome,))


@dataclass(frozen=True, slots=True)
class Tool:
    """A kind of mover. `make` gets the setup, the endpoint's access, and the descriptors of the volumes' folders.

    `keeps_its_start`: a running one keeps the descriptors and credentials that it was created with until it ends.
    `compares`: it never sends a file that no longer has its proven digest. `resumes`: it continues a large object where
    an earlier attempt ended.
    """

    make: Callable[[MoverSetup, Access, Sequence[int]], Mover]
    can_fetch: Callable[[Fetch], bool]
    can_send: Callable[[Send], bool]
    keeps_its_start: bool
    compares: bool
    resumes: bool

    def takes(self, work: Fetch | Send) -> bool:
        """Whether it supports this work."""
        return self.can_fetch(work) if isinstance(work, Fetch) else self.can_send(work)


def tool_of(settings: MoverSettings) -> str:
    """The tool that a job uses."""
    return NATIVE if settings.tool == "auto" else settings.tool


@functools.cache
def _native_mover() -> type[NativeMover]:
    from .native.native_mover import NativeMover

    return NativeMover


@functools.cache
def _s5cmd_mover() -> type[S5cmdMover]:
    from .s5cmd.s5cmd_mover import S5cmdMover

    return S5cmdMover


def _native(setup: MoverSetup, access: Access, _descriptors: Sequence[int]) -> Mover:
    """In this process, which has all descriptors, and passes them to its hands."""
    from .hands.hand_setup import usual_count
    from .hands.handed_mover import HandedMover

    count = setup.settings.processes
    count = usual_count(len(os.sched_getaffinity(0))) if count is None else count
    if count:
        return HandedMover(
            access.store,
            access.url,
            access.keys,
            setup.settings,
            count=count,
            direction=setup.direction,
            lanes=setup.lanes or lanes_within(setup.settings, NO_LIMIT, 1),
            on_outcomes=setup.on_outcomes,
            on_part=setup.on_part,
            on_room=setup.on_room,
            on_error=setup.on_error,
            memory=setup.memory,
            packing=access.packing,
            width=access.width,
        )
    return _native_mover()(
        access.store,
        access.url,
        access.keys,
        setup.settings,
        direction=setup.direction,
        on_outcome=setup.on_outcome,
        on_part=setup.on_part,
        on_room=setup.on_room,
        on_error=setup.on_error,
        lanes=setup.lanes,
        memory=setup.memory,
        packing=access.packing,
        width=access.width,
    )


def _s5cmd(setup: MoverSetup, access: Access, descriptors: Sequence[int]) -> Mover:
    return _s5cmd_mover()(
        access.store,
        access.url,
        access.keys,
        setup.settings,
        direction=setup.direction,
        pass_fds=descriptors,
        on_outcome=setup.on_outcome,
        on_error=setup.on_error,
    )


TOOLS = {
    NATIVE: Tool(
        _native,
        lambda work: _native_mover().can_fetch(work),
        lambda work: _native_mover().can_send(work),
        keeps_its_start=False,
        compares=True,
        resumes=True,
    ),
    S5CMD: Tool(
        _s5cmd,
        lambda work: _s5cmd_mover().can_fetch(work),
        lambda work: _s5cmd_mover().can_send(work),
        keeps_its_start=True,
        compares=False,
        resumes=False,
    ),
}
