# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Drop folders: files that users put on a volume become staged objects in place.

A file is taken once nobody has it open for writing and it has not changed for `drop_settle` seconds. If the kernel does
not tell who is writing (see volumes/open_writers.py), the file must have been seen unchanged for that long, in at least
two looks. Its filesystem is synced, its digest is computed in one read through one descriptor, then the ledger records
it as `staged`, with the file's identity: small files in groups, with one sync and one transaction each. All of this has
its own thread, so that a file of a terabyte delays neither the listing of the source nor any fetch. A file is deleted
only after its delivery is proven, and never with `keep_staged`.
"""

from __future__ import annotations

import contextlib
import logging
import mimetypes
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ...core import workers
from ...core.errors import LocalError, Trouble, local_trouble
from ...core.model import LONGEST_KEY, MIB, Headers, ListedObject, Origin, State
from ...ledger.drops import Dropped
from ...ledger.ledger import Failure, Row, dump_headers
from ...ledger.source_ports import KnownDrops, SourceLedger
from ...proofs.proof import upload_part_size
from ...volumes import open_volume, outgoing_files
from ...volumes.file_identity import COARSE_SECONDS, Identity, Likeness, compare, digest_of, open_below, open_folder
from ...volumes.open_volume import OpenVolume
from ...volumes.open_writers import Writer, WriterWatch
from ...volumes.volume_set import VolumeSet
from ..counters import Counters
from ..crew import Crew
from ..setbacks import Setbacks
from ..switches import Switches

if TYPE_CHECKING:
    from ...config.job_file import Job

_log = logging.getLogger("snowsync.source")
_LINKED = "it has other hard links, through which it could be changed; put a copy there"
# States in which a file is known; a failed one waits for a change or a new name. A released one is there again because
# a user put it there again.
_KNOWN = (State.STAGED, State.DELIVERED, State.QUARANTINED, State.FAILED)


@dataclass(frozen=True, slots=True)
class Sighting:
    """A file that was seen unchanged since `since` (time.monotonic()), in `looks` looks."""

    identity: Identity
    since: float
    looks: int = 1

    def again(self, identity: Identity, now: float) -> Sighting:
        same = identity == self.identity
        return Sighting(identity, self.since, self.looks + 1) if same else Sighting(identity, now)


def is_settled(sighting: Sighting, writer: Writer, now: float, clock: float, settle: float) -> bool:
    """Whether a file may be taken at `now` (monotonic) and `clock` (Unix time), after `settle` seconds.

    The file's own times count only if it is certain that nobody is writing to it, and not if they are in the future.
    """
    settle = max(settle, sighting.identity.granularity)
    watched = now - sighting.since
    if writer is Writer.NOBODY:
        age = clock - sighting.identity.changed_ns / 1e9
        return max(age if age >= 0 else 0.0, watched) >= settle
    return writer is Writer.UNKNOWN and sighting.looks > 1 and watched >= settle


# The files of a group stay open, and their writers wait, until the group is hashed.
_GROUP_FILES, _GROUP_BYTES = 64, 32 * MIB


@dataclass(slots=True)
class _Candidate:
    """A file to be taken: open, and watched until it is hashed."""

    relative: str
    key: str
    file: int
    watch: WriterWatch
    size: int

    def close(self) -> None:
        self.watch.close()
        os.close(self.file)


def one_of_each_filesystem(files: list[int]) -> list[int]:
    """One descriptor per filesystem: others may be mounted below a drop folder."""
    return list({os.fstat(file).st_dev: file for file in files}.values())


def key_of(prefix: str, relative: str) -> tuple[str, str]:
    """The key of a file in a drop folder, and why it cannot have one, otherwise ""."""
    try:
        relative.encode()
    except UnicodeEncodeError:
        return "", "its name is not valid UTF-8, as S3 keys must be; rename it"
    key = prefix + relative
    if len(key.encode()) > LONGEST_KEY:
        return "", f"its key would have more than {LONGEST_KEY} bytes; shorten its path"
    return key, ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A file in a drop folder that no run has taken yet; `refusal` says why none will."""

    name: str
    key: str
    size: int
    refusal: str


def waiting(job: Job, drops: KnownDrops | None) -> Iterator[Waiting]:
    """The files in the job's drop folders that are new to the ledger. Only uses stat: nothing is opened."""
    prefix = job.source.prefix if job.source else ""
    for volume in job.volumes:
        top = volume.drop_path
        for relative, status in _regular_files(str(top)) if top and not top.is_symlink() else ():
            key, refusal = key_of(prefix, relative)
            known = drops.dropped(key) if drops and key else None
            if known and known.state in _KNOWN and compare(known, Identity.of(status)) is not Likeness.OTHER:
                continue  # the ledger has it
            refusal = refusal or (_LINKED if status.st_nlink > 1 else "")
            yield Waiting(relative.encode(errors="backslashreplace").decode(), key, status.st_size, refusal)


