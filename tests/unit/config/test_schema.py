# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a job file against the values of a job: test_job_file.py has what each refuses."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from snowsync.config import schema
from snowsync.config.job import Group, Job, MoverSettings, Space, Store, Volume
from snowsync.config.schema import Option

OPTIONS: dict[type[Any], Option] = {
    Store: schema.STORE,
    Volume: schema.VOLUME,
    Space: schema.SPACE,
    Group: schema.GROUP,
    MoverSettings: schema.MOVER,
    Job: schema.JOB,
}
WORDS = [
    (model, name, get_args(kind))
    for model in OPTIONS
    for name, kind in get_type_hints(model).items()
    if get_origin(kind) is Literal
]


def read(model: type[Any], mapping: object) -> tuple[Any, list[str]]:
    problems: list[str] = []
    return OPTIONS[model](mapping, "", problems), problems


@pytest.mark.parametrize("model", OPTIONS, ids=lambda model: model.__name__)
def test_every_field_is_an_option_and_every_option_a_field(model: type[Any]) -> None:
    """An option without a check would be refused as unknown, one without a field would end in a TypeError."""
    problem = read(model, {"qqqqq": 1})[1][-1]
    known = problem.partition("known options: ")[2].split(", ")
    assert known == [field.name for field in fields(model)], "in the same order, which is that of the documentation"


@pytest.mark.parametrize(("model", "name", "words"), WORDS, ids=lambda value: getattr(value, "__name__", None))
def test_the_words_of_a_type_are_those_that_are_accepted(model: type[Any], name: str, words: tuple[str, ...]) -> None:
    for word in words:
        found, problems = read(model, {name: word})
        assert getattr(found, name) == word
        assert [problem for problem in problems if problem.startswith(f"{name}: ")] == []
    found, problems = read(model, {name: "zzz"})
    (problem,) = [problem for problem in problems if problem.startswith(f"{name}: ")]
    assert problem == f"{name}: must be {' or '.join(words)}, not 'zzz'"
    assert getattr(found, name) is None


def test_what_is_wrong_or_missing_is_none_and_the_rest_is_there() -> None:
    found, problems = read(Volume, {"path": "/mnt/a/", "limit": "lots"})
    assert (found.name, str(found.path), found.limit, found.require_mount) == (None, "/mnt/a", None, True)
    assert [problem.partition(":")[0] for problem in problems] == ["name", "limit"]


def test_a_wrong_drop_folder_still_shows_that_there_is_one() -> None:
    found, problems = read(Volume, {"name": "a", "path": "/a", "drop_folder": "/elsewhere"})
    assert found.drop_folder == "/elsewhere"
    assert len(problems) == 1


def test_a_list_with_something_wrong_is_none() -> None:
    found, problems = read(Store, {"bucket": "photos", "endpoints": ["https://a", "nonsense"]})
    assert found.endpoints is None
    assert [problem.partition(":")[0] for problem in problems] == ["endpoints[1]"]


def test_problems_come_in_the_order_of_the_options_and_unknown_ones_last() -> None:
    problems = read(Job, {"zzz": 1, "attempts": 0, "volumes": [{"name": "A", "q": 1}], 5: 1, "job": "A"})[1]
    assert [problem.partition(": ")[0] for problem in problems] == [
        "job",
        "destination",
        "volumes[0].name",
        "volumes[0].path",
        "volumes[0].q",
        "attempts",
        "zzz",
        "5",
    ]


def test_required_options_are_those_without_a_default() -> None:
    required = {(model, field.name) for model in OPTIONS for field in fields(model) if schema.is_required(field)}
    assert required == {
        (Store, "bucket"),
        (Volume, "name"),
        (Volume, "path"),
        (Job, "job"),
        (Job, "destination"),
        (Job, "volumes"),
    }
