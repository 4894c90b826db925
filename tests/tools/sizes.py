# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""sizes.py [FOLDER]: how large files, classes, functions and folders of the engine are, beside those of its models.

A report, not a limit: what is large for a reason stays large. The models are projects that are known to be easy to take
over (borg, s3transfer, b2sdk, patroni, httpx, procrastinate), as read by hand.
"""

from __future__ import annotations

import ast
import collections
import sys
from collections.abc import Iterator
from pathlib import Path

ENGINE = Path(__file__).resolve().parents[2] / "plugins/module_utils/_engine"
# 90th percentile of the models; None: not known.
MODELS = {
    "lines of a file": 500,
    "files in a folder": 9,
    "lines of a function": 40,
    "methods of a class": None,
    "attributes of a class": 6,
    "fields of a value": None,
}
LARGEST = 6


def sizes_of(source: str) -> Iterator[tuple[str, str, int]]:
    """(what is measured, name, size) of every class and function of a file.

    A class without methods that assign to `self` is a value: it has fields. All others have attributes.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield "lines of a function", node.name, (node.end_lineno or node.lineno) - node.lineno + 1
        if isinstance(node, ast.ClassDef):
            methods = [each for each in node.body if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef))]
            assigned = {name for method in methods for name in assigned_in(method)}
            fields = set(fields_of(node))
            yield "methods of a class", node.name, len(methods)
            kind = "attributes of a class" if assigned - fields else "fields of a value"
            yield kind, node.name, len(assigned | fields)


def fields_of(node: ast.ClassDef) -> Iterator[str]:
    for each in node.body:
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            yield each.target.id


def assigned_in(method: ast.AST) -> Iterator[str]:
    """Attributes of `self` that a method assigns to."""
    for node in ast.walk(method):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            yield node.attr


def measure(engine: Path) -> dict[str, dict[str, int]]:
    """What is measured -> name -> size."""
    found: dict[str, dict[str, int]] = {name: {} for name in MODELS}
    paths = [path for path in sorted(engine.rglob("*.py")) if path.name != "__init__.py"]
    for path in paths:
        name = path.relative_to(engine).as_posix()
        source = path.read_text(encoding="utf-8")
        found["lines of a file"][name] = len(source.splitlines())
        for what, inner, size in sizes_of(source):
            found[what][f"{name} {inner}"] = size
    folders = collections.Counter(path.parent.relative_to(engine).as_posix() for path in paths)
    found["files in a folder"] = {name: count for name, count in folders.items() if name != "."}
    return found


def percentile(sizes: dict[str, int], share: float) -> int:
    ordered = sorted(sizes.values())
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def report(found: dict[str, dict[str, int]]) -> str:
    lines = [f"{'':24}{'number':>8}{'median':>8}{'90th':>8}{'models':>8}   largest"]
    for what, sizes in found.items():
        largest = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:LARGEST]
        models = MODELS[what] or "-"
        row = f"{what:24}{len(sizes):>8}{percentile(sizes, 0.5):>8}{percentile(sizes, 0.9):>8}{models:>8}"
        lines.append(f"{row}   {largest[0][1]} {largest[0][0]}")
        lines += [f"{'':59}{size} {name}" for name, size in largest[1:]]
    return "\n".join(lines)


if __name__ == "__main__":
    print(report(measure(Path(sys.argv[1]) if len(sys.argv) > 1 else ENGINE)))
