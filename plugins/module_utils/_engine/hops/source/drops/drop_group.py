# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Dropped files become staged in groups: one sync, one read of each through one descriptor, one transaction."""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ....core.header_text import dump_headers
from ....core.model import MIB, Headers, ListedObject
from ....core.part_md5s import joined
from ....ledger.drops import Dropped
from ....ledger.source_ports import SourceDrops
from ....proofs.proof import upload_part_size
from ....volumes import open_volume
from ....volumes.file_identity import Identity, digests_of
from ....volumes.open_volume import OpenVolume
from ....volumes.open_writers import Writer, WriterWatch
from ...counters import Counters
from ...crew import Crew
from ...switches import Switches
from .drop_refusals import DropRefusals

if TYPE_CHECKING:
    from ....config.job_file import MoverSettings

# The files of a group stay open, and their writers wait, until the group is hashed.
_GROUP_FILES, _GROUP_BYTES = 64, 32 * MIB


@dataclass(slots=True)
class Candidate:
    """A file to be taken: open, and watched until it is hashed."""

    relative: str
    key: str
    file: int
    watch: WriterWatch
    size: int

    def close(self) -> None:
        self.watch.close()
        os.close(self.file)


class _Disturbed(Exception):
    """Another process wants to write to a file that is being read, or the unit ends: another scan takes it."""


class DropStaging:
    """Hashes files of drop folders and records them as staged. `took` is called for each. Used by one thread."""

    def __init__(
        self,
        drops: SourceDrops,
        mover: MoverSettings,
        refusals: DropRefusals,
        crew: Crew,
        counters: Counters,
        switches: Switches,
        *,
        took: Callable[[], None],
    ) -> None:
        self._drops = drops
        self._mover = mover
        self._refusals = refusals
        self._crew = crew
        self._counters = counters
        self._switches = switches
        self._took = took

    def stage(self, volume: OpenVolume, candidates: list[Candidate]) -> int:
        """Stage files and close them. Returns how many were written to while being read: another scan takes them.

        OSError when the volume is to blame.
        """
        disturbed = 0
        hashed: list[tuple[Candidate, Dropped]] = []
        try:
            # First sync: from here on, writes through memory mappings change a file's times.
            for file in one_of_each_filesystem([candidate.file for candidate in candidates]):
                open_volume.syncfs(file)
            for candidate in candidates:
                step = partial(self._hash, candidate, hashed)
                disturbed += self._refusals.attempt(volume, candidate.relative, step)
        finally:
            for candidate in candidates:
                candidate.close()
        self._say_staged(volume, hashed)
        return disturbed

    def _hash(self, candidate: Candidate, hashed: list[tuple[Candidate, Dropped]]) -> int:
        """1 if it was written to while being read."""
        file, watch = candidate.file, candidate.watch
        before = Identity.of(os.fstat(file))
        part_size = upload_part_size(before.size, self._mover)

        def look_up() -> None:
            if self._crew.stopping or watch.ask() is Writer.SOMEBODY:
                raise _Disturbed

        try:
            digests = digests_of(file, part_size, look_up)
        except _Disturbed:
            return 1
        if Identity.of(os.fstat(file)) != before or watch.is_written():
            return 1
        watch.close()  # writers need not wait for the ledger: a change is detected from now on
        listed = ListedObject(candidate.key, before.size, digests.etag(), before.modified_ms)
        headers = dump_headers(Headers(content_type=mimetypes.guess_type(candidate.relative)[0] or ""))
        part_md5s = joined(digests.digests(), part_size)
        hashed.append((candidate, Dropped(listed, part_size, headers, before.text, part_md5s)))
        return 0

    def _say_staged(self, volume: OpenVolume, hashed: list[tuple[Candidate, Dropped]]) -> None:
        if not hashed:
            return
        refusals = self._drops.stage_dropped_group(
            [file for _candidate, file in hashed], volume.id, self._counters.run_id
        )
        for (candidate, file), refusal in zip(hashed, refusals, strict=True):
            if refusal:
                self._refusals.refuse(volume, candidate.relative, refusal)
                continue
            self._took()
            self._counters.moved.add(1, file.listed.size)
        self._switches.staged.set()


class DropGroup:
    """The files of a volume that wait to be staged together, in one scan. To be closed at its end."""

    def __init__(self, volume: OpenVolume, staging: DropStaging) -> None:
        self.volume = volume
        self._staging = staging
        self._waiting: list[Candidate] = []

    def __contains__(self, candidate: Candidate) -> bool:
        return candidate in self._waiting

    def add(self, candidate: Candidate) -> None:
        """Keep it open until it is staged, or the group is closed."""
        self._waiting.append(candidate)

    def stage_full(self) -> int:
        """Stage waiting files if they fill a group; a large file is its own group, so no small one waits for it.

        Returns how many were written to while being read, as `stage` does.
        """
        size = sum(candidate.size for candidate in self._waiting)
        if len(self._waiting) < _GROUP_FILES and size < _GROUP_BYTES:
            return 0
        last = self._waiting[-1]
        if last.size < _GROUP_BYTES or len(self._waiting) == 1:
            return self.stage()
        self._waiting.pop()
        try:
            disturbed = self.stage()
        finally:
            self._waiting.append(last)
        return disturbed + self.stage()

    def stage(self) -> int:
        """Stage all waiting files. Returns how many were written to while being read: another scan takes them."""
        candidates, self._waiting = self._waiting, []
        return self._staging.stage(self.volume, candidates) if candidates else 0

    def close(self) -> None:
        """Close the files that were not staged."""
        for candidate in self._waiting:
            candidate.close()
        self._waiting.clear()


def one_of_each_filesystem(files: list[int]) -> list[int]:
    """One descriptor per filesystem: others may be mounted below a drop folder."""
    return list({os.fstat(file).st_dev: file for file in files}.values())
