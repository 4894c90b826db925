# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Downloads one large file from a link, and resumes after connection failures and interrupted runs.

The bytes go to ``PATH.part``. Their ETag and total size are in ``PATH.source.json``, so that bytes of two versions are
never mixed and a complete file is recognized. A link is a secret and never appears in a message.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import http.client
import json
import os
import re
import shutil
import time
import urllib.error
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.urls import open_url
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.shared_files import PRIVATE, read_text

CHUNK = 1 << 20
SOCKET_TIMEOUT = 60.0  # seconds without a byte
TRIES = 5  # in a row without a new byte
PAUSE = 2.0  # backoff in seconds after the first of them, doubled each time
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+)")
# An expired link is rejected like a wrong one.
_REFUSED = (400, 401, 403, 404, 410)


class DownloadError(Exception):
    """The download failed; the message names the cause and the fix, and never contains the link."""


class DiskFull(DownloadError):
    """The disk is full; the bytes downloaded so far are kept, and the next run continues from them."""


class LinkRefused(DownloadError):
    """The store rejects the link, usually because it has expired."""


@dataclass(frozen=True)
class Identity:
    """The identity of the content. `size` is in bytes, None if the store does not report it."""

    etag: str
    size: int | None

    def is_of(self, other: Identity) -> bool:
        return self == other and bool(self.etag) and self.size is not None


@dataclass(frozen=True)
class Download:
    """The file `path` from the URL that `link` returns. `link` is called again if the store rejects the URL."""

    path: str
    link: Callable[[], str]
    sleep: Callable[[float], None] = time.sleep
    pause: float = PAUSE

    @property
    def part(self) -> str:
        return f"{self.path}.part"

    @property
    def note(self) -> str:
        return f"{self.path}.source.json"

    def fetch(self) -> int:
        """Returns the bytes that were transferred, 0 if the file was complete; raises DownloadError."""
        try:
            with self._alone():
                return self._fetch()
        except OSError as error:
            raise self._out_of_room(error) from error

    def forget(self) -> None:
        """Makes the next fetch start over, because the file turned out to be bad."""
        for path in (self.note, self.part):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def _out_of_room(self, error: OSError) -> DownloadError:
        if error.errno in _DISK_FULL:
            return DiskFull(
                f"Failed to download the update to {self.path}: the disk is full ({self._free()} bytes are free). "
                "Free some space or choose another path; the bytes downloaded so far are kept"
            )
        return DownloadError(f"Failed to download the update to {self.path}: {error.strerror or error}")

    def _free(self) -> int:
        return shutil.disk_usage(os.path.dirname(self.path)).free

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Locks the file: two tasks that need the same file (nodes of a cluster share it) fetch it once."""
        os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
        descriptor = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _fetch(self) -> int:
        url, transferred, failures, was_refused = self._link(), 0, 0, False
        while True:
            before = self._have()
            try:
                return transferred + self._attempt(url)
            except LinkRefused:
                if was_refused:
                    raise
                url, was_refused = self._link(), True
            except (http.client.HTTPException, urllib.error.URLError, TimeoutError, ConnectionError) as error:
                gained = self._have() - before
                transferred += max(gained, 0)
                failures = 0 if gained > 0 else failures + 1
                was_refused = was_refused and gained <= 0
                if failures >= TRIES:
                    raise DownloadError(
                        f"Failed to download the update to {self.path}: {_cause(error)}, {TRIES} times in a row. Check "
                        f"the network; {self._have()} bytes are kept, and the next run continues from them"
                    ) from None
                if failures:
                    self.sleep(self.pause * 2 ** (failures - 1))

    def _link(self) -> str:
        url = self.link()
        if urlsplit(url).scheme not in ("https", "http"):
            raise DownloadError("Failed to download the update: the link is neither https nor http")
        return url

    def _have(self) -> int:
        try:
            return os.stat(self.part).st_size
        except FileNotFoundError:
            return 0

    def _attempt(self, url: str) -> int:
        """One connection; returns its bytes once the file is complete."""
        known = self._known()
        have = self._have() if known else 0
        headers = {"Accept-Encoding": "identity"}
        if have and known and known.etag:
            headers |= {"Range": f"bytes={have}-", "If-Range": known.etag}
        with self._open(url, headers) as answer:
            start, identity = _place(answer)
            if known and known.is_of(identity) and self._is_complete(identity):
                return 0
            if identity.size is not None and identity.size - start > self._free():
                raise DiskFull(
                    f"Failed to download the update to {self.path}: {identity.size - start} bytes remain, but only "
                    f"{self._free()} are free. Free some space or choose another path"
                )
            if start and known and known.etag != identity.etag:
                self.forget()
                raise http.client.HTTPException("the remaining bytes belong to another file")
            received = self._receive(answer, start, identity) if answer.status != 416 else 0
        self._finish(identity)
        return received

    def _open(self, url: str, headers: dict[str, str]) -> Any:
        try:
            return open_url(url, headers=headers, timeout=SOCKET_TIMEOUT, decompress=False, http_agent="snowsync")
        except urllib.error.HTTPError as error:
            if error.code == 416:  # all requested bytes are already here
                return error
            if error.code in _REFUSED:
                raise LinkRefused(
                    f"Failed to download the update to {self.path}: the store rejected the link (HTTP {error.code}). "
                    "AWS links are valid for two days: get a new one, or use job_id instead"
                ) from None
            raise

    def _known(self) -> Identity | None:
        """The recorded identity of the part and the file, None if it was not recorded."""
        try:
            said = json.loads(read_text(self.note) or "")
            return Identity(str(said["etag"]), said["size"])
        except (ValueError, KeyError, TypeError):
            return None

    def _is_complete(self, identity: Identity) -> bool:
        return os.path.isfile(self.path) and os.stat(self.path).st_size == identity.size and not self._have()

    def _receive(self, answer: Any, start: int, identity: Identity) -> int:
        """Creates the part before the note changes: a note without a part belongs to the complete file."""
        received = 0
        with open(self.part, "r+b" if os.path.exists(self.part) else "x+b") as file:
            os.fchmod(file.fileno(), PRIVATE)
            file.truncate(start)
            file.seek(start)
            _write(self.note, json.dumps({"etag": identity.etag, "size": identity.size}))
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                received += len(chunk)
            file.flush()
            os.fsync(file.fileno())
        return received

    def _finish(self, identity: Identity) -> None:
        have = self._have()
        if identity.size is not None and have < identity.size:
            raise http.client.IncompleteRead(b"", identity.size - have)
        if identity.size is not None and have > identity.size:
            self.forget()
            raise http.client.HTTPException("more bytes than announced")
        os.replace(self.part, self.path)
        descriptor = os.open(os.path.dirname(self.path), os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _place(answer: Any) -> tuple[int, Identity]:
    """The offset and the identity of the bytes in the response."""
    etag = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
    found = _RANGE.fullmatch(answer.headers.get("Content-Range") or "")
    if answer.status in (206, 416) and found:
        return int(found[1] or 0), Identity(etag, int(found[2]))
    length = answer.headers.get("Content-Length")
    return 0, Identity(etag, int(length) if length and length.isdecimal() else None)


def _cause(error: Exception) -> str:
    """The cause, in words that cannot contain the link."""
    if isinstance(error, urllib.error.HTTPError):
        return f"the store returned HTTP {error.code}"
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, OSError):
        return reason.strerror or type(reason).__name__
    return "the connection ended too early" if isinstance(error, http.client.HTTPException) else type(error).__name__


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
