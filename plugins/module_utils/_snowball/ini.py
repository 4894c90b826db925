# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Edits one section of an INI text as AWS tools read it, and keeps all other bytes. No side effects here.

Headers, options and continuation lines are recognized as in Python's configparser, because botocore reads these files
with it: an indented line belongs to the value above it, even if it looks like a header.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_ENDING = re.compile(r"[\r\n]*\Z")
_HEADER = re.compile(r"\[(?P<name>.+)\]")
_OPTION = re.compile(r"(?P<name>.*?)\s*[=:]\s*(?P<value>.*)")
_UP_TO_VALUE = re.compile(r"(?P<key>.*?[=:])(?P<space>[^\S\r\n]*)")
_COMMENTS = ("#", ";")


class IniError(Exception):
    """The section cannot be edited safely; the message says why, and never quotes a value."""


@dataclass(frozen=True)
class Target:
    """The section to edit: `header` is written for a new one, `matches` recognizes it by the name in a header."""

    header: str
    matches: Callable[[str], bool]


@dataclass
class Option:
    """`name` is in lower case; its lines are `first` up to but not including `end`."""

    name: str
    value: str
    first: int
    end: int


@dataclass
class Section:
    """`end` is after the last option: comments and blank lines that follow belong to no section."""

    name: str
    first: int
    end: int
    options: list[Option] = field(default_factory=list)


def split_lines(text: str) -> list[str]:
    """Lines with their endings, split only where configparser splits."""
    return _LINE.findall(text)


def sections_of(lines: Sequence[str]) -> list[Section]:
    """All sections in order of their headers."""
    sections: list[Section] = []
    in_option, indent = False, 0
    for number, line in enumerate(lines):
        content = line.strip()
        if not content or content.startswith(_COMMENTS):
            continue
        depth = len(line) - len(line.lstrip())
        if in_option and depth > indent:
            _continue_option(sections[-1], content, number)
            continue
        indent = depth
        if header := _HEADER.match(content):
            sections.append(Section(header["name"], number, number + 1))
            in_option = False
        elif sections:
            in_option = _add_option(sections[-1], content, number)
    return sections


def _continue_option(section: Section, content: str, number: int) -> None:
    option = section.options[-1]
    option.value += f"\n{content}"
    option.end = section.end = number + 1


def _add_option(section: Section, content: str, number: int) -> bool:
    """Whether the line is an option; any other line still belongs to the section."""
    section.end = number + 1
    found = _OPTION.match(content)
    if not found or not found["name"]:
        return False
    section.options.append(Option(found["name"].lower(), found["value"], number, number + 1))
    return True


def values_of(text: str, target: Target) -> dict[str, str]:
    """Options of the section, empty if it does not exist. The last one wins if an option appears twice."""
    matching = [section for section in sections_of(split_lines(text)) if target.matches(section.name)]
    return {option.name: option.value for section in matching for option in section.options}


def section_text(text: str, target: Target) -> str:
    """The section's own lines, empty if it does not exist."""
    lines = split_lines(text)
    matching = [section for section in sections_of(lines) if target.matches(section.name)]
    return "".join(line for section in matching for line in lines[section.first : section.end])


def with_values(text: str, target: Target, values: Mapping[str, str]) -> str:
    """`text` with these options in the section, which is appended if it does not exist; raises IniError."""
    lines = split_lines(text)
    sections = sections_of(lines)
    matching = [section for section in sections if target.matches(section.name)]
    if len(matching) > 1:
        places = ", ".join(str(section.first + 1) for section in matching)
        raise IniError(f"section [{matching[0].name}] appears more than once (lines {places}); keep one of them")
    if matching:
        edited = _with_options(lines, sections, matching[0], values)
    else:
        edited = _with_section(lines, target.header, values)
    return _checked(text, "".join(edited), target)


def without_section(text: str, target: Target) -> str:
    """`text` without any copy of the section; comments after its last option are kept. Raises IniError."""
    lines = split_lines(text)
    for section in reversed(sections_of(lines)):
        if target.matches(section.name):
            del lines[section.first : section.end]
    return _checked(text, "".join(lines), target)


def _with_section(lines: list[str], header: str, values: Mapping[str, str]) -> list[str]:
    ending = (_ending(lines[0]) if lines else "") or "\n"
    added = [f"[{header}]", *(f"{name} = {value}" for name, value in values.items())]
    return _ended(lines, ending) + [line + ending for line in added]


def _with_options(
    lines: list[str], sections: Sequence[Section], section: Section, values: Mapping[str, str]
) -> list[str]:
    ending = _ending(lines[section.first]) or "\n"
    indent = _indent_for(lines, sections, section)
    known = {option.name for option in section.options}
    added = [f"{indent}{name} = {value}{ending}" for name, value in values.items() if name not in known]
    head, tail = lines[: section.end], lines[section.end :]
    first = {option.name: option for option in reversed(section.options)}
    # From the end, so that earlier line numbers stay valid.
    for option in reversed(section.options):
        if option.name not in values:
            continue
        if option is not first[option.name]:
            del head[option.first : option.end]
        elif option.value != values[option.name]:
            head[option.first : option.end] = [_with_value(head[option.first], option, values[option.name])]
    return (_ended(head, ending) if added else head) + added + tail


def _with_value(line: str, option: Option, value: str) -> str:
    found = _UP_TO_VALUE.match(line)
    if found is None:  # every option has a separator
        raise IniError(f"option {option.name} cannot be read")
    had_value = bool(option.value.partition("\n")[0])
    return f"{found['key']}{found['space'] if had_value else ' '}{value}{_ending(line)}"


def _indent_for(lines: Sequence[str], sections: Sequence[Section], section: Section) -> str:
    """The indentation of the last option: any other could make the following lines part of the new value."""
    following = [other.first for other in sections if other.first > section.first]
    if section.options:
        model = lines[section.options[-1].first]
    elif following:
        model = lines[following[0]]
    else:
        model = ""
    return model[: len(model) - len(model.lstrip())]


def _ended(lines: list[str], ending: str) -> list[str]:
    """The lines with an ending on the last one, so that lines can be appended."""
    return [*lines[:-1], lines[-1] + ("" if _ending(lines[-1]) else ending)] if lines else []


def _ending(line: str) -> str:
    found = _ENDING.search(line)
    return found[0] if found else ""


def _checked(before: str, after: str, target: Target) -> str:
    """`after`, if all other sections parse as in `before`: indentation can join lines across headers."""
    if _others(before, target) != _others(after, target):
        raise IniError("an indented header or option would change its meaning; remove that indentation first")
    return after


def _others(text: str, target: Target) -> list[tuple[str, list[tuple[str, str]]]]:
    return [
        (section.name, [(option.name, option.value) for option in section.options])
        for section in sections_of(split_lines(text))
        if not target.matches(section.name)
    ]
