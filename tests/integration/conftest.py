# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures: running S3 stores. A server that cannot be started fails every test that asks for it; none is skipped."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import job_files
import pytest
from integration.loop_host import LoopHost
from servers import STORE_NAMES, Servers, Store
from servers.client import s3_client
from unit.run_module import backend

# Nobody's account, region, certificates or metadata service may decide a result.
for _name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[_name]
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"


# Files that take longest. Begun last, one would keep its worker busy when the other has ended.
LONGEST = (
    "test_snowball_play",
    "test_transfer",
    "test_store_clients",
    "test_volume_hostile",
    "test_volume_left_alone",
    "test_volume_cut_off",
    "test_million",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


def pytest_configure() -> None:
    """A run that is told to end says where it was, ends its servers and removes their data."""
    job_files.asked_hands()
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """All servers of the run; `servers.store(name)` starts what it names. For tests that need particular stores."""
    with Servers() as running:
        yield running


@pytest.fixture(scope="session", params=STORE_NAMES)
def store(request: pytest.FixtureRequest, servers: Servers) -> Store:
    """Each store in turn. `@pytest.mark.parametrize("store", ["swift-http"], indirect=True)` chooses."""
    return servers.store(request.param)


@pytest.fixture(scope="session")
def client(store: Store) -> Any:
    """A boto3 client of `store`."""
    return s3_client(store)


_numbers = itertools.count(1)


@pytest.fixture
def new_bucket(client: Any) -> Callable[[], str]:
    """Call it for the name of a new, empty bucket of `store`."""

    def create() -> str:
        name = f"bucket-{os.getpid()}-{next(_numbers)}"
        client.create_bucket(Bucket=name)
        return name

    return create


@pytest.fixture(scope="session")
def volume() -> Any:
    """The brain of the module volume_provision."""
    return backend("_volume.provision")


@pytest.fixture
def host(tmp_path: Path, volume: Any) -> Iterator[LoopHost]:
    host = LoopHost(tmp_path, volume)
    yield host
    host.power_off()
