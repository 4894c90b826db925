# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The body of a request: read in bounded blocks, decoded from aws-chunked, every promised digest verified."""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from .model import ConnectionLost, S3Error
from .signature import Identity

Block = bytes | memoryview
CHECKSUMS = ("crc32", "crc32c", "crc64nvme", "sha1", "sha256")


class Source(Protocol):
    """What a connection offers to read from."""

    def read_blocks(self, count: int) -> Iterator[Block]: ...

    def read_exactly(self, count: int) -> bytes: ...

    def read_line(self) -> bytes: ...


class _Crc32:
    def __init__(self) -> None:
        self.value = 0

    def update(self, data: Block) -> None:
        self.value = zlib.crc32(data, self.value)

    def digest(self) -> bytes:
        return self.value.to_bytes(4, "big")


def _hasher(algorithm: str) -> Any:
    """None for crc32c and crc64nvme: the standard library has neither, their values are kept, not verified."""
    if algorithm == "crc32":
        return _Crc32()
    return hashlib.new(algorithm) if algorithm in ("sha1", "sha256") else None


class Payload:
    """One request body. Iterate `blocks()` to its end; it raises S3Error when a digest or signature is wrong.

    `md5` has seen all decoded bytes then; `checksums` holds the x-amz-checksum-* values by algorithm, those of the
    trailer included.
    """

    def __init__(
        self,
        source: Source,
        headers: Mapping[str, str],
        identity: Identity | None,
        *,
        chunked: bool,
        compares_md5: bool = True,
    ) -> None:
        self._source = source
        self._compares_md5 = compares_md5
        self._headers = headers
        self._identity = identity
        self._transfer_chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        self._length = int(headers.get("content-length", "0"))
        self.content_sha256 = headers.get("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
        self.streaming = self.content_sha256.startswith("STREAMING-")
        self.consumed = False
        self.md5 = hashlib.md5(usedforsecurity=False)
        self.checksums: dict[str, str] = {}
        if self.streaming and not chunked:
            raise S3Error("NotImplemented", "This store does not take chunked uploads (aws-chunked).")

    @property
    def has_length(self) -> bool:
        return not self._transfer_chunked and "content-length" in self._headers

    def read(self, limit: int) -> bytes:
        """The whole body; MalformedXML above `limit` bytes."""
        data = bytearray()
        for block in self.blocks():
            data += block
            if len(data) > limit:
                raise S3Error("MalformedXML", "The body is too long.")
        return bytes(data)

    def raw_blocks(self) -> Iterator[Block]:
        """The body as sent, without the transfer encoding."""
        if not self._transfer_chunked:
            yield from self._source.read_blocks(self._length)
        else:
            while size := int(self._source.read_line().partition(b";")[0], 16):
                yield from self._source.read_blocks(size)
                self._source.read_line()
            while self._source.read_line():
                pass
        self.consumed = True

    def blocks(self) -> Iterator[Block]:
        """The decoded body, verified at its end."""
        hashers = self._expected()
        total = 0
        for block in self._chunks() if self.streaming else self.raw_blocks():
            total += len(block)
            self.md5.update(block)
            for _, hasher, _ in hashers:
                hasher.update(block)
            yield block
        md5 = self._headers.get("content-md5") if self._compares_md5 else ""
        if md5 and self.md5.digest() != _decode_digest(md5, 16):
            raise S3Error("BadDigest")
        for name, hasher, expected in hashers:
            if hasher.digest() != (expected if expected is not None else self._trailer_value(name)):
                raise S3Error("XAmzContentSHA256Mismatch" if name == "payload" else "BadDigest")
        decoded = self._headers.get("x-amz-decoded-content-length")
        if decoded is not None and self.streaming and int(decoded) != total:
            raise S3Error("IncompleteBody")

    def _expected(self) -> list[tuple[str, Any, bytes | None]]:
        hashers: list[tuple[str, Any, bytes | None]] = []
        if len(self.content_sha256) == 64:
            hashers.append(("payload", hashlib.sha256(), bytes.fromhex(self.content_sha256)))
        elif not self.streaming and self.content_sha256 != "UNSIGNED-PAYLOAD":
            raise S3Error("InvalidArgument", "x-amz-content-sha256 is not valid")
        if md5 := self._headers.get("content-md5"):
            _decode_digest(md5, 16)
        for algorithm in CHECKSUMS:
            if value := self._headers.get(f"x-amz-checksum-{algorithm}"):
                self.checksums[algorithm] = value
                if hasher := _hasher(algorithm):
                    hashers.append((algorithm, hasher, _decode_digest(value)))
        trailer = self._headers.get("x-amz-trailer", "").lower()
        if self.streaming and trailer.startswith("x-amz-checksum-"):
            algorithm = trailer.removeprefix("x-amz-checksum-")
            if hasher := _hasher(algorithm):
                hashers.append((algorithm, hasher, None))
        return hashers

    def _trailer_value(self, algorithm: str) -> bytes:
        return _decode_digest(self.checksums.get(algorithm, ""))

    # -- aws-chunked -----------------------------------------------------------------------------------------------

    def _chunks(self) -> Iterator[Block]:
        reader = _BlockReader(self.raw_blocks())
        signed = "AWS4-HMAC-SHA256" in self.content_sha256
        previous = self._identity.seed if self._identity else ""
        while True:
            size, signature = _chunk_head(reader.line())
            digest = hashlib.sha256()
            for block in reader.take(size):
                digest.update(block)
                yield block
            if signed:
                previous = self._check_chunk(previous, digest.hexdigest(), signature)
            if size == 0:
                break
            reader.line()
        self._read_trailer(reader, previous if signed else "")
        for _ in reader.rest():
            pass

    def _check_chunk(self, previous: str, digest: str, signature: str) -> str:
        if self._identity is not None and self._identity.chunk_signature(previous, digest) != signature:
            raise S3Error("SignatureDoesNotMatch", "the signature of a chunk is wrong")
        return signature

    def _read_trailer(self, reader: _BlockReader, previous: str) -> None:
        canonical = ""
        while line := reader.line(end_is_empty=True).decode("latin-1"):
            name, _, value = line.partition(":")
            name, value = name.strip().lower(), value.strip()
            if name == "x-amz-trailer-signature":
                digest = hashlib.sha256(canonical.encode("latin-1")).hexdigest()
                if previous and self._identity and self._identity.trailer_signature(previous, digest) != value:
                    raise S3Error("SignatureDoesNotMatch", "the signature of the trailer is wrong")
                continue
            canonical += f"{name}:{value}\n"
            if name.startswith("x-amz-checksum-"):
                self.checksums[name.removeprefix("x-amz-checksum-")] = value


class _BlockReader:
    """Lines and counted bytes out of a stream of blocks."""

    def __init__(self, blocks: Iterator[Block]) -> None:
        self._blocks = blocks
        self._buffer = bytearray()

    def line(self, *, end_is_empty: bool = False) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            block = next(self._blocks, None)
            if block is None:
                if end_is_empty and not self._buffer:
                    return b""
                raise S3Error("IncompleteBody")
            self._buffer += block
            if len(self._buffer) > 1 << 20 and b"\r\n" not in self._buffer:
                raise S3Error("InvalidRequest", "a chunk header is too long")
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def take(self, count: int) -> Iterator[Block]:
        while count > 0:
            if self._buffer:
                block: Block = bytes(self._buffer[:count])
                del self._buffer[:count]
            else:
                fresh = next(self._blocks, None)
                if fresh is None:
                    raise S3Error("IncompleteBody")
                block = fresh[:count]
                self._buffer += fresh[count:]
            count -= len(block)
            yield block

    def rest(self) -> Iterator[Block]:
        yield from self._blocks


def _chunk_head(line: bytes) -> tuple[int, str]:
    size, _, extension = line.decode("latin-1").partition(";")
    try:
        return int(size, 16), extension.partition("=")[2]
    except ValueError:
        raise S3Error("InvalidRequest", "a chunk header is malformed") from None


def _decode_digest(value: str, length: int = 0) -> bytes:
    try:
        digest = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise S3Error("InvalidDigest") from None
    if not digest or (length and len(digest) != length):
        raise S3Error("InvalidDigest")
    return digest


__all__ = ["Block", "ConnectionLost", "Payload", "Source"]
