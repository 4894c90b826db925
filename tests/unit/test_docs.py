# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation against the code: every option, error code and exit code has a line, and each line is correct."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from snowsync.cli.arguments import build_parser
from snowsync.config import schema
from snowsync.config.job_file import Group, Job, MoverSettings, Space, Store, Volume
from snowsync.core import errors
from snowsync.core.model import Evidence, State
from snowsync.ledger.schema import MIGRATIONS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
JOB_FILE = (ROOT / "docs/job-file.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
DESIGN = (ROOT / "docs/design.md").read_text(encoding="utf-8")
ENGINE = ROOT / "plugins/module_utils/_engine"
SECTIONS: dict[str, type[Any]] = {
    "The job": Job,
    "A store: `source` and `destination`": Store,
    "A volume: each of `volumes`": Volume,
    "`space`": Space,
    "`group`": Group,
    "`mover`": MoverSettings,
}
OPTIONS = {
    Job: schema.JOB,
    Store: schema.STORE,
    Volume: schema.VOLUME,
    Space: schema.SPACE,
    Group: schema.GROUP,
    MoverSettings: schema.MOVER,
}


def section(page: str, title: str) -> str:
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", page, re.MULTILINE | re.DOTALL)
    assert found, f"no section {title!r}"
    return found.group(1)


def table(text: str) -> Iterator[list[str]]:
    """The cells of every row of the tables in a text, without headers and rules."""
    for line in text.splitlines():
        if line.startswith("| ") and not line.startswith(("| ---", "| option", "| |")):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


def words(text: str) -> set[str]:
    """The texts in backticks in the first cell of any row."""
    return {word for cells in table(text) for word in re.findall(r"`([^`]+)`", cells[0])}


# -- the job file -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("title", "model"), SECTIONS.items(), ids=SECTIONS)
def test_every_option_has_its_line(title: str, model: type[Any]) -> None:
    named = [cells[0].strip("`") for cells in table(section(JOB_FILE, title))]
    assert named == [field.name for field in fields(model)], "in the order of the code"


@pytest.mark.parametrize(("title", "model"), SECTIONS.items(), ids=SECTIONS)
def test_every_default_is_the_code_s(title: str, model: type[Any]) -> None:
    for name, _type, default, reason in table(section(JOB_FILE, title)):
        (field,) = [each for each in fields(model) if each.name == name.strip("`")]
        assert (default == "required") == schema.is_required(field), name
        assert schema.is_required(field) or read(model, field.name, default.strip("`")) == field.default, name
        assert reason.endswith("."), name


def read(model: type[Any], name: str, text: str) -> Any:
    """What the engine makes of a default that a job file contains."""
    parsed: Any = OPTIONS[model]({name: yaml.safe_load(text)}, "", [])
    return getattr(parsed, name)


def test_the_example_is_a_job(tmp_path: Path) -> None:
    from snowsync.config.job_file import load_job

    example = re.search(r"(?:^    .*\n)+", JOB_FILE, re.MULTILINE)
    assert example
    (tmp_path / "photos.yml").write_text(example.group(0))
    assert load_job(tmp_path / "photos.yml").job == "photos"


# -- operations -------------------------------------------------------------------------------------------------


def test_every_state_is_explained() -> None:
    assert words(section(OPERATIONS, "States of an object")) == {state.label for state in State}


def test_every_trouble_is_explained() -> None:
    assert words(section(OPERATIONS, "Error codes")) == {trouble.value for trouble in errors.Trouble}


def test_the_docs_call_transient_what_the_code_does() -> None:
    rows = {cells[0].strip("`"): cells[1] for cells in table(section(OPERATIONS, "Error codes"))}
    assert {word for word, kind in rows.items() if kind == "transient"} == {
        x.value for x in errors.Trouble if x.is_transient
    }
    assert {word for word, kind in rows.items() if kind == "stops"} == {x.value for x in errors.Trouble if x.stops_job}
    assert {word for word, kind in rows.items() if kind == "volume"} == {x.value for x in errors.Trouble if x.is_local}


def test_every_exit_code_is_explained() -> None:
    help_text = build_parser().format_help()
    codes = {line.split()[0] for line in help_text.splitlines() if line[:5].strip().isdigit()} | {"143"}
    raised = {
        str(kind.exit_code) for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")
    }
    assert raised < codes
    assert words(section(OPERATIONS, "Exit codes")) == codes


def test_everything_that_a_unit_says_is_explained() -> None:
    files = (
        "hops/activity.py",
        "hops/adoption.py",
        "hops/availability.py",
        "hops/destination/completion.py",
        "hops/destination/sending.py",
        "hops/source/completion.py",
        "hops/source/placing.py",
        "hops/source/shortage.py",
        "hops/source/staging/sweeping.py",
    )
    said = {text for name in files for text in statuses(ENGINE / name)}
    expected = {text.replace("the …", f"the {side}") for text in said for side in ("source", "destination")}
    explained = {re.sub(r"\bN\b|\.\.\.", "…", word) for word in words(section(OPERATIONS, "What a unit says"))}
    assert expected - {"stopped", "stopped: …"} == explained


def statuses(path: Path) -> Iterator[str]:
    """Every text that a unit's code can put into its `status`; variable parts are a "…"."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.name == "_describe":
            yield from (text for part in ast.walk(node) if isinstance(part, ast.Return) for text in texts(part.value))
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "attr", "") == "status":
            yield from texts(node.value)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "goes_on":
            yield from (text for argument in node.args for text in texts(argument))


def texts(value: ast.expr | None) -> list[str]:
    if isinstance(value, ast.IfExp):
        return texts(value.body) + texts(value.orelse)
    if isinstance(value, ast.JoinedStr):
        parts = (part.value if isinstance(part, ast.Constant) else "…" for part in value.values)
        return ["".join(map(str, parts))]
    return [str(value.value)] if isinstance(value, ast.Constant) else []


# -- design -----------------------------------------------------------------------------------------------------


def test_every_table_of_the_ledger_is_described() -> None:
    statements = " ".join(statement for migration in MIGRATIONS.values() for statement in migration)
    made_anew = set(re.findall(r"ALTER TABLE (\w+) RENAME", statements))
    assert words(section(DESIGN, "The ledger")) == set(re.findall(r"CREATE TABLE (\w+)", statements)) - made_anew


def test_every_rung_of_evidence_is_described() -> None:
    assert words(section(DESIGN, "Evidence")) == {level.name.lower() for level in Evidence}


def test_files_that_design_names_exist() -> None:
    """By their paths in the engine, in the tests, or relative to the package whose row names them."""
    named = {name for _room, name in names_in_design()}
    missing = {
        name
        for room, name in names_in_design()
        if not any((folder / name).is_file() for folder in (ENGINE, ENGINE / room, ROOT / "tests"))
    }
    assert len(named) > 60 and missing == set()


def names_in_design() -> Iterator[tuple[str, str]]:
    """(package whose table row it is, or ""; name of a file)."""
    for line in DESIGN.splitlines():
        row = re.match(r"\| `([\w/]+)` \|", line)
        for name in re.findall(r"`([\w/]+\.py)`", line):
            yield row[1] if row else "", name.removeprefix("tests/")


# -- README -----------------------------------------------------------------------------------------------------


def test_readme_names_every_module_role_and_playbook() -> None:
    modules = {path.stem for path in (ROOT / "plugins/modules").glob("*.py")}
    roles = {path.name for path in (ROOT / "roles").iterdir() if path.is_dir()}
    playbooks = {path.name for path in (ROOT / "playbooks").glob("*.yml")}
    rows = [cells for cells in table(section(README, "Contents")) if len(cells) == 3]
    named = {(cells[0], *re.findall(r"`([^`]+)`", cells[1])) for cells in rows}
    inventories = {path.stem for path in (ROOT / "plugins/inventory").glob("*.py")}
    kinds = (("module", modules), ("inventory", inventories), ("role", roles), ("playbook", playbooks))
    assert named == {(kind, name) for kind, names in kinds for name in names}


def test_readme_names_every_command() -> None:
    (commands,) = [
        action.choices for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction)
    ]
    assert {command for command in commands if f"`snowsync {command}" not in README} == set()


@pytest.mark.parametrize("page", ["README.md", "docs/operations.md", "docs/job-file.md", "docs/design.md"])
def test_pictures_and_pages_are_there(page: str) -> None:
    """Also pictures, which only the rendered page shows; tests/docs checks the links between pages."""
    folder = (ROOT / page).parent
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", (ROOT / page).read_text(encoding="utf-8"))
    assert [name for name in pictures if not (folder / name).is_file()] == []
    assert page == "README.md" or f"]({page})" in README
