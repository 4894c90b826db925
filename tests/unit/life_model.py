# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A model of the whole life of objects, without any I/O: the truth that no ledger can see.

It knows what the source holds and held, which bytes lie in which file, and what the destination really stored. The
ledger knows what it was told. `why_lost` says what would be lost if a file went now, `unfinished` what an "everything
is moved" would leave out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from snowsync.core.model import ListedObject
from snowsync.ledger.ledger import Row


@dataclass(frozen=True, slots=True)
class Version:
    """One object as the source has it: `content` stands for its bytes, `moment` for the time of its last change."""

    key: str
    content: int
    moment: int

    @classmethod
    def of(cls, row: Row) -> Version:
        """What a row of the ledger speaks of."""
        return cls(row.key, int(row.etag, 16), row.modified_ms)

    @property
    def etag(self) -> str:
        return f"{self.content:032x}"

    @property
    def listed(self) -> ListedObject:
        return ListedObject(self.key, 1 + self.content % 3, self.etag, self.moment)


@dataclass(frozen=True, slots=True)
class Listed:
    """What a listing showed of one key, and how late that was among its versions."""

    version: Version
    age: int


@dataclass(slots=True)
class File:
    """One file on a volume; `age`: how late its version was when it was fetched.

    `is_sound`: it has the bytes of its version, else it was damaged since.
    """

    version: Version
    age: int
    is_sound: bool = True

    @property
    def etag(self) -> str:
        return self.version.etag if self.is_sound else "f" * 32


@dataclass(slots=True)
class Life:
    """The truth about all objects of a job.

    Ages say which of two versions of one object the ledger was told of later. Nothing is lost with a file while a later
    version, or the same, is somewhere else.
    """

    source: dict[str, Version] = field(default_factory=dict)  # what the source has now
    history: dict[str, list[Version]] = field(default_factory=dict)  # what it ever had, in order
    told: dict[str, list[Version]] = field(default_factory=dict)  # what of that the ledger was told, in order
    listed: dict[str, Listed] = field(default_factory=dict)  # what the last complete listing showed
    ever_listed: dict[str, Listed] = field(default_factory=dict)  # the same, of every key that one ever showed
    stored: dict[str, Version | None] = field(default_factory=dict)  # what the destination holds; None: other bytes
    proven: dict[str, list[Version]] = field(default_factory=dict)  # what it held when that was proven
    disturbed: set[str] = field(default_factory=set)  # keys that somebody else changed at the destination
    betrayed: dict[str, int] = field(default_factory=dict)  # key -> age of what went bad without any sign of it
    given_up: dict[str, int] = field(default_factory=dict)  # key -> age of what went with an operator's word
    contents: int = 0
    moments: int = 0

    # -- the source -----------------------------------------------------------------------------------------------

    def put(self, key: str, content: int | None = None, moment: int | None = None) -> Version:
        """The source gets an object: a new one, or one with the bytes (and the time) of an earlier one."""
        self.moments += 1
        if content is None:
            self.contents += 1
            content = self.contents
        version = Version(key, content, self.moments if moment is None else moment)
        self.source[key] = version
        self.history.setdefault(key, []).append(version)
        return version

    def tell(self, version: Version) -> None:
        """The ledger is told of an object: what was put back and never listed, nobody can know."""
        told = self.told.setdefault(version.key, [])
        if not told or told[-1] != version:
            told.append(version)

    def age(self, version: Version) -> int:
        """When the ledger was last told of this version: more is later; -1 where it never heard of it."""
        moments = [place for place, each in enumerate(self.told.get(version.key, ())) if each == version]
        return max(moments, default=-1)

    def is_before(self, file: File, version: Version) -> bool:
        """Whether the ledger was first told of this version after it was last told of what the file holds."""
        return self.told[version.key].index(version) > self.age(file.version)

    def was_listed(self, versions: Iterable[Version]) -> None:
        """A complete listing of the source, to its end, showed these."""
        self.listed = {version.key: Listed(version, self.age(version)) for version in versions}
        self.ever_listed |= self.listed

    # -- the destination --------------------------------------------------------------------------------------------

    def head(self, key: str) -> str:
        """The ETag that the destination tells, '' for no object."""
        if key not in self.stored:
            return ""
        stored = self.stored[key]
        return stored.etag if stored else "e" * 32

    def prove(self, version: Version) -> None:
        """The destination was asked for it, and holds its bytes."""
        assert self.head(version.key) == version.etag
        self.stored[version.key] = version
        self.proven.setdefault(version.key, []).append(version)
        self.disturbed.discard(version.key)

    def disturb(self, key: str, *, is_deleted: bool) -> None:
        """Somebody else stores other bytes there, or deletes the object."""
        self.disturbed.add(key)
        if is_deleted:
            self.stored.pop(key, None)
        else:
            self.stored[key] = None

    def change_destination(self) -> None:
        """The job speaks of another, empty destination from now on."""
        self.stored.clear()
        self.proven.clear()
        self.disturbed.clear()

    def _held(self, key: str) -> list[Version]:
        """What the destination holds, and what it held before somebody else changed it."""
        stored = self.stored.get(key)
        return [*(self.proven.get(key, []) if key in self.disturbed else []), *([stored] if stored else [])]

    def is_delivered(self, version: Version, age: int) -> bool:
        """Whether the destination holds the bytes of this version, or a later one (`age`: how late this one is)."""
        return any(each.content == version.content or self.age(each) >= age for each in self._held(version.key))

    # -- losses ---------------------------------------------------------------------------------------------------

    def why_lost(self, file: File, others: Iterable[File]) -> str:
        """Why this file must not go while only `others` lie on the volumes; '' if nothing is lost with it."""
        version, age = file.version, file.age
        excused = max(self.betrayed.get(version.key, -1), self.given_up.get(version.key, -1))
        if excused >= age or self.is_delivered(version, age):
            return ""
        same_key = (each.version for each in others if each.is_sound and each.version.key == version.key)
        if any(each.content == version.content or self.age(each) >= age for each in same_key):
            return ""
        return f"{version} is in no other file; the destination holds {self.stored.get(version.key)}"

    def betray(self, file: File) -> None:
        """A file goes bad, and nothing shows it: whoever counts on it is not to blame."""
        key = file.version.key
        self.betrayed[key] = max(self.age(file.version), self.betrayed.get(key, -1))

    def give_up(self, file: File) -> None:
        """An operator was told that this file would be lost, and said yes."""
        key = file.version.key
        self.given_up[key] = max(self.age(file.version), self.given_up.get(key, -1))

    def unfinished(self, listed: dict[str, Listed]) -> Iterator[str]:
        """The listed keys of which the destination holds neither the listed version, nor a later one."""
        for key, each in listed.items():
            if not self.is_delivered(each.version, each.age):
                yield key
