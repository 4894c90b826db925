# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The condition of a volume in one word, and the word for an error of its filesystem. No side effects."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field

from .errors import LocalError, Trouble

IN_USE = "in use"
DRAINING = "draining"  # nothing new is placed there; staged objects are delivered
DRAINED = "drained"  # nothing of the job is left there, and nothing is in flight to it
READ_ONLY = "read-only"  # objects are delivered from it; nothing is placed or deleted there
FAILED = "failed"  # it is present but returns errors
MISSING = "missing"  # not mounted, absent, or another disk is there: it may come back unchanged
WORDS = (IN_USE, DRAINING, DRAINED, READ_ONLY, FAILED, MISSING)
UNAVAILABLE = (FAILED, MISSING)
OUT_OF_FILES = "its inodes are nearly used up"  # it is full, however many bytes are free

# Errors for a broken medium or filesystem, as opposed to something that is merely absent.
_BROKEN = frozenset(
    {
        errno.EIO,
        errno.EUCLEAN,  # ext4 and xfs: the filesystem's own structures are damaged
        errno.EBADMSG,  # a checksum of theirs is wrong
        errno.ENODATA,  # the medium cannot read a sector
        errno.EILSEQ,  # its protection information is wrong
        errno.EREMOTEIO,
        errno.ENXIO,
        errno.ENODEV,
        errno.ENOMEDIUM,
        errno.ESHUTDOWN,  # xfs and ext4 after they gave up
        errno.ETIMEDOUT,
    }
)


def word_of(error: BaseException) -> str:
    """The condition that an error of a volume's filesystem means: READ_ONLY, FAILED or MISSING."""
    if isinstance(error, LocalError) and error.trouble is Trouble.UNSUPPORTED:
        return READ_ONLY  # it cannot hold staged files; what is already there is delivered
    cause = error if isinstance(error, OSError) else error.__cause__
    number = cause.errno if isinstance(cause, OSError) else None
    if number == errno.EROFS:
        return READ_ONLY
    return FAILED if number in _BROKEN else MISSING


@dataclass(frozen=True, slots=True)
class Reported:
    """The last trouble that a unit reported of a volume, with its reason; '' for none.

    `units_run`: a unit is running that can withdraw that report.
    """

    trouble: str = ""
    reason: str = ""
    units_run: bool = False

    @property
    def is_unavailable(self) -> bool:
        """Whether the volume cannot be used according to this report, which still counts."""
        return self.trouble == FAILED or (self.trouble == MISSING and self.units_run)


@dataclass(frozen=True, slots=True)
class Drain:
    """Whether a volume is being drained (`is_on`), and how far that is.

    `is_empty`: the job needs nothing there. `is_awaited`: something may still be in flight to it.
    """

    is_on: bool = False
    is_empty: bool = True
    is_awaited: bool = False

    @property
    def is_over(self) -> bool:
        """Whether a draining volume has nothing of the job, and nothing in flight to it."""
        return self.is_on and self.is_empty and not self.is_awaited


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known about one volume at one moment: its present state, and what the ledger says.

    `absence` is MISSING or FAILED and `why` its reason, both '' for a volume that is present.
    """

    absence: str = ""
    why: str = ""
    reported: Reported = field(default_factory=Reported)
    is_read_only: bool = False
    is_out_of_files: bool = False
    drain: Drain = field(default_factory=Drain)


def condition(seen: Seen) -> tuple[str, str]:
    """(one of WORDS, the reason or '')."""
    if seen.absence:
        return seen.absence, seen.why
    if seen.reported.is_unavailable:
        return seen.reported.trouble, seen.reported.reason
    if seen.is_read_only or seen.reported.trouble == READ_ONLY:
        return READ_ONLY, seen.reported.reason or "its filesystem is read-only"
    if seen.drain.is_on:
        return (DRAINED if seen.drain.is_over else DRAINING), ""
    return IN_USE, (OUT_OF_FILES if seen.is_out_of_files else "")
