# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects on disk: blobs in files named by an id, metadata in memory and in an append-only journal.

The journal is one JSON list per line, written with one write(2) per change, so that a killed store comes back with
everything it had answered for. It is not fsynced: this store survives its own death, not the machine's.
"""

from __future__ import annotations

import bisect
import contextlib
import fcntl
import hashlib
import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .model import Entry, Part, S3Error, Upload

BLOCK = 256 * 1024
SHARED = "shared-"  # blobs of many objects, kept for good


@dataclass(slots=True)
class Blob:
    """Bytes received into a file: `md5` is of what was received, `stored_md5` of what was written."""

    blob_id: str
    size: int
    md5: str
    stored_md5: str
    stored_size: int


@dataclass(slots=True)
class Bucket:
    """One bucket; `order` holds the keys sorted (code points, which is UTF-8 byte order)."""

    name: str
    created_ms: int
    entries: dict[str, Entry] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    order_valid: bool = True

    def sorted_keys(self) -> list[str]:
        if not self.order_valid:
            self.order = sorted(self.entries)
            self.order_valid = True
        return self.order

    def insert(self, entry: Entry) -> Entry | None:
        old = self.entries.get(entry.key)
        if old is not None:
            # A new position in the dict: the unsorted listing is in order of last change.
            del self.entries[entry.key]
        elif self.order_valid:
            if not self.order or self.order[-1] < entry.key:
                self.order.append(entry.key)
            elif len(self.order) < 50_000:
                bisect.insort(self.order, entry.key)
            else:
                self.order_valid = False
        self.entries[entry.key] = entry
        return old

    def remove(self, key: str) -> Entry | None:
        old = self.entries.pop(key, None)
        if old is not None:
            self.order_valid = False
        return old


class Storage:
    """The buckets below one folder. Every public method is safe to call from any thread."""

    def __init__(self, folder: str | os.PathLike[str], *, clock: Callable[[], float] = time.time) -> None:
        self.folder = Path(folder)
        self.clock = clock
        self.lock = threading.RLock()
        self.buckets: dict[str, Bucket] = {}
        self._older: dict[tuple[str, str], Entry] = {}  # (bucket, key): what was there before the last write
        self._counter = itertools.count(1)
        self._blobs = self.folder / "blobs"
        for shard in range(256):
            (self._blobs / f"{shard:02x}").mkdir(parents=True, exist_ok=True)
        self._journal_path = self.folder / "journal.jsonl"
        self._journal = os.open(self._journal_path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._take_folder()
        self._load()

    def _take_folder(self) -> None:
        try:
            fcntl.flock(self._journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._journal)
            raise RuntimeError(f"Failed to open the store in {self.folder}: another process serves it") from error

    def close(self) -> None:
        """Gives the folder free; nothing has to be flushed."""
        with self.lock:
            if self._journal >= 0:
                os.close(self._journal)
                self._journal = -1

    # -- journal ---------------------------------------------------------------------------------------------------

    def _write(self, *record: Any) -> None:
        if self._journal < 0:
            raise S3Error("ServiceUnavailable", "the store is closed")
        os.write(self._journal, json.dumps(record, separators=(",", ":")).encode() + b"\n")

    def _load(self) -> None:
        records = 0
        valid = 0
        with open(self._journal_path, "rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    os.ftruncate(self._journal, valid)  # killed inside a write: that change was never answered for
                    break
                valid += len(line)
                self._apply(json.loads(line))
                records += 1
        live = sum(1 + len(bucket.entries) + len(bucket.uploads) for bucket in self.buckets.values())
        if records > 2 * live + 1000:
            self._compact()
        self._sweep(enough=records > 0)

    def _apply(self, record: list[Any]) -> None:
        verb, name, *rest = record
        if verb == "bucket":
            self.buckets[name] = Bucket(name, rest[0], order_valid=False)
            return
        bucket = self.buckets[name]
        if verb == "put":
            bucket.order_valid = False
            bucket.insert(Entry.from_record(rest[0]))
            if len(rest) > 1:
                bucket.uploads.pop(rest[1], None)
        elif verb == "delete":
            bucket.remove(rest[0])
        elif verb == "tags":
            bucket.entries[rest[0]].tags = rest[1]
        elif verb == "upload":
            upload = Upload(*rest)
            bucket.uploads[upload.upload_id] = upload
        elif verb == "part":
            bucket.uploads[rest[0]].parts[rest[1][0]] = Part(*rest[1])
        elif verb == "abort":
            bucket.uploads.pop(rest[0], None)
        elif verb == "fill":
            self._fill(bucket, *rest)
        elif verb == "unbucket":
            del self.buckets[name]

    def _compact(self) -> None:
        temporary = self._journal_path.with_suffix(".new")
        with open(temporary, "w", encoding="ascii") as output:
            for record in self._snapshot():
                output.write(json.dumps(record, separators=(",", ":")) + "\n")
        os.replace(temporary, self._journal_path)
        os.close(self._journal)
        self._journal = os.open(self._journal_path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        self._take_folder()

    def _snapshot(self) -> Iterator[list[Any]]:
        for bucket in self.buckets.values():
            yield ["bucket", bucket.name, bucket.created_ms]
            for entry in bucket.entries.values():
                yield ["put", bucket.name, entry.record()]
            for upload in bucket.uploads.values():
                yield ["upload", bucket.name, *_upload_record(upload)]
                for part in upload.parts.values():
                    yield ["part", bucket.name, upload.upload_id, _part_record(part)]

    def _sweep(self, *, enough: bool) -> None:
        """Removes blobs that nothing refers to: what was under way when the store was killed."""
        if not enough:
            return
        known = {blob for bucket in self.buckets.values() for blob in _blobs_of(bucket)}
        for shard in os.scandir(self._blobs):
            for file in os.scandir(shard.path):
                if file.name not in known:
                    os.unlink(file.path)

    # -- blobs -----------------------------------------------------------------------------------------------------

    def blob_path(self, blob_id: str) -> str:
        return f"{self._blobs}/{blob_id[-2:]}/{blob_id}"

    def _new_blob(self) -> str:
        return f"{time.time_ns():x}{next(self._counter) & 0xFFFFFF:06x}"

    def receive(self, blocks: Iterable[bytes | memoryview], *, damage: Damage | None = None, md5: Any = None) -> Blob:
        """Writes the blocks to a new blob file; an exception of `blocks` leaves nothing behind.

        `md5`: a hash object that whoever makes the blocks keeps up to date, so that it is computed once only.
        """
        blob_id = self._new_blob()
        path = self.blob_path(blob_id)
        received = md5 or hashlib.md5(usedforsecurity=False)
        stored = hashlib.md5(usedforsecurity=False) if damage else received
        size = stored_size = 0
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            for block in blocks:
                if md5 is None:
                    received.update(block)
                data = damage(block, size) if damage else block
                size += len(block)
                if damage:
                    stored.update(data)
                stored_size += len(data)
                _write_all(descriptor, data)
        except BaseException:
            os.unlink(path)
            raise
        finally:
            os.close(descriptor)
        return Blob(blob_id, size, received.hexdigest(), stored.hexdigest(), stored_size)

    def forget_blobs(self, blobs: Iterable[str]) -> None:
        for blob_id in blobs:
            if blob_id.startswith(SHARED):
                continue
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.blob_path(blob_id))

    def link_blobs(self, segments: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
        """The same bytes under new ids (hard links), for copies."""
        linked = []
        for blob_id, size in segments:
            fresh = self._new_blob()
            os.link(self.blob_path(blob_id), self.blob_path(fresh))
            linked.append((fresh, size))
        return tuple(linked)

    def blocks(self, entry: Entry, start: int = 0, length: int = -1, block: int = BLOCK) -> Iterator[bytes]:
        """The bytes [start, start + length) of an entry, in blocks of at most `block` bytes."""
        for blob_id, offset, count in self.extents(entry, start, entry.size - start if length < 0 else length):
            with open(self.blob_path(blob_id), "rb", buffering=0) as file:
                file.seek(offset)
                while count > 0:
                    data = file.read(min(block, count))
                    if not data:
                        return
                    count -= len(data)
                    yield data

    @staticmethod
    def extents(entry: Entry, start: int, length: int) -> Iterator[tuple[str, int, int]]:
        """(blob id, offset in the blob, bytes) that make up a range of an entry."""
        position = 0
        end = start + length
        for blob_id, size in entry.segments:
            low = max(start, position)
            high = min(end, position + size)
            if low < high:
                yield blob_id, low - position, high - low
            position += size

    # -- buckets and objects ---------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        """Whole seconds, as S3 shows LastModified: never later than the clock of the store."""
        return int(self.clock()) * 1000

    def create_bucket(self, name: str) -> bool:
        """True if it is new."""
        with self.lock:
            if name in self.buckets:
                return False
            created = self.now_ms()
            self._write("bucket", name, created)
            self.buckets[name] = Bucket(name, created)
            return True

    def delete_bucket(self, name: str) -> None:
        with self.lock:
            bucket = self.bucket(name)
            if bucket.entries:
                raise S3Error("BucketNotEmpty")
            self._write("unbucket", name)
            del self.buckets[name]

    def bucket(self, name: str) -> Bucket:
        bucket = self.buckets.get(name)
        if bucket is None:
            raise S3Error("NoSuchBucket", extra={"BucketName": name})
        return bucket

    def entry(self, bucket: str, key: str) -> Entry:
        entry = self.bucket(bucket).entries.get(key)
        if entry is None:
            raise S3Error("NoSuchKey", extra={"Key": key})
        return entry

    def open_entry(self, bucket: str, key: str) -> Entry:
        """The entry, its blobs kept until `release`."""
        with self.lock:
            entry = self.entry(bucket, key)
            entry.readers += 1
            return entry

    def release(self, entry: Entry) -> None:
        with self.lock:
            entry.readers -= 1
            gone = entry.dropped and entry.readers == 0
        if gone:
            self.forget_blobs(blob for blob, _ in entry.segments)

    def put(self, bucket_name: str, entry: Entry, *, check: Callable[[Entry | None], None] | None = None) -> None:
        """Publishes an entry over whatever was there; `check` sees the old one under the lock and may refuse."""
        with self.lock:
            bucket = self.bucket(bucket_name)
            if check is not None:
                check(bucket.entries.get(entry.key))
            self._write("put", bucket_name, entry.record())
            self._replace(bucket_name, entry)

    def _replace(self, bucket_name: str, entry: Entry) -> None:
        old = self.bucket(bucket_name).insert(entry)
        if old is not None:
            self._older[bucket_name, entry.key] = old
        self._drop(old)

    def older(self, bucket_name: str, key: str) -> Entry:
        """What was there before the object was last written, without its bytes; NoSuchKey if nothing was."""
        with self.lock:
            old = self._older.get((bucket_name, key))
        if old is None:
            raise S3Error("NoSuchKey", extra={"Key": key})
        return old

    def delete(self, bucket_name: str, key: str) -> bool:
        with self.lock:
            bucket = self.bucket(bucket_name)
            if key not in bucket.entries:
                return False
            self._write("delete", bucket_name, key)
            self._drop(bucket.remove(key))
            return True

    def _drop(self, entry: Entry | None) -> None:
        if entry is None:
            return
        entry.dropped = True
        if entry.readers == 0:
            self.forget_blobs(blob for blob, _ in entry.segments)

    def set_tags(self, bucket_name: str, key: str, tags: dict[str, str]) -> None:
        with self.lock:
            entry = self.entry(bucket_name, key)
            self._write("tags", bucket_name, key, tags)
            entry.tags = tags

    def put_bytes(
        self,
        bucket: str,
        key: str,
        data: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        part_size: int = 0,
        modified_ms: int = 0,
        etag: str = "",
    ) -> Entry:
        """Stores an object without HTTP; `part_size` > 0 makes it a multipart object of such parts."""
        pieces = [data[at : at + part_size] for at in range(0, len(data), part_size)] if part_size and data else [data]
        return self.put_pieces(
            bucket,
            key,
            pieces,
            headers=headers,
            tags=tags,
            multipart=bool(part_size),
            modified_ms=modified_ms,
            etag=etag,
        )

    def put_pieces(
        self,
        bucket: str,
        key: str,
        pieces: Iterable[bytes],
        *,
        headers: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        multipart: bool = True,
        modified_ms: int = 0,
        etag: str = "",
    ) -> Entry:
        """Stores an object from its parts, one at a time in memory, with the ETag that S3 gives it."""
        blobs = [self.receive([piece]) for piece in pieces]
        stored = {"content-type": "binary/octet-stream", **{n.lower(): v for n, v in (headers or {}).items()}}
        entry = Entry(
            key=key,
            size=sum(blob.size for blob in blobs),
            etag=etag or (multipart_etag([blob.md5 for blob in blobs]) if multipart else blobs[0].md5),
            modified_ms=modified_ms or self.now_ms(),
            segments=tuple((blob.blob_id, blob.size) for blob in blobs if blob.size),
            headers=stored,
            tags=dict(tags or {}),
            parts=tuple(blob.size for blob in blobs) if multipart else (),
        )
        self.forget_blobs(blob.blob_id for blob in blobs if not blob.size)
        self.put(bucket, entry)
        return entry

    def fill(self, bucket_name: str, count: int, size: int, prefix: str = "") -> None:
        """Adds `count` objects PREFIX000000000, ... that share their bytes: a million of them take seconds."""
        data = bytes(range(256)) * (size // 256 + 1)
        blob = self.receive([data[:size]])
        shared = f"{SHARED}{blob.blob_id}"
        os.makedirs(os.path.dirname(self.blob_path(shared)), exist_ok=True)
        os.rename(self.blob_path(blob.blob_id), self.blob_path(shared))
        with self.lock:
            bucket = self.bucket(bucket_name)
            record: list[Any] = [prefix, count, size, blob.md5, self.now_ms(), shared]
            self._write("fill", bucket_name, *record)
            self._fill(bucket, *record)

    def _fill(self, bucket: Bucket, prefix: str, count: int, size: int, etag: str, modified_ms: int, blob: str) -> None:
        segments = ((blob, size),) if size else ()
        headers = {"content-type": "binary/octet-stream"}
        tags: dict[str, str] = {}
        bucket.order_valid = False
        for number in range(count):
            bucket.insert(Entry(f"{prefix}{number:09d}", size, etag, modified_ms, segments, headers, tags))

    # -- multipart uploads -----------------------------------------------------------------------------------------

    def create_upload(self, bucket_name: str, upload: Upload) -> None:
        with self.lock:
            bucket = self.bucket(bucket_name)
            self._write("upload", bucket_name, *_upload_record(upload))
            bucket.uploads[upload.upload_id] = upload

    def upload(self, bucket_name: str, key: str, upload_id: str) -> Upload:
        upload = self.bucket(bucket_name).uploads.get(upload_id)
        if upload is None or upload.key != key:
            raise S3Error("NoSuchUpload", extra={"UploadId": upload_id})
        return upload

    def put_part(self, bucket_name: str, key: str, upload_id: str, part: Part) -> None:
        with self.lock:
            upload = self.upload(bucket_name, key, upload_id)
            old = upload.parts.get(part.number)
            self._write("part", bucket_name, upload_id, _part_record(part))
            upload.parts[part.number] = part
        if old is not None:
            self.forget_blobs([old.blob])

    def abort_upload(self, bucket_name: str, key: str, upload_id: str) -> None:
        with self.lock:
            upload = self.upload(bucket_name, key, upload_id)
            self._write("abort", bucket_name, upload_id)
            del self.bucket(bucket_name).uploads[upload_id]
        self.forget_blobs(part.blob for part in upload.parts.values())

    def complete_upload(
        self, bucket_name: str, upload: Upload, entry: Entry, check: Callable[[Entry | None], None]
    ) -> None:
        """Publishes the entry and ends the upload in one journal line."""
        with self.lock:
            self.upload(bucket_name, entry.key, upload.upload_id)
            bucket = self.bucket(bucket_name)
            check(bucket.entries.get(entry.key))
            self._write("put", bucket_name, entry.record(), upload.upload_id)
            self._replace(bucket_name, entry)
            del bucket.uploads[upload.upload_id]
        used = {blob for blob, _ in entry.segments}
        self.forget_blobs(part.blob for part in upload.parts.values() if part.blob not in used)


Damage = Callable[[Any, int], bytes]  # (block, its offset) -> what is written instead


def multipart_etag(part_md5s: Iterable[str]) -> str:
    """The MD5 of the binary MD5s of the parts, with their count."""
    digests = [bytes.fromhex(md5) for md5 in part_md5s]
    return f"{hashlib.md5(b''.join(digests), usedforsecurity=False).hexdigest()}-{len(digests)}"


def _write_all(descriptor: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _upload_record(upload: Upload) -> list[Any]:
    return [upload.upload_id, upload.key, upload.initiated_ms, upload.headers, upload.tags]


def _part_record(part: Part) -> list[Any]:
    return [part.number, part.etag, part.md5, part.size, part.blob, part.modified_ms]


def _blobs_of(bucket: Bucket) -> Iterator[str]:
    for entry in bucket.entries.values():
        for blob, _size in entry.segments:
            yield blob
    for upload in bucket.uploads.values():
        for part in upload.parts.values():
            yield part.blob
