# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The ETag as a cheap proof: what it says about a file, and whether a file matches it.

The ETag of a single upload is the MD5 of the bytes; of a multipart one the MD5 of the parts' MD5s, with ``-N``. It does
not give the part size, but N parts bound it: ceil(size / N) <= part size <= floor((size - 1) / (N - 1)).
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from . import workers
from .model import MIB
from .s3_limits import MOST_PARTS, part_count

_BLOCK = MIB
_ENDLESS = 2**63
_SHAPE = re.compile(r'"?([0-9a-fA-F]{32})(?:-([1-9][0-9]{0,4}))?"?').fullmatch

# First the defaults of tools: aws-cli, boto3 and awscrt 8, rclone 5, s3cmd 15, s5cmd 50, MinIO 16 and 64 (MiB).
_USUAL_MIB = (8, 5, 16, 15, 64, 50, 10, 32, 100, 128, 20, 25, 256, 512, 250, 500, 1024, 2048)
_USUAL_MB = (10, 100, 8, 5, 16, 50, 64, 20, 25, 32, 15, 128, 250, 500, 256, 512, 1000, 1024)
USUAL_PART_SIZES = (*(size * MIB for size in _USUAL_MIB), *(size * 10**6 for size in _USUAL_MB))
_USUAL_IN_MIB = frozenset(size * MIB for size in _USUAL_MIB)


class ParsedEtag(NamedTuple):
    """`md5_hex` in lower case; `parts` 0 for the MD5 of the object, else the N of ``-N``."""

    md5_hex: str
    parts: int


class Proof(NamedTuple):
    """The result of one read of a file.

    `etag` is the file's own ETag in the requested form: with the most common part size if none matches, "" for an
    opaque ETag and if no part size is possible. `part_size` in bytes is the one that matched, 0 for a single upload or
    no match. `size` is the file's, in bytes. `md5` is that of all bytes, "" if it was not computed. `part_md5s` are
    those of the parts that matched (core/part_md5s.py), empty without parts.
    """

    matched: bool
    etag: str
    part_size: int
    md5: str
    size: int
    part_md5s: bytes = b""


def parse(etag: str) -> ParsedEtag | None:
    """Parse an ETag, with or without its quotes; None if it does not look like an MD5 (an opaque ETag)."""
    match = _SHAPE(etag)
    return ParsedEtag(match[1].lower(), int(match[2] or 0)) if match else None


def told_digest(store_etag: str, encryption: str, *, is_opaque: bool) -> ParsedEtag | None:
    """What the ETag of a response says about the bytes; None: nothing. With a KMS or customer key it is no digest.

    `encryption` is the x-amz-server-side-encryption of the response, `is_opaque` what the job says about the store.
    """
    is_under_key = encryption.startswith(("aws:kms", "customer"))
    return None if is_opaque or is_under_key else parse(store_etag)


def agree(one: str, other: str) -> bool:
    """Whether two ETags may belong to the same object: an empty one matches any, and digests ignore case."""
    if not one or not other or one == other:
        return True
    parsed = parse(one)
    return parsed is not None and parsed == parse(other)


