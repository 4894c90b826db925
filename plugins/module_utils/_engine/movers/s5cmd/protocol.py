# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The protocol of s5cmd v2.3.0: command lines, reports, error texts. No side effects."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import timezone
from email.utils import format_datetime, parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple

from ...core.errors import Trouble
from ...core.header_text import load_headers
from ...core.keys import is_utf8, mover_can_express, quote
from ...core.model import MIB, Fetch, Headers, Outcome, Send
from ...core.s3_limits import LARGEST_PART, MOST_PARTS, SMALLEST_PART, fits
from ...store.answers import trouble_of
from ...store.upload_bodies import UNSET_CONTENT_TYPE, is_header_name

if TYPE_CHECKING:
    from ...config.job_file import MoverSettings

# A path that needs no quotes and is the last word of a line: it matches a report to its work.
_is_local_path = re.compile(r"(?:/[\w.+=@%,~-]{1,240})+", re.ASCII).fullmatch
_is_header_value = re.compile(r"[!-~](?:[ -~]*[!-~])?").fullmatch
_is_metadata_value = re.compile(r"(?:[!-~](?:[ -~]*[!-~])?)?").fullmatch


def can_fetch(work: Fetch) -> bool:
    """Whether s5cmd supports this fetch; if not, another tool is used."""
    return work.size > 0 and _is_sayable(work.key) and bool(_is_local_path(work.path))


def can_send(work: Send) -> bool:
    """Whether s5cmd supports this send, with every header, and in parts of exactly the given size."""
    return (
        work.size > 0
        and _is_sayable(work.key)
        and " s3://" not in work.key  # would make the text of an error ambiguous, see `parse_report`
        and bool(_is_local_path(work.path))
        and _can_cut(work.size, work.part_size)
        and _can_carry(load_headers(work.header_text))
    )


def _is_sayable(key: str) -> bool:
    if not mover_can_express(key):
        return False
    return is_utf8(key)  # reports show other bytes as U+FFFD and match nothing


def _can_cut(size: int, part_size: int) -> bool:
    if part_size == 0:
        return fits(size, part_size)
    # An object no larger than a part is never sent as a multipart upload of one part.
    whole_mib = part_size % MIB == 0 and SMALLEST_PART <= part_size <= LARGEST_PART
    # From this number of whole parts on s5cmd chooses a larger part size itself.
    return whole_mib and size > part_size and size // part_size < MOST_PARTS


def _can_carry(headers: Headers) -> bool:
    if headers.tags or headers.content_language:
        return False
    if headers.expires and not _expires(headers.expires):
        return False
    for value in (headers.content_type, headers.cache_control, headers.content_encoding, headers.content_disposition):
        if value and not _is_header_value(value):
            return False
    metadata = headers.metadata
    if not metadata:
        return True
    return len({name.lower() for name in metadata}) == len(metadata) and all(
        is_header_name(name) and _is_metadata_value(value) for name, value in metadata.items()
    )


def _expires(value: str) -> str:
    """RFC 3339 for `--expires`; empty if s5cmd would not turn it back into the same text."""
    try:
        moment = parsedate_to_datetime(value).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return ""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}" if format_datetime(moment, usegmt=True) == value else ""


def fetch_line(work: Fetch, bucket: str, *, part_size: int, concurrency: int) -> str:
    """The command for a fetch: one GET of the whole range, or with `concurrency` > 1 parts of `part_size` bytes."""
    if concurrency == 1 or work.size <= part_size:
        concurrency, part_size = 1, work.size
    mib = max(SMALLEST_PART, part_size + MIB - 1) // MIB
    return f"cp --raw -p {mib} -c {concurrency} {quote(f's3://{bucket}/{work.key}')} {work.path}\n"


def send_line(work: Send, bucket: str, *, concurrency: int) -> str:
    """The command for a send: one PUT, or a multipart upload in parts of exactly `work.part_size` bytes."""
    mib = max(SMALLEST_PART, (work.part_size or work.size) + MIB - 1) // MIB
    flags = _flags(load_headers(work.header_text))
    return f"cp --raw -p {mib} -c {concurrency} {flags} {work.path} {quote(f's3://{bucket}/{work.key}')}\n"


def _flags(headers: Headers) -> str:
    # Always set: otherwise s5cmd guesses it from the first 512 bytes, and HTML without a type becomes text/html.
    flags = [f"--content-type {quote(headers.content_type or UNSET_CONTENT_TYPE)}"]
    if headers.cache_control:
        flags.append(f"--cache-control {quote(headers.cache_control)}")
    if headers.content_encoding:
        flags.append(f"--content-encoding {quote(headers.content_encoding)}")
    if headers.content_disposition:
        flags.append(f"--content-disposition {quote(headers.content_disposition)}")
    if headers.expires:
        flags.append(f"--expires {_expires(headers.expires)}")
    flags += [f"--metadata {quote(f'{name}={value}')}" for name, value in headers.metadata.items()]
    return " ".join(flags)


# Nearly all lines match this, at a quarter of the cost of parsing JSON: text without a backslash needs no decoding.
_is_success = re.compile(
    rb'\{"operation":"cp","success":true,"source":"([ !#-[\]-~]*)","destination":"([ !#-[\]-~]*)"'
    rb',"object":\{"type":"file"(?:,"size":([0-9]+))?\}\}'
).fullmatch


class Report(NamedTuple):
    """One line of s5cmd about one command: `path` identifies the work, `error` is empty for success.

    `remote` (the other operand) and `size` in bytes are set only for success.
    """

    path: str
    remote: str = ""
    size: int = 0
    error: str = ""


