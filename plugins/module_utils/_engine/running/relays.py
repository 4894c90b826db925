# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The switches of two units in two processes: what one unit sets and the other one reads is passed on.

Each process has switches of its own. An event that the other process waits for is a `Wake` or a `Flag` here, and a
plain event there; `stop` is passed on both ways.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..core import workers
from ..hops.switches import Switches

Tell = Callable[[str, object], None]  # the name of what changed, and its new value

STAGED = "staged"
SOURCE_DONE = "source_done"
SPACE = "space"
PUT_BACK = "put_back"
REFUSED = "refused"
STOP = "stop"


class Wake(threading.Event):
    """Wakes somebody in the other process; nobody waits for it in this one. Each `set` is passed on."""

    def __init__(self, name: str, tell: Tell) -> None:
        super().__init__()
        self._name = name
        self._tell = tell

    def set(self) -> None:
        self._tell(self._name, True)


class Flag(threading.Event):
    """A state that the other process reads. Changed by one thread; each change is passed on."""

    def __init__(self, name: str, tell: Tell) -> None:
        super().__init__()
        self._name = name
        self._tell = tell

    def set(self) -> None:
        if not self.is_set():
            super().set()
            self._tell(self._name, True)

    def clear(self) -> None:
        if self.is_set():
            super().clear()
            self._tell(self._name, False)


class SharedStop(workers.Stop):
    """A stop of both units. A signal handler may set it at any moment: `tell` must be reentrant."""

    def __init__(self, tell: Tell) -> None:
        super().__init__()
        self._tell = tell

    def set(self) -> None:
        is_first = not self.is_set()
        super().set()
        if is_first:
            self._tell(STOP, True)


def of_the_source(tell: Tell) -> Switches:
    """In the process of the source unit."""
    return Switches(stop=SharedStop(tell), staged=Wake(STAGED, tell), source_done=Flag(SOURCE_DONE, tell))


def of_the_destination(tell: Tell) -> Switches:
    """In the process of the destination unit."""
    return Switches(
        stop=SharedStop(tell), space=Wake(SPACE, tell), put_back=Flag(PUT_BACK, tell), refused=Flag(REFUSED, tell)
    )


def take(switches: Switches, name: str, value: object) -> None:
    """Apply to the switches of this process what the other one passed on; other names are ignored."""
    events = {
        STAGED: switches.staged,
        SOURCE_DONE: switches.source_done,
        SPACE: switches.space,
        PUT_BACK: switches.put_back,
        REFUSED: switches.refused,
        STOP: switches.stop,
    }
    event = events.get(name)
    if event is None:
        return
    if value:
        event.set()
    else:
        event.clear()
