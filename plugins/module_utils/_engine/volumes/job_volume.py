# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The state of one volume of a job, which may come and go, and the decisions that follow from it.

Nothing here accesses a disk or the ledger: VolumeSet does, and records the results here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..config.job_file import Volume as VolumeConfig
from ..core.conditions import FAILED, MISSING
from .disk_calls import DiskCalls, Silent
from .open_volume import OpenVolume

STUCK_SECONDS = 20.0  # a disk that needs this long for one call gets no new work meanwhile, if there is another one
SILENT_SECONDS = 30.0  # a disk that does not respond for this long is out of use until it does
UNREADABLE_SECONDS = 60.0  # a volume that returns errors for this long is no longer waited for
_READING_REST = 30.0  # seconds between two checks whether a read-only volume accepts writes again
_LONGEST_REST = 900.0  # maximum backoff in seconds before a volume that keeps failing is tried again
_TRUSTED_SECONDS = 600.0  # after working for this long, a failure resets the backoff


@dataclass(slots=True)
class Retries:
    """When a volume is tried again that is not in use, or does not accept writes. Times are those of `monotonic`."""

    rest_until: float = 0.0  # not tried before this time
    _failures: int = 0  # consecutive failures soon after it came into use, including the last one
    _failing_since: float | None = None  # since when it has returned errors

    def rest_as_it_failed(self, now: float, worked: float) -> None:
        """It failed after it had worked for `worked` seconds. The backoff grows if it soon fails again."""
        failures = self._failures if worked < _TRUSTED_SECONDS else 0
        self._failures = failures + 1
        self.rest_until = now + min(_LONGEST_REST, 2.0**failures)

    def rest_as_it_takes_no_writes(self, now: float) -> None:
        self.rest_until = now + _READING_REST

    def has_trouble(self, word: str, now: float) -> None:
        """It is READ_ONLY, FAILED or MISSING now."""
        if word != FAILED:
            self._failing_since = None
        elif self._failing_since is None:
            self._failing_since = now

    def has_no_trouble(self) -> None:
        """It accepts writes: any later failure is a new one."""
        self._failing_since = None

    def is_to_be_read_now(self, now: float) -> bool:
        """Whether it is time to check if one that has failed for a while can at least be read. Asked: it is checked."""
        if self._failing_since is None or now - self._failing_since < UNREADABLE_SECONDS:
            return False
        self._failing_since = now  # checked again after the same time
        return True


@dataclass(slots=True, eq=False)
class JobVolume:
    """A configured volume. `open` is changed under the lock of VolumesInUse."""

    config: VolumeConfig
    disk: DiskCalls = field(init=False)
    number: int = 0  # the ledger's number; 0 while it has none
    open: OpenVolume | None = None
    absence: str = "not checked yet"  # why it is not in use; "" while it is
    is_draining: bool = False  # nothing new is placed there
    retries: Retries = field(default_factory=Retries)

    def __post_init__(self) -> None:
        self.disk = DiskCalls(self.config.name)

    @property
    def name(self) -> str:
        return self.config.name

    def comes(self, opened: OpenVolume) -> None:
        self.number, self.open, self.absence = opened.id, opened, ""

    def goes(self, reason: str) -> None:
        self.open, self.absence = None, reason

    def is_to_be_tried(self, now: float) -> bool:
        """Whether it is time to open it, or to check whether a read-only volume accepts writes again."""
        return now >= self.retries.rest_until and (self.open is None or not self.open.medium.writable)

    def is_to_be_read_now(self, now: float) -> bool:
        """Whether it is time to check if it can be read: it is not in use, and has failed for a while."""
        return self.open is None and self.retries.is_to_be_read_now(now)

    @property
    def is_coming(self) -> bool:
        """Whether it may soon be in use: a call to its disk is pending, and not stuck yet."""
        return self.open is None and 0.0 < self.disk.silent_for < STUCK_SECONDS

    def for_new(self) -> OpenVolume | None:
        """The open volume, if new objects may be placed there."""
        opened = self.open
        return opened if opened and opened.medium.writable and not self.is_draining else None


def loss(word: str) -> tuple[str, str]:
    """(word, reason) for a volume in use whose disk is in condition `word`; ("", "") if it is present."""
    if word == MISSING:
        return word, "its marker is gone: unmounted?"
    return word, "its disk returns errors" if word else ""


def loss_in_silence(silence: Silent) -> tuple[str, str]:
    """The same for a volume whose disk does not respond."""
    return ("", "") if silence.seconds < SILENT_SECONDS else (MISSING, why_silent(silence))


def why_silent(silence: Silent) -> str:
    return f"its disk does not respond: {silence}"


def stuck(waits: Mapping[int, float], there: set[int]) -> set[int]:
    """The volumes of `there` that a thread has waited for too long (seconds), while others respond."""
    found = {number for number, seconds in waits.items() if seconds >= STUCK_SECONDS}
    return found & there if there - found else set()
