# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The engine's data types: objects, states, evidence, work and outcomes. No side effects.

What is made for every object is a tuple: a frozen dataclass takes several times as long to create.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from .errors import Trouble

MIB = 1024 * 1024
LONGEST_KEY = 1024  # bytes of UTF-8, S3's limit
UNTOLD = -1  # a size that a store does not give, or not in a readable form


class State(enum.IntEnum):
    """The state of an object. The ledger stores the number; everything shown to people uses `label`."""

    PENDING = 0
    STAGED = 1
    DELIVERED = 2
    RELEASED = 3
    QUARANTINED = 4
    FAILED = 5

    @property
    def label(self) -> str:
        return self.name.lower()


# The allowed transitions. PENDING -> PENDING is a retry, anything -> PENDING a new generation or a repair; a failed or
# quarantined object that has a file on a volume goes back to STAGED.
TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.PENDING: frozenset({State.PENDING, State.STAGED, State.QUARANTINED, State.FAILED}),
    State.STAGED: frozenset({State.PENDING, State.DELIVERED, State.QUARANTINED, State.FAILED}),
    State.DELIVERED: frozenset({State.PENDING, State.RELEASED}),
    State.RELEASED: frozenset({State.PENDING}),
    State.QUARANTINED: frozenset({State.PENDING, State.STAGED}),
    State.FAILED: frozenset({State.PENDING, State.STAGED}),
}


class Evidence(enum.IntEnum):
    """How a hop was proven; a higher level includes the lower ones."""

    SIZE = 0  # size only
    NOT_PROVEN = 1  # two reads agree, but the store's digest cannot be compared; or a transport digest
    STORE_DIGEST = 2  # the store-reported digest equals ours
    READ_BACK = 3  # read back through the cache
    MEDIUM = 4  # read back from the medium, or by an independent reader


def source_evidence(number: int) -> Evidence:
    """The evidence of a source hop, from its number in the ledger: older versions stored READ_BACK for two reads."""
    return Evidence.NOT_PROVEN if number == Evidence.READ_BACK else Evidence(number)


class Doubt(enum.Enum):
    """Why two matching reads are the best available evidence for an object."""

    OPAQUE = "opaque"  # its ETag says nothing about the bytes: the store has nothing better
    LAYOUT = "layout"  # its ETag looks like a digest of parts but matches no known layout: it may be a mismatch

    def is_accepted(self, policy: str) -> bool:
        """Whether a job with this `unproven` (auto, hold or accept) accepts such an object."""
        return policy == "accept" or (policy == "auto" and self is Doubt.OPAQUE)


class Origin(enum.IntEnum):
    """Where an object came from."""

    SOURCE = 0  # listed at the source bucket
    DROP = 1  # a file that a user put into a volume's drop folder


class ListedObject(NamedTuple):
    """One entry of a listing. `etag` without quotes; `modified_ms` is LastModified in ms since the epoch.

    `size` UNTOLD or `modified_ms` 0: the entry has no readable value there. A tuple, because a pass creates millions.
    """

    key: str
    size: int
    etag: str
    modified_ms: int


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing; `next_token` continues it (continuation token for V2, marker for V1), None: not given.

    `more` is what the store says about whether anything follows, None if it says nothing readable. Whether the listing
    has ended is decided by store/listing_walk.py: a page may contradict itself. `remarks` describe oddities of its
    objects, by kind: each is worth one warning. `unread` names entries that exist but could not be read.
    """

    objects: list[ListedObject]
    next_token: str | None
    more: bool | None = False
    remarks: Mapping[str, str] = field(default_factory=dict)
    unread: Sequence[str] = ()


class Headers(NamedTuple):
    """The headers and tags copied with an object; empty string or empty mapping: not set."""

    content_type: str = ""
    cache_control: str = ""
    content_encoding: str = ""
    content_disposition: str = ""
    content_language: str = ""
    expires: str = ""  # as the store sent it (RFC 1123 date, or whatever was stored)
    metadata: Mapping[str, str] = MappingProxyType({})  # user metadata, without the x-amz-meta- prefix
    tags: Mapping[str, str] = MappingProxyType({})


class Head(NamedTuple):
    """What HEAD (or the headers of GET) said about one object. `size` UNTOLD: not given.

    `parts_count` is x-amz-mp-parts-count (0: not given), `tag_count` x-amz-tagging-count, `encryption` the value of
    x-amz-server-side-encryption ("customer": encrypted with a customer key), `checksums` maps
    sha256|sha1|crc32|crc32c|crc64nvme to the base64 value (full-object ones only), `server_time_ms` the Date header
    for the clock-skew check (0: none).
    """

    status: int
    size: int
    etag: str
    modified_ms: int
    headers: Headers
    tag_count: int = 0
    parts_count: int = 0
    encryption: str = ""
    checksums: Mapping[str, str] = MappingProxyType({})
    server_time_ms: int = 0


class Fetch(NamedTuple):
    """Work for a mover: fetch the object `key` (`size` bytes) to the local path `path`. `etag` as listed, or "".

    The object's `generation` and the number of the `volume` that holds `path` identify the remembered parts; 0: no
    parts are remembered. Work on one volume does not wait for another volume.
    """

    id: int
    key: str
    size: int
    path: str
    etag: str = ""
    generation: int = 0
    volume: int = 0


class Send(NamedTuple):
    """Work for a mover: store the local file `path` (`size` bytes) as `key` with the headers of `header_text`.

    `part_size` in bytes: 0 sends one PUT, else a multipart upload in parts of exactly this size. `md5` (hex) is the
    file's, "" if unknown. `digest` is the ETag that the file was proven to have in such parts: other bytes are not
    stored ("": unknown). `generation` identifies the remembered parts; 0: no parts are remembered. `volume` is the
    number of the volume that holds `path`: its work does not wait for another volume. `part_md5s` are those of its
    parts when it was proven (core/part_md5s.py), empty if unknown; ignored unless together they give `digest`.
    """

    id: int
    key: str
    size: int
    path: str
    part_size: int
    header_text: str = ""  # as core/header_text.py writes it
    md5: str = ""
    digest: str = ""
    generation: int = 0
    volume: int = 0
    part_md5s: bytes = b""


class Received(NamedTuple):
    """What a mover saw of an object while it fetched it.

    `head` is what the response said about the whole object, `etag` the digest of the bytes as written: of all of them
    (`part_size` 0), or in parts of `part_size` bytes, whose MD5s are `part_md5s` (core/part_md5s.py).
    """

    head: Head
    etag: str
    part_size: int
    part_md5s: bytes = b""


class Arrived(NamedTuple):
    """What a mover proved while it wrote the file of an object: the bytes have the digest that their store states.

    `digest` is their MD5 (hex), `header_text` the object's headers. Never for an object that has tags: they are not
    part of the response.
    """

    digest: str
    header_text: str


class Outcome(NamedTuple):
    """The result of one piece of work, as the mover reports it: not yet proven, unless it has `arrived`.

    `trouble` None: the mover reports success. `Trouble.UNKNOWN`: no outcome was seen; check, do not assume. `received`
    and `answered`, the store's response to an upload, come from a mover that reads responses itself.
    """

    id: int
    trouble: Trouble | None = None
    message: str = ""
    received: Received | None = None
    answered: Head | None = None
    arrived: Arrived | None = None

    @property
    def ok(self) -> bool:
        return self.trouble is None
