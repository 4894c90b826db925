# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Proofs of a hop: is what arrived what was listed, and is what the destination holds what we sent?

The decisions are functions of a file, an ETag and the store's headers; only the read-backs make requests.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

from . import etag
from .config import MoverSettings, Store
from .errors import Trouble
from .model import MIB, Evidence, Head
from .wire import Wire

_MOST_PARTS = 10_000
_CHECKSUMS = ("sha256", "sha1", "crc32")


@dataclass(frozen=True, slots=True)
class Proven:
    """The bytes are right. `digest` is the ETag they have when uploaded with `part_size` (0: one PUT)."""

    digest: str
    part_size: int
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Refuted:
    """The bytes are wrong, or cannot be proven to be right."""

    expected: str
    found: str
    message: str
    trouble: Trouble = Trouble.MISMATCH


def etag_is_digest(store: Store, head: Head) -> bool:
    """Whether this object's ETag speaks of its bytes: not for KMS-encrypted ones, not where the job says opaque."""
    return store.etag != "opaque" and not head.encryption.startswith("aws:kms") and etag.parse(head.etag) is not None


def upload_part_size(size: int, settings: MoverSettings) -> int:
    """The part size for an upload whose source does not prescribe one: 0 for one PUT, never above 10,000 parts."""
    if size <= settings.part_size:
        return 0
    least = -(-size // _MOST_PARTS)
    return max(settings.part_size // MIB * MIB, -(-least // MIB) * MIB)


def prove_arrival(
    path: str, key: str, head: Head, store: Store, wire: Wire, settings: MoverSettings
) -> Proven | Refuted:
    """Compare a fetched file with what its store says of it now. StoreError when the store must be asked and fails."""
    if os.stat(path).st_size != head.size:
        return Refuted(
            f"{head.size} bytes", f"{os.stat(path).st_size} bytes", "the file has another size than the object"
        )
    if not etag_is_digest(store, head):
        return _prove_opaque(path, key, head, wire, settings)
    proof = etag.prove_file(path, head.etag)
    if not proof.matched and "-" in head.etag:
        proof = _prove_by_parts(path, key, head, wire, proof)
    if proof.matched:
        return Proven(*_for_upload(path, proof), Evidence.STORE_DIGEST)
    if "-" in head.etag:
        # The layout of the parts is not to be had: two independent reads that agree are the best proof there is.
        return _prove_by_reading_again(path, key, head, wire, settings)
    return Refuted(head.etag, proof.etag or proof.md5, "the MD5 of what arrived is not the object's ETag")


def _for_upload(path: str, proof: etag.Proof) -> tuple[str, int]:
    if proof.etag.endswith("-1"):
        # One PUT instead of a multipart upload of one part: the same bytes, provable by their plain MD5.
        return etag.file_etag(path, 0), 0
    return proof.etag, proof.part_size


def _prove_by_parts(path: str, key: str, head: Head, wire: Wire, proof: etag.Proof) -> etag.Proof:
    """No usual part size fits: ask the store for the first part's size (?partNumber=1)."""
    parsed = etag.parse(head.etag)
    first = wire.head(key, part_number=1)
    if parsed is None or first.size in (0, head.size) or first.etag != head.etag:
        return proof  # the store ignores partNumber
    return etag.prove_file(path, head.etag, part_sizes=[first.size])


def _prove_opaque(path: str, key: str, head: Head, wire: Wire, settings: MoverSettings) -> Proven | Refuted:
    for algorithm in _CHECKSUMS:
        expected = head.checksums.get(algorithm, "")
        if expected:
            found = etag.file_checksum(path, algorithm)
            if found != expected:
                return Refuted(f"{algorithm}:{expected}", f"{algorithm}:{found}", f"the {algorithm} is another one")
            part_size = upload_part_size(head.size, settings)
            return Proven(etag.file_etag(path, part_size), part_size, Evidence.STORE_DIGEST)
    return _prove_by_reading_again(path, key, head, wire, settings)


def _prove_by_reading_again(path: str, key: str, head: Head, wire: Wire, settings: MoverSettings) -> Proven | Refuted:
    found = etag.file_etag(path, 0)
    again, second = read_md5(wire, key)
    if second.etag != head.etag:
        return Refuted(head.etag, second.etag, "the object changed while it was read", Trouble.CHANGED)
    if again != found:
        return Refuted(f"md5:{again}", f"md5:{found}", "two reads of the object differ")
    part_size = upload_part_size(head.size, settings)
    return Proven(etag.file_etag(path, part_size) if part_size else found, part_size, Evidence.READ_BACK)


def read_md5(wire: Wire, key: str) -> tuple[str, Head]:
    """MD5 (hex) of an object as its store serves it now, and the headers of that answer."""
    digest = hashlib.md5(usedforsecurity=False)
    head = wire.get(key, digest.update)
    return digest.hexdigest(), head


def prove_delivery(
    key: str, size: int, digest: str, path: str, found: Head, wire: Wire, *, wanted: Evidence
) -> Proven | Refuted:
    """Compare what the destination holds with the staged file `path`, whose ETag as sent is `digest`.

    Raises StoreError when a read-back fails.
    """
    if found.size != size:
        return Refuted(f"{size} bytes", f"{found.size} bytes", "the destination holds another number of bytes")
    same = found.etag.lower() == digest.lower()
    if same and wanted <= Evidence.STORE_DIGEST:
        return Proven(found.etag, 0, Evidence.STORE_DIGEST)
    if not same and _comparable(found, digest):
        return Refuted(digest, found.etag, "the destination's ETag is not the digest of what was sent")
    again, head = read_md5(wire, key)
    local = etag.file_etag(path, 0)
    if again != local or head.size != size:
        return Refuted(f"md5:{local}", f"md5:{again}", "the bytes read back from the destination are others")
    return Proven(head.etag, 0, Evidence.READ_BACK)


def _comparable(found: Head, digest: str) -> bool:
    """Whether two ETags are of the same kind and part count, so that a difference means wrong bytes."""
    theirs, ours = etag.parse(found.etag), etag.parse(digest)
    if theirs is None or ours is None or found.encryption.startswith("aws:kms"):
        return False
    return theirs.parts == ours.parts


def local_file_is_sound(path: str, digest: str, part_size: int) -> tuple[bool, str]:
    """Whether the staged file still has its digest, and the digest it has now."""
    found = etag.file_etag(path, part_size)
    return found == digest.lower(), found
