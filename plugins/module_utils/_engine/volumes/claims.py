# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Which ledger owns the staged files of a volume: the record `.snowsync/ledgers/<job>.json`, and its meaning.

A ledger deletes files that it does not know. So it uses only volumes where all files of the job are its own: if it
finds another ledger's files there, it leaves them alone and reports them.

The record also names the group that the ledger committed last, as far as this volume knows. A ledger without that group
was restored from a backup or a snapshot (ledger/recovery.py).
"""

from __future__ import annotations

import contextlib
import enum
import errno
import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from ..core import keys
from ..core.errors import Trouble, local_trouble
from ..core.layout import (
    LEDGERS,
    OUTGOING,
    QUARANTINE,
    STAGED,
    UNFINISHED,
    object_aside,
    object_of,
    record_name,
    record_path,
)
from ..ledger.files import identities_put_aside

if TYPE_CHECKING:
    from ..config.job_file import Job

UNKNOWN = "unknown"  # the id of a ledger that no record names
_LOOKED_AT = 1000  # files checked on a volume without a record: if the ledger knows none of them, it owns none
_LONGEST_RECORD = 65536
_MOST = 2**63  # the range of the ledger's integers
_REST = b', "ledger"'  # follows the counters


@dataclass(frozen=True, slots=True)
class Record:
    """The owner of a volume: the ledger's identity, and for people its host and path.

    `counter` is the newest committed group that the volume knows, `at_ms` its time: 0 if it knows none, -1 if that
    cannot be read.
    """

    ledger: str
    host: str = ""
    path: str = ""
    counter: int = 0
    at_ms: int = 0

    @property
    def short(self) -> str:
        """The short id that is shown to people, and that they confirm."""
        return self.ledger[:8]

    @property
    def words(self) -> str:
        if self.ledger == UNKNOWN:
            return "no record says which one"
        return f"{self.short}, {self.path or 'path unknown'} on host {self.host or 'unknown'}"


class Whose(enum.Enum):
    """Who owns the files of a volume."""

    OURS = "ours"
    FREE = "free"  # nobody's, or ours without a record: will be recorded as ours
    ANOTHERS = "another's"


class LedgerView(Protocol):
    """The queries to a ledger; `NoLedger` if there is none yet."""

    def identity(self) -> str: ...

    def has_used(self, volume: int) -> bool: ...

    def knows_key(self, key: str) -> bool: ...

    def knows_object(self, object_id: int) -> bool: ...


class NoLedger:
    """A job that has not run: it knows nothing."""

    def identity(self) -> str:
        return ""

    def has_used(self, volume: int) -> bool:
        return False

    def knows_key(self, key: str) -> bool:
        return False

    def knows_object(self, object_id: int) -> bool:
        return False


def whose(recorded: str, ours: str, *, was_reset: bool, holds: bool, knows: bool) -> Whose:
    """Decide the owner. `recorded` is the ledger on the volume, '' for none; `ours` is '' before there is a ledger.

    `was_reset`: the recorded one was put aside by a confirmed reset of this job. `holds`: there are files of the job;
    `knows`: our ledger has staged there, and knows some of them.
    """
    if recorded and recorded == ours:
        return Whose.OURS
    if not holds or was_reset or (not recorded and knows):
        return Whose.FREE
    return Whose.ANOTHERS


def look(job: Job, root: int, ledger: LedgerView, number: int) -> tuple[Whose, Record]:
    """The owner of the job's files below `root`, a descriptor of `.snowsync`, and the record. OSError if this fails.

    `number` is the ledger's number of this volume, 0 if it has none. Without a record, the record is UNKNOWN's.
    """
    record = read_record(root, job.job)
    ours = ledger.identity()
    if record and record.ledger == ours:
        return Whose.OURS, record
    recorded = record.ledger if record else ""
    holds = any(True for _ in held(root, job.job))
    verdict = whose(
        recorded,
        ours,
        was_reset=holds and bool(recorded) and recorded in identities_put_aside(job.ledger_path),
        holds=holds,
        knows=holds and not recorded and _knows_some(root, job.job, ledger, number),
    )
    return verdict, record or Record(UNKNOWN)


def _knows_some(root: int, job: str, ledger: LedgerView, number: int) -> bool:
    if not number or not ledger.has_used(number):
        return False
    return any(_knows(ledger, folder, name) for folder, name in islice(held(root, job), _LOOKED_AT))


def _knows(ledger: LedgerView, folder: str, name: str) -> bool:
    if folder == STAGED:
        return ledger.knows_key(keys.from_path(name)[0])
    number = object_of(name) if folder == QUARANTINE else object_aside(name)
    return number is not None and ledger.knows_object(number)


def refusal(job: Job, name: str, record: Record) -> str:
    """Why a volume with another ledger's files is not used, and both solutions."""
    return (
        f"it holds files of job {job.job} that another ledger staged ({record.words}):"
        f" restore that ledger as {job.ledger_path} while the units are stopped,"
        f" or see what would be lost if you give them up: snowsync reset {job.job} --volume {name}"
    )


# -- the files ----------------------------------------------------------------------------------------------------


def held(root: int, job: str) -> Iterator[tuple[str, str]]:
    """(folder, relative path) of the job's files that belong to a ledger. Other files do not count."""
    for folder in (STAGED, QUARANTINE, OUTGOING):
        for relative, mode in _files(root, f"{folder}/{job}"):
            if stat.S_ISREG(mode) and _counts(folder, relative):
                yield folder, relative


