# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Which ledger the staged files of a volume belong to: the record `.snowsync/ledgers/<job>.json`, and what it means.

A ledger deletes files that it does not know. So it works only on volumes where all that the job has there is its own:
who finds another ledger's files there leaves them alone, and says so.

The record also says which group the ledger committed last, as far as this volume knows. A ledger that does not have
that group was put back from a backup, or from a snapshot (ledger/recovery.py).
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
_LOOKED_AT = 1000  # files of a volume without a record: one that the ledger knows is among them, or it knows none
_LONGEST_RECORD = 65536
_MOST = 2**63  # what the ledger's integers hold
_REST = b', "ledger"'  # follows the counters


@dataclass(frozen=True, slots=True)
class Record:
    """Who stages on a volume: the ledger's identity, and for people where it was kept.

    `counter` is the newest group that the volume knows to be committed, `at_ms` when that was: 0 where it knows none,
    -1 where that cannot be read.
    """

    ledger: str
    host: str = ""
    path: str = ""
    counter: int = 0
    at_ms: int = 0

    @property
    def short(self) -> str:
        """As people are told it, and as they confirm it."""
        return self.ledger[:8]

    @property
    def words(self) -> str:
        if self.ledger == UNKNOWN:
            return "no record says of which one"
        return f"{self.short}, {self.path or 'path unknown'} on host {self.host or 'unknown'}"


class Whose(enum.Enum):
    """Whose files a volume holds."""

    OURS = "ours"
    FREE = "free"  # nobody's, or ours without a record: to be recorded as ours
    ANOTHERS = "another's"


class LedgerView(Protocol):
    """What is asked of a ledger; `NoLedger` where there is none yet."""

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
    """Decide. `recorded` is the ledger that the volume names, '' for none; `ours` is '' before there is a ledger.

    `was_reset`: the recorded one was put aside by a confirmed reset of this job. `holds`: files of the job lie there;
    `knows`: our ledger has staged there, and knows some of them.
    """
    if recorded and recorded == ours:
        return Whose.OURS
    if not holds or was_reset or (not recorded and knows):
        return Whose.FREE
    return Whose.ANOTHERS


def look(job: Job, root: int, ledger: LedgerView, number: int) -> tuple[Whose, Record]:
    """Whose files the job has below `root`, a descriptor of `.snowsync`, and the record. OSError when it fails.

    `number` is the ledger's of this volume, 0 where it knows none. The record of nobody's files is UNKNOWN's.
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
    """Why a volume that holds another ledger's files is not used, and both ways out."""
    return (
        f"it holds files of job {job.job} that another ledger staged ({record.words}):"
        f" put that ledger back as {job.ledger_path} while the units are stopped,"
        f" or see what giving them up would lose: snowsync reset {job.job} --volume {name}"
    )


# -- the files ----------------------------------------------------------------------------------------------------


def held(root: int, job: str) -> Iterator[tuple[str, str]]:
    """(folder, relative path) of the job's files that only a ledger can account for. Files of others do not count."""
    for folder in (STAGED, QUARANTINE, OUTGOING):
        for relative, mode in _files(root, f"{folder}/{job}"):
            if stat.S_ISREG(mode) and _counts(folder, relative):
                yield folder, relative


def _counts(folder: str, relative: str) -> bool:
    if folder == QUARANTINE:
        return object_of(relative) is not None
    if folder == OUTGOING:
        return object_aside(relative) is not None
    try:
        keys.from_path(relative)
    except ValueError:
        return False
    return True


def _files(root: int, top: str) -> Iterator[tuple[str, int]]:
    """(relative path, mode) of everything below `top` that is no directory."""
    try:
        descriptor = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=root)
    except FileNotFoundError:
        return
    try:
        for path, directories, names, folder in os.fwalk(".", onerror=_raise, dir_fd=descriptor):
            prefix = path.removeprefix(".").removeprefix("/")
            for name in (*names, *directories):
                with contextlib.suppress(FileNotFoundError):  # taken this moment
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
    """The record of a volume by its descriptor of `.snowsync`, or None; UNKNOWN's for one that makes no sense."""
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
    """A counter as it stands there; -1, which no ledger knows, for one that makes no sense."""
    number = int(text) if (text := str(value)).isdecimal() and len(text) < 30 else -1
    return number if number < _MOST else -1


def write_record(root: int, job: str, record: Record) -> None:
    """Write it durably in place of another one: whatever moment it is cut off at, one of the two is there, whole.

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
    """The counter first, and of one length whatever it is: see `write_counter`."""
    counters = {"counter": f"{record.counter:020}", "at_ms": f"{record.at_ms:020}"}
    return json.dumps(counters | {"ledger": record.ledger, "host": record.host, "path": record.path}).encode()


def write_counter(root: int, job: str, record: Record) -> None:
    """Bring the counter of a record that is there up to date; it becomes durable with the next sync of the volume.

    Digits are written over digits, within one sector: whatever moment it is cut off at, the record is whole. One that
    has other lengths, as from a person's hand, is replaced. The caller holds the names of the job's staging tree.
    """
    text = _as_text(record)
    counters = text[: text.index(_REST)]
    descriptor = os.open(record_path(job), os.O_RDWR | os.O_NOFOLLOW, dir_fd=root)
    try:
        there = os.pread(descriptor, len(counters + _REST), 0)
        if _shape(there) == _shape(counters + _REST):
            os.pwrite(descriptor, counters, 0)
            return
    finally:
        os.close(descriptor)
    write_record(root, job, record)


def _shape(text: bytes) -> bytes:
    """The same of all that differ in digits alone."""
    return re.sub(rb"\d", b"0", text)


@dataclass(frozen=True, slots=True)
class Claim:
    """A ledger's claim to a job's files on one volume; made and asked while the names of its staging tree are held."""

    job: str
    record: Record

    def make(self, root: int) -> None:
        """Record it durably. A full volume has no record for now: nothing is published there before it has one."""
        try:
            write_record(root, self.job, self.record)
        except OSError as error:
            if local_trouble(error) is not Trouble.SPACE:
                raise
            for name in (record_path(self.job), f"{record_path(self.job)}{UNFINISHED}"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=root)

    def insist(self, root: int) -> None:
        """OSError unless the volume is still ours: only then is anything published or discarded there."""
        found = read_record(root, self.job)
        if found is None:
            write_record(root, self.job, self.record)
        elif found.ledger != self.record.ledger:
            raise OSError(errno.ESTALE, f"another ledger of job {self.job} stages there by now ({found.words})")

    def remember(self, root: int, counter: int, at_ms: int) -> None:
        """Let the volume know the newest group, if it still is ours. OSError."""
        found = read_record(root, self.job)
        if found and found.ledger == self.record.ledger and (found.counter, found.at_ms) != (counter, at_ms):
            write_counter(root, self.job, replace(found, counter=counter, at_ms=at_ms))


def claim_of(job: Job, identity: str, newest: tuple[int, int] = (0, 0)) -> Claim:
    """`newest`: number and time of the group that the ledger committed last."""
    return Claim(job.job, Record(identity, os.uname().nodename, str(job.ledger_path), *newest))
