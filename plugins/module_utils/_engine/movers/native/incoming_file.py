# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The incoming file of a fetch, and the bytes of one response on their way into it."""

from __future__ import annotations

import os
from collections.abc import Iterator

from ...core import workers
from ...store.curl import MOST_HELD
from ...store.upload_bodies import CHUNK
from .requests import Digests

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class Target:
    """The file that a fetch writes: created with its first byte, written at any offset."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor = -1

    def open(self) -> None:
        """Create the file.

        One that is left of an earlier attempt loses its name: another process may still be writing to it, which ends
        only when its disk lets it.
        """
        with workers.at_medium():
            try:
                self._descriptor = os.open(self.path, _NEW, 0o600)
            except FileExistsError:
                os.unlink(self.path)
                self._descriptor = os.open(self.path, _NEW, 0o600)

    def open_partial(self, size: int) -> None:
        """Keep what the file contains, at most `size` bytes. It is readable then."""
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if os.fstat(self._descriptor).st_size > size:
            os.ftruncate(self._descriptor, size)

    def read(self, start: int, length: int) -> Iterator[bytes]:
        """The file's bytes there, in pieces; ends early if the file does."""
        end = start + length
        while start < end and (piece := self._read(min(CHUNK, end - start), start)):
            yield piece
            start += len(piece)
            workers.beat()

    def _read(self, length: int, place: int) -> bytes:
        with workers.at_medium():
            return os.pread(self._descriptor, length, place)

    @property
    def is_open(self) -> bool:
        return self._descriptor >= 0

    def write(self, chunk: bytes, place: int) -> None:
        with workers.at_medium():
            written = os.pwrite(self._descriptor, chunk, place)
            while written < len(chunk):
                written += os.pwrite(self._descriptor, chunk[written:], place + written)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with workers.at_medium():
                os.close(descriptor)


class IncomingBytes:
    """The `length` bytes of a response that belong into the file from `start`.

    `received` counts those that arrived, `kept` those that are in the file and in `digests`. libcurl's chunks are too
    small to hash and write each separately: up to `most_held` bytes are gathered.
    """

    def __init__(self, target: Target, start: int, length: int, digests: Digests) -> None:
        self._target = target
        self.start = start
        self.length = length
        self._digests = digests
        self._chunks: list[bytes] = []  # received, and not kept yet
        self.most_held = MOST_HELD
        self.received = 0
        self.kept = 0

    def open(self) -> None:
        """Create the file, unless an earlier response did."""
        if not self._target.is_open:
            self._target.open()

    def add(self, chunk: bytes) -> None:
        """Take the next bytes, which must not be more than are missing."""
        self._chunks.append(chunk)
        self.received += len(chunk)
        if self.received - self.kept >= self.most_held or self.received == self.length:
            self.keep()

    def keep(self) -> None:
        """Hash and write what was received."""
        if self._chunks:
            data = b"".join(self._chunks)
            self._target.write(data, self.start + self.kept)
            self._digests.update(data)
            self.kept += len(data)
            self._chunks.clear()
