# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Edits lines of fstab and keeps every other line byte for byte. No side effects here."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ESCAPED = re.compile(r"\\([0-7]{3})")
_UNSAFE = re.compile(r"[ \t\n\\]")
_lines = re.compile(r"[^\n]*\n|[^\n]+").findall  # with their endings; only a line feed ends a line


@dataclass(frozen=True)
class Mount:
    """One line: the source and the mount point."""

    source: str
    path: str
    line: str


def parse(text: str) -> list[Mount]:
    """The mounts of a text, without comments and damaged lines."""
    return [found for line in _lines(text) if (found := _mount(line.rstrip("\r\n")))]


def _mount(line: str) -> Mount | None:
    parts = re.split(r"[ \t]+", line.strip(" \t\r\n"))
    if len(parts) < 3 or parts[0].startswith("#"):
        return None
    return Mount(unescape(parts[0]), unescape(parts[1]).rstrip("/") or "/", line)


def line_of(uuid: str, path: str, filesystem: str, options: tuple[str, ...], device_timeout: int) -> str:
    """The line for a volume: a missing disk delays the boot by `device_timeout` seconds, and fails nothing."""
    words = [*dict.fromkeys([*options, "nofail", f"x-systemd.device-timeout={device_timeout}s"])]
    # ext filesystems are checked at boot, after the root filesystem. XFS needs no check.
    return f"UUID={uuid} {_escape(path)} {filesystem} {','.join(words)} 0 {2 if filesystem == 'ext4' else 0}"


def with_line(text: str, path: str, line: str) -> str:
    """The text with `line` as the only one for `path`, in its old position if it had one."""
    lines, written = [], False
    for old in _lines(text):
        found = _mount(old)
        if not found or found.path != path:
            lines.append(old)
        elif not written:
            lines.append(f"{line}\n")
            written = True
    return "".join(lines) if written else _ended("".join(lines)) + f"{line}\n"


def without(text: str, path: str, source: str) -> str:
    """The text without the lines that mount `source` at `path`."""
    return "".join(
        line for line in _lines(text) if not ((found := _mount(line)) and (found.source, found.path) == (source, path))
    )


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"


def _escape(text: str) -> str:
    return _UNSAFE.sub(lambda found: f"\\{ord(found.group()):03o}", text)


def unescape(text: str) -> str:
    """A name from fstab, mountinfo or swaps with its whitespace unescaped."""
    return _ESCAPED.sub(lambda found: chr(int(found.group(1), 8)), text)
