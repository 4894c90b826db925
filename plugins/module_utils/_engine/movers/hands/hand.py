# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The program of a hand: it moves the small objects that its parent gives it, and tells their outcomes.

It ends with its parent, and has nothing worth keeping: what it has not told is unknown.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...config.job import MoverSettings, Store
from ...core import machine, workers
from ...core.model import Fetch, Send
from ...store.connections import NO_LIMIT, Lanes
from ...store.encodings import PACKED, PLAIN, Packing
from ..native.native_mover import NativeMover
from .channel import Channel, Message
from .hand_keys import HandKeys
from .hand_setup import hand_widths
from .messages import BEAT, FETCH, FITS, FOLDER, KEYS, SEND, SETUP, SLOWED, WIDTHS, read_work, say_looks, say_outcome
from .outbox import Outbox, ParentLog


class Hand:
    """Carries out what arrives on the channel. `setup` is the mapping that `hand_setup.py` describes."""

    def __init__(self, channel: Channel, setup: Mapping[str, Any]) -> None:
        self._channel = channel
        self._outbox = Outbox(channel, beat=self._beat, is_busy=self._is_busy)
        self._packing = Packing()
        self._packing.welcome = PACKED if setup["packs"] else PLAIN
        self._keys = HandKeys(setup["keys"], self._outbox.add)
        self._folders: dict[int, int] = {}  # by the parent's number: the duplicate here
        self._place: tuple[int, int] = setup["place"]
        self._mover = self._made_mover(setup)
        self._mover.set_widths(*self._widths(setup["widths"]))
        logging.getLogger("snowsync").addHandler(ParentLog(self._outbox))
        logging.getLogger("snowsync").setLevel(setup["log_level"])

    def _made_mover(self, setup: Mapping[str, Any]) -> NativeMover:
        store = Store(**setup["store"], ca_bundle=Path(setup["ca_bundle"]) if setup["ca_bundle"] else None)
        return NativeMover(
            store,
            setup["endpoint"],
            self._keys,
            MoverSettings(**setup["settings"]),
            direction=setup["direction"],
            on_outcome=lambda outcome: self._outbox.add(say_outcome(outcome)),
            on_slow=lambda: self._outbox.add((SLOWED,)),
            on_error=_end_with,
            lanes=Lanes(small=self._widths(setup["widths"])[0], large=(1,)),
            packing=self._packing,
            capacity=NO_LIMIT,  # the parent limits what a hand has
        )

    def serve(self, messages: Sequence[Message]) -> None:
        """These first, then what arrives, until the parent is gone."""
        workers.start(self._outbox.run, "outbox", _end_with)
        received: Sequence[Message] | None = messages
        while received is not None:
            works = [work for message in received if (work := self._taken(message))]
            if works:
                self._mover.submit(*works)
            self._outbox.wake()
            received = self._channel.receive()

    def _taken(self, message: Message) -> Fetch | Send | None:
        """The work that this message is; any other is acted upon."""
        kind = message[0]
        if kind in (FETCH, SEND):
            return read_work(message, self._folders)
        if kind == FOLDER:
            self._folders[message[1]] = self._channel.take_descriptor()
        elif kind == KEYS:
            self._keys.take(message)
        elif kind == WIDTHS:
            self._mover.set_widths(*self._widths(message))
        return None

    def _widths(self, message: Message) -> tuple[tuple[int, ...], tuple[int, ...], Callable[[], None]]:
        """What `set_widths` takes."""
        _kind, number, widths, volumes = message
        return hand_widths(widths, *self._place), volumes, lambda: self._outbox.add((FITS, number))

    def _beat(self) -> Message:
        busy = [look for look in workers.looks(time.monotonic()) if look.doing is not workers.Doing.IDLE]
        return BEAT, self._mover.traffic, self._packing.welcome == PACKED, say_looks(busy)

    def _is_busy(self) -> bool:
        return self._mover.in_flight > 0


def _end_with(_error: BaseException) -> None:
    """The parent finds out that this process ended, and looks at what it had."""
    os._exit(1)


def main() -> None:
    """`argv`: the number of the channel's descriptor, and the parent's process id."""
    machine.end_with(int(sys.argv[2]))
    for number in (signal.SIGINT, signal.SIGTERM):  # the parent decides
        signal.signal(number, signal.SIG_IGN)
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    first = channel.receive()
    if first and first[0][0] == SETUP:
        Hand(channel, first[0][1]).serve(first[1:])
    os._exit(0)
