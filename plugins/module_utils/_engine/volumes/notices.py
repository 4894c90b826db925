# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Reports the state of volumes to the ledger for other processes, each change once."""

from __future__ import annotations

import time
from collections.abc import Container, Iterable

from ..ledger.ledger import Ledger
from .job_volume import JobVolume


class VolumeNotices:
    """Reports to the ledger. `of_trouble`: also failures."""

    def __init__(self, ledger: Ledger, *, of_trouble: bool) -> None:
        self._ledger = ledger
        self._of_trouble = of_trouble

    def trouble(self, volume: JobVolume, word: str, reason: str) -> None:
        """A volume is READ_ONLY, FAILED or MISSING."""
        volume.has_trouble(word, time.monotonic())
        if not self._of_trouble or volume.told == (word, reason):
            return
        known = self._ledger.volumes.known_volumes().get(volume.name)
        if known:
            self._ledger.volumes.set_trouble(known[0], word, reason)
        else:
            self._ledger.volumes.note_unused(volume.name, word, reason)
        volume.told = (word, reason)

    def placing(self, volumes: Iterable[JobVolume], busy: Container[int]) -> None:
        """Which volumes something may be on its way to: those that take new objects, and the `busy`."""
        news = [
            (volume, opened.id, on)
            for volume in volumes
            if (opened := volume.open) and (on := not volume.is_draining or opened.id in busy) is not volume.placing
        ]
        if news:
            self._ledger.volumes.set_placing({number: on for _volume, number, on in news})
        for volume, _number, on in news:
            volume.placing = on
