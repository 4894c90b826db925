# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Reports the state of volumes to the ledger for other processes, each change once."""

from __future__ import annotations

import time
from collections.abc import Container, Iterable

from ..ledger.ledger import Ledger
from .job_volume import JobVolume
from .open_volume import OpenVolume


class VolumeNotices:
    """Reports to the ledger, and remembers by volume name what it reported. `of_trouble`: also failures."""

    def __init__(self, ledger: Ledger, *, of_trouble: bool) -> None:
        self._ledger = ledger
        self._of_trouble = of_trouble
        self._told: dict[str, tuple[str, str]] = {}  # the condition and reason that the ledger knows
        self._placing: dict[str, bool] = {}  # as known to the ledger: whether something may be in flight to it

    def trouble(self, volume: JobVolume, word: str, reason: str) -> None:
        """A volume is READ_ONLY, FAILED or MISSING."""
        volume.retries.has_trouble(word, time.monotonic())
        if not self._of_trouble or self._told.get(volume.name) == (word, reason):
            return
        known = self._ledger.volumes.known_volumes().get(volume.name)
        if known:
            self._ledger.volumes.set_trouble(known[0], word, reason)
        else:
            self._ledger.volumes.note_unused(volume.name, word, reason)
        self._told[volume.name] = (word, reason)

    def no_trouble(self, volume: JobVolume) -> None:
        """A volume accepts writes: any later trouble is news. Whoever opened it has told the ledger."""
        volume.retries.has_no_trouble()
        self._told.pop(volume.name, None)

    def why_only_read(self, volume: OpenVolume) -> str:
        word_and_reason = self._told.get(volume.name)
        return word_and_reason[1] if word_and_reason else "it does not accept writes"

    def placing(self, volumes: Iterable[JobVolume], busy: Container[int]) -> None:
        """Which volumes something may be on its way to: those that take new objects, and the `busy`."""
        news = [
            (volume, opened.id, on)
            for volume in volumes
            if (opened := volume.open)
            and (on := not volume.is_draining or opened.id in busy) is not self._placing.get(volume.name)
        ]
        if news:
            self._ledger.volumes.set_placing({number: on for _volume, number, on in news})
        for volume, _number, on in news:
            self._placing[volume.name] = on
