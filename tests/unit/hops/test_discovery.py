# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a pass over the source and the drop folders counts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from snowsync.hops.counters import Counters
from snowsync.hops.source.discovery import Discovery
from snowsync.hops.switches import Switches


def discovery(has_listed: bool = False, finished: bool = False, has_folders: bool = True) -> Discovery:
    lister: Any = SimpleNamespace(has_listed=has_listed, run="the lister")
    scanner: Any = SimpleNamespace(
        first_pass=SimpleNamespace(is_over=finished), has_folders=has_folders, run="the scanner"
    )
    return Discovery(lister, scanner, Counters(), Switches())


@pytest.mark.parametrize(
    ("has_listed", "finished", "passes"), [(True, True, 1), (True, False, 0), (False, True, 0), (False, False, 0)]
)
def test_a_pass_counts_once_the_lister_and_the_scanner_have_finished_it(
    has_listed: bool, finished: bool, passes: int
) -> None:
    counters, switches = Counters(), Switches()
    found = discovery(has_listed, finished)
    Discovery(found.lister, found.scanner, counters, switches).pass_ended()
    assert (counters.listed.passes, switches.space.is_set()) == (passes, passes == 1), "the feeder may wait for it"


@pytest.mark.parametrize(
    ("has_folders", "started"), [(True, ["lister the lister", "scanner the scanner"]), (False, ["lister the lister"])]
)
def test_a_job_without_drop_folders_has_no_scanner(has_folders: bool, started: list[str]) -> None:
    seen: list[str] = []
    crew: Any = SimpleNamespace(spawn=lambda target, name: seen.append(f"{name} {target}"))
    discovery(has_folders=has_folders).start(crew)
    assert seen == started
