# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Which headers are copied with an object, and how values that are not ASCII are encoded. No side effects."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from ..core.header_text import dump_headers, load_headers
from ..core.model import Headers
from .head_answers import METADATA_PREFIX

if TYPE_CHECKING:
    from ..config.job_file import Job

_HEADER_NAMES = (
    ("Content-Type", "content_type"),
    ("Cache-Control", "cache_control"),
    ("Content-Encoding", "content_encoding"),
    ("Content-Disposition", "content_disposition"),
    ("Content-Language", "content_language"),
    ("Expires", "expires"),
)
_WORD_BYTES = 45  # RFC 2047 allows an encoded word 75 characters: 12 around the Base64 of 45 bytes
_find_parameters = re.compile(r';\s*([^\s;="]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;"]*)').finditer


def carried(headers: Headers, job: Job) -> Headers:
    """The headers of an object that this job copies to the destination."""
    kept = headers._replace(content_encoding=_stored_encoding(headers.content_encoding))
    if job.tags == "skip":
        kept = kept._replace(tags={})
    if job.metadata == "skip":
        kept = Headers(content_type=kept.content_type, content_encoding=kept.content_encoding, tags=kept.tags)
    return kept


def carried_text(text: str, job: Job) -> str:
    """The same for headers as text: usually the text itself, unparsed."""
    if job.tags == "copy" and job.metadata == "copy" and "aws-chunked" not in text.lower():
        return text
    return dump_headers(carried(load_headers(text), job))


def _stored_encoding(value: str) -> str:
    """A Content-Encoding without aws-chunked: some stores keep this framing of an upload, but the bytes lack it."""
    codings = [coding.strip() for coding in value.split(",")]
    kept = [coding for coding in codings if coding.lower() != "aws-chunked"]
    return value if kept == codings else ", ".join(kept)


def sent_headers(headers: Headers) -> dict[str, str]:
    """The HTTP headers of an upload, each value as the source store returned it."""
    sent = {name: getattr(headers, attribute) for name, attribute in _HEADER_NAMES}
    sent = {name: value for name, value in sent.items() if value}
    sent |= {METADATA_PREFIX + name: value for name, value in headers.metadata.items()}
    if headers.tags:
        sent["x-amz-tagging"] = urlencode(headers.tags, quote_via=quote)
    return sent


def ascii_headers(sent: Mapping[str, str]) -> dict[str, str]:
    """The same headers in ASCII; ValueError names one that has no ASCII form.

    Metadata is encoded by RFC 2047, as AWS itself does, the parameters of Content-Disposition by RFC 8187.
    """
    return {name: value if value.isascii() else _in_ascii(name, value) for name, value in sent.items()}


def _in_ascii(name: str, value: str) -> str:
    if name.startswith(METADATA_PREFIX):
        return _encoded_words(value)
    encoded = _encoded_parameters(value) if name == "Content-Disposition" else value
    if not encoded.isascii():
        raise ValueError(
            f"its {name} {value!r} is not ASCII, which this store does not accept, and has no ASCII form;"
            " correct it at the source, or omit it with `metadata: skip`"
        )
    return encoded


def _encoded_parameters(value: str) -> str:
    """`attachment; filename="ä"` as `attachment; filename*=UTF-8''%C3%A4`."""
    kind = value.partition(";")[0].rstrip()
    return "; ".join([kind, *(_encoded_parameter(found[1], found[2].strip()) for found in _find_parameters(value))])


def _encoded_parameter(name: str, value: str) -> str:
    if value.isascii():
        return f"{name}={value}"
    plain = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
    return f"{name}*=UTF-8''{quote(plain, safe='')}"


def _encoded_words(value: str) -> str:
    words = [b""]
    for character in value:
        if len(words[-1]) + len(character.encode()) > _WORD_BYTES:
            words.append(b"")
        words[-1] += character.encode()
    return " ".join(f"=?UTF-8?B?{base64.b64encode(word).decode()}?=" for word in words)
