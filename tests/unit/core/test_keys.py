# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys: the bijection with staging paths, and the quoting against the grammar of the one who reads it."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from snowsync.core import keys
from snowsync.core.model import ListedObject

HOSTILE_KEYS = [
    "",
    " lead",
    "trail ",
    "two  spaces",
    "it's",
    'say "x"',
    "`id`",
    "$(id)",
    "a;b",
    "a&b|c>d",
    "*",
    "what?",
    "#first",
    "x#y",
    "[ab]{c,d}",
    "back\\slash",
    "new\nline",
    "\n",
    "cr\rhere",
    "tab\there",
    "\x01",
    "\x7f",
    "nbsp\u00a0",
    "\u0085",
    unicodedata.normalize("NFC", "é"),
    unicodedata.normalize("NFD", "é"),
    "😀/🚀.bin",
    "/leading",
    "//",
    "/",
    "a//b",
    "trailing/",
    ".",
    "..",
    "...",
    "./x",
    "../x",
    "x/../../y",
    "x/.",
    "a",
    "a/b",
    "A",
    "-x",
    "--raw",
    "s3://in/key",
    "http://x/y",
    "k" * 1024,
    "é" * 512,
    "/" * 1024,
    "a/" * 512,
    "/" * 200 + "%",
    "../" * 341,
    "." * 400,
    "k" * 176,
    "k" * 177,
    "k" * 176 + ".",
    "k" * 176 + "/.",
    "k" * 176 + "..",
    "k" * 176 + "/" + "k" * 176,
    "+plus",
    "k/+plus",
    "~tilde",
    "a~1",
    "a~1/b",
    "%",
    "%2E",
    "%41",
    "a%2Fb",
    "~",
    "+",
    *(f"file{suffix}" for suffix in (".c", ".bed", ".fa", ".dbf", ".001", ".2024")),
]

# Characters that mean something to the escaping, to the shell, or to a filesystem, far more often than by chance.
_characters = st.one_of(
    st.sampled_from("ab.-_/~%+*?#'\"\\ \t\n\r$`[]{}\x00\x01\x7f\u00a0\u0085\u2028é😀0123456789ABCDEF"),
    st.characters(exclude_categories=["Cs"]),
)
_short_keys = st.text(_characters, max_size=40)
_long_keys = st.builds(
    lambda pieces: "".join(pieces).encode()[:1024].decode(errors="ignore"),
    st.lists(
        st.builds(lambda text, times: text * times, st.text(_characters, min_size=1, max_size=3), st.integers(1, 400)),
        max_size=6,
    ),
)
any_keys = st.one_of(st.sampled_from(HOSTILE_KEYS), _short_keys, _long_keys)
generations = st.one_of(st.integers(0, 20), st.integers(0, 2**63 - 1))


@given(any_keys, generations)
@settings(max_examples=400)
def test_path_gives_back_key_and_generation(object_key: str, generation: int) -> None:
    assert keys.from_path(keys.to_path(object_key, generation)) == (object_key, generation)


@given(any_keys, generations)
@settings(max_examples=400)
@example("é" * 512, 2**63 - 1)
@example("/" * 1024, 2**63 - 1)
@example("a/" * 512, 2**63 - 1)
@example("../" * 341, 2**63 - 1)
@example("k" * 1024, 2**63 - 1)
def test_path_is_one_that_any_filesystem_takes(object_key: str, generation: int) -> None:
    path = keys.to_path(object_key, generation)
    assert path.isascii()
    assert path.isprintable()
    assert len(path) < 3900
    assert os.path.normpath(path) == path  # relative, no empty, `.` or `..` component
    *folders, leaf = path.split("/")
    assert all(0 < len(name) <= 200 for name in (*folders, leaf))
    assert len(folders) < 520  # what recursive walkers (os.makedirs, rm in Python) stand without a limit raised
    assert not any("~" in folder for folder in folders)
    assert re.fullmatch(r"[^~]+~[0-9]+", leaf)


@pytest.mark.parametrize("object_key", HOSTILE_KEYS)
def test_hostile_key_survives(object_key: str) -> None:
    assert keys.from_path(keys.to_path(object_key, 7)) == (object_key, 7)


