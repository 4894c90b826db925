# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of sizes measures what it says, and finds the engine."""

from __future__ import annotations

from pathlib import Path

from tools import sizes

SOURCE = '''
class Value:
    """Two fields."""

    one: int
    two: int = 2

    def record(self):
        return self.one


class Worker:
    def __init__(self, ledger):
        self._ledger = ledger
        self.count, self.name = 0, ""

    def work(self):
        self.count += 1
        ledger.other = self.found = 5
'''


def test_what_is_measured_of_classes_and_functions() -> None:
    found = sorted(sizes.sizes_of(SOURCE))
    assert found == [
        ("attributes of a class", "Worker", 4),
        ("fields of a value", "Value", 2),
        ("lines of a function", "__init__", 3),
        ("lines of a function", "record", 2),
        ("lines of a function", "work", 3),
        ("methods of a class", "Value", 1),
        ("methods of a class", "Worker", 2),
    ]


def test_files_and_folders_are_counted_without_what_only_names_a_package(tmp_path: Path) -> None:
    (tmp_path / "room").mkdir()
    for name in ("__init__.py", "__main__.py", "room/__init__.py", "room/one.py", "room/two.py"):
        (tmp_path / name).write_text("value = 1\n" * 3)
    found = sizes.measure(tmp_path)
    assert found["lines of a file"] == {"__main__.py": 3, "room/one.py": 3, "room/two.py": 3}
    assert found["files in a folder"] == {"room": 2}


def test_the_report_is_about_the_engine() -> None:
    found = sizes.measure(sizes.ENGINE)
    assert found["files in a folder"]["ledger"] > 5 and len(found["lines of a function"]) > 1000
    text = sizes.report(found)
    assert all(what in text for what in sizes.MODELS)


def test_a_percentile_is_a_size_that_is_there() -> None:
    assert sizes.percentile({str(number): number for number in range(1, 11)}, 0.9) == 10
    assert sizes.percentile({"a": 7}, 0.5) == 7
