# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What the headers of an answer say of an object: size, ETag, checksums, metadata. No effects here."""

from __future__ import annotations

import functools
import re

from ..core.model import Head, Headers
from ..core.text import plain_text
from .dates import http_date_ms

METADATA_PREFIX = "x-amz-meta-"
CHECKSUMS = ("sha256", "sha1", "crc32", "crc32c", "crc64nvme")


# --- heads


def parse_head(block: bytes, status: int, *, received: int = -1) -> Head:
    """Parse the headers of one response as libcurl delivers them; ValueError if they contradict themselves.

    `received` is the size to use if they do not give it; without it the size is UNTOLD then.
    Metadata names become lower case. Values are decoded as UTF-8, else as Latin-1; words encoded by RFC 2047 (AWS does
    that to values that are not ASCII) stay as they are, and are sent again unchanged.
    """
    fields, metadata = _fields(block)
    get = fields.get
    etag = etag_text(get("etag", ""))
    date, modified = get("date"), get("last-modified")
    return Head(
        status,
        _size(get("content-length"), received),
        etag,
        http_date_ms(modified) if modified else 0,
        Headers(
            get("content-type", ""),
            get("cache-control", ""),
            get("content-encoding", ""),
            get("content-disposition", ""),
            get("content-language", ""),
            get("expires", ""),
            metadata,
        ),
        _number(get("x-amz-tagging-count")),
        _number(get("x-amz-mp-parts-count")),
        get("x-amz-server-side-encryption", "")
        or ("customer" if get("x-amz-server-side-encryption-customer-algorithm") else ""),
        _checksums(fields, etag),
        http_date_ms(date) if date else 0,
    )


_find_total = re.compile(rb"(?im)^content-range:[ \t]*bytes[ \t]+\d+-\d+/(\d+)").search


def total_size(block: bytes, otherwise: int) -> int:
    """The size of the whole object, from the response to a range request."""
    found = _find_total(last_answer(block))
    return int(found[1]) if found else otherwise


def status_of(block: bytes) -> int:
    """The HTTP status of the last response in the block, 0 if there is none."""
    words = last_answer(block)[:13].split(b" ")
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


def last_answer(block: bytes) -> bytes:
    start = block.rfind(b"\r\n\r\nHTTP/")  # before it: an interim response, or a proxy's
    return block[start + 4 :] if start >= 0 else block


def _fields(block: bytes) -> tuple[dict[str, str], dict[str, str]]:
    """Header fields by lower-case name, and separately the metadata, of the last response in the block."""
    lines = _decode(last_answer(block)).split("\r\n")
    fields: dict[str, str] = {}
    metadata: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            continue
        name, is_metadata = _field(name)
        target = metadata if is_metadata else fields
        value = value.strip(" \t")
        target[name] = _joined(name, target[name], value) if name in target else value
    return fields, metadata


@functools.lru_cache(maxsize=256)  # a store has few names, all of which are in every response
def _field(name: str) -> tuple[str, bool]:
    """The name of a field in lower case, without the prefix of metadata, and whether it is metadata."""
    name = name.lower()
    is_metadata = name.startswith(METADATA_PREFIX)
    return (name[len(METADATA_PREFIX) :] if is_metadata else name), is_metadata


def _joined(name: str, known: str, value: str) -> str:
    """The value of a repeated field: proxies duplicate whole responses, and a list may be split."""
    if known == value:
        return value
    if name in _ONE_VALUE:
        raise ValueError(f"it has two different values for {name}, {plain_text(known)!r} and {plain_text(value)!r}")
    return f"{known},{value}"


def _decode(block: bytes) -> str:
    try:
        return block.decode()
    except UnicodeDecodeError:
        return "\r\n".join(_decode_value(line) for line in block.split(b"\r\n"))


def _decode_value(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _size(content_length: str | None, received: int) -> int:
    """The Content-Length; a duplicated one (`5, 5`) counts once, a missing one is replaced by `received`."""
    if not content_length:
        return received
    size = whole_number(content_length)
    if size is None and "," in content_length:
        lengths = {length.strip() for length in content_length.split(",")}
        size = whole_number(lengths.pop()) if len(lengths) == 1 else None
    if size is None:
        raise ValueError(f"its Content-Length is {plain_text(content_length)!r}")
    return size


def whole_number(text: str) -> int | None:
    """A decimal number that the ledger can hold; None for anything else."""
    text = text.strip()
    is_one = text.isascii() and text.isdecimal() and len(text) < 19
    return int(text) if is_one else None


def _number(text: str | None) -> int:
    return (whole_number(text) or 0) if text else 0


def etag_text(text: str) -> str:
    """An ETag without its quotes, from a header or a listing; a proxy may have made it weak, or duplicated it."""
    text = text.strip()
    doubled = _doubled_etag(text) if "," in text else None
    return (doubled[1] if doubled else text).removeprefix("W/").strip('"')


def _checksums(fields: dict[str, str], etag: str) -> dict[str, str]:
    """Checksums of the whole object. Older stores give no type: then the checksum is used if there are no parts."""
    if _CHECKSUM_NAMES.isdisjoint(fields):
        return {}
    kind = fields.get("x-amz-checksum-type")
    if kind != "FULL_OBJECT" and (kind is not None or "-" in etag):
        return {}
    found = {name: fields.get(field, "") for name, field in _CHECKSUM_FIELDS}
    return {name: value for name, value in found.items() if value and "-" not in value}


_CHECKSUM_FIELDS = [(name, f"x-amz-checksum-{name}") for name in CHECKSUMS]
_CHECKSUM_NAMES = frozenset(field for _name, field in _CHECKSUM_FIELDS)
# Fields that must not have two different values; others are lists, or not used here.
_ONE_VALUE = frozenset({"content-length", "etag", "last-modified", "content-range"})
_doubled_etag = re.compile(r'((?:W/)?"[^"]*")(?:\s*,\s*\1)+').fullmatch
