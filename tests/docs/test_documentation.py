# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation for users: it exists, Ansible can show it, its links work, and it matches the code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = "edgeops.snowsync"
MODULES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py"))
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
HEADING = re.compile(r"^#{1,6} +(.*)", re.MULTILINE)
LINK = re.compile(r"(?<!!)\[[^]]*\]\(([^)\s]+)\)")
MAKE = re.compile(r"(?:`|^\s*\$? ?)make ([a-z][a-z-]*)\b", re.MULTILINE)


def tracked(pattern: str) -> list[Path]:
    argv = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", pattern]
    listing = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return sorted({ROOT / name for name in listing.split("\0") if name and (ROOT / name).is_file()})


PAGES = tracked("*.md")


@pytest.fixture(scope="module")
def shown() -> dict[str, Any]:
    """Everything that ansible-doc knows about the collection, by kind and full name."""
    argv = [Path(sys.executable).with_name("ansible-doc"), "--metadata-dump", "--no-fail-on-errors", COLLECTION]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build/collections")}
    done = subprocess.run(argv, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)["all"]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_documented(shown: dict[str, Any], name: str) -> None:
    page = shown["module"][f"{COLLECTION}.{name}"]
    assert "error" not in page
    assert page["doc"]["version_added"]
    assert f"{COLLECTION}.{name}:" in page["examples"]
    assert page["return"]
    assert {"check_mode", "diff_mode", "idempotent"} <= page["doc"].get("attributes", {}).keys()


@pytest.mark.parametrize("name", ROLES)
def test_a_role_is_documented(shown: dict[str, Any], name: str) -> None:
    page = shown["role"][f"{COLLECTION}.{name}"]
    assert "error" not in page
    assert page["entry_points"]["main"]["short_description"]
    assert f"ansible-doc -t role {COLLECTION}.{name}" in (ROOT / "roles" / name / "README.md").read_text()


@pytest.mark.parametrize("name", ROLES)
def test_defaults_are_what_the_argument_specs_say(name: str) -> None:
    folder = ROOT / "roles" / name
    defaults_file = folder / "defaults/main.yml"
    defaults = yaml.safe_load(defaults_file.read_text()) if defaults_file.exists() else {}
    specs = yaml.safe_load((folder / "meta/argument_specs.yml").read_text())
    options = specs["argument_specs"]["main"].get("options", {})
    assert {option for option in options if not option.startswith(f"{name}_")} == set()
    assert {option: spec["default"] for option, spec in options.items() if "default" in spec} == (defaults or {})


def test_there_are_pages() -> None:
    assert {ROOT / "README.md", ROOT / "CHANGELOG.md"} <= set(PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_make_targets_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert {target for target in MAKE.findall(page.read_text()) if target not in targets} == set()


def broken_links(page: Path) -> list[str]:
    """Links of a page to files and headings of the project that do not exist."""
    broken = []
    for link in LINK.findall(page.read_text()):
        place, _hash, heading = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        target = page.parent / place if place else page
        if not target.exists() or (heading and heading not in anchors(target)):
            broken.append(link)
    return broken


def anchors(page: Path) -> set[str]:
    """The anchors of the headings: lower case, no punctuation, spaces as hyphens."""
    titles = HEADING.findall(page.read_text())
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A `title`, here\n[a](#a-title-here) [b](#nowhere) [c](page.md) [d](missing.md) [e](https://x.y)\n"
    )
    assert broken_links(page) == ["#nowhere", "missing.md"]
