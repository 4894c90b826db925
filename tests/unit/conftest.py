# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures that several unit tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_stores import Rig, install
from hypothesis import HealthCheck, settings
from run_module import load_collection

from snowsync.ledger.ledger import Ledger

# How long an example takes is a matter of what else the machine does.
settings.register_profile("no clock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no clock")


@pytest.fixture(scope="session")
def collection() -> None:
    """Ansible finds the checkout under the collection's name."""
    load_collection()


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """A job on fake stores."""
    made = Rig(tmp_path)
    install(monkeypatch, made)
    return made


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger.db")
    yield opened
    opened.close()


@pytest.fixture
def volume(ledger: Ledger) -> int:
    return ledger.volumes.volume_id("one", "uuid-1", "/volumes/one")


@pytest.fixture
def other(ledger: Ledger) -> int:
    return ledger.volumes.volume_id("two", "uuid-2", "/volumes/two")


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests go to where they are sent, whatever the caller's environment says."""
    for name in os.environ:
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
