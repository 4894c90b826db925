# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Drop folders: files that people put onto a volume become staged objects, where they lie.

A file counts once it has not changed for `drop_settle` seconds. Its digest is computed in one read, its filesystem is
synced, then the ledger says `staged`. The engine never writes into a drop folder; it deletes a file there only after
its delivery is proven, and not at all with `keep_staged`.
"""

from __future__ import annotations

import logging
import mimetypes
import os
import stat
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from . import etag
from .errors import LocalError, Trouble
from .ledger import Failure, Row, dump_headers
from .model import LONGEST_KEY, Headers, ListedObject, Origin, State
from .proof import upload_part_size
from .volumes import OpenVolume, local_trouble

if TYPE_CHECKING:
    from .source import SourceUnit

_log = logging.getLogger("snowsync.source")


class DropScanner:
    """Finds new and changed files in the drop folders of the open volumes. Used by one thread at a time."""

    def __init__(self, unit: SourceUnit) -> None:
        self._unit = unit
        self.unsettled = 0  # files that it waits for
        self._has_folders = any(volume.drop_folder for volume in unit.job.volumes)
        self._taken = 0
        self._next_scan = 0.0
        self._told: set[tuple[str, str]] = set()
        self._watched: dict[str, tuple[float, tuple[int, int]]] = {}

    def scan_until_settled(self) -> bool:
        """Scan; when not running for ever, wait for files that are still being written. False when stopped.

        One pass waits only until what lies there now could have settled.
        """
        unit = self._unit
        ends = time.monotonic() + unit.job.drop_settle + 1.0 if unit.until == "once" else float("inf")
        while not unit.stopping:
            unsettled = self._scan()
            if not unsettled or unit.until == "forever" or time.monotonic() > ends:
                self.unsettled = 0
                return True
            self.unsettled = unsettled
            unit.ending.wait(min(1.0, max(0.05, unit.job.drop_settle)))
        return False

    def scan_meanwhile(self) -> None:
        """Scan while the source's listing waits out an outage, as often as there are passes."""
        if time.monotonic() >= self._next_scan:
            self._scan()

    def took_more(self) -> bool:
        """Scan once more, when all else is done: whether something new was taken."""
        before = self._taken
        return self._has_folders and self.scan_until_settled() and self._taken != before

    def _scan(self) -> int:
        """One walk over all drop folders. Returns how many files are too fresh to be taken."""
        self._next_scan = time.monotonic() + self._unit.job.pass_interval
        unsettled = 0
        for number in list(self._unit.volumes.open) if self._has_folders else ():
            with self._unit.volumes.borrowed(number) as volumes:
                for volume in volumes:
                    unsettled += self._scan_volume(volume)
        return unsettled

    def _scan_volume(self, volume: OpenVolume) -> int:
        unsettled = 0
        unit = self._unit
        try:
            for relative, status in self._files(volume):
                if unit.stopping:
                    break
                unsettled += self._try(volume, relative, status)
        except OSError as error:
            action = f"scan the drop folder of volume {volume.name}"
            unit.take_out(volume, str(LocalError(local_trouble(error), action, str(error.strerror))))
        return unsettled

    def _try(self, volume: OpenVolume, relative: str, status: os.stat_result) -> int:
        """1 for a file that is too fresh. OSError when the volume is to blame."""
        try:
            return self._look_at(volume, relative, status)
        except FileNotFoundError:
            return 0  # withdrawn while we looked
        except OSError as error:
            if not volume.is_well():
                raise
            self._refuse(volume, relative, f"it cannot be read: {error.strerror}; let the engine's user read it")
            return 0

    def _files(self, volume: OpenVolume) -> Iterator[tuple[str, os.stat_result]]:
        """(path relative to the drop folder, lstat) of every regular file; links and special files are not followed."""
        if volume.config.drop_path is None or not volume.still_there():
            return
        base = str(volume.config.drop_path)

        def complain(error: OSError) -> None:
            if not volume.is_well():
                raise error
            if not isinstance(error, FileNotFoundError):
                folder = os.path.relpath(os.fsdecode(error.filename), base)
                self._refuse(
                    volume, folder, f"the folder cannot be read: {error.strerror}; let the engine's user read it"
                )

        for folder, directories, names in os.walk(base, onerror=complain):
            directories.sort()
            for name in sorted(names):
                path = os.path.join(folder, name)
                try:
                    status = os.lstat(path)
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(status.st_mode):
                    yield os.path.relpath(path, base), status
                else:
                    self._refuse(
                        volume, os.path.relpath(path, base), "it is no regular file; put the file itself there"
                    )

    def _look_at(self, volume: OpenVolume, relative: str, status: os.stat_result) -> int:
        key, refusal = self._key(relative)
        if refusal:
            self._refuse(volume, relative, refusal)
            return 0
        modified_ms = status.st_mtime_ns // 1_000_000
        if self._unit.ledger.dropped(key) in _unchanged(status.st_size, modified_ms):
            return 0
        if not self._is_settled(volume.dropped_path(relative), status):
            return 1
        refusal = self._unit.ledger.refuses_dropped(key, volume.id)  # before it is read for nothing
        if refusal:
            self._refuse(volume, relative, refusal)
            return 0
        return self._stage(volume, relative, key, status)

    def _is_settled(self, path: str, status: os.stat_result) -> bool:
        settle = self._unit.job.drop_settle
        age = time.time() - max(status.st_mtime, status.st_ctime)
        if age >= 0:
            self._watched.pop(path, None)
            return age >= settle
        # A time in the future says nothing (a camera's clock): the file is settled when it was seen unchanged so long.
        now, mark = time.monotonic(), (status.st_size, status.st_mtime_ns)
        since, seen = self._watched.get(path, (now, mark))
        if seen != mark:
            since = now
        self._watched[path] = (since, mark)
        return now - since >= settle

    def _key(self, relative: str) -> tuple[str, str]:
        try:
            relative.encode()
        except UnicodeEncodeError:
            return "", "its name is not valid UTF-8, which no S3 key may be; rename it"
        source = self._unit.job.source
        key = (source.prefix if source else "") + relative
        if len(key.encode()) > LONGEST_KEY:
            return "", f"its key would have more than {LONGEST_KEY} bytes; shorten its path"
        return key, ""

    def _refuse(self, volume: OpenVolume, relative: str, reason: str) -> None:
        if (volume.name, relative) in self._told:
            return
        self._told.add((volume.name, relative))
        name = relative.encode(errors="backslashreplace").decode()
        row = Row(0, name, 0, "", 0, 0, Origin.DROP, State.FAILED, volume.id, 0, "", "", 0, 0, 0)
        message = f"the dropped file {name!r} on volume {volume.name} was not taken: {reason}"
        failure = Failure(row, "source", Trouble.UNSUPPORTED, message, "left where it is")
        self._unit.ledger.record(failure)
        self._unit.note(failure)
        _log.error("%s", message)

    def _stage(self, volume: OpenVolume, relative: str, key: str, status: os.stat_result) -> int:
        """1 when it was written to while it was read: another scan takes it."""
        unit = self._unit
        path = volume.dropped_path(relative)
        part_size = upload_part_size(status.st_size, unit.job.mover)
        digest = etag.file_etag(path, part_size)
        volume.sync()
        after = os.lstat(path)
        if (after.st_size, after.st_mtime_ns) != (status.st_size, status.st_mtime_ns):
            return 1
        listed = ListedObject(key, status.st_size, digest, status.st_mtime_ns // 1_000_000)
        headers = dump_headers(Headers(content_type=mimetypes.guess_type(relative)[0] or ""))
        refusal = unit.ledger.stage_dropped(listed, volume.id, part_size, headers, unit.run_id)
        if refusal:
            self._refuse(volume, relative, refusal)
            return 0
        self._taken += 1
        unit.counters.moved(1, status.st_size)
        unit.switches.staged.set()
        return 0


def _unchanged(size: int, modified_ms: int) -> set[tuple[int, int, int]]:
    """The ledger's answers that mean: this very file is known already (failed ones wait for a change or a new name).

    A file that was released is there again because somebody put it there again.
    """
    known = (State.STAGED, State.DELIVERED, State.QUARANTINED, State.FAILED)
    return {(size, modified_ms, state) for state in known}
