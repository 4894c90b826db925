# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The expiry of a certificate: only the X.509 parsing needed for that, because a host may not have a library for it."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from datetime import datetime, timezone

_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
_SEQUENCE, _UTC_TIME, _GENERALIZED_TIME, _VERSION = 0x30, 0x17, 0x18, 0xA0


def not_after(pem: str) -> datetime | None:
    """The expiry of the first certificate in a PEM text, in UTC; None if it cannot be parsed (RFC 5280, 4.1)."""
    block = _BLOCK.search(pem)
    try:
        der = base64.b64decode("".join(block.group(1).split()), validate=True) if block else b""
        ((tag, certificate),) = _elements(der)
        to_be_signed = next(_elements(certificate))[1]
        fields = [element for element in _elements(to_be_signed) if element[0] != _VERSION]
        validity = fields[3][1]  # after serial number, signature algorithm and issuer
        tag, value = list(_elements(validity))[1]
        return _time(tag, value.decode("ascii"))
    except (ValueError, IndexError, StopIteration):
        return None


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each DER element; raises IndexError or ValueError if they are malformed."""
    place = 0
    while place < len(data):
        tag, length = data[place], data[place + 1]
        place += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(data[place : place + size], "big")
            place += size
        if place + length > len(data):
            raise ValueError("an element is longer than its container")
        yield tag, data[place : place + length]
        place += length


def _time(tag: int, text: str) -> datetime:
    if tag == _UTC_TIME:
        text = ("20" if int(text[:2]) < 50 else "19") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError("not a time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=timezone.utc)
