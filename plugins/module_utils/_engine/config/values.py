# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Checks of the single values of a job's configuration; config/schema.py says which option has which.

Each returns the value as the engine uses it, or raises ValueError. A message says what is wrong and how to fix it. It
repeats a value only where nobody would have put a secret.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..core.layout import OWN_FOLDER
from ..core.model import Evidence
from ..core.sizes import parse_size, show_size

Check = Callable[[object], Any]
JOB_NAME = r"[a-z0-9][a-z0-9_-]{0,62}"
_YEAR_SECONDS = 365 * 86_400


def kind(value: object) -> str:
    """The type of a value, in YAML terms."""
    kinds = {type(None): "null", bool: "true/false", int: "a number", float: "a number", str: "text", list: "a list"}
    return kinds.get(type(value), "a mapping" if isinstance(value, dict) else type(value).__name__)


def size_between(least: int, most: int = 2**63 - 1) -> Check:
    def check(value: object) -> int:
        size = parse_size(value)
        if not least <= size <= most:
            bound = f"at least {show_size(least)}" if size < least else f"at most {show_size(most)}"
            raise ValueError(f"must be {bound}, not {show_size(size)}")
        return size

    return check


def whole_number(least: int, most: int) -> Check:
    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            found = value if isinstance(value, float) else kind(value)
            raise ValueError(f"must be a whole number without quotes, not {found}")
        if not least <= value <= most:
            raise ValueError(f"must be from {least} to {most}, not {value}")
        return value

    return check


def _number(value: object, what: str) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise ValueError(f"must be {what} without quotes or unit, not {kind(value)}")
    try:
        return float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return math.inf


def seconds(value: object) -> float:
    number = _number(value, "a number of seconds")
    if not 0 < number <= _YEAR_SECONDS:
        raise ValueError(f"must be more than 0 and at most {_YEAR_SECONDS} seconds (a year), not {value}")
    return number


def seconds_or_zero(value: object) -> float:
    return 0.0 if _number(value, "a number of seconds") == 0 else seconds(value)


def fraction(value: object) -> float:
    number = _number(value, "a fraction")
    if not 0 < number <= 1:
        fix = f"; write {number / 100:g} for {number:g} %" if 1 < number <= 100 else ""
        raise ValueError(f"must be a fraction above 0 and up to 1, not {value}{fix}")
    return number


def flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false without quotes, not {kind(value)}")
    return value


def _text(value: object, what: str = "text") -> str:
    if not isinstance(value, str):
        fix = "" if value is None or isinstance(value, (list, dict)) else "; put it in quotes"
        raise ValueError(f"must be {what}, not {kind(value)}{fix}")
    return value


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")


def _matching(pattern: str, fix: str) -> Check:
    matches = re.compile(pattern).fullmatch

    def check(value: object) -> str:
        text = _text(value)
        if not matches(text):
            raise ValueError(f"{_shown(text)} is not valid; {fix}")
        return text

    return check


def one_of(*words: str) -> Check:
    def check(value: object) -> str:
        if value not in words:
            found = _shown(value) if isinstance(value, str) else kind(value)
            raise ValueError(f"must be {' or '.join(words)}, not {found}")
        return str(value)

    return check


def absolute_path(value: object) -> Path:
    text = str(value) if isinstance(value, Path) else _text(value, "an absolute path")
    if not text.startswith("/") or "\0" in text:
        raise ValueError(f"{_shown(text)} is not an absolute path; start it with /")
    if ".." in text.split("/"):
        raise ValueError(f"{_shown(text)} contains ..; write the resolved path")
    return Path("/" + text.lstrip("/"))


def relative_folder(value: object) -> str:
    text = _text(value, "a folder below the volume")
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if text.startswith("/") or ".." in parts or not parts or "\0" in text:
        raise ValueError(f"{_shown(text)} is not a folder below the volume; name one, such as incoming")
    if parts[0] == OWN_FOLDER:
        raise ValueError(f"is inside {OWN_FOLDER}, which belongs to the engine; choose another folder")
    return "/".join(parts)


def bucket(value: object) -> str:
    text = _text(value, "a bucket name")
    if "/" in text or ":" in text:
        raise ValueError("must be a bare bucket name; a prefix goes into `prefix`, a URL into `endpoints`")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{2,254}", text):
        raise ValueError(f"{_shown(text)} is not a bucket name; use 3 or more letters, digits, dots and hyphens")
    return text


def prefix(value: object) -> str:
    text = _text(value)
    try:
        length = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError("is not valid Unicode; remove the lone surrogate") from None
    if length > 1024:
        raise ValueError(f"has {length} bytes; a key has at most 1024")
    return text


def endpoint(value: object) -> str:
    """`scheme://host[:port]`, scheme and host in lower case. Messages never repeat the URL: it may hold a password."""
    text = _text(value, "a URL")
    if re.search(r"[^\x21-\x7e]|\\", text):
        raise ValueError("contains white space or characters that no URL has; write https://host:port")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("is not a URL with a host and a port of 1 to 65535; write https://host:port") from None
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError("must start with https:// or http://; write https://host:port")
    if "@" in parts.netloc:
        raise ValueError("contains a user or password; remove it, keys belong in `credentials_file`")
    if parts.path not in ("", "/") or "?" in text or "#" in text:
        raise ValueError("has a path, query or fragment; end it after host and port, the bucket goes into `bucket`")
    if port == 0 or parts.netloc.endswith(":") or not _is_host(host):
        raise ValueError("has no usable host or port; write https://host:port")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port else "")


def is_address(host: str) -> bool:
    """Whether a host is an IP address, not a name."""
    import ipaddress  # only for addresses that look like one, or stores that put the bucket before the host

    try:
        return bool(ipaddress.ip_address(host))
    except ValueError:
        return False


def _is_host(host: str) -> bool:
    if ":" in host:
        return is_address(host)
    label = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
    return len(host) <= 253 and all(map(label.fullmatch, host.split(".")))


def mode(value: object) -> object:
    if value == "direct":
        raise ValueError("direct is not implemented; use staged")
    if value != "staged":
        raise ValueError(f"must be staged, not {_shown(value) if isinstance(value, str) else kind(value)}")
    return value


def evidence(value: object) -> Evidence:
    if not isinstance(value, int) or value not in (2, 3):
        raise ValueError(
            "must be 2 (the store's digest equals ours) or 3 (read back); a lower level would allow deleting unproven"
            " files, and 4 is impossible: no store lets a client read past its caches"
        )
    return Evidence(value)


job_name = _matching(JOB_NAME, "use 1 to 63 of a-z, 0-9, _ and -, starting with a letter or digit")
volume_name = _matching(r"[a-z0-9][a-z0-9-]{0,62}", "use 1 to 63 of a-z, 0-9 and -, starting with a letter or digit")
region = _matching(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", "give a region such as us-east-1")
profile = _matching(r"[^\[\]\x00-\x1f]{1,128}", "give the name of a section of the credentials file")
