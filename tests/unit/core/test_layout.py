# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names on a volume, and which of them nobody counts on. Names in the quarantine are tested with the permits."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from snowsync.core import layout

UUID = "6f1b1a52-8a40-4b57-9fd4-5d8f3c0b6c1e"


def test_it_imports_nothing_of_the_engine() -> None:
    tree = ast.parse(Path(layout.__file__).read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (layout.MARKER_PATH, True),
        (f"{layout.MARKER_PATH}{layout.UNFINISHED}", True),
        (f"{layout.MARKER_PATH}.{UUID}", True),
        (f".snowsync/probe-{UUID}aaaa", True),
        (f".snowsync/{layout.record_path('photos')}", True),
        (f".snowsync/{layout.record_path('photos')}{layout.UNFINISHED}", True),
        (".snowsync/incoming/photos/7", True),
        (".snowsync/incoming/photos/7.a1B2", True),
        (f".snowsync/incoming/photos/{layout.evacuated_name(7)}", True),
        (f".snowsync/incoming/photos/probe-{UUID}", True),
        (".snowsync/incoming/photos/a", False),
        (".snowsync/incoming/7", False),
        (".snowsync/staged/photos/a~1", False),
        (".snowsync/quarantine/photos/7", False),
        (".snowsync/outgoing/photos/7", False),
        ("volume.json", False),
        ("xsnowsync/volume.json", False),
        (".snowsync/volumexjson", False),
        (f"other/{layout.MARKER_PATH}", False),
    ],
)
def test_what_holds_no_object(path: str, expected: bool) -> None:
    assert layout.holds_no_object(path) is expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (".snowsync/outgoing/photos/7", True),
        (f".snowsync/outgoing/photos/{layout.aside_name(7)}", False),
        (".snowsync/outgoing/7", False),
        (".snowsync/staged/photos/7", False),
    ],
)
def test_which_links_lead_to_dropped_files(path: str, expected: bool) -> None:
    assert layout.links_to_dropped(path) is expected


@pytest.mark.parametrize(
    ("name", "number"), [("7.delivered", 7), ("7", None), (".delivered", None), ("a.delivered", None)]
)
def test_whose_file_lies_aside(name: str, number: int | None) -> None:
    assert layout.object_aside(name) == number
