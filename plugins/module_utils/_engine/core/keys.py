# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Object keys: their staging paths, their form in s5cmd commands, and their names at the destination.

A staging path is a bijection of (key, generation). The key is split at each ``/``; for each component:

- bytes outside ``A-Za-z0-9._-`` become ``%XX``; the components ``.`` and ``..`` become ``%2E`` and ``%2E%2E``
- consecutive empty components become one name, a ``%`` for each (a key of only slashes would be a thousand levels deep)
- a component longer than a piece continues in the next directory, as a name that starts with ``+``
- the last name, the leaf, ends in ``~`` and the generation; no directory has a ``~``, so ``a`` can exist beside ``a/b``

======================  =====================
key, generation         path
======================  =====================
``data/a b.tif``, 1     ``data/a%20b.tif~1``
``data``, 12            ``data~12``
``//x/``, 1             ``%%/x/%~1``
======================  =====================
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from .model import LONGEST_KEY, ListedObject

_PIECE = 176  # with "+", "~" and 19 digits of a generation a name stays below 200 characters
_GENERATIONS = 2**63  # the range of the ledger's integers
_NO_SIZE = "the listing gives no readable size for it"
_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-/")
_ESCAPED = [chr(byte) if byte in _SAFE else f"%{byte:02X}" for byte in range(256)]
_DOTS = {".": "%2E", "..": "%2E%2E"}

# Most keys and paths are their own escaped form; one match avoids going through their bytes.
_PLAIN_COMPONENT = rf"(?!\.\.?(?:[/~]|\Z))[A-Za-z0-9._-]{{1,{_PIECE}}}"
_PLAIN = rf"{_PLAIN_COMPONENT}(?:/{_PLAIN_COMPONENT})*"
_is_plain_key = re.compile(_PLAIN).fullmatch
_plain_path = re.compile(rf"({_PLAIN})~(0|[1-9][0-9]{{0,17}})").fullmatch


def to_path(object_key: str, generation: int) -> str:
    """The staging path of one generation of a key: relative, ASCII, names of at most 200 characters.

    A key of 1,024 bytes gives less than 3,200 characters and 520 names. ValueError for a key that is not valid
    Unicode, or a generation outside 0 to 2**63 - 1.
    """
    if not 0 <= generation < _GENERATIONS:
        raise ValueError(f"generation {generation} is not within 0 to 2**63 - 1")
    if _is_plain_key(object_key):
        return f"{object_key}~{generation}"
    escaped = "".join([_ESCAPED[byte] for byte in object_key.encode()])
    return f"{'/'.join(_names(escaped))}~{generation}"


def _names(escaped_key: str) -> list[str]:
    names: list[str] = []
    for component in escaped_key.split("/"):
        if component:
            names.append(_DOTS.get(component, component))
        elif names and names[-1].endswith("%"):  # only a name for empty components ends like this
            names[-1] += "%"
        else:
            names.append("%")
    return names if len(escaped_key) < _PIECE else [_cut(name) for name in names]


def _cut(name: str) -> str:
    return "/+".join([name[start : start + _PIECE] for start in range(0, len(name), _PIECE)])


def from_path(relative_path: str) -> tuple[str, int]:
    """The key and the generation of a staging path; ValueError for a path that `to_path` does not produce."""
    plain = _plain_path(relative_path)
    if plain:
        return plain[1], int(plain[2])
    try:
        object_key, generation = _decode(relative_path)
        if to_path(object_key, generation) == relative_path:
            return object_key, generation
    except ValueError:
        pass  # reported below, the same way for all
    raise ValueError(f"{relative_path!r} is not a staging path")


def is_staging_path(relative_path: str) -> bool:
    """Whether `to_path` produces this path for some key and generation."""
    try:
        from_path(relative_path)
    except ValueError:
        return False
    return True


def _decode(relative_path: str) -> tuple[str, int]:
    """Lenient: the caller compares the result with the path that the key and the generation would have."""
    names, _, generation = relative_path.rpartition("~")
    components = [name if name.strip("%") else "/" * (len(name) - 1) for name in names.replace("/+", "").split("/")]
    return unquote_to_bytes("/".join(components)).decode(), int(generation)


def mover_can_express(object_key: str) -> bool:
    """Whether an s5cmd command can name this key: a newline ends a command, and ``x/`` means a folder."""
    return bool(object_key) and "\n" not in object_key and not object_key.endswith("/")


def quote(operand: str) -> str:
    """Quote an operand for ``s5cmd run`` (the grammar of kballard/go-shellquote, as in POSIX sh).

    ValueError for a newline: s5cmd splits its input into lines before it looks at quotes, and an unclosed quote would
    end the whole run silently.
    """
    if "\n" in operand:
        raise ValueError(f"{operand!r} contains a newline, which an s5cmd command cannot express")
    import shlex  # only s5cmd's commands are quoted

    return shlex.quote(operand)


def map_key(object_key: str, source_prefix: str, destination_prefix: str) -> str:
    """The key at the destination: prefixes are plain text, no ``/`` is added or removed.

    A key equal to the prefix maps to the destination's prefix, possibly the empty string, which no store accepts as a
    key. ValueError for a key that does not start with the source's prefix.
    """
    if not object_key.startswith(source_prefix):
        raise ValueError(f"the key {object_key!r} does not start with the prefix {source_prefix!r}")
    return destination_prefix + object_key[len(source_prefix) :]


def key_bytes(object_key: str) -> bytes:
    """The bytes of any key, even if it is not UTF-8: stores list in byte order, and requests carry the bytes."""
    try:
        return object_key.encode(errors="surrogateescape")
    except UnicodeEncodeError:  # half of a surrogate pair: no store returns it, but it must not crash anything
        return object_key.encode(errors="surrogatepass")


def readable(object_key: str) -> str:
    """The key as text for any file, database or terminal: a byte that is not UTF-8 becomes `\\xNN`."""
    return object_key if is_utf8(object_key) else key_bytes(object_key).decode(errors="backslashreplace")


def why_not_movable(object_key: str, prefix: str) -> str:
    """Why no run can move an object with this key, listed below `prefix`: the cause and the fix; "" if it can."""
    if object_key.isascii() and 0 < len(object_key) <= LONGEST_KEY and object_key.startswith(prefix):
        return ""
    if not is_utf8(object_key):
        return "its key is not valid UTF-8, which S3 requires; rename it there"
    if not object_key:
        return "its key is empty"
    length = len(object_key.encode())
    if length > LONGEST_KEY:
        return f"its key has {length} bytes, S3 allows {LONGEST_KEY}; rename it there"
    if not object_key.startswith(prefix):
        return f"its key does not start with the requested prefix {prefix!r}; the store ignores the prefix"
    return ""


def movable(
    objects: Sequence[ListedObject], prefix: str
) -> tuple[Sequence[ListedObject], list[tuple[ListedObject, str]]]:
    """Split a page of a listing below `prefix`: objects that can be moved, and the others with their reasons."""
    reasons = [why_not_movable(listed.key, prefix) or ("" if listed.size >= 0 else _NO_SIZE) for listed in objects]
    if not any(reasons):
        return objects, []
    pairs = list(zip(objects, reasons, strict=True))
    return [listed for listed, reason in pairs if not reason], [(listed, reason) for listed, reason in pairs if reason]


def is_utf8(object_key: str) -> bool:
    """Whether the key is valid text: a lone surrogate stands for a byte that is not UTF-8."""
    return object_key.isascii() or not any("\ud800" <= character <= "\udfff" for character in object_key)