def candidate_part_sizes(size: int, parts: int) -> list[int]:
    """Part sizes in bytes that give `parts` parts for `size` bytes, most common first.

    One part: a single size, since any gives the same ETag. No parts (single upload) or no possible size: empty.
    """
    if parts < 1:
        return []
    if parts == 1:
        return [next((usual for usual in USUAL_PART_SIZES if usual >= size), size)]
    lowest, highest = -(-size // parts), (size - 1) // (parts - 1)
    known = (*USUAL_PART_SIZES, *_raised_sizes(size, lowest))
    sizes = [part_size for part_size in known if lowest <= part_size <= highest]
    if highest - lowest < 4:
        sizes += range(max(lowest, 1), highest + 1)
    return list(dict.fromkeys(sizes))


def _raised_sizes(size: int, lowest: int) -> tuple[int, ...]:
    """Part sizes that tools choose to avoid too many parts: SDKs divide by 10,000, others round up to whole MiB."""
    return size // MOST_PARTS + 1, -(-size // MOST_PARTS), -(-lowest // MIB) * MIB


def prove_file(
    path: str | os.PathLike[str], etag: str, *, part_sizes: Iterable[int] | None = None, whole_md5: bool = False
) -> Proof:
    """Whether a file is the object with this ETag. An opaque ETag never matches. OSError if reading fails.

    One read for the common part sizes in MiB; if none matches, a second read for the rarer ones of
    `candidate_part_sizes`. `part_sizes` in bytes replaces both: all of them in one read. For an ETag of several parts
    the MD5 of all bytes would double the work: it is computed only with `whole_md5`; without it a file for which no
    part size is possible is not read.
    """
    parsed = parse(etag)
    descriptor = _open(path)
    try:
        size = os.fstat(descriptor).st_size
        if parsed is None or parsed.parts == 0:
            md5, size = _whole_md5(descriptor, size)
            matched = parsed is not None and parsed.md5_hex == md5
            return Proof(matched, "" if parsed is None else md5, 0, md5, size)
        if part_sizes is None:
            candidates = candidate_part_sizes(size, parsed.parts)
            usual = [part_size for part_size in candidates if part_size in _USUAL_IN_MIB]
            reads = [usual, [part_size for part_size in candidates if part_size not in _USUAL_IN_MIB]]
        else:
            possible = [part_size for part_size in part_sizes if part_size > 0]
            reads = [[part_size for part_size in possible if part_count(size, part_size) == parsed.parts]]
        return _prove_parts(descriptor, size, parsed, [read for read in reads if read], whole_md5)
    finally:
        os.close(descriptor)


def _prove_parts(descriptor: int, size: int, parsed: ParsedEtag, reads: list[list[int]], whole_md5: bool) -> Proof:
    """Try the part sizes of each read until one gives the ETag."""
    wanted = f"{parsed.md5_hex}-{parsed.parts}"
    whole_md5 = whole_md5 or parsed.parts == 1  # the one part is the whole file: nothing is computed twice
    found, md5 = "", ""
    for part_sizes in reads or ([[]] if whole_md5 else []):
        cuts = [_Cut(part_size) for part_size in part_sizes]
        os.lseek(descriptor, 0, os.SEEK_SET)
        whole, size = _digest_parts(descriptor, size, cuts, whole_md5=whole_md5 and not md5)
        md5 = md5 or whole
        matching = next((cut for cut in cuts if cut.etag() == wanted), None)
        if matching:
            return Proof(True, wanted, matching.part_size, md5, size, bytes(matching.md5s))
        found = found or (cuts[0].etag() if cuts else "")
    return Proof(False, found, 0, md5, size)


def file_etag(path: str | os.PathLike[str], part_size: int) -> str:
    """The ETag a store gives a file sent in parts of `part_size` bytes; 0: in one PUT. OSError if reading fails."""
    return file_digests(path, part_size)[0]


def file_digests(path: str | os.PathLike[str], part_size: int) -> tuple[str, bytes]:
    """The same, and the MD5s of the parts (core/part_md5s.py)."""
    descriptor = _open(path)
    try:
        size = os.fstat(descriptor).st_size
        if part_size == 0:
            return _whole_md5(descriptor, size)[0], b""
        cut = _Cut(part_size)
        _digest_parts(descriptor, size, [cut], whole_md5=False)
        return cut.etag(), bytes(cut.md5s)
    finally:
        os.close(descriptor)


def file_layout_etag(path: str | os.PathLike[str], sizes: Sequence[int]) -> str:
    """The ETag a store gives a file sent in parts of these sizes in bytes. OSError if reading fails."""
    descriptor = _open(path)
    try:
        digests = LayoutDigests(sizes)
        for block in _blocks(descriptor, os.fstat(descriptor).st_size):
            digests.update(block)
        return digests.etag()
    finally:
        os.close(descriptor)


def file_checksum(path: str | os.PathLike[str], algorithm: str) -> str:
    """The base64 value of x-amz-checksum-<algorithm> for a whole file: sha256, sha1 or crc32; else ValueError."""
    if algorithm not in ("sha256", "sha1", "crc32"):
        raise ValueError(f"unknown checksum {algorithm!r}; use sha256, sha1 or crc32")
    descriptor = _open(path)
    try:
        blocks = _blocks(descriptor, os.fstat(descriptor).st_size)
        if algorithm == "crc32":
            crc = 0
            for block in blocks:
                crc = zlib.crc32(block, crc)
            return base64.b64encode(crc.to_bytes(4, "big")).decode()
        digest = hashlib.new(algorithm, usedforsecurity=False)
        for block in blocks:
            digest.update(block)
        return base64.b64encode(digest.digest()).decode()
    finally:
        os.close(descriptor)


def _blocks(descriptor: int, expected_size: int) -> Iterator[bytes | memoryview]:
    """The blocks of a file. A block is valid only until the next one: they share one buffer."""
    if expected_size < _BLOCK:
        while block := _read(descriptor, expected_size + 1):
            yield block
        return
    buffer = memoryview(bytearray(_BLOCK))
    while count := _read_into(descriptor, buffer):
        yield buffer[:count]


def _open(path: str | os.PathLike[str]) -> int:
    with workers.at_medium():
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _read(descriptor: int, size: int) -> bytes:
    with workers.at_medium():
        return os.read(descriptor, size)


def _read_into(descriptor: int, buffer: memoryview) -> int:
    workers.beat()
    with workers.at_medium():
        return os.readv(descriptor, [buffer])


def _whole_md5(descriptor: int, expected_size: int) -> tuple[str, int]:
    md5, size = hashlib.md5(usedforsecurity=False), 0
    for block in _blocks(descriptor, expected_size):
        md5.update(block)
        size += len(block)
    return md5.hexdigest(), size


class PartDigests:
    """MD5s of a stream in parts of `part_size` bytes (0: one MD5 of everything); `fed` counts the bytes."""

    def __init__(self, part_size: int) -> None:
        self.part_size = part_size
        self.fed = 0
        self._closed: list[bytes] = []
        self._begin(part_size or _ENDLESS)

    def _begin(self, size: int) -> None:
        self._open = hashlib.md5(usedforsecurity=False)
        self._size = self._room = size  # of the open part

    def _next_size(self) -> int:
        return self._size

    @property
    def at_boundary(self) -> bool:
        """Whether the next byte begins a part."""
        return self._room == self._size

    def update(self, chunk: bytes | memoryview) -> None:
        self.fed += len(chunk)
        if len(chunk) < self._room:
            self._open.update(chunk)
            self._room -= len(chunk)
            return
        view = memoryview(chunk)
        while view:
            taken = view[: self._room]
            self._open.update(taken)
            self._room -= len(taken)
            view = view[len(taken) :]
            if not self._room:
                self._closed.append(self._open.digest())
                self._begin(self._next_size())

    def digests(self) -> tuple[bytes, ...]:
        """Digests of the complete parts, and of the open one if it has bytes or is the only one."""
        rest = () if self._closed and self.at_boundary else (self._open.digest(),)
        return (*self._closed, *rest)

    def etag(self) -> str:
        """The ETag of all bytes so far."""
        return multipart_etag(self.digests()) if self.part_size else self._open.hexdigest()

    def take(self, digests: Sequence[bytes], length: int) -> None:
        """Add `length` bytes with known digests: complete parts, or the entire rest. Only at a boundary."""
        self._closed += digests
        self.fed += length

    def adopt(self, other: PartDigests) -> None:
        """Continue from the state of `other`, with the same parts. Only at a boundary; at the start for part size 0."""
        self._closed += other._closed
        self._open, self._size, self._room = other._open, other._size, other._room
        self.fed += other.fed


class LayoutDigests(PartDigests):
    """The same for parts of the given sizes in bytes (at least one); bytes beyond them form one more part."""

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__(sizes[0])
        self._following = iter(sizes[1:])

    def _next_size(self) -> int:
        return next(self._following, _ENDLESS)


def multipart_etag(digests: Sequence[bytes]) -> str:
    """The ETag of an upload whose parts have these MD5s."""
    return f"{hashlib.md5(b''.join(digests), usedforsecurity=False).hexdigest()}-{len(digests)}"


class _Cut:
    """One part size tried on a file: where the open part began, and the MD5s of the closed parts."""

    def __init__(self, part_size: int) -> None:
        self.part_size = part_size
        self.part_start = 0
        self.parts = 0
        self.md5s = bytearray()

    @property
    def part_end(self) -> int:
        return self.part_start + self.part_size

    def close_part(self, part_digest: bytes, position: int) -> None:
        self.md5s += part_digest
        self.parts += 1
        self.part_start = position

    def etag(self) -> str:
        return f"{hashlib.md5(self.md5s, usedforsecurity=False).hexdigest()}-{self.parts}"


def _digest_parts(descriptor: int, expected_size: int, cuts: list[_Cut], *, whole_md5: bool) -> tuple[str, int]:
    """Feed every cut in one read; returns the MD5 of all bytes if requested, else "", and their count.

    Parts of different cuts that began at the same byte share one MD5, also with that of all bytes, and each takes the
    digest at its own end: usual sizes, multiples of each other, then cost less than one MD5 each.
    """
    first = hashlib.md5(usedforsecurity=False)
    open_parts = {0: first}  # MD5s by the byte they began at
    position = 0
    next_end = min((cut.part_end for cut in cuts), default=-1)
    for block in _blocks(descriptor, expected_size):
        view = memoryview(block)
        while view:
            taken = view[: next_end - position] if cuts else view
            for md5 in open_parts.values():
                md5.update(taken)
            position += len(taken)
            view = view[len(taken) :]
            if position == next_end:
                _close_parts(cuts, open_parts, position, keep_first=whole_md5)
                next_end = min(cut.part_end for cut in cuts)
    for cut in cuts:
        if cut.part_start < position or cut.parts == 0:
            cut.close_part(open_parts[cut.part_start].digest(), position)
    return first.hexdigest() if whole_md5 else "", position


def _close_parts(cuts: list[_Cut], open_parts: dict[int, hashlib._Hash], position: int, *, keep_first: bool) -> None:
    for cut in cuts:
        if cut.part_end == position:
            cut.close_part(open_parts[cut.part_start].digest(), position)
            open_parts.setdefault(position, hashlib.md5(usedforsecurity=False))
    needed = {cut.part_start for cut in cuts} | ({0} if keep_first else set())
    for start in open_parts.keys() - needed:
        del open_parts[start]
