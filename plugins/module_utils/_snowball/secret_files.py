# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Small files with secrets: flat YAML without PyYAML, and files and folders that only their owner can read."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

PRIVATE = 0o600
_LINE = re.compile(r"""(["']?)([\w.-]+)\1[ \t]*:(?:[ \t]+(.*))?""")
_SINGLE = re.compile(r"'((?:[^']|'')*)'\s*(?:#.*)?")
_DOUBLE = re.compile(r'("(?:[^"\\]|\\.)*")\s*(?:#.*)?')
_COMMENT = re.compile(r"(?:^|\s)#.*")


def flat_mapping(text: str) -> dict[str, str]:
    """The top-level ``key: value`` pairs of a YAML text whose values are strings on one line; the rest is ignored.

    A host may not have PyYAML, and the files of a snowdir need no more than this. JSON is YAML, and is read as well.
    """
    try:
        document = json.loads(text)
    except ValueError:
        return dict(_pairs(text))
    return {str(key): str(value) for key, value in document.items()} if isinstance(document, dict) else {}


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        found = _LINE.fullmatch(line.rstrip())
        if found:
            yield found.group(2), scalar(found.group(3) or "")


def scalar(text: str) -> str:
    """The value of a one-line YAML scalar, without quotes and trailing comment."""
    text = text.strip()
    single, double = _SINGLE.fullmatch(text), _DOUBLE.fullmatch(text)
    if single:
        return single.group(1).replace("''", "'")
    if double:
        try:
            return str(json.loads(double.group(1)))
        except ValueError:
            return double.group(1)[1:-1]
    return _COMMENT.sub("", text).strip()


def with_values(text: str, values: Mapping[str, str]) -> str:
    """The flat YAML text with these values; other lines, and lines that are already right, are kept."""
    lines = []
    left = dict(values)
    for line in text.splitlines():
        found = _LINE.fullmatch(line.rstrip())
        key = found.group(2) if found else ""
        if key in left:
            value = left.pop(key)
            line = (
                line
                if found and scalar(found.group(3) or "") == value
                else f"{key}: {json.dumps(value, ensure_ascii=False)}"
            )
        lines.append(line)
    lines += [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in left.items()]
    return "".join(f"{line}\n" for line in lines)


def read_text(path: str) -> str:
    """The text of a file, "" if it does not exist."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def mode_of(path: str) -> int | None:
    """The permission bits of a file, None if it does not exist."""
    try:
        return stat.S_IMODE(os.stat(path).st_mode)
    except FileNotFoundError:
        return None


def write_private(module: AnsibleModule, path: str, text: str) -> None:
    """Writes a file that only its owner can read at any time. A symlink is kept; raises OSError."""
    target = os.path.realpath(path)
    descriptor, temporary = tempfile.mkstemp(dir=module.tmpdir)
    module.add_cleanup_file(temporary)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    move_in(module, temporary, target, PRIVATE)
    os.chmod(target, PRIVATE)


def move_in(module: AnsibleModule, temporary: str, path: str, mode: int) -> None:
    """`atomic_move` of a file that never has more permissions than `mode`."""
    # It gives the new file the old one's mode, or what the umask allows, before the mode can be corrected.
    if os.path.exists(path):
        os.chmod(path, mode)
    umask = os.umask(0o777 & ~mode)
    try:
        module.atomic_move(temporary, path)
    finally:
        os.umask(umask)


@contextmanager
def private_folder(module: AnsibleModule) -> Iterator[str]:
    """A folder that only this process's user can access, removed afterwards, even if Ansible keeps its own files."""
    path = tempfile.mkdtemp(prefix="snowball-", dir=module.tmpdir)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def write_new_private(path: str, text: str) -> None:
    """Writes a new file and its parent folders inside a private folder."""
    make_private(os.path.dirname(path))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def make_private(folder: str) -> None:
    """Creates a folder and its parents that only this process's user can access."""
    umask = os.umask(0o077)  # the mode argument of makedirs applies only to the last folder
    try:
        os.makedirs(folder, exist_ok=True)
    finally:
        os.umask(umask)
