# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demonstration's source is what the documentation promises, and the same for the same seed."""

from __future__ import annotations

import hashlib
from pathlib import Path

from simulators import dataset
from simulators.dataset import HOSTILE_KEYS, KIB, MIB
from simulators.s3_store import Storage


def test_the_dataset_has_what_is_promised() -> None:
    made = dataset.plan()
    (big,) = [item for item in made if item.part_size]
    ordinary = [item for item in made if not item.part_size]
    assert (big.size, big.part_size) == (200 * MIB, 8 * MIB)
    assert len(made) == len({item.key for item in made}) >= 1000
    assert {item.key for item in made} >= set(HOSTILE_KEYS)
    assert 250 * MIB <= sum(item.size for item in ordinary) <= 400 * MIB
    sizes = sorted(item.size for item in ordinary if item.size)
    assert (sizes[0], sizes[-1]) == (KIB, 5 * MIB)
    assert sizes[len(sizes) // 2] < 32 * KIB, "most are small"
    for header in ("content-type", "cache-control", "x-amz-meta-operator", "content-disposition"):
        assert 10 <= sum(header in item.headers for item in made) < len(made)
    assert sum(bool(item.tags) for item in made) >= 10
    assert sum(item.size == 0 for item in made) >= 10


def test_the_seed_decides() -> None:
    assert dataset.plan(1, objects=50) == dataset.plan(1, objects=50) != dataset.plan(2, objects=50)
    item = dataset.plan(1, objects=50)[7]
    assert dataset.Content(1).of(item) == dataset.Content(1).of(item) != dataset.Content(2).of(item)


def test_hostile_keys_are_distinct_and_legal() -> None:
    assert len(set(HOSTILE_KEYS)) == len(HOSTILE_KEYS)
    lengths = [len(key.encode()) for key in HOSTILE_KEYS]
    assert max(lengths) == 1024
    assert min(lengths) >= 1
    folded = [key.casefold() for key in HOSTILE_KEYS]
    assert len(set(folded)) < len(folded), "two keys differ only in case"


def test_what_an_adapter_can_hold() -> None:
    made = dataset.plan(objects=200, adapter=True)
    assert 0 < len(dataset.plan(objects=200)) - len(made) < 5
    assert max(len(item.key.encode()) for item in made) <= 933
    assert not any(item.tags for item in made)


def test_loading_puts_it_into_a_store(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    made = dataset.load(storage, "source", 3, objects=60, big_size=17 * MIB)
    content = dataset.Content(3)
    digests = set()
    for item in made:
        entry = storage.entry("source", item.key)
        body = b"".join(storage.blocks(entry))
        assert body == content.of(item), item.key
        assert (entry.size, entry.tags) == (item.size, item.tags)
        assert entry.headers.items() >= item.headers.items()
        if not item.part_size:
            assert entry.etag == hashlib.md5(body).hexdigest()
            digests.add(entry.etag)
    big = storage.entry("source", dataset.BIG_KEY)
    assert big.parts == (8 * MIB, 8 * MIB, MIB)
    assert big.etag.endswith("-3")
    assert len(digests) > 0.9 * sum(item.size > 0 for item in made), "objects differ from each other"
    storage.close()