def files_below(folder: Path) -> list[str]:
    """Without os.walk, which recurses before Python 3.12 and may not reach the deepest keys."""
    found, folders = [], [str(folder)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                (folders if entry.is_dir() else found).append(entry.path)
    return found


def test_hostile_keys_live_side_by_side(tmp_path: Path) -> None:
    for generation in (1, 12):
        for object_key in HOSTILE_KEYS:
            path = tmp_path / keys.to_path(object_key, generation)
            os.makedirs(path.parent, exist_ok=True)
            with path.open("x") as file:
                file.write(f"{generation} {object_key}")
    leaves = files_below(tmp_path)
    assert len(leaves) == 2 * len(HOSTILE_KEYS)
    for leaf in leaves:
        object_key, generation = keys.from_path(os.path.relpath(leaf, tmp_path))
        with open(leaf, newline="") as file:
            assert file.read() == f"{generation} {object_key}"


@pytest.mark.parametrize(
    ("object_key", "generation", "path"),
    [
        ("data/tile_7.tif", 1, "data/tile_7.tif~1"),
        ("data/a b.tif", 1, "data/a%20b.tif~1"),
        ("data", 12, "data~12"),
        ("//x/", 1, "%%/x/%~1"),
        ("a/" + "/" * 200 + "b", 1, "a/" + "%" * 176 + "/+" + "%" * 24 + "/b~1"),
        ("../.", 0, "%2E%2E/%2E~0"),
        ("é~%+", 3, "%C3%A9%7E%25%2B~3"),
        ("a" * 180 + "/b", 1, "a" * 176 + "/+aaaa/b~1"),
        ("a" * 176 + ".", 1, "a" * 176 + "/+.~1"),
        ("", 1, "%~1"),
    ],
)
def test_path_is_stable_across_versions(object_key: str, generation: int, path: str) -> None:
    """Staged files outlive an upgrade, so the form is a format: it must not change."""
    assert keys.to_path(object_key, generation) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "a",
        "a~",
        "~1",
        "a~01",
        "a~-1",
        "a~+1",
        "a~1_0",
        "a~ 1",
        "a~\u0661",
        "a~9223372036854775808",
        "a~" + "9" * 5000,
        "a~1/b~1",
        "a~1/b",
        "a~1~1",
        "/a~1",
        "a//b~1",
        "./a~1",
        "a/../b~1",
        "..~1",
        ".~1",
        "a/.~1",
        "a/",
        "a~1/",
        "a~1\n",
        "a b~1",
        "é~1",
        "%2e~1",
        "%2E%2e~1",
        "%41~1",
        "%2F~1",
        "a%2Fb~1",
        "%2~1",
        "%zz~1",
        "%FF~1",
        "%C3~1",
        "%ED%A0%80~1",
        "%/%~1",
        "%/+%~1",
        "a/%/%/b~1",
        "a%~1",
        "+a~1",
        "a/+b~1",
        "k" * 177 + "~1",
        "k" * 100 + "/+" + "k" * 100 + "~1",
        "k" * 176 + "/+~1",
        "\udcff~1",
        "%2E%2E%2E~1",
    ],
)
def test_path_of_another_form_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is not a staging path"):
        keys.from_path(path)


@given(
    st.one_of(
        st.text("ab.~%/+0123FE2e", max_size=30),
        st.builds(
            lambda object_key, more: keys.to_path(object_key, 1) + more, any_keys, st.text("~%/+.01", max_size=3)
        ),
    )
)
@settings(max_examples=400)
def test_accepted_path_is_the_canonical_one(path: str) -> None:
    try:
        object_key, generation = keys.from_path(path)
    except ValueError:
        return
    assert keys.to_path(object_key, generation) == path


@pytest.mark.parametrize("generation", [-1, 2**63])
def test_generation_that_the_ledger_cannot_hold_is_refused(generation: int) -> None:
    with pytest.raises(ValueError, match="generation"):
        keys.to_path("a", generation)


def test_key_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        keys.to_path("a\ud800", 1)


# --- quoting: a reader of the grammar that s5cmd's `run` uses, written from its description ---

