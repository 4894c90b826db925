# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the fault tests: two simulated stores and a job between them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.rig import Rig
from simulators.s3_store import start

for _name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[_name]
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"


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
