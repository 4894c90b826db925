# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The native mover with hands: small objects go to processes of their own, large ones stay in this process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

from ...config.credentials import Keys
from ...config.job import MoverSettings, Store
from ...core import workers
from ...core.errors import Trouble
from ...core.model import Fetch, Outcome, Send
from ...core.parts import PartMemory
from ...store.connections import NO_LIMIT, Lanes
from ...store.encodings import PACKED, Packing
from ...store.width import Width
from ..native.division import Change
from ..native.lane_shares import LaneShares
from ..native.native_mover import NativeMover
from .channel import Message
from .hand_keys import say_keys
from .hand_process import HandProcess
from .hand_setup import hand_count, setup_message
from .hands import Hands
from .messages import BEAT, FAILED, FITS, LOOK, OUTCOMES, SLOWED, WIDTHS, read_outcome
from .volume_room import VolumeRoom

_log = logging.getLogger("snowsync.native")


class Renewals:
    """The keys of an endpoint, which `say` passes on to the hands when they change."""

    def __init__(self, keys: Keys, say: Callable[[Message], object]) -> None:
        self._keys = keys
        self._say = say
        self._said = keys.current()

    def pass_on(self) -> None:
        """Cheap as long as nothing changed."""
        current = self._keys.current()
        if current is not self._said:
            self._said = current
            self._say(self.message())

    def look(self) -> None:
        """Look at once: a hand's request was rejected. It waits for an answer, which goes to all."""
        self._keys.look()
        self._said = self._keys.current()
        self._say(self.message())

    def message(self) -> Message:
        return say_keys(self._said, may_change=self._keys.may_change())


class HandedMover:
    """A `Mover` with `count` hands, for small objects. Otherwise as `NativeMover`, and so it is when no hand starts.

    `on_outcomes` gets what was told together.
    """

    def __init__(
        self,
        store: Store,
        endpoint: str,
        keys: Keys,
        settings: MoverSettings,
        *,
        count: int,
        direction: str,
        lanes: Lanes,
        on_outcomes: Callable[[Sequence[Outcome]], None],
        on_part: Callable[[int], None] = lambda object_id: None,
        on_room: Callable[[], None] = lambda: None,
        on_error: Callable[[BaseException], None] = workers.tell,
        memory: PartMemory | None = None,
        packing: Packing | None = None,
        width: Width | None = None,
    ) -> None:
        self._is_large = settings.is_large
        self.is_closed = False
        self._packing = packing or Packing()
        self._on_outcomes = on_outcomes
        self._own = NativeMover(
            store,
            endpoint,
            keys,
            settings,
            direction=direction,
            on_outcome=lambda outcome: on_outcomes((outcome,)),
            on_part=on_part,
            on_room=on_room,
            on_error=on_error,
            lanes=Lanes((1,) * len(lanes.small), lanes.large),  # while there are hands, it has no small ones
            memory=memory,
            packing=self._packing,
        )
        count = hand_count(lanes.small, count)
        shares = LaneShares(width or _fixed(lanes), len(lanes.small), self._apply, least=count)
        # More than its queues in one process would hold: the way to a hand and back is longer.
        self._room = VolumeRoom(8 * settings.workers if direction == "fetch" else NO_LIMIT, on_room, shares)

        def make(number: int) -> HandProcess:
            first = setup_message(
                store,
                endpoint,
                keys,
                settings,
                direction=direction,
                place=(number, count),
                widths=(WIDTHS, *shares.now, shares.volumes),
                packing=self._packing,
            )
            name = f"hand-{direction}-{number}"
            return HandProcess(name, first, hears=self._hears, lost=self._lost, on_error=on_error)

        self._hands = Hands(count, make)
        self._renewals = Renewals(keys, self._hands.say)

    @property
    def in_flight(self) -> int:
        """How many pieces of work have no outcome yet."""
        return self._own.in_flight + self._hands.in_flight

    @property
    def traffic(self) -> int:
        """Approximate bytes moved so far."""
        return self._own.traffic + self._hands.traffic

    def has_room(self, volume: int) -> bool:
        """Whether small work on this volume would be accepted without blocking; if not, `on_room` is called later."""
        return self._room.has_room(volume) and self._own.has_room(volume)

    def submit(self, *works: Fetch | Send) -> None:
        """Submit work on one volume; blocks while that has too many small fetches."""
        small = [work for work in works if not self._is_in_parts(work)]
        if small:
            self._renewals.pass_on()
            self._room.take(small[0].volume, len(small))
            left = self._hands.give(*small)
            self._room.give_back([work.volume for work in left])
            self._own.submit(*left)
        if len(small) < len(works):
            self._own.submit(*(work for work in works if self._is_in_parts(work)))

    def _is_in_parts(self, work: Fetch | Send) -> bool:
        return self._is_large(work.size) or (isinstance(work, Send) and work.part_size != 0)

    def close(self) -> None:
        """Interrupt everything; work in flight gets UNKNOWN."""
        self.is_closed = True
        self._hands.kill()
        self._room.close()
        self._own.close()
        self._hands.join()

    def _apply(self, change: Change, volumes: tuple[int, ...]) -> Iterable[object]:
        """Let the lanes of all hands have their shares. Returns who has connections."""
        self._room.capacity = max(self._room.capacity, 2 * sum(change.shares))
        if not self._hands.are_useless:
            return self._hands.say((WIDTHS, *change, volumes))
        self._own.set_widths(change.shares, volumes, lambda: self._room.shares.fits(self._own, change.number))
        return (self._own,)

    # -- in the threads of the hands --------------------------------------------------------------------------------

    def _hears(self, hand: HandProcess, messages: Sequence[Message]) -> None:
        outcomes = {message[1]: message for message in messages if message[0] in OUTCOMES}
        ended = hand.given.ended(list(outcomes))
        if ended:
            self._hands.has_told()
            moved = sum(work.size for work in ended if outcomes[work.id][0] != FAILED)
            self._room.give_back([work.volume for work in ended], moved)
            self._on_outcomes([read_outcome(outcomes[work.id]) for work in ended])
        for message in messages:
            if message[0] == LOOK:
                self._renewals.look()
            elif message[0] == BEAT and message[2]:
                self._packing.welcome = PACKED
            elif message[0] == FITS:
                self._room.shares.fits(hand, message[1])
            elif message[0] == SLOWED:
                self._room.shares.slowed()

    def _lost(self, hand: HandProcess, left: list[Fetch | Send], why: str) -> None:
        are_useless = self._hands.has_ended(hand)
        if not self.is_closed:
            _log.warning("a process of the mover ended (%s: %s); its %d objects are checked", hand.name, why, len(left))
            if are_useless:
                _log.error("no further process is started for small objects: the unit moves them itself")
        why = "the mover was closed" if self.is_closed else f"a process of the mover ended: {why}"
        self._room.give_back([work.volume for work in left])
        self._room.shares.gone(hand)
        if are_useless:
            self._apply(self._room.shares.now, self._room.shares.volumes)
        if left:
            self._on_outcomes([Outcome(work.id, Trouble.UNKNOWN, why) for work in left])


def _fixed(lanes: Lanes) -> Width:
    """As many as there are, whatever comes of it."""
    return Width(sum(lanes.small), sum(lanes.small))
