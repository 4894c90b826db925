# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The editor of one INI section: what configparser reads changes in that section, and no other byte does."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import Any

import pytest
import run_module
from hypothesis import assume, given, settings
from hypothesis import strategies as st

EXAMPLES = 100


@pytest.fixture(scope="session")
def ini() -> Any:
    return run_module.backend("_snowball.ini")


def target(ini: Any, name: str = "own") -> Any:
    return ini.Target(name, lambda header: header == name)


def parsed(text: str) -> dict[str, dict[str, str]]:
    """As botocore reads a file, from universal newlines."""
    parser = configparser.RawConfigParser()
    parser.read_string(re.sub(r"\r\n|\r", "\n", text))
    return {section: dict(parser.items(section)) for section in parser.sections()}


names = st.text("abcxyz_", min_size=1, max_size=6)
values = st.text("abc=:#; [](){}%$\u00e9\t", max_size=8).map(str.strip)
words = st.text("abc+/", min_size=1, max_size=8)
blanks = st.sampled_from(["", "  ", "\t"])
comments = st.builds("{}{}{}".format, blanks, st.sampled_from("#;"), values)
nothing = st.lists(st.one_of(blanks, comments), max_size=3)


@st.composite
def options(draw: st.DrawFn) -> list[str]:
    lines = []
    for name in draw(st.lists(names, unique_by=str.lower, max_size=4)):
        separator = draw(st.sampled_from(["=", " = ", ": ", " =", "  =  "]))
        spelled = draw(st.sampled_from([name, name.upper()]))
        lines += [*draw(nothing), f"{spelled}{separator}{draw(values)}"]
        lines += [f"  {value}" for value in draw(st.lists(st.one_of(values, st.just("[own]")), max_size=2))]
    return lines


@st.composite
def files(draw: st.DrawFn, own: bool | None = None) -> tuple[str, str, str]:
    """Text before, of, and after the section `own`; the middle is empty when it is not there."""
    ending = draw(st.sampled_from(["\n", "\r\n"]))
    has_own = draw(st.booleans()) if own is None else own
    others = draw(st.lists(names.filter(lambda name: name != "own"), unique=True, max_size=4))
    parts: list[list[str]] = [draw(nothing)]
    for name in others:
        parts.append([f"[{name}]", *draw(options()), *draw(nothing)])
    place = draw(st.integers(1, len(parts)))
    tail = draw(nothing)
    middle = ["[own]", *draw(options())] if has_own else []
    before, after = (
        "".join(line + ending for part in half for line in part) for half in (parts[:place], [tail, *parts[place:]])
    )
    text = "".join(line + ending for line in middle)
    if draw(st.booleans()):  # no newline at the end of the file
        if after:
            after = after.removesuffix(ending)
        elif text:
            text = text.removesuffix(ending)
        else:
            before = before.removesuffix(ending)
    return before, text, after


wanted = st.dictionaries(names, words, min_size=1, max_size=4)


def own_lines(ini: Any, text: str) -> str:
    return ini.section_text(text, target(ini))


@settings(max_examples=EXAMPLES, deadline=None)
@given(parts=files(), values=wanted)
def test_the_section_reads_as_wanted_and_nothing_else_changes(
    ini: Any, parts: tuple[str, str, str], values: dict[str, str]
) -> None:
    text = "".join(parts)
    old = parsed(text)
    edited = ini.with_values(text, target(ini), values)
    new = parsed(edited)
    assert new["own"] == old.get("own", {}) | values
    assert {name: section for name, section in new.items() if name != "own"} == {
        name: section for name, section in old.items() if name != "own"
    }
    assert ini.with_values(edited, target(ini), values) == edited


@settings(max_examples=EXAMPLES, deadline=None)
@given(parts=files(), values=wanted)
def test_what_is_around_the_section_is_the_same_to_the_byte(
    ini: Any, parts: tuple[str, str, str], values: dict[str, str]
) -> None:
    before, text, after = parts
    whole = before + text + after
    edited = ini.with_values(whole, target(ini), values)
    if not text:
        assert edited.startswith(whole)
        assert own_lines(ini, edited) == edited[len(whole) :].lstrip("\r\n")
        return
    old, new = own_lines(ini, whole), own_lines(ini, edited)
    assert edited == before + new + text[len(old) :] + after
    assert kept_lines(ini, old, values) == kept_lines(ini, new, values)


def kept_lines(ini: Any, section: str, values: dict[str, str]) -> list[str]:
    """All lines of the section but those of these options; the last line of a file need not have ended before."""
    lines = ini.split_lines(section)
    for option in reversed(ini.sections_of(lines)[0].options):
        if option.name in values:
            del lines[option.first : option.end]
    return [line.rstrip("\r\n") for line in lines]


@settings(max_examples=EXAMPLES, deadline=None)
@given(parts=files(own=True))
def test_removing_takes_the_section_and_nothing_else(ini: Any, parts: tuple[str, str, str]) -> None:
    before, text, after = parts
    own = own_lines(ini, "".join(parts))
    assert text.startswith(own)
    rest = text[len(own) :]  # an indented blank line or comment at its end
    assert ini.without_section("".join(parts), target(ini)) == before + rest + after
    assert ini.values_of(before + after, target(ini)) == {}


