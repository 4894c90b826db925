# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger's ports and parts stay as small as their use; that a part fits its ports is for mypy to say."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

import snowsync
from snowsync.ledger import destination_ports, ports, source_ports, unit_ports
from snowsync.ledger.ledger import Ledger

ENGINE = Path(snowsync.__path__[0])
PORTS = [
    port
    for module in (unit_ports, source_ports, destination_ports, ports)
    for port in vars(module).values()
    if getattr(port, "__module__", "") == module.__name__
]


@functools.cache
def attributes_named(*, by_ledger: bool) -> set[str]:
    """All attributes that the engine's files name; `by_ledger`: those of the ledger itself among them."""
    files = [path for path in ENGINE.rglob("*.py") if by_ledger or not _is_part(str(path.relative_to(ENGINE)))]
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in files]
    return {node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def _is_part(path: str) -> bool:
    return path.startswith("ledger") and path != "ledger/left_behind.py"  # which is a reader of the journal


def public(members: Iterator[str]) -> set[str]:
    return {name for name in members if not name.startswith("_")}


@pytest.mark.parametrize("port", PORTS, ids=lambda port: port.__name__)
def test_a_port_has_only_what_those_who_hold_it_use(port: type) -> None:
    assert public(iter(vars(port))) <= attributes_named(by_ledger=False)


def test_a_part_has_only_what_somebody_uses(ledger: Ledger) -> None:
    used = attributes_named(by_ledger=True)
    unused = {
        f"{name}.{method}" for name, part in vars(ledger).items() for method in public(iter(vars(type(part)))) - used
    }
    assert unused == set()
