# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""When a dropped file may be taken: once it has not changed for `drop_settle` seconds.

If the kernel does not tell who is writing (see volumes/open_writers.py), the file must have been seen unchanged for
that long, in at least two looks.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from ....volumes.file_identity import Identity
from ....volumes.open_writers import Writer


@dataclass(frozen=True, slots=True)
class Sighting:
    """A file that was seen unchanged since `since` (time.monotonic()), in `looks` looks."""

    identity: Identity
    since: float
    looks: int = 1

    def again(self, identity: Identity, now: float) -> Sighting:
        same = identity == self.identity
        return Sighting(identity, self.since, self.looks + 1) if same else Sighting(identity, now)


def is_settled(sighting: Sighting, writer: Writer, now: float, clock: float, settle: float) -> bool:
    """Whether a file may be taken at `now` (monotonic) and `clock` (Unix time), after `settle` seconds.

    The file's own times count only if it is certain that nobody is writing to it, and not if they are in the future.
    """
    settle = max(settle, sighting.identity.granularity)
    watched = now - sighting.since
    if writer is Writer.NOBODY:
        age = clock - sighting.identity.changed_ns / 1e9
        return max(age if age >= 0 else 0.0, watched) >= settle
    return writer is Writer.UNKNOWN and sighting.looks > 1 and watched >= settle


class Sightings:
    """What the previous scan and this one saw of files that were not taken. Used by the scanner's thread.

    A file is given by the number of its volume and its path in the drop folder; `settle` in seconds.
    """

    def __init__(self, settle: float) -> None:
        self._settle = settle
        self._watched: dict[tuple[int, str], Sighting] = {}  # by the previous scan
        self._seen: dict[tuple[int, str], Sighting] = {}  # by this scan

    def is_settled(self, place: tuple[int, str], identity: Identity, writer: Writer) -> bool:
        """Whether a file that is seen now may be taken."""
        now = time.monotonic()
        before = self._watched.get(place)
        sighting = before.again(identity, now) if before else Sighting(identity, now)
        self._seen[place] = sighting
        return is_settled(sighting, writer, now, time.time(), self._settle)

    def end_scan(self) -> None:
        """Forget files that this scan did not see."""
        self._watched, self._seen = self._seen, {}
