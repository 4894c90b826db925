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
    """Finds new and changed files in the drop folders of the open volumes."""

    def __init__(self, unit: SourceUnit) -> None:
        self._unit = unit
        self._told: set[tuple[str, str]] = set()

    def scan_until_settled(self) -> bool:
        """Scan; when not running for ever, wait for files that are still being written. False when stopped."""
        unit = self._unit
        while not unit.stopping:
            unsettled = self._scan()
            if not unsettled or unit.until == "forever":
                return True
            unit.ending.wait(min(1.0, unit.job.drop_settle))
        return False

    def _scan(self) -> int:
        """One walk over all drop folders. Returns how many files are too fresh to be taken."""
        unsettled = 0
        for volume in list(self._unit.volumes.open.values()):
            if volume.config.drop_path is None:
                continue
            try:
                for relative, status in _files(volume):
                    unsettled += self._look_at(volume, relative, status)
            except OSError as error:
                action = f"scan the drop folder of volume {volume.name}"
                self._unit.take_out(volume, str(LocalError(local_trouble(error), action, str(error.strerror))))
        return unsettled

    def _look_at(self, volume: OpenVolume, relative: str, status: os.stat_result) -> int:
        key, refusal = self._key(relative)
        if refusal:
            self._refuse(volume, relative, refusal)
            return 0
        modified_ms = status.st_mtime_ns // 1_000_000
        if self._unit.ledger.dropped(key) in _unchanged(status.st_size, modified_ms):
            return 0
        if time.time() - max(status.st_mtime, status.st_ctime) < self._unit.job.drop_settle:
            return 1
        self._stage(volume, relative, key, status)
        return 0

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

    def _stage(self, volume: OpenVolume, relative: str, key: str, status: os.stat_result) -> None:
        path = str(volume.config.path / str(volume.config.drop_folder) / relative)
        part_size = upload_part_size(status.st_size, self._unit.job.mover)
        digest = etag.file_etag(path, part_size)
        volume.sync()
        after = os.lstat(path)
        if (after.st_size, after.st_mtime_ns) != (status.st_size, status.st_mtime_ns):
            return  # written to while it was read: the next scan takes it
        listed = ListedObject(key, status.st_size, digest, status.st_mtime_ns // 1_000_000)
        headers = dump_headers(Headers(content_type=mimetypes.guess_type(relative)[0] or ""))
        refusal = self._unit.ledger.stage_dropped(listed, volume.id, part_size, headers, self._unit.run_id)
        if refusal:
            self._refuse(volume, relative, refusal)
            return
        self._unit.counters.moved(1, status.st_size)
        self._unit.switches.staged.set()


def _unchanged(size: int, modified_ms: int) -> set[tuple[int, int, int]]:
    """The ledger's answers that mean: this very file is known already (failed ones wait for a change or a new name)."""
    return {(size, modified_ms, state) for state in State if state is not State.PENDING}


def _files(volume: OpenVolume) -> Iterator[tuple[str, os.stat_result]]:
    """(path relative to the drop folder, lstat) of every regular file; links and special files are not followed."""
    base = str(volume.config.path / str(volume.config.drop_folder))
    if not volume.still_there() or not os.path.isdir(base):
        return
    for folder, directories, names in os.walk(base):
        directories.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            try:
                status = os.lstat(path)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(status.st_mode):
                yield os.path.relpath(path, base), status
