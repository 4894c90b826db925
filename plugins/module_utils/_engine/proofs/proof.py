# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Proofs of a hop: is the fetched file the listed object, and does the destination have what we sent?

The decisions are functions of a file, an ETag and the store's headers; only the read-backs make requests.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import NamedTuple

from ..config.job_file import MoverSettings, Store
from ..core import etag
from ..core.errors import StoreError, Trouble
from ..core.model import MIB, UNTOLD, Doubt, Evidence, Head, Received
from ..core.s3_limits import LARGEST_PUT, MOST_PARTS, can_be_sent
from ..store.client import StoreClient
from ..store.part_sizes import all_parts, equal_parts, told_size

_CHECKSUMS = ("sha256", "sha1", "crc32")
_OPAQUE = "; if the ETags of this store are not digests, set its `etag: opaque`"


@dataclass(frozen=True, slots=True)
class Proven:
    """The bytes are right. `digest` is the ETag they have when uploaded with `part_size` (0: one PUT).

    `part_md5s` are those of these parts (core/part_md5s.py), empty in one PUT or at a destination.
    """

    digest: str
    part_size: int
    evidence: Evidence
    part_md5s: bytes = field(default=b"", repr=False, compare=False)  # says no more than the digest


class _Layout(NamedTuple):
    """How a proven file is uploaded, with the digest and the MD5s that its parts have then."""

    digest: str
    part_size: int
    part_md5s: bytes = b""

    def proven(self, evidence: Evidence) -> Proven:
        return Proven(self.digest, self.part_size, evidence, self.part_md5s)


@dataclass(frozen=True, slots=True)
class Refuted:
    """The bytes are wrong."""

    expected: str
    found: str
    message: str


@dataclass(frozen=True, slots=True)
class Unproven:
    """Two reads of the object agree, but nothing proves that they match what was stored, and the job requires more."""

    expected: str
    found: str
    message: str


class Sent(NamedTuple):
    """What the destination should have: `digest` is the ETag of these bytes in parts of `part_size` (0: one PUT)."""

    key: str
    size: int
    digest: str
    part_size: int


def etag_is_digest(store: Store, head: Head) -> bool:
    """Whether this object's ETag is a digest of its bytes: not with a KMS or customer key, nor if the job says opaque.

    A listing does not show encryption keys: `head` must come from HEAD, GET or PUT.
    """
    return etag.told_digest(head.etag, head.encryption, is_opaque=store.etag == "opaque") is not None


