# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Copies of staged files on another volume: written and hashed, synced, named, and recorded.

The steps and their order: evacuation.py.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from dataclasses import dataclass

from ..core import keys
from ..core.conditions import MISSING
from ..core.errors import LocalError, Trouble
from ..core.etag import PartDigests
from ..core.layout import evacuated_name
from ..ledger.ledger import Failure, Row
from ..ledger.ports import EvacuationLedger
from ..ledger.records import Tally
from ..volumes.open_volume import OpenVolume
from .evacuation_targets import EvacuationTargets

_log = logging.getLogger("snowsync.evacuate")
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Copy:
    """A proven copy on another volume that has no name in the staging tree yet."""

    row: Row
    target: OpenVolume


class Unreadable(Exception):
    """A read failed on the volume that is evacuated."""

    def __init__(self, cause: OSError) -> None:
        self.cause = cause
        super().__init__(str(cause))


class EvacuatedCopies:
    """Makes copies of what lies on a volume, and records them as the objects' new locations."""

    def __init__(self, job_name: str, ledger: EvacuationLedger, targets: EvacuationTargets) -> None:
        self._job_name = job_name
        self._ledger = ledger
        self._targets = targets
        self.refetched = Tally()  # could not be read, or was damaged

    # -- one object -------------------------------------------------------------------------------------------

    def make(self, source: OpenVolume, row: Row, target: OpenVolume) -> Copy | None:
        """A copy that has the object's digest; None if that failed, and the reason is handled."""
        if self._ledger.objects.row(row.id) != row:
            return None
        try:
            descriptor = os.open(staged_path(row), os.O_RDONLY | os.O_NOFOLLOW, dir_fd=source.folders.staged)
        except OSError as error:
            self._cannot_read(source, row, error)
            return None
        target.load.expect(row.size)
        try:
            found = pour(descriptor, row, target)
        except Unreadable as error:
            self._cannot_read(source, row, error.cause)
        except OSError as error:
            self._targets.cannot_take(target, row, error)
        else:
            if found == row.digest.lower():
                return Copy(row, target)
            self._is_damaged(source, row, found)
        finally:
            os.close(descriptor)
        target.load.expect_no_more(row.size)
        with contextlib.suppress(OSError):
            target.discard_evacuated(row.id)
        return None

    def _cannot_read(self, source: OpenVolume, row: Row, error: OSError) -> None:
        if self._ledger.objects.row(row.id) != row:
            return  # delivered and deleted, or replaced, meanwhile
        if source.medium.trouble() == MISSING:
            raise LocalError(Trouble.IO, f"evacuate volume {source.name} of job {self._job_name}", "it is now missing")
        if isinstance(error, FileNotFoundError):
            message = f"the staged file is gone (volume {source.name})"
            failure = Failure(row, "source", Trouble.MISMATCH, message, "fetched again", expected=row.digest)
            put_back = self._ledger.objects.retry(failure, delay_ms=0, count=False)
        else:
            message = f"it cannot be read on volume {source.name}: {error.strerror}"
            put_back = self._ledger.losses.leave_copy(Failure(row, "source", Trouble.IO, message, "fetched again"))
        if put_back:
            self.refetched += Tally(1, row.size)
            _log.warning("%r: %s", row.key, message)

    def _is_damaged(self, source: OpenVolume, row: Row, found: str) -> None:
        if self._ledger.objects.row(row.id) != row:
            return
        message = f"the staged file no longer has its digest (volume {source.name})"
        action = "quarantined and fetched again"
        failure = Failure(row, "source", Trouble.MISMATCH, message, action, expected=row.digest, found=found)
        if self._ledger.objects.retry(failure, delay_ms=0, count=False):
            self.refetched += Tally(1, row.size)
            _log.warning("%r: %s", row.key, message)
            self._ledger.copies.has_quarantined(row.id, source.id)
            with contextlib.suppress(OSError):  # swept when it is writable again
                source.staged_to_quarantine(staged_path(row), row.id, row.generation)

    # -- committing -------------------------------------------------------------------------------------------

    def commit(self, target: OpenVolume, copies: list[Copy]) -> Tally:
        """Give the copies on one volume their names, and record them there; returns what was moved."""
        started = time.monotonic()
        moved: list[Row] = []
        try:
            target.sync()
            target.load.pace.learn(sum(copy.row.size for copy in copies), time.monotonic() - started)
            with target.names_held():
                notes = self._ledger.moves.intend(target.id, [copy.row for copy in copies])
                named, problem = self._publish(target, copies)
                moved = self._ledger.moves.commit_moved([copy.row for copy in named], target.id, notes)
        except OSError as error:
            problem = error
        for row in moved:
            self._targets.occupies(target, row.size)
        for copy in copies:
            target.load.expect_no_more(copy.row.size)
            with contextlib.suppress(OSError):  # copies without a name; else swept by the next evacuation to it
                target.discard_evacuated(copy.row.id)
        if problem:
            self._targets.cannot_write(target, problem)
        return Tally(len(moved), sum(row.size for row in moved))

    @staticmethod
    def _publish(target: OpenVolume, copies: list[Copy]) -> tuple[list[Copy], OSError | None]:
        """Give the copies their names, durably, up to the first one that fails; returns these and the error."""
        directories, named = set(), []
        problem: OSError | None = None
        for copy in copies:
            path = staged_path(copy.row)
            try:
                directories.add(target.publish(evacuated_name(copy.row.id), path))
            except FileNotFoundError:
                continue  # its volume was cleared meanwhile: it is copied again
            except OSError as error:  # each directory of the name needs an inode
                target.directories.prune([os.path.dirname(path)])
                problem = error
                break
            named.append(copy)
        target.directories.sync(directories)
        return named, problem


def pour(descriptor: int, row: Row, target: OpenVolume) -> str:
    """Copy an open file; returns the digest of what was read. OSError when the target fails."""
    digests = PartDigests(row.part_size)
    name = evacuated_name(row.id)
    target.discard_evacuated(row.id)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    copy = os.open(name, flags, 0o600, dir_fd=target.folders.incoming)
    with open(copy, "wb", buffering=0) as stream:
        while True:
            try:
                chunk = os.read(descriptor, _CHUNK)
            except OSError as error:
                raise Unreadable(error) from error
            if not chunk:
                return digests.etag()
            digests.update(chunk)
            view = memoryview(chunk)
            while view:
                view = view[stream.write(view) or 0 :]


def staged_path(row: Row) -> str:
    """The name of its file in a staging tree."""
    return keys.to_path(row.key, row.generation)