GO_SPACE = "\t\n\v\f\r \u0085\u00a0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))


class UnterminatedError(Exception):
    """A quote or a backslash without its end: s5cmd drops the rest of its input."""


def split_words(line: str) -> list[str]:
    """go-shellquote's Split: words apart at space, tab, newline; three kinds of quoting; nothing else is special."""
    words: list[str] = []
    word: str | None = None
    position = 0
    while position < len(line):
        character = line[position]
        if character in " \t\n":
            if word is not None:
                words.append(word)
            word = None
            position += 1
            continue
        text, position = _read_quoted(line, position)
        word = (word or "") + text
    return words if word is None else [*words, word]


def _read_quoted(line: str, position: int) -> tuple[str, int]:
    """The text of one character, escape or quoted stretch at `position`, and where the next begins."""
    character = line[position]
    if character == "'":
        end = line.find("'", position + 1)
        if end < 0:
            raise UnterminatedError
        return line[position + 1 : end], end + 1
    if character == '"':
        return _read_double(line, position + 1)
    if character == "\\":
        if position + 1 == len(line):
            raise UnterminatedError
        escaped = line[position + 1]
        return "" if escaped == "\n" else escaped, position + 2
    return character, position + 1


def _read_double(line: str, position: int) -> tuple[str, int]:
    text = ""
    while position < len(line):
        character = line[position]
        if character == '"':
            return text, position + 1
        following = line[position + 1 : position + 2]
        if character == "\\" and following and following in '$`"\n\\':
            text += "" if following == "\n" else following
            position += 2
        else:
            text += character
            position += 1
    raise UnterminatedError


def read_run(stream: str) -> list[list[str]]:
    """What `s5cmd run` makes of its input: cut at newlines, trimmed, empty lines and comments left out, split."""
    lines = [line.strip(GO_SPACE) for line in stream.split("\n")]
    return [split_words(line) for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a  b\tc", ["a", "b", "c"]),
        ("'it'\"'\"'s'", ["it's"]),
        (r'"\a\$\""', ['\\a$"']),
        (r"a\ b \'", ["a b", "'"]),
        ("'' x", ["", "x"]),
        ("a #b", ["a", "#b"]),
        ("nbsp\u00a0x", ["nbsp\u00a0x"]),
    ],
)
def test_reader_follows_the_grammar(line: str, words: list[str]) -> None:
    assert split_words(line) == words


@pytest.mark.parametrize("line", ["'a", '"a', "a\\", '"a\\"'])
def test_reader_sees_what_ends_a_run(line: str) -> None:
    with pytest.raises(UnterminatedError):
        split_words(line)


operands = any_keys.map(lambda object_key: object_key.replace("\n", " "))


@given(st.lists(st.tuples(operands, operands), min_size=1, max_size=4))
@settings(max_examples=300)
@example([("#", "\u0085"), ("", "\\"), ("'", '"')])
def test_quoted_operands_are_read_back(pairs: list[tuple[str, str]]) -> None:
    stream = "".join(f"cp --raw {keys.quote(source)} {keys.quote(target)}\n" for source, target in pairs)
    assert read_run(stream) == [["cp", "--raw", source, target] for source, target in pairs]


@given(operands)
@settings(max_examples=200)
@example("#comment")
@example("\u00a0")
def test_quoted_operand_may_stand_alone(operand: str) -> None:
    assert read_run(keys.quote(operand)) == [[operand]]


@pytest.mark.parametrize("operand", ["\n", "a\nb", "a\n", "\na"])
def test_newline_is_not_quoted(operand: str) -> None:
    with pytest.raises(ValueError, match="newline"):
        keys.quote(operand)


@given(any_keys)
def test_what_the_mover_can_express_can_be_quoted(object_key: str) -> None:
    if keys.mover_can_express(object_key):
        assert split_words(keys.quote(f"s3://bucket/{object_key}")) == [f"s3://bucket/{object_key}"]
    else:
        assert object_key == "" or "\n" in object_key or object_key.endswith("/")


@pytest.mark.parametrize(("object_key", "expressible"), [("a", True), ("/a", True), ("a\r", True), ("..", True)])
def test_mover_takes_odd_keys(object_key: str, expressible: bool) -> None:
    assert keys.mover_can_express(object_key) is expressible


