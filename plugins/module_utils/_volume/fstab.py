# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Lines of fstab, edited so that every other line stays as it is, byte for byte. No effects here."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ESCAPED = re.compile(r"\\([0-7]{3})")
_UNSAFE = re.compile(r"[ \t\n\\]")
_lines = re.compile(r"[^\n]*\n|[^\n]+").findall  # with their ends, and nothing but a line feed is one


@dataclass(frozen=True)
class Mount:
    """One line: what is mounted where."""

    source: str
    path: str
    line: str


def parse(text: str) -> list[Mount]:
    """The mounts of a text, comments and damaged lines left out."""
    return [found for line in _lines(text) if (found := _mount(line.rstrip("\r\n")))]


def _mount(line: str) -> Mount | None:
    parts = re.split(r"[ \t]+", line.strip(" \t\r\n"))
    if len(parts) < 3 or parts[0].startswith("#"):
        return None
    return Mount(unescape(parts[0]), unescape(parts[1]).rstrip("/") or "/", line)


def line_of(uuid: str, path: str, filesystem: str, options: tuple[str, ...], device_timeout: int) -> str:
    """The line for a volume: a missing disk holds up a boot for `device_timeout` seconds, and fails nothing."""
    words = [*dict.fromkeys([*options, "nofail", f"x-systemd.device-timeout={device_timeout}s"])]
    # ext filesystems are checked at boot, after the root; XFS has its own ways.
    return f"UUID={uuid} {_escape(path)} {filesystem} {','.join(words)} 0 {2 if filesystem == 'ext4' else 0}"


def with_line(text: str, path: str, line: str) -> str:
    """The text with `line` as the only one for `path`, at its old place if it had one."""
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
    """A name as fstab, mountinfo and swaps write it, with its white space again."""
    return _ESCAPED.sub(lambda found: chr(int(found.group(1), 8)), text)