def parse_report(line: bytes, *, is_fetch: bool, bucket: str) -> Report | None:
    """Parse a line of stdout or stderr; None for a line that is not about a command."""
    usual = _is_success(line)
    if usual:
        local, remote = (usual[2], usual[1]) if is_fetch else (usual[1], usual[2])
        return Report(local.decode(), remote.decode(), int(usual[3] or 0))
    try:
        document = json.loads(line)
        if document["operation"] != "cp":
            return None
        if document.get("success") is True:
            local, remote = ("destination", "source") if is_fetch else ("source", "destination")
            return Report(str(document[local]), document[remote], document.get("object", {}).get("size", 0))
        path = _local_operand(document["command"], is_fetch, bucket)
        return Report(path, error=document["error"] or "no reason was given")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _local_operand(command: str, is_fetch: bool, bucket: str) -> str:
    """The local path in ``cp [flags] SRC DST``, which s5cmd shows without quotes and metadata in random order."""
    if not is_fetch:
        # The last " s3://bucket/" starts the key: no key that is sent contains it.
        command = command[: command.rindex(f" s3://{bucket}/")]
    return command.rpartition(" ")[2]


# The texts come from Go's errno names; "stat /vol/x: not a directory" and the like are also volume errors.
_is_local_error = re.compile(
    r"(?:open|read|write|rename|stat|lstat|fstat|mkdir|chmod|fchmod|close|remove|unlinkat) /|given object .* not found"
    r"|object '.*' is not a regular file"
).match
_LOCAL_TEXTS = (
    (Trouble.SPACE, ("no space left on device", "disk quota exceeded")),
    (Trouble.TOO_LARGE, ("file too large",)),
    (Trouble.READONLY, ("read-only file system",)),
)
_NETWORK_TEXTS = (
    (Trouble.TLS, ("x509:", "tls:", "LoadCustomCABundleError", "server gave HTTP response to HTTPS client")),
    (Trouble.DNS, ("lookup ",)),
    (
        Trouble.TIMEOUT,
        ("i/o timeout", "handshake timeout", "connection timed out", "deadline exceeded", "Client.Timeout"),
    ),
    (Trouble.REFUSED, ("connection refused", "no route to host", "is unreachable", "proxyconnect", "host is down")),
    (Trouble.MISMATCH, ("http: ContentLength=",)),  # the local file became shorter during the transfer
    (Trouble.BROKEN, ("EOF", "reset by peer", "broken pipe", "use of closed", "transport connection broken")),
    (Trouble.SERVER, ("SerializationError", "malformed HTTP")),
)
_CODES = {
    "BucketRegionError": Trouble.BUCKET,
    "NoSuchUpload": Trouble.UNKNOWN,  # from a retried CompleteMultipartUpload: it may have succeeded
    "SharedCredsLoad": Trouble.CREDENTIAL,
    "NoCredentialProviders": Trouble.CREDENTIAL,
}


def classify(error_text: str) -> Trouble:
    """Classify an error text: by the store's code and status, else by Go's file and network errors."""
    if _is_local_error(error_text):
        return _find(_LOCAL_TEXTS, error_text) or Trouble.IO
    if error_text.startswith("MultipartUpload: ") and " caused by: " in error_text:
        return classify(error_text.partition(" caused by: ")[2])
    code = (re.match(r"(\w+): ", error_text) or [""] * 2)[1]
    status = int((re.findall(r" status code: (\d{3}),", error_text) or ["0"])[-1])
    if code in _CODES:
        return _CODES[code]
    if "UnmarshalError" in error_text:  # a gateway's page, not the store's XML: says nothing about bucket or object
        return Trouble.THROTTLED if status in (429, 503) else Trouble.SERVER
    if status and code != "SerializationError":
        return trouble_of(status, code, of_object=True)
    words = re.sub(r'"[^"]*"', "", error_text)  # without the URL, which contains the key
    if ": read /" in words:
        return Trouble.IO
    return _find(_NETWORK_TEXTS, words) or Trouble.OTHER


def _find(table: tuple[tuple[Trouble, tuple[str, ...]], ...], text: str) -> Trouble | None:
    return next((trouble for trouble, words in table if any(word in text for word in words)), None)


@dataclass(frozen=True, slots=True)
class Commands:
    """What s5cmd is told about work of one bucket in one direction, and what its reports mean for that work."""

    bucket: str
    is_fetch: bool
    settings: MoverSettings

    def supports(self, work: Fetch | Send) -> bool:
        if isinstance(work, Fetch):
            return self.is_fetch and can_fetch(work)
        return not self.is_fetch and can_send(work)

    def is_large(self, work: Fetch | Send) -> bool:
        return self.settings.is_large(work.size)

    def line(self, work: Fetch | Send) -> bytes:
        """The command for work that it supports."""
        concurrency = self.settings.part_concurrency
        if isinstance(work, Send):
            return send_line(work, self.bucket, concurrency=concurrency).encode()
        concurrency = concurrency if self.is_large(work) else 1
        return fetch_line(work, self.bucket, part_size=self.settings.part_size, concurrency=concurrency).encode()

    def report(self, line: bytes) -> Report | None:
        return parse_report(line, is_fetch=self.is_fetch, bucket=self.bucket)

    def outcome(self, work: Fetch | Send, report: Report) -> Outcome:
        if report.error:
            return Outcome(work.id, classify(report.error), report.error[:500])
        if report.size != work.size:
            return Outcome(work.id, Trouble.MISMATCH, f"s5cmd moved {report.size} bytes, {work.size} were expected")
        if not self.is_fetch and report.remote != f"s3://{self.bucket}/{work.key}":
            return Outcome(work.id, Trouble.MISMATCH, f"s5cmd stored the object as {report.remote!r}")
        return Outcome(work.id)