def _regular_files(top: str) -> Iterator[tuple[str, os.stat_result]]:
    for folder, below, names in os.walk(top):
        below.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            with contextlib.suppress(FileNotFoundError):
                status = os.lstat(path)
                if stat.S_ISREG(status.st_mode):
                    yield os.path.relpath(path, top), status


class _Disturbed(Exception):
    """Another process wants to write to a file that is being read, or the unit ends: another scan takes it."""


class DropScanner:
    """Finds new and changed files in the drop folders of the open volumes, in the thread that calls `run`.

    `finished`: all files that were there when the first pass over the source ended are staged. `until` as the unit's.
    `has_listed`: whether the source was listed once, `is_out_of_reach` whether no endpoint answers. `pass_ended` is
    called when `finished` becomes true; `take_out` takes a failed volume out of use.
    """

    def __init__(
        self,
        job: Job,
        until: str,
        ledger: SourceLedger,
        volumes: VolumeSet,
        setbacks: Setbacks,
        crew: Crew,
        counters: Counters,
        switches: Switches,
        *,
        has_listed: Callable[[], bool],
        is_out_of_reach: Callable[[], bool],
        pass_ended: Callable[[], None],
        take_out: Callable[[OpenVolume, str], None],
    ) -> None:
        self._job = job
        self._until = until
        self._ledger = ledger
        self._volumes = volumes
        self._setbacks = setbacks
        self._crew = crew
        self._counters = counters
        self._switches = switches
        self._has_listed = has_listed
        self._is_out_of_reach = is_out_of_reach
        self._pass_ended = pass_ended
        self._take_out = take_out
        self.unsettled = 0  # files it is waiting for
        self._has_folders = any(volume.drop_folder for volume in job.volumes)
        self._prefix = job.source.prefix if job.source else ""
        self.finished = not self._has_folders
        self._taken = 0
        self._again = threading.Event()  # another scan is wanted
        self._begun = self._ended = 0  # the numbers of the scans that began last and ended last
        self._asked = 0  # the number of the scan to wait for
        self._taken_before = 0
        self._waiting: list[_Candidate] = []  # of the volume that is being scanned
        self._told: set[tuple[str, str]] = set()  # files that the previous scan refused
        self._refused: set[tuple[str, str]] = set()  # files that this scan refuses
        self._watched: dict[tuple[int, str], Sighting] = {}
        self._seen: dict[tuple[int, str], Sighting] = {}

    @property
    def has_folders(self) -> bool:
        return self._has_folders

    def run(self) -> None:
        """Scan after the first pass over the source, or while it is unreachable, then at the interval of passes."""
        while not (self._crew.stopping or self._may_begin()):
            workers.idle()
            self._crew.ending.wait(0.1)
        while not self._crew.stopping:
            self._again.clear()
            self._begun += 1
            has_listed = self._has_listed()  # checked first: otherwise the source may have the same key
            if self._scan_until_settled():
                self._ended = self._begun
                self._finish(has_listed)
            if self._until == "once" and self.finished:
                return
            self._rest()

    def stop(self) -> None:
        """Let `run` end, since the unit ends."""
        self._again.set()

    def _may_begin(self) -> bool:
        return self._has_listed() or self._is_out_of_reach()

    def _finish(self, has_listed: bool) -> None:
        if has_listed and not self.finished:
            self.finished = True
            self._pass_ended()
        self._switches.space.set()

    def _rest(self) -> None:
        """Wait until the next pass, or until another scan is requested."""
        goes_on = self._until == "forever" or not self.finished
        ends = time.monotonic() + self._job.pass_interval if goes_on else float("inf")
        workers.idle()
        while not (self._crew.stopping or self._again.wait(0.1) or time.monotonic() > ends):
            if self._has_listed() and not self.finished:
                return

    def has_nothing_more(self) -> bool:
        """Whether a scan that began after everything else was done took nothing. Does not wait: call again."""
        if not self._has_folders:
            return True
        if not self._asked:
            self._asked, self._taken_before = self._begun + 1, self._taken
            self._again.set()
        if self._ended < self._asked:
            return False
        self._asked = 0
        return self._taken == self._taken_before

    def _scan_until_settled(self) -> bool:
        """Scan; unless running forever, wait for files that are still being written. False when stopped.

        A single pass waits only until the files that are there now could have settled.
        """
        patience = max(self._job.drop_settle, COARSE_SECONDS) + 1.0
        ends = time.monotonic() + patience if self._until == "once" else float("inf")
        while not self._crew.stopping:
            unsettled = self._scan()
            if not unsettled or self._until == "forever" or time.monotonic() > ends:
                self.unsettled = 0
                return True
            self.unsettled = unsettled
            self._crew.ending.wait(min(1.0, max(0.05, self._job.drop_settle)))
        return False

    def _scan(self) -> int:
        """Walk all drop folders once. Returns how many files are too recent to be taken."""
        unsettled = 0
        self._seen, self._refused = {}, set()
        for number in list(self._volumes.open) if self._has_folders else ():
            with self._volumes.borrowed(number) as borrowed:
                for volume in borrowed:
                    unsettled += self._scan_volume(volume)
        self._watched, self._told = self._seen, self._refused
        return unsettled

    def _scan_volume(self, volume: OpenVolume) -> int:
        unsettled = 0
        try:
            for top, relative, status in self._files(volume):
                workers.beat()
                if self._crew.stopping:
                    break
                unsettled += self._try(volume, relative, partial(self._look_at, volume, top, relative, status))
                unsettled += self._stage_full(volume)
            unsettled += self._stage_waiting(volume)
        except OSError as error:
            action = f"scan the drop folder of volume {volume.name}"
            self._take_out(volume, str(LocalError(local_trouble(error), action, str(error.strerror))))
        finally:
            for candidate in self._waiting:
                candidate.close()
            self._waiting.clear()
        return unsettled

    def _try(self, volume: OpenVolume, relative: str, step: Callable[[], int]) -> int:
        """1 for a file that is too recent. OSError when the volume is to blame."""
        try:
            return step()
        except FileNotFoundError:
            return 0  # removed meanwhile
        except BlockingIOError:
            return 1  # a file server has it locked for a writer
        except OSError as error:
            if not volume.is_well():
                raise
            self._refuse(volume, relative, f"it cannot be read: {error.strerror}; make it readable for snowsync's user")
            return 0

    def _files(self, volume: OpenVolume) -> Iterator[tuple[int, str, os.stat_result]]:
        """(drop folder, path relative to it, lstat) of every regular file; links and special files are not followed."""
        if volume.config.drop_path is None or not volume.still_there():
            return
        try:
            with volume.dropped.top() as top:
                yield from ((top, relative, status) for relative, status in self._walk(volume, top))
        except FileNotFoundError:
            return
        except NotADirectoryError:
            self._refuse(volume, ".", "the drop folder is a link or not a directory; make it a directory")

    def _walk(self, volume: OpenVolume, top: int) -> Iterator[tuple[str, os.stat_result]]:
        pending = [""]
        while pending:
            relative = pending.pop()
            try:
                folder = open_folder(top, relative)
            except OSError as error:
                self._complain(volume, relative, error)
                continue
            try:
                names = sorted(self._names(volume, relative, folder))
                below = []
                for name in names:
                    path = f"{relative}/{name}" if relative else name
                    with contextlib.suppress(FileNotFoundError):
                        status = os.lstat(name, dir_fd=folder)
                        if stat.S_ISDIR(status.st_mode):
                            below.append(path)
                        elif stat.S_ISREG(status.st_mode):
                            yield path, status
                        else:
                            self._refuse(volume, path, "it is not a regular file; put the file itself there")
                pending.extend(reversed(below))
            finally:
                os.close(folder)

    def _names(self, volume: OpenVolume, relative: str, folder: int) -> list[str]:
        try:
            return os.listdir(folder)
        except OSError as error:
            self._complain(volume, relative, error)
            return []

    def _complain(self, volume: OpenVolume, relative: str, error: OSError) -> None:
        """A directory cannot be read: report it, unless the volume is to blame."""
        if not volume.is_well():
            raise error
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):  # removed, or replaced by a link
            reason = f"the directory cannot be read: {error.strerror}; make it readable for snowsync's user"
            self._refuse(volume, relative or ".", reason)

    def _look_at(self, volume: OpenVolume, top: int, relative: str, status: os.stat_result) -> int:
        folder, _, name = relative.rpartition("/")
        if outgoing_files.returned_hidden(top, folder, name, self._ledger.objects.row, self._relative):
            return 0
        key, refusal = key_of(self._prefix, relative)
        if refusal:
            self._refuse(volume, relative, refusal)
            return 0
        known = self._ledger.drops.dropped(key)
        if known and known.state in _KNOWN and compare(known, Identity.of(status)) is not Likeness.OTHER:
            return 0
        file = open_below(top, relative)
        candidate = _Candidate(relative, key, file, WriterWatch(file), os.fstat(file).st_size)
        try:
            return self._consider(volume, candidate)
        finally:
            if candidate not in self._waiting:
                candidate.close()

    def _consider(self, volume: OpenVolume, candidate: _Candidate) -> int:
        """1 for a file that is too recent or being written to; otherwise it waits for its group, or is refused."""
        relative, key, file, watch = candidate.relative, candidate.key, candidate.file, candidate.watch
        status = os.fstat(file)
        if not self._is_settled(volume, relative, Identity.of(status), watch.ask()) or watch.is_written():
            return 1
        refusal = (
            _LINKED
            if status.st_nlink > 1
            else self._ledger.drops.refuses_dropped(key, volume.id)  # before it is read in vain
        )
        if refusal:
            self._refuse(volume, relative, refusal)
            return 0
        self._waiting.append(candidate)
        return 0

    def _is_settled(self, volume: OpenVolume, relative: str, identity: Identity, writer: Writer) -> bool:
        now, place = time.monotonic(), (volume.id, relative)
        before = self._watched.get(place)
        sighting = before.again(identity, now) if before else Sighting(identity, now)
        self._seen[place] = sighting
        return is_settled(sighting, writer, now, time.time(), self._job.drop_settle)

    def _relative(self, row: Row) -> str:
        return row.key[len(self._prefix) :]

    def _refuse(self, volume: OpenVolume, relative: str, reason: str) -> None:
        place = (volume.name, relative)
        is_told = place in self._told or place in self._refused
        self._refused.add(place)
        if is_told:
            return
        name = relative.encode(errors="backslashreplace").decode()
        row = Row(0, name, 0, "", 0, 0, Origin.DROP, State.FAILED, volume.id, 0, "", "", 0, 0, 0)
        message = f"the dropped file {name!r} on volume {volume.name} was not taken: {reason}"
        failure = Failure(row, "source", Trouble.UNSUPPORTED, message, "left where it is")
        self._ledger.journal.record(failure)
        self._setbacks.note(failure)
        _log.error("%s", message)

    # -- staged -----------------------------------------------------------------------------------------------

    def _stage_full(self, volume: OpenVolume) -> int:
        """Stage waiting files if they fill a group; a large file is its own group, so no small one waits for it."""
        size = sum(candidate.size for candidate in self._waiting)
        if len(self._waiting) < _GROUP_FILES and size < _GROUP_BYTES:
            return 0
        last = self._waiting[-1]
        if last.size < _GROUP_BYTES or len(self._waiting) == 1:
            return self._stage_waiting(volume)
        self._waiting.pop()
        try:
            disturbed = self._stage_waiting(volume)
        finally:
            self._waiting.append(last)
        return disturbed + self._stage_waiting(volume)

    def _stage_waiting(self, volume: OpenVolume) -> int:
        """Stage waiting files. Returns how many were written to while being read: another scan takes them."""
        candidates, self._waiting = self._waiting, []
        if not candidates:
            return 0
        disturbed = 0
        hashed: list[tuple[_Candidate, Dropped]] = []
        try:
            # First sync: from here on, writes through memory mappings change a file's times.
            for file in one_of_each_filesystem([candidate.file for candidate in candidates]):
                open_volume.syncfs(file)
            for candidate in candidates:
                disturbed += self._try(volume, candidate.relative, partial(self._hash, candidate, hashed))
        finally:
            for candidate in candidates:
                candidate.close()
        self._say_staged(volume, hashed)
        return disturbed

    def _hash(self, candidate: _Candidate, hashed: list[tuple[_Candidate, Dropped]]) -> int:
        """1 if it was written to while being read."""
        file, watch = candidate.file, candidate.watch
        before = Identity.of(os.fstat(file))
        part_size = upload_part_size(before.size, self._job.mover)

        def look_up() -> None:
            if self._crew.stopping or watch.ask() is Writer.SOMEBODY:
                raise _Disturbed

        try:
            digest = digest_of(file, part_size, look_up)
        except _Disturbed:
            return 1
        if Identity.of(os.fstat(file)) != before or watch.is_written():
            return 1
        watch.close()  # writers need not wait for the ledger: a change is detected from now on
        listed = ListedObject(candidate.key, before.size, digest, before.modified_ms)
        headers = dump_headers(Headers(content_type=mimetypes.guess_type(candidate.relative)[0] or ""))
        hashed.append((candidate, Dropped(listed, part_size, headers, before.text)))
        return 0

    def _say_staged(self, volume: OpenVolume, hashed: list[tuple[_Candidate, Dropped]]) -> None:
        if not hashed:
            return
        refusals = self._ledger.drops.stage_dropped_group(
            [file for _, file in hashed], volume.id, self._counters.run_id
        )
        for (candidate, file), refusal in zip(hashed, refusals, strict=True):
            if refusal:
                self._refuse(volume, candidate.relative, refusal)
                continue
            self._taken += 1
            self._counters.moved(1, file.listed.size)
        self._switches.staged.set()