@pytest.mark.parametrize("object_key", ["", "/", "a/", "a\n", "\na", "a\n/b"])
def test_mover_does_not_take_every_key(object_key: str) -> None:
    assert not keys.mover_can_express(object_key)


@pytest.mark.parametrize(
    ("object_key", "source_prefix", "destination_prefix", "mapped"),
    [
        ("in/a", "in/", "out/", "out/a"),
        ("in/a", "", "out/", "out/in/a"),
        ("in/a", "in/", "", "a"),
        ("in/a", "in", "out", "out/a"),
        ("in//a", "in/", "out/", "out//a"),
        ("/a", "", "", "/a"),
        ("2024-a", "20", "19", "1924-a"),
        ("in/", "in/", "out/", "out/"),
        ("in/", "in/", "", ""),
    ],
)
def test_map_key_replaces_plain_text(object_key: str, source_prefix: str, destination_prefix: str, mapped: str) -> None:
    assert keys.map_key(object_key, source_prefix, destination_prefix) == mapped


@given(any_keys, _short_keys, _short_keys)
def test_map_key_maps_back(rest: str, source_prefix: str, destination_prefix: str) -> None:
    mapped = keys.map_key(source_prefix + rest, source_prefix, destination_prefix)
    assert keys.map_key(mapped, destination_prefix, source_prefix) == source_prefix + rest


@pytest.mark.parametrize(("object_key", "prefix"), [("a", "b"), ("In/a", "in/"), ("in", "in/"), ("", "x")])
def test_map_key_refuses_a_key_from_elsewhere(object_key: str, prefix: str) -> None:
    with pytest.raises(ValueError, match="does not start with the prefix"):
        keys.map_key(object_key, prefix, "out/")


# --- keys that are no text, and keys that no run can move


@given(st.binary(max_size=40))
def test_the_bytes_of_any_key_are_those_of_the_store(raw: bytes) -> None:
    assert keys.key_bytes(raw.decode(errors="surrogateescape")) == raw


@given(st.text(st.characters(), max_size=20))
def test_no_text_at_all_is_too_odd_for_bytes_and_for_people(text: str) -> None:
    assert isinstance(keys.key_bytes(text), bytes)
    keys.readable(text).encode()


@given(any_keys)
def test_a_key_that_is_text_is_shown_as_it_is(object_key: str) -> None:
    assert keys.readable(object_key) == object_key


@given(st.sets(st.binary(max_size=4), max_size=10))
def test_keys_are_ordered_by_their_bytes(raw: set[bytes]) -> None:
    ordered = sorted((key.decode(errors="surrogateescape") for key in raw), key=keys.key_bytes)
    assert [keys.key_bytes(key) for key in ordered] == sorted(raw)


@pytest.mark.parametrize(
    ("object_key", "prefix", "reason"),
    [
        ("a", "", ""),
        ("in/é", "in/", ""),
        ("x" * 1024, "", ""),
        ("x" * 1025, "", "1025 bytes"),
        ("é" * 512, "", ""),
        ("é" * 513, "", "1026 bytes"),
        ("", "", "empty"),
        ("caf\udce9", "", "not valid UTF-8"),
        ("out/é", "in/", "does not start with the requested prefix 'in/'"),
        ("out", "in/", "does not start with the requested prefix 'in/'"),
    ],
)
def test_why_a_key_cannot_be_moved(object_key: str, prefix: str, reason: str) -> None:
    said = keys.why_not_movable(object_key, prefix)
    assert reason in said
    assert bool(said) is bool(reason)


def test_a_page_is_parted_in_its_order() -> None:
    page = [ListedObject(key, 1, "e", 1) for key in ("a", "caf\udce9", "b", "", "c")]
    usable, left = keys.movable(page, "")
    assert [listed.key for listed in usable] == ["a", "b", "c"]
    assert [(listed.key, reason[:12]) for listed, reason in left] == [
        ("caf\udce9", "its key is n"),
        ("", "its key is e"),
    ]
    assert keys.movable(usable, "") == (usable, [])
