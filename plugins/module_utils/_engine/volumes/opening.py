# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Opens a volume: checks that it is the right one, suitable, and owned by this ledger."""

from __future__ import annotations

import contextlib
import logging
import os
import threading

from ..config.job_file import Job
from ..config.job_file import Volume as VolumeConfig
from ..core.errors import LocalError, Trouble
from ..core.layout import OWN_FOLDER, record_path
from ..ledger.files import identities_put_aside
from ..ledger.ledger import Ledger
from .claims import Claim, Record, Whose, claim_of, look, read_record, refusal
from .clearing import clear_given_up
from .filesystem_check import NO_LIMIT, insist_on_fitness, largest_file
from .folders import Folders, names_held, open_folders
from .load import Load
from .marker import is_folder, read_marker, write_marker
from .medium import Medium, try_writing
from .open_volume import OpenVolume
from .ownership import Ownership

_log = logging.getLogger("snowsync.volumes")
_PATIENCE_SECONDS = 5.0  # how long to wait for a group of another process to be committed


def why_not(config: VolumeConfig, error: LocalError | OSError) -> str:
    """Why a volume could not be opened, for people."""
    if isinstance(error, LocalError):
        return str(error)
    return f"Failed to open volume {config.name} at {config.path}: {error.strerror}"


class VolumeOpening:
    """Opens volumes of a job for a ledger. `tells`: mark files on a volume that is back as suspect."""

    def __init__(self, job: Job, ledger: Ledger, *, tells: bool) -> None:
        self._job = job
        self._ledger = ledger
        self._tells = tells
        self._has_begun = False
        self._beginning = threading.Lock()  # volumes are opened by threads of their own

    def opened(self, config: VolumeConfig, *, writable: bool = True) -> OpenVolume:
        """Open it, for reading only if not `writable`. LocalError or OSError with the reason if it is unusable."""
        marker = self._marker(config)
        self._refuse_strangers(config, marker)
        folders = open_folders(config.path, self._job.job, make=writable)
        try:
            largest = self._largest_file(config, folders.incoming) if writable else NO_LIMIT
            claim = self._claim(config, folders, writable=writable)
            number = self._ledger.volumes.volume_id(config.name, marker["uuid"], str(config.path))
            self._recognize(config, number, folders, writable=writable)
            if writable:
                self._begin(claim, folders)
            if writable and self._tells:
                self._welcome(config.name, number)
        except BaseException:
            folders.close()
            raise
        ownership = Ownership(claim, folders, writable=writable)
        medium = Medium(config.path, marker["uuid"], folders, writable=writable)
        return OpenVolume(config, number, medium, folders, ownership, Load(largest_file=largest))

    @staticmethod
    def _largest_file(config: VolumeConfig, incoming: int) -> int:
        """The maximum file size in bytes. LocalError or OSError if it cannot store staged files."""
        try_writing(incoming)
        insist_on_fitness(incoming, f"use volume {config.name} at {config.path}")
        return largest_file(incoming)

    # -- the right one --------------------------------------------------------------------------------------------

    def _marker(self, config: VolumeConfig) -> dict[str, str]:
        action = f"use volume {config.name} at {config.path}"
        if not is_folder(config.path):
            raise LocalError(Trouble.IO, action, "there is no such directory; mount the disk or create the folder")
        if config.require_mount and not os.path.ismount(config.path):
            raise LocalError(
                Trouble.IO, action, "nothing is mounted there; mount the disk, or set require_mount: false for a folder"
            )
        marker = read_marker(config.path)
        if marker is None:
            known = self._ledger.volumes.known_volumes().get(config.name)
            if known:
                raise LocalError(
                    Trouble.IO,
                    action,
                    f"its marker (identity {known[1]}) is missing; mount the disk that has it",
                )
            marker = write_marker(config.path, config.name)
        return marker

    def _refuse_strangers(self, config: VolumeConfig, marker: dict[str, str]) -> None:
        """A wrong disk counts as a missing volume: the job waits for the right one and uses the others."""
        for name, (_number, identity) in self._ledger.volumes.known_volumes().items():
            if (name == config.name) != (identity == marker["uuid"]):
                raise LocalError(
                    Trouble.IO,
                    f"use volume {config.name} at {config.path}",
                    f"it has identity {marker['uuid']}, but the ledger knows {name} as {identity}:"
                    " mount the right disk there, or give the new disk a new volume name",
                )

    # -- whose files are there ------------------------------------------------------------------------------------

    def _claim(self, config: VolumeConfig, folders: Folders, *, writable: bool) -> Claim:
        """Our claim to the job's files there. LocalError if they are another ledger's: they are left alone."""
        claim = claim_of(self._job, self._ledger.volumes.identity(), self._ledger.recovery.newest_group())
        number, _identity = self._ledger.volumes.known_volumes().get(config.name, (0, ""))
        if look(self._job, folders.root, self._ledger.volumes, number)[0] is Whose.OURS:
            return claim
        # A takeover checks and records under one lock: nothing is staged there meanwhile.
        with names_held(folders.staged, _PATIENCE_SECONDS) if writable else contextlib.nullcontext():
            verdict, record = look(self._job, folders.root, self._ledger.volumes, number)
            if verdict is Whose.ANOTHERS:
                action = f"use volume {config.name} at {config.path}"
                raise LocalError(Trouble.IO, action, refusal(self._job, config.name, record))
            if verdict is Whose.FREE and writable:
                self._clear_given_up(config, record)
                claim.make(folders.root)
                _log.info("volume %s: files of job %s there now belong to this ledger", config.name, self._job.job)
        return claim

    def _clear_given_up(self, config: VolumeConfig, record: Record) -> None:
        """Remove what a ledger staged there if an operator has reset that ledger since."""
        if record.ledger in identities_put_aside(self._job.ledger_path):
            clear_given_up(self._job, config.name, config.path)

    def _recognize(self, config: VolumeConfig, number: int, folders: Folders, *, writable: bool) -> None:
        """Before a volume is used: detect a ledger that is older than the volume's record of it."""
        if not self._is_old(read_record(folders.root, self._job.job)):
            return
        with names_held(folders.staged, _PATIENCE_SECONDS) if writable else contextlib.nullcontext():
            record = read_record(folders.root, self._job.job)  # again: the other unit may have been first
            if record is None or not self._is_old(record):
                return
            where = f"{config.path}/{OWN_FOLDER}/{record_path(self._job.job)}"
            if self._ledger.recovery.distrust(number, where, record.counter, record.at_ms):
                _log.error(
                    "volume %s: the ledger of job %s is an older copy (the volume knows group %d): nothing is removed"
                    " there, every staged file is hashed, and the destination is checked before anything is sent",
                    config.name,
                    self._job.job,
                    record.counter,
                )

    def _begin(self, claim: Claim, folders: Folders) -> None:
        """Before anything is staged there, or sent: let the volume know that this start is part of the history."""
        with self._beginning:
            if not self._has_begun:
                self._ledger.recovery.begin()
                self._has_begun = True
        # If another process of this job holds the names for long, its own start is known there.
        with contextlib.suppress(BlockingIOError), names_held(folders.staged, _PATIENCE_SECONDS):
            claim.remember(folders.root, *self._ledger.recovery.newest_group(), durably=True)

    def _is_old(self, record: Record | None) -> bool:
        """Whether this is our ledger's record, and the ledger lacks a group that the volume knows."""
        if record is None or record.ledger != self._ledger.volumes.identity():
            return False
        return not self._ledger.recovery.knows_group(record.counter, record.at_ms)

    def _welcome(self, name: str, volume_id: int) -> None:
        """Before a volume that returned is used, its files are marked as suspect."""
        count = self._ledger.losses.returned(volume_id)
        if count:
            _log.info("volume %s is back: %d objects there will be hashed before they are sent", name, count)
