# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the fault tests: two simulated stores and a job between them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import job_files
import pytest
from faults.rig import Rig
from simulators.s3_store import start

for _name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[_name]
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"

# Tests of half a minute and more, together where they are a group: begun last, they would keep one worker busy when the
# others have ended.
LONGEST = (
    "test_volume_power",
    "test_the_power_is_cut_after_every_effect_of_an_evacuation",
    "test_thirty_kills_of_one_transfer",
    "test_what_cannot_be_read_is_fetched_again_elsewhere",
    "test_power_cuts_lose_nothing_that_was_said",
    "test_a_link_that_is_cut_again_and_again_while_it_is_sent",
    "test_a_link_that_is_cut_again_and_again_while_it_is_fetched",
    "test_a_disk_that_fails_under_a_job_costs_no_object",
    "test_a_refusal_that_changes_its_reason",
    "test_the_power_is_cut_beside_running_units",
)


def pytest_configure() -> None:
    """Nothing is run for a number of hands that nobody understands."""
    job_files.asked_hands()


def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """The longest first."""
    items.sort(key=_rank)


def _rank(item: pytest.Function) -> int:
    names = (item.originalname, item.path.stem)
    return next((rank for rank, name in enumerate(LONGEST) if name in names), len(LONGEST))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A rig over HTTP with two volumes that are folders."""
    with start(tmp_path / "source-store") as source, start(tmp_path / "destination-store") as destination:
        yield Rig(tmp_path, source, destination)


@pytest.fixture
def tls_rig(tmp_path: Path) -> Iterator[Rig]:
    """The same over HTTPS, each store with a CA of its own."""
    with (
        start(tmp_path / "source-store", tls=True) as source,
        start(tmp_path / "destination-store", tls=True) as destination,
    ):
        yield Rig(tmp_path, source, destination)
