# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Checks whether a volume can be used now, in the thread of its disk, and reports why not."""

from __future__ import annotations

import contextlib
import logging
import time

from ..core.conditions import FAILED, READ_ONLY, word_of
from ..core.errors import LocalError, Trouble
from .job_volume import JobVolume
from .notices import VolumeNotices
from .open_volume import OpenVolume
from .opening import VolumeOpening, why_not

_log = logging.getLogger("snowsync.volumes")


class VolumeTrials:
    """`reads`: volumes that do not accept writes are also opened, for reading."""

    def __init__(self, opening: VolumeOpening, notices: VolumeNotices, *, reads: bool) -> None:
        self._opening = opening
        self._notices = notices
        self._reads = reads

    def of_absent(self, volume: JobVolume) -> OpenVolume | None:
        """Try an absent volume. None: it stays absent, and the reason is recorded."""
        try:
            return self._opened(volume)
        except (LocalError, OSError) as error:
            word, reason = word_of(error), why_not(volume.config, error)
            if isinstance(error, LocalError) and error.trouble is Trouble.UNSUPPORTED:
                volume.retries.rest_as_it_takes_no_writes(time.monotonic())
        if not self._reads and volume.absence != reason:  # a unit that reads from volumes reports what it waits for
            _log.warning("volume %s is not used: %s", volume.name, reason)
        volume.absence = reason
        self._notices.trouble(volume, word, reason)
        return self._only_read(volume) if self._reads and word in (READ_ONLY, FAILED) else None

    def _only_read(self, volume: JobVolume) -> OpenVolume | None:
        with contextlib.suppress(LocalError, OSError):
            opened = self._opening.opened(volume.config, writable=False)
            volume.retries.rest_as_it_takes_no_writes(time.monotonic())
            return opened
        return None

    def of_only_read(self, volume: JobVolume) -> OpenVolume | None:
        """Reopen a read-only volume if it accepts writes again; None while it does not."""
        volume.retries.rest_as_it_takes_no_writes(time.monotonic())
        try:
            return self._opened(volume)
        except (LocalError, OSError) as error:
            self._notices.trouble(volume, word_of(error), why_not(volume.config, error))
            return None

    def _opened(self, volume: JobVolume) -> OpenVolume:
        opened = self._opening.opened(volume.config)
        self._notices.no_trouble(volume)
        return opened

    def can_be_read(self, volume: JobVolume) -> bool:
        """False: its disk returns errors."""
        try:
            self._opening.opened(volume.config, writable=False).close()
        except (LocalError, OSError) as error:
            return word_of(error) != FAILED
        return True
