# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Imports go one way, and each edge to the world is touched in one place: the layers of the collection."""

from __future__ import annotations

import ast
import fnmatch
import graphlib
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "plugins/module_utils/_engine"
FILES = {path.relative_to(ENGINE).as_posix(): path.read_text() for path in sorted(ENGINE.rglob("*.py"))}
MODULES = sorted((ROOT / "plugins/modules").glob("*.py"))
MODULE_LINES = 120

# The rooms: package -> packages that it may import besides itself. docs/design.md has the same table for people.
ROOMS = {
    "core": "",
    "config": "core",
    "ledger": "core config",
    "store": "core config",
    "volumes": "core config ledger",
    "movers/native": "core config store",
    "movers/s5cmd": "core config store",
    "movers/hands": "core config store movers/native",
    "movers": "core config store movers/native movers/hands movers/s5cmd",
    "proofs": "core config store",
    "hops": "core config ledger store volumes movers proofs",
    "hops/source/drops": "core config ledger volumes proofs hops",
    "hops/source/listing": "core config ledger store hops",
    "hops/source/staging": "core config ledger store volumes hops",
    "hops/source/arrivals": "core config ledger store volumes proofs hops hops/source/staging",
    "hops/source": (
        "core config ledger store volumes hops"
        " hops/source/drops hops/source/listing hops/source/staging hops/source/arrivals"
    ),
    "hops/destination/unsent": "core ledger store volumes proofs hops",
    "hops/destination/proving": "core config ledger store volumes proofs hops hops/destination/unsent",
    "hops/destination": (
        "core config ledger store volumes proofs hops hops/destination/unsent hops/destination/proving"
    ),
    "inspection": "core config ledger store volumes proofs",
    "upkeep": "core config ledger volumes inspection",
    "show": "core config ledger inspection",
    "running": "core config ledger store hops hops/source/drops hops/source hops/destination movers/s5cmd inspection",
    "cli": "core config ledger inspection upkeep show running",
}
# Who may import what else: package -> patterns of paths in the engine. What is not here is free or forbidden to all.
EDGES = {
    "boto3": ["store/boto_endpoint.py"],
    "botocore": ["store/boto_endpoint.py"],
    "multiprocessing": [],
    "pty": [],
    "psycopg": ["ledger/*.py"],
    "pycurl": ["store/curl.py"],
    "s3transfer": ["store/boto_endpoint.py"],
    "sqlite3": ["ledger/*.py", "inspection/listing_order.py"],
    "subprocess": ["movers/hands/launch.py", "movers/s5cmd/process.py"],
}
# Starting or ending a process needs no import of its own.
PROCESS_CALLS = {"kill", "killpg", "system", "popen", "fork", "forkpty", "posix_spawn", "posix_spawnp"}
# Who may do so without a program of its own.
FORKS = "running/child_process.py"
# What decides how a process takes a signal belongs to the programs; numbers of signals are anybody's words.
PROGRAMS = {"running/service.py", "movers/hands/hand.py"}
HANDLERS = {"signal", "set_wakeup_fd", "pthread_sigmask", "sigwait", "setitimer", "alarm"}


@dataclass(frozen=True)
class Import:
    """`package` is the first name of an absolute import, "" for a relative one; `names` are what that one may mean."""

    package: str
    level: int
    eager: bool
    names: tuple[str, ...] = ()


def imports_of(tree: ast.AST, eager: bool = True) -> Iterator[Import]:
    """All imports below `tree`; eager are those that importing the file carries out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name.partition(".")[0], 0, eager) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            module = (node.module or "").replace(".", "/")
            names = (module, *(f"{module}/{alias.name}".strip("/") for alias in node.names))
            yield Import("", node.level, eager, names)
        elif isinstance(node, ast.ImportFrom):
            yield Import((node.module or "").partition(".")[0], 0, eager)
        elif is_type_checking(node):
            yield from imports_of(ast.Module(node.body, []), eager=False)
            yield from imports_of(ast.Module(node.orelse, []), eager)
        else:
            inside_function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from imports_of(node, eager and not inside_function)


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def allowed(rules: dict[str, list[str]], package: str, path: str) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in rules[package])


def imported_by(path: str, source: str) -> set[str]:
    """The engine's files that one imports, also where it only needs their types."""
    folder = Path(path).parent
    found = {
        folder.joinpath(*[".."] * (each.level - 1), f"{name}.py")
        for each in imports_of(ast.parse(source))
        for name in each.names
        if each.level
    }
    return {os.path.normpath(name) for name in found} & FILES.keys()