@settings(max_examples=EXAMPLES, deadline=None)
@given(parts=files(own=False), values=wanted)
def test_adding_and_removing_gives_the_file_back(ini: Any, parts: tuple[str, str, str], values: dict[str, str]) -> None:
    text = "".join(parts)
    assume(not text or text.endswith("\n"))
    assert ini.without_section(ini.with_values(text, target(ini), values), target(ini)) == text


@settings(max_examples=EXAMPLES, deadline=None)
@given(text=st.text("[]own=: \t#;\r\n\u2028\x0cab", max_size=60), values=wanted)
def test_any_text_is_edited_soundly_or_refused(ini: Any, text: str, values: dict[str, str]) -> None:
    try:
        edited = ini.with_values(text, target(ini), values)
    except ini.IniError:
        return
    assert values.items() <= ini.values_of(edited, target(ini)).items()
    try:
        old = parsed(text)
    except configparser.Error:
        return  # no AWS tool reads such a file
    new = parsed(edited)
    assert {name: old[name] for name in old if name != "own"} == {name: new[name] for name in new if name != "own"}
    assert new["own"] == old.get("own", {}) | values


@settings(max_examples=EXAMPLES, deadline=None)
@given(text=st.text("[]own=: \t#;\r\n\u2028\x0cab", max_size=60))
def test_sections_are_those_of_configparser(ini: Any, text: str) -> None:
    try:
        expected = parsed(text)
    except configparser.Error:
        return
    sections = ini.sections_of(ini.split_lines(text))
    assert [section.name for section in sections if section.name != "DEFAULT"] == list(expected)
    for section in sections:
        found = {option.name: option.value.splitlines() for option in section.options}
        assert {name: [line for line in value if line] for name, value in found.items()} == {
            name: [line for line in value.splitlines() if line] for name, value in expected[section.name].items()
        }


def test_an_option_keeps_its_spelling_its_blanks_and_its_line_ending(ini: Any) -> None:
    text = "[own]\r\nRegion=us-east-1\r\n# why\r\noutput : text\r\n\r\n[next]\r\n"
    edited = ini.with_values(text, target(ini), {"region": "snow", "output": "json", "ca_bundle": "/x"})
    assert edited == "[own]\r\nRegion=snow\r\n# why\r\noutput : json\r\nca_bundle = /x\r\n\r\n[next]\r\n"


def test_a_nested_value_is_kept_and_its_inner_names_are_not_options(ini: Any) -> None:
    text = "[own]\ns3 =\n  region = inner\n  max_concurrent_requests = 5\noutput = json\n"
    edited = ini.with_values(text, target(ini), {"region": "snow"})
    assert edited == text + "region = snow\n"


def test_a_value_of_many_lines_is_replaced_as_a_whole(ini: Any) -> None:
    text = "[own]\nregion =\n  a = b\n\n  c = d\nother = 1\n"
    assert ini.with_values(text, target(ini), {"region": "snow"}) == "[own]\nregion = snow\nother = 1\n"


def test_a_section_without_options_before_an_indented_header(ini: Any) -> None:
    """At less indentation than what follows, the last new option would swallow the next header."""
    edited = ini.with_values("[own]\n  [next]\n  a = 1\n", target(ini), {"region": "snow"})
    assert parsed(edited) == {"own": {"region": "snow"}, "next": {"a": "1"}}


def test_a_removal_that_would_bind_the_next_header_is_refused(ini: Any) -> None:
    with pytest.raises(ini.IniError, match="indentation"):
        ini.without_section("[a]\nx = 1\n[own]\n  [next]\n  y = 2\n", target(ini))


def test_a_section_that_is_there_twice_is_refused_with_its_lines_and_can_be_removed(ini: Any) -> None:
    text = "[own]\na = 1\n[x]\nb = 2\n[x]\nb = 3\n[own]\na = 4\n"
    with pytest.raises(ini.IniError, match=r"more than once \(lines 1, 7\)"):
        ini.with_values(text, target(ini), {"a": "5"})
    assert ini.without_section(text, target(ini)) == "[x]\nb = 2\n[x]\nb = 3\n"


def test_duplicates_of_others_stay(ini: Any) -> None:
    text = "[x]\nb = 2\n[own]\na = 1\n[x]\nb = 3\n"
    assert ini.with_values(text, target(ini), {"a": "2"}) == text.replace("a = 1", "a = 2")


def test_an_option_that_is_there_twice_becomes_one(ini: Any) -> None:
    text = "[own]\na = 1\nk = v\na = 2\n"
    assert ini.with_values(text, target(ini), {"a": "3"}) == "[own]\na = 3\nk = v\n"


def test_an_error_never_quotes_a_value(ini: Any, tmp_path: Path) -> None:
    text = "[own]\naws_secret_access_key = hunter2\n" * 2
    with pytest.raises(ini.IniError) as caught:
        ini.with_values(text, target(ini), {"aws_secret_access_key": "other"})
    assert "hunter2" not in str(caught.value)
