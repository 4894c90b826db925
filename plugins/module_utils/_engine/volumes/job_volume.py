# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""One volume of a job as it comes and goes: all that is known of it, and what follows from that.

Nothing here asks a disk or the ledger: VolumeSet does, and says here what it learned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..config.job_file import Volume as VolumeConfig
from ..core.conditions import FAILED, MISSING
from .disk_calls import DiskCalls, Silent
from .open_volume import OpenVolume

STUCK_SECONDS = 20.0  # a disk that takes so long for one call gets nothing more meanwhile, if there is another one
SILENT_SECONDS = 30.0  # a disk that answers nothing for so long is out of use until it does
UNREADABLE_SECONDS = 60.0  # a volume that answers with errors so long is not waited for
_READING_REST = 30.0  # seconds between two trials whether a volume that is only read from takes writes again
_LONGEST_REST = 900.0  # seconds before a volume that fails again and again is tried once more
_TRUSTED_SECONDS = 600.0  # a volume that worked so long failed for a new reason


@dataclass(slots=True, eq=False)
class JobVolume:
    """A volume that the job names. `open` and `absence` are changed under the lock of its VolumeSet."""

    config: VolumeConfig
    disk: DiskCalls = field(init=False)
    number: int = 0  # the ledger's; 0 while it knows none
    open: OpenVolume | None = None
    absence: str = "not looked at yet"  # why it is not in use; "" while it is
    failures: int = 0  # so often it failed soon after it came into use, the last time among them
    rest_until: float = 0.0  # it is not tried before
    failing_since: float | None = None  # since then it has answered with errors
    is_draining: bool = False  # nothing new is placed there
    told: tuple[str, str] | None = None  # word and reason of the trouble that the ledger knows of
    placing: bool | None = None  # what the ledger knows: whether something may be on its way there

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
        """Whether it is time to open it, or to see whether one that is only read from takes writes again."""
        return now >= self.rest_until and (self.open is None or not self.open.writable)

    @property
    def is_coming(self) -> bool:
        """Whether it may be in use in a moment: its disk is asked, and has not taken very long yet."""
        return self.open is None and 0.0 < self.disk.silent_for < STUCK_SECONDS

    def for_new(self) -> OpenVolume | None:
        """The volume in use, where new objects may go to it."""
        opened = self.open
        return opened if opened and opened.writable and not self.is_draining else None

    # -- trouble ----------------------------------------------------------------------------------------------

    def rest_as_it_failed(self, now: float, worked: float) -> None:
        """It failed after it had worked for so many seconds. Who fails again soon rests longer."""
        failures = self.failures if worked < _TRUSTED_SECONDS else 0
        self.failures = failures + 1
        self.rest_until = now + min(_LONGEST_REST, 2.0**failures)

    def rest_as_it_takes_no_writes(self, now: float) -> None:
        self.rest_until = now + _READING_REST

    def has_trouble(self, word: str, now: float) -> None:
        """It is READ_ONLY, FAILED or MISSING now."""
        if word != FAILED:
            self.failing_since = None
        elif self.failing_since is None:
            self.failing_since = now

    def has_no_trouble(self) -> None:
        """It takes writes: whatever comes next is new trouble."""
        self.told = self.failing_since = None

    def is_to_be_read_now(self, now: float) -> bool:
        """Whether it is time to see if one that has failed for a while can at least be read."""
        if self.open is not None or self.failing_since is None or now - self.failing_since < UNREADABLE_SECONDS:
            return False
        self.failing_since = now  # looked at again after as long a time
        return True

    @property
    def why_only_read(self) -> str:
        return self.told[1] if self.told else "it takes no writes"


def loss(word: str) -> tuple[str, str]:
    """(word, reason) of a volume in use whose disk says `word` of it; ("", "") where it is there."""
    if word == MISSING:
        return word, "its marker is no longer there: unmounted?"
    return word, "its disk answers with errors" if word else ""


def loss_in_silence(silence: Silent) -> tuple[str, str]:
    """The same of one whose disk does not answer."""
    return ("", "") if silence.seconds < SILENT_SECONDS else (MISSING, why_silent(silence))


def why_silent(silence: Silent) -> str:
    return f"its disk does not answer: {silence}"


def stuck(waits: Mapping[int, float], there: set[int]) -> set[int]:
    """Those of the volumes `there` that somebody has waited for very long (seconds), while others answer."""
    found = {number for number, seconds in waits.items() if seconds >= STUCK_SECONDS}
    return found & there if there - found else set()