def engine_problems(source: str, path: str) -> list[str]:
    """What one engine file does against the layers, one line per problem."""
    tree = ast.parse(source)
    problems = []
    for each in imports_of(tree):
        third_party = bool(each.package) and each.package not in sys.stdlib_module_names
        if each.level > len(Path(path).parts):
            problems.append("a relative import that leaves the engine")
        elif each.package in ("ansible", "ansible_collections", "snowsync"):
            problems.append(f"imports {each.package}")
        elif each.package in EDGES and not allowed(EDGES, each.package, path):
            problems.append(f"imports {each.package}, which is not its edge")
        elif each.eager and third_party:
            problems.append(f"imports {each.package} before it is needed")
    if not allowed(EDGES, "subprocess", path) and path != FORKS:
        problems += [f"calls os.{name}" for name in used_of("os", tree) if name in PROCESS_CALLS | exec_calls()]
    if path not in PROGRAMS:
        problems += [f"calls signal.{name}" for name in used_of("signal", tree) if name in HANDLERS]
    return problems


def exec_calls() -> set[str]:
    return {
        prefix + ending for prefix in ("exec", "spawn") for ending in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")
    }


def used_of(package: str, tree: ast.AST) -> Iterator[str]:
    """Names of a standard package that the file uses or imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == package:
            yield node.attr
        if isinstance(node, ast.ImportFrom) and node.module == package:
            yield from (alias.name for alias in node.names)


def module_problems(source: str) -> list[str]:
    """What one Ansible module does against the layers."""
    tree = ast.parse(source)
    problems = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and "_engine" in (node.module or ""):
            problems.append("imports the engine past module_utils")
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        problems += [f"imports {name}, use run_command" for name in names if name.partition(".")[0] == "subprocess"]
    count = code_lines(source)
    if count > MODULE_LINES:
        problems.append(f"has {count} lines of code, a door has at most {MODULE_LINES}")
    return problems


def code_lines(source: str) -> int:
    """Lines that are neither blank nor comment nor part of a string that only documents."""
    tree = ast.parse(source)
    documentation: set[int] = set()
    for node in ast.walk(tree):
        named = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("DOCUMENTATION", "EXAMPLES", "RETURN")
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if (named or docstring) and isinstance(node, ast.stmt):
            documentation.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return sum(
        1
        for number, line in enumerate(source.splitlines(), 1)
        if number not in documentation and line.strip() and not line.strip().startswith("#")
    )


@pytest.mark.parametrize("path", FILES)
def test_an_engine_file_keeps_to_its_layer(path: str) -> None:
    assert engine_problems(FILES[path], path) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_a_module_is_a_door(path: Path) -> None:
    assert module_problems(path.read_text()) == []


def test_the_engine_has_python_files_only() -> None:
    others = {path.name for path in ENGINE.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert others == set(), "only .py files travel inside a module's payload"


def test_engine_files_import_each_other_one_way() -> None:
    """Also where only the types of another file are needed: what one may not know at all it needs no types of."""
    graph = {path: imported_by(path, source) for path, source in FILES.items()}
    list(graphlib.TopologicalSorter(graph).static_order())


def rooms_imported() -> dict[str, set[str]]:
    """Package -> the other packages that its files import."""
    found: dict[str, set[str]] = {os.path.dirname(path): set() for path in FILES if "/" in path}
    for path, source in FILES.items():
        room = os.path.dirname(path)
        if room:
            found[room] |= {os.path.dirname(name) for name in imported_by(path, source)} - {room}
    return found


def test_rooms_import_what_the_table_says() -> None:
    """No more, and no less: what nobody needs is not allowed."""
    assert rooms_imported() == {room: set(others.split()) for room, others in ROOMS.items()}


def test_the_table_of_rooms_goes_one_way() -> None:
    """Also between packages: files alone could go to and fro without a circle."""
    list(graphlib.TopologicalSorter({room: others.split() for room, others in ROOMS.items()}).static_order())


def test_the_design_has_the_same_table() -> None:
    design = (ROOT / "docs/design.md").read_text().partition("| package | may import")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `([\w/]+)` \| ([\w/, ]+) \|", design, re.MULTILINE)
    told = {room: "" if others == "nothing" else others.replace(",", "") for room, others in rows}
    assert {room: set(others.split()) for room, others in told.items()} == {
        room: set(others.split()) for room, others in ROOMS.items()
    }


def test_only_its_version_and_its_entry_lie_outside_of_the_rooms() -> None:
    assert {path for path in FILES if "/" not in path} == {"__init__.py", "__main__.py"}


def test_every_room_says_what_it_is_for() -> None:
    assert [room for room in ROOMS if not ast.get_docstring(ast.parse(FILES[f"{room}/__init__.py"]))] == []


def test_every_file_has_a_test_or_says_where_it_is_tested() -> None:
    """A file that has gone, or has a test of its own by now, is told no more."""
    tests = ROOT / "tests/unit"
    rows = re.findall(r"^\| (`.*\.py`) \| (.+) \|$", (tests / "README.md").read_text(), re.MULTILINE)
    told = {path for files, _places in rows for path in re.findall(r"`([\w/]+\.py)`", files)}
    mirrored = {path for path in FILES if own_test_of(path).is_file()}
    named = {path for path in FILES if os.path.basename(path) not in ("__init__.py", "__main__.py")}
    assert told == named - mirrored
    where = {name for _files, places in rows for name in re.findall(r"`([\w/]+\.py)`", places)}
    assert [name for name in where if not (tests / name).is_file() and not (ROOT / "tests" / name).is_file()] == []


def own_test_of(path: str) -> Path:
    """Packages inside packages have their tests in the outer one's folder."""
    return ROOT / "tests/unit" / path.split("/")[0] / f"test_{os.path.basename(path)}"