def _counts(folder: str, relative: str) -> bool:
    if folder == QUARANTINE:
        return object_of(relative) is not None
    if folder == OUTGOING:
        return object_aside(relative) is not None
    return keys.is_staging_path(relative)


def _files(root: int, top: str) -> Iterator[tuple[str, int]]:
    """(relative path, mode) of everything below `top` that is not a directory."""
    try:
        descriptor = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=root)
    except FileNotFoundError:
        return
    try:
        for path, directories, names, folder in os.fwalk(".", onerror=_raise, dir_fd=descriptor):
            prefix = path.removeprefix(".").removeprefix("/")
            for name in (*names, *directories):
                with contextlib.suppress(FileNotFoundError):  # removed at this moment
                    mode = os.lstat(name, dir_fd=folder).st_mode
                    if not stat.S_ISDIR(mode):
                        yield (f"{prefix}/{name}" if prefix else name), mode
    finally:
        os.close(descriptor)


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


# -- the record ---------------------------------------------------------------------------------------------------


def read_record(root: int, job: str) -> Record | None:
    """The record of a volume by its descriptor of `.snowsync`, or None; UNKNOWN's if it is malformed."""
    try:
        descriptor = os.open(record_path(job), os.O_RDONLY | os.O_NOFOLLOW, dir_fd=root)
    except FileNotFoundError:
        return None
    try:
        text = os.read(descriptor, _LONGEST_RECORD)
    finally:
        os.close(descriptor)
    try:
        found = json.loads(text)
        if not (isinstance(found["ledger"], str) and found["ledger"]):
            return Record(UNKNOWN)
        numbers = (_number(found.get(name, 0)) for name in ("counter", "at_ms"))
        return Record(found["ledger"], str(found.get("host", "")), str(found.get("path", "")), *numbers)
    except (ValueError, KeyError, TypeError, AttributeError):
        return Record(UNKNOWN)


def _number(value: object) -> int:
    """Parse a counter; -1, which no ledger knows, if it is malformed."""
    number = int(text) if (text := str(value)).isdecimal() and len(text) < 30 else -1
    return number if number < _MOST else -1


def write_record(root: int, job: str, record: Record) -> None:
    """Replace the record durably and atomically: after a crash either the old or the new one is there, complete.

    The caller holds the names of the job's staging tree.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(LEDGERS, 0o750, dir_fd=root)
        os.fsync(root)
    folder = os.open(LEDGERS, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=root)
    try:
        name = record_name(job)
        temporary = f"{name}{UNFINISHED}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        descriptor = os.open(temporary, flags, 0o640, dir_fd=folder)
        try:
            os.write(descriptor, _as_text(record))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(folder)
    finally:
        os.close(folder)


def _as_text(record: Record) -> bytes:
    """The counter comes first, with a fixed length: see `write_counter`."""
    counters = {"counter": f"{record.counter:020}", "at_ms": f"{record.at_ms:020}"}
    return json.dumps(counters | {"ledger": record.ledger, "host": record.host, "path": record.path}).encode()


def write_counter(root: int, job: str, record: Record, *, durably: bool = False) -> None:
    """Update the counter of an existing record; durable with the next sync of the volume, or at once.

    Digits overwrite digits, within one sector: the record is complete even after a crash. A record with other lengths,
    such as one edited by hand, is replaced. The caller holds the names of the job's staging tree.
    """
    text = _as_text(record)
    counters = text[: text.index(_REST)]
    descriptor = os.open(record_path(job), os.O_RDWR | os.O_NOFOLLOW, dir_fd=root)
    try:
        there = os.pread(descriptor, len(counters + _REST), 0)
        if _shape(there) == _shape(counters + _REST):
            os.pwrite(descriptor, counters, 0)
            if durably:
                os.fsync(descriptor)
            return
    finally:
        os.close(descriptor)
    write_record(root, job, record)


def _shape(text: bytes) -> bytes:
    """The text with all digits replaced: equal for texts that differ only in digits."""
    return re.sub(rb"\d", b"0", text)


@dataclass(frozen=True, slots=True)
class Claim:
    """A ledger's claim to a job's files on one volume; used while the names of its staging tree are held."""

    job: str
    record: Record

    def make(self, root: int) -> None:
        """Record it durably. A full volume has no record for now: nothing is published there until it has one."""
        try:
            write_record(root, self.job, self.record)
        except OSError as error:
            if local_trouble(error) is not Trouble.SPACE:
                raise
            for name in (record_path(self.job), f"{record_path(self.job)}{UNFINISHED}"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=root)

    def insist(self, root: int) -> None:
        """OSError unless the volume is still ours: otherwise nothing may be published or discarded there."""
        found = read_record(root, self.job)
        if found is None:
            write_record(root, self.job, self.record)
        elif found.ledger != self.record.ledger:
            raise OSError(errno.ESTALE, f"another ledger of job {self.job} stages there now ({found.words})")

    def remember(self, root: int, counter: int, at_ms: int, *, durably: bool = False) -> None:
        """Record the newest group on the volume, if it is still ours. OSError."""
        found = read_record(root, self.job)
        if found and found.ledger == self.record.ledger and (found.counter, found.at_ms) != (counter, at_ms):
            write_counter(root, self.job, replace(found, counter=counter, at_ms=at_ms), durably=durably)


def claim_of(job: Job, identity: str, newest: tuple[int, int] = (0, 0)) -> Claim:
    """`newest`: number and time of the group that the ledger committed last."""
    return Claim(job.job, Record(identity, os.uname().nodename, str(job.ledger_path), *newest))