def upload_part_size(size: int, settings: MoverSettings) -> int:
    """The part size for an upload if the source's cannot be used: 0 for one PUT, never above 10,000 parts."""
    if size <= settings.part_size:
        return 0
    least = -(-size // MOST_PARTS)
    return max(settings.part_size // MIB * MIB, -(-least // MIB) * MIB)


def prove_arrival(
    path: str,
    key: str,
    head: Head,
    store: Store,
    client: StoreClient,
    settings: MoverSettings,
    received: Received | None = None,
    *,
    unproven: str = "auto",
) -> Proven | Refuted | Unproven:
    """Compare a fetched file with what its store says about it now, or said when it was `received`.

    If the store gives nothing to compare, the object is read once more. That is Evidence.NOT_PROVEN, or Unproven if the
    job's policy `unproven` does not accept it. A mismatch is never accepted because of a second read.
    StoreError if a request to the store fails, or if the object has changed by then (Trouble.CHANGED).
    """
    size = os.stat(path).st_size
    if size != head.size:
        return Refuted(f"{head.size} bytes", f"{size} bytes", "the file does not have the size of the object")
    doubt = Doubt.OPAQUE
    if etag_is_digest(store, head):
        if received and received.etag == head.etag.lower() and can_be_sent(head.size, received.part_size):
            return Proven(received.etag, received.part_size, Evidence.STORE_DIGEST, received.part_md5s)
        proof = _prove_by_etag(path, key, head, client, settings)
        if proof:
            return proof
        doubt = Doubt.LAYOUT
    checked = head if head.checksums else _with_checksums(client, key, head)
    return _prove_by_checksum(path, checked, settings) or _prove_by_reading_again(
        path, key, head, client, settings, doubt, unproven
    )


def _prove_by_etag(
    path: str, key: str, head: Head, client: StoreClient, settings: MoverSettings
) -> Proven | Refuted | None:
    """None: it is a digest of parts, and neither common part sizes nor those the store reports match it."""
    proof = etag.prove_file(path, head.etag)
    if proof.matched:
        return _for_upload(path, proof, settings).proven(Evidence.STORE_DIGEST)
    parsed = etag.parse(head.etag)
    if parsed and parsed.parts > 1:
        return _prove_by_layout(path, key, head, client, settings)
    return Refuted(head.etag, proof.etag or proof.md5, f"the MD5 of the fetched file is not the object's ETag{_OPAQUE}")


def _prove_by_layout(
    path: str, key: str, head: Head, client: StoreClient, settings: MoverSettings
) -> Proven | Refuted | None:
    """Split the file into the parts the store reports; None if it does not report them."""

    def ask(number: int) -> Head:
        return client.head(key, part_number=number)

    first = told_size(ask, head, 1)
    if not first:
        return None
    equal = etag.prove_file(path, head.etag, part_sizes=[first])
    if equal.matched:
        return _for_upload(path, equal, settings).proven(Evidence.STORE_DIGEST)
    sizes = all_parts(ask, head, first)
    if sizes and sizes != equal_parts(head.size, first):
        found = etag.file_layout_etag(path, sizes)
        if found == head.etag.lower():
            return _own_parts(path, head.size, settings).proven(Evidence.STORE_DIGEST)
        return Refuted(head.etag, found, f"its {len(sizes)} parts, sized as the store reports, do not match its ETag")
    if equal.etag:  # the number of parts fits
        return Refuted(
            head.etag, equal.etag, f"its parts of {first} bytes, as the store reports, do not match its ETag"
        )
    return None


def _own_parts(path: str, size: int, settings: MoverSettings) -> _Layout:
    part_size = upload_part_size(size, settings)
    digest, part_md5s = etag.file_digests(path, part_size)
    return _Layout(digest, part_size, part_md5s)


def _for_upload(path: str, proof: etag.Proof, settings: MoverSettings) -> _Layout:
    """The source's own part size, if every store accepts it."""
    if proof.etag.endswith("-1") and proof.size <= LARGEST_PUT:
        # One PUT instead of a multipart upload of one part: the same bytes, provable by their plain MD5.
        return _Layout(proof.md5, 0)
    if can_be_sent(proof.size, proof.part_size):
        return _Layout(proof.etag, proof.part_size, proof.part_md5s)
    return _own_parts(path, proof.size, settings)


def _with_checksums(client: StoreClient, key: str, head: Head) -> Head:
    """The head with the additional checksums, which stores return only on request; unchanged if there are none."""
    try:
        found = client.head_with_checksums(key)
    except StoreError as error:
        # Some stores return 500 for an unknown header; a HEAD without it just succeeded.
        is_refused = not error.trouble.is_transient or error.trouble is Trouble.SERVER
        if not is_refused or error.trouble is Trouble.NOT_FOUND:
            raise
        return head  # the store does not support the request, or the credentials lack kms:Decrypt
    return found if found.etag == head.etag else head


def _prove_by_checksum(path: str, head: Head, settings: MoverSettings) -> Proven | Refuted | None:
    """None: the store gave no supported checksum of the whole object."""
    for algorithm in _CHECKSUMS:
        expected = head.checksums.get(algorithm, "")
        if expected:
            found = etag.file_checksum(path, algorithm)
            if found != expected:
                return Refuted(f"{algorithm}:{expected}", f"{algorithm}:{found}", f"the {algorithm} differs")
            return _own_parts(path, head.size, settings).proven(Evidence.STORE_DIGEST)
    return None


def _prove_by_reading_again(
    path: str, key: str, head: Head, client: StoreClient, settings: MoverSettings, doubt: Doubt, unproven: str
) -> Proven | Refuted | Unproven:
    found = etag.file_etag(path, 0)
    again, second = read_md5(client, key, head)
    if not etag.agree(second.etag, head.etag):
        raise StoreError(Trouble.CHANGED, f"read {key!r} again", "it was overwritten in the meantime")
    if again != found:
        return Refuted(f"md5:{again}", f"md5:{found}", "two reads of the object differ")
    if not doubt.is_accepted(unproven):
        return Unproven(head.etag, f"md5:{found}", _why_unproven(doubt, head.etag, found))
    is_in_parts = upload_part_size(head.size, settings) > 0
    layout = _own_parts(path, head.size, settings) if is_in_parts else _Layout(found, 0)
    return layout.proven(Evidence.NOT_PROVEN)


def _why_unproven(doubt: Doubt, store_etag: str, md5: str) -> str:
    agree = f"not proven: two reads agree (MD5 {md5}), but"
    if doubt is Doubt.OPAQUE:
        said = f"its ETag {store_etag!r} is not a digest of the bytes" if store_etag else "it has no ETag"
        return f"{agree} {said}, and the job has `unproven: hold`; set `unproven: auto` to accept such objects"
    return (
        f"{agree} its ETag {store_etag!r} matches no common part layout, nor one the store reports: it may have"
        " changed at the source since it was stored; set `unproven: accept` if you trust this source, or its"
        " `etag: opaque` if its ETags are not digests"
    )


def read_md5(client: StoreClient, key: str, stored: Head) -> tuple[str, Head]:
    """MD5 (hex) of an object as its store serves it now, and the headers of that response."""
    digest = hashlib.md5(usedforsecurity=False)
    head = client.get(key, digest.update, stored=stored)
    return digest.hexdigest(), head


def prove_delivery(sent: Sent, found: Head, store: Store, client: StoreClient, *, wanted: Evidence) -> Proven | Refuted:
    """Compare what the destination says it has, `found`, with what was sent; read it back if that is not enough.

    An equal ETag that is not a digest (an opaque store, an object under a KMS key) proves nothing. The evidence is what
    was reached, at most READ_BACK, whatever is `wanted`. StoreError if a read-back fails.
    """
    if found.size not in (sent.size, UNTOLD):  # without a size, equal digests or a read-back prove the same
        return Refuted(f"{sent.size} bytes", f"{found.size} bytes", "the object at the destination has another size")
    if etag_is_digest(store, found):
        same = found.etag.lower() == sent.digest.lower()
        if same and wanted <= Evidence.STORE_DIGEST:
            return Proven(found.etag, 0, Evidence.STORE_DIGEST)
        if not same and _is_comparable(found.etag, sent.digest):
            return Refuted(
                sent.digest, found.etag, f"the destination's ETag is not the digest of what was sent{_OPAQUE}"
            )
    reader = etag.PartDigests(sent.part_size)
    head = client.get(sent.key, reader.update, stored=found._replace(size=sent.size))
    if reader.etag() != sent.digest.lower():
        return Refuted(sent.digest, reader.etag(), "the bytes read back from the destination differ")
    return Proven(head.etag, 0, Evidence.READ_BACK)


def prove_by_answer(sent: Sent, answer: Head, store: Store, *, wanted: Evidence) -> Proven | None:
    """The response to the upload itself as proof, for credentials without read access. None: it proves nothing.

    Only an ETag that is the digest of what was sent counts, and only if the job requires no more than a store digest.
    """
    is_digest = etag_is_digest(store, answer) and answer.etag.lower() == sent.digest.lower()
    return Proven(answer.etag, 0, Evidence.STORE_DIGEST) if is_digest and wanted <= Evidence.STORE_DIGEST else None


def _is_comparable(theirs: str, ours: str) -> bool:
    """Whether two digests are of the same kind and part count, so that a difference means wrong bytes."""
    their_parts, our_parts = etag.parse(theirs), etag.parse(ours)
    return their_parts is not None and our_parts is not None and their_parts.parts == our_parts.parts


def local_file_is_sound(path: str, digest: str, part_size: int) -> tuple[bool, str]:
    """Whether the staged file still has its digest, and the digest it has now."""
    found = etag.file_etag(path, part_size)
    return found == digest.lower(), found