@pytest.mark.parametrize(
    ("path", "source", "problem"),
    [
        ("any.py", "import ansible.module_utils.basic", "imports ansible"),
        ("any.py", "def f():\n    from ansible.errors import AnsibleError", "imports ansible"),
        ("any.py", "from snowsync import keys", "imports snowsync"),
        ("any.py", "from ..other import thing", "a relative import that leaves the engine"),
        ("room/any.py", "from ... import thing", "a relative import that leaves the engine"),
        ("ledger/ledger.py", "import subprocess", "imports subprocess, which is not its edge"),
        ("hops/source/source_unit.py", "def f():\n    import sqlite3", "imports sqlite3, which is not its edge"),
        ("store/curl.py", "if True:\n    import pycurl", "imports pycurl before it is needed"),
        (
            "store/boto_endpoint.py",
            "try:\n    import boto3\nfinally:\n    pass",
            "imports boto3 before it is needed",
        ),
        ("store/boto_endpoint.py", "class A:\n    import boto3", "imports boto3 before it is needed"),
        ("cli/command.py", "import rich.table", "imports rich before it is needed"),
        ("cli/command.py", "import os\nos.system('true')", "calls os.system"),
        ("cli/command.py", "from os import execvp", "calls os.execvp"),
        ("running/pair.py", "import os\nos.fork()", "calls os.fork"),
        ("movers/s5cmd/process.py", "import signal\nsignal.signal(15, print)", "calls signal.signal"),
    ],
)
def test_what_breaks_the_layers_is_found(path: str, source: str, problem: str) -> None:
    assert engine_problems(source, path) == [problem]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("store/curl.py", "def f():\n    import pycurl"),
        ("store/boto_endpoint.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import botocore.client"),
        ("ledger/reader.py", "import sqlite3"),
        ("movers/s5cmd/process.py", "import os\nimport signal\nos.killpg(1, signal.SIGTERM)"),
        ("any.py", "from . import keys\nfrom .model import State"),
        ("room/any.py", "from ..other import thing"),
    ],
)
def test_what_the_layers_allow_is_not_found(path: str, source: str) -> None:
    assert engine_problems(source, path) == []


def test_a_module_that_is_more_than_a_door_is_found() -> None:
    source = "from ..module_utils._engine import keys\nimport subprocess\n" + "print()\n" * MODULE_LINES
    assert module_problems(source) == [
        "imports the engine past module_utils",
        "imports subprocess, use run_command",
        "has 122 lines of code, a door has at most 120",
    ]
    assert module_problems('DOCUMENTATION = r"""\n' + "text\n" * 200 + '"""\n') == []
