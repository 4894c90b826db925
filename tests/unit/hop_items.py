# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Items in flight for tests of single parts of a unit: a real row, on a volume and at an endpoint that are mocks."""

from __future__ import annotations

from typing import Any
from unittest import mock

from snowsync.core.model import Origin, State
from snowsync.hops.flight import Item
from snowsync.ledger.ledger import Row
from snowsync.store.endpoint import Endpoint
from snowsync.volumes.open_volume import OpenVolume

DIGEST = "9e107d9d372bb6826bd81d3542a419d6"


def volume_of(number: int = 1) -> mock.Mock:
    return mock.Mock(spec=OpenVolume, id=number, dropped=mock.Mock())


def endpoint_at(url: str = "http://one.test:1", *, is_up: bool = True) -> mock.Mock:
    return mock.Mock(spec=Endpoint, url=url, is_up=is_up, may_list=False)


def row_with(number: int = 1, **changes: Any) -> Row:
    """A staged object of ten bytes, but for these changes."""
    values: dict[str, Any] = {
        "id": number, "key": f"object-{number}", "size": 10, "etag": DIGEST, "modified_ms": 1_700_000_000_000,
        "generation": 1, "origin": Origin.SOURCE, "state": State.STAGED, "volume": 1, "part_size": 0,
        "digest": DIGEST, "headers": "", "attempts": 0, "sends": 0, "suspect": 0,
    }  # fmt: skip
    return Row(**values | changes)


def item_of(number: int = 1, *, volume: Any = None, endpoint: Any = None, path: str = "", **changes: Any) -> Item:
    """`changes` as in `row_with`."""
    return Item(row_with(number, **changes), volume or volume_of(), endpoint or endpoint_at(), path)
