# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The source of the demonstration: at least 1,000 objects, the same ones for the same seed.

`python dataset.py --folder DIR --bucket NAME` puts them straight into the folder of an s3_store that is not running.
"""

from __future__ import annotations

import argparse
import importlib
import json
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

KIB = 1024
MIB = 1024 * KIB

# Keys that have broken transfer tools, each to be delivered byte for byte. Shared by all tests.
HOSTILE_KEYS: tuple[str, ...] = (
    " leading space",
    "trailing space ",
    "  both  ends  ",
    "it's",
    'say "hello"',
    "back`tick`",
    "$(touch pwned)",
    "semi;colon",
    "st*ar",
    "questi?n",
    "ha#sh",
    "# comment",
    "br[a-c]ket",
    "back\\slash",
    "trailing backslash\\",
    "new\nline",
    "\nleading newline",
    "trailing newline\n",
    "carriage\rreturn",
    "carriage return\r\n",
    "tab\tbed",
    "\ttab first",
    "control\x01one",
    "delete\x7fd",
    "no\u00a0break space",
    "\u00a0no-break first and last\u00a0",
    "cafe\u0301 decomposed",  # NFD
    "caf\u00e9 decomposed",  # NFC of the same name
    "emoji \U0001f9ca\U0001f680",
    "/leading slash",
    "//two leading slashes",
    "double//slash",
    "triple///slash",
    "directory marker/",
    "directory with content/",
    "directory with content//",
    ".",
    "..",
    "./here",
    "../x",
    "up/../../y",
    "dots/./in/../side",
    "dots at the end/..",
    "a",
    "a/b",
    "a/b/c",
    "Case.TXT",
    "case.txt",
    "-x",
    "--raw",
    "s3://in/key",
    "http://example.net/key?query=1&more=2",
    "percent%20encoded%2Fslash",
    "plus+sign and=equals&ampersand",
    "<xml>&amp;</xml>",
    "{braces}|pipe^caret~tilde",
    "ext/program.c",
    "ext/regions.bed",
    "ext/sequence.fa",
    "ext/table.dbf",
    "ext/archive.001",
    "ext/report.2024",
    "k" * 1024,
    "\u00e9" * 512,  # 1,024 bytes of UTF-8
    "deep/" * 204 + "file",  # 1,024 bytes of short components
)
EMPTY_HOSTILE_KEYS = frozenset({"directory marker/", "new\nline", "..", "a/b"})

BIG_KEY = "archive/big.bin"
BIG_SIZE = 200 * MIB
BIG_PART_SIZE = 8 * MIB
_POOL_SIZE = 8 * MIB
ADAPTER_KEY_LIMIT = 933  # bytes
_TYPES = ("text/csv", "application/json", "image/tiff", "text/plain; charset=utf-8", "application/x-hdf5")


@dataclass(frozen=True, slots=True)
class DatasetObject:
    """One object to be made; `part_size` in bytes, 0 for a single PUT; `offset` where its bytes lie in the pool."""

    key: str
    size: int
    offset: int
    part_size: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


class Sink(Protocol):
    """What the loader needs of a store."""

    def create_bucket(self, name: str) -> bool: ...

    def put_pieces(
        self,
        bucket: str,
        key: str,
        pieces: Iterator[bytes],
        *,
        headers: Mapping[str, str],
        tags: Mapping[str, str],
        multipart: bool,
    ) -> Any: ...


def plan(seed: int = 2, *, objects: int = 1000, big_size: int = BIG_SIZE, adapter: bool = False) -> list[DatasetObject]:
    """What the dataset consists of: `objects` ordinary ones, the hostile keys, one of `big_size` bytes (0: none).

    `adapter`: only what the S3 adapter of a Snowball Edge can hold, which has no tags and no longer keys.
    """
    chance = random.Random(seed)
    made = [_ordinary(chance, number) for number in range(objects)]
    made += [_hostile(chance, key) for key in HOSTILE_KEYS]
    if big_size:
        made.append(DatasetObject(BIG_KEY, big_size, chance.randrange(_POOL_SIZE), BIG_PART_SIZE))
    if adapter:
        made = [replace(item, tags={}) for item in made if len(item.key.encode()) <= ADAPTER_KEY_LIMIT]
    return made


def _ordinary(chance: random.Random, number: int) -> DatasetObject:
    key = f"station-{number % 12:02d}/2026/{number % 9 + 1:02d}/sample-{number:05d}.dat"
    offset = chance.randrange(_POOL_SIZE)
    if number % 50 == 0:
        size = 0
    elif number % 250 == 1:
        size = 5 * MIB
    else:
        size = int(KIB * (5 * KIB) ** (chance.random() ** 2.2)) if number % 100 else KIB
    return DatasetObject(key, size, offset, headers=_headers(chance, number), tags=_tags(chance, number))


def _hostile(chance: random.Random, key: str) -> DatasetObject:
    size = 0 if key in EMPTY_HOSTILE_KEYS else chance.randrange(KIB, 16 * KIB)
    return DatasetObject(key, size, chance.randrange(_POOL_SIZE), headers={"content-type": "text/plain"})


def _headers(chance: random.Random, number: int) -> dict[str, str]:
    headers = {}
    if number % 3:
        headers["content-type"] = chance.choice(_TYPES)
    if number % 5 == 0:
        headers["x-amz-meta-station"] = f"S{number % 12:02d}"
        headers["x-amz-meta-operator"] = "night shift; 'quoted' = yes"
    if number % 7 == 0:
        headers["cache-control"] = "max-age=3600, private"
    if number % 31 == 0:
        headers["content-disposition"] = f'attachment; filename="sample {number}.dat"'
        headers["content-language"] = "en"
    return headers


def _tags(chance: random.Random, number: int) -> dict[str, str]:
    return {"campaign": chance.choice(("north", "south")), "quality": str(number % 4)} if number % 40 == 3 else {}


class Content:
    """The bytes of the objects: slices of one random pool, so that making them costs no time."""

    def __init__(self, seed: int = 2) -> None:
        pool = random.Random(seed).randbytes(_POOL_SIZE)
        self._pool = pool + pool

    def pieces(self, item: DatasetObject) -> Iterator[bytes]:
        """The object's parts in order (one for a single PUT)."""
        step = item.part_size or max(item.size, 1)
        for start in range(0, max(item.size, 1), step):
            count = min(step, item.size - start)
            offset = (item.offset + start + start // step * 4093) % _POOL_SIZE
            yield self._pool[offset : offset + count]

    def of(self, item: DatasetObject) -> bytes:
        return b"".join(self.pieces(item))


def load(
    sink: Sink, bucket: str, seed: int = 2, *, objects: int = 1000, big_size: int = BIG_SIZE, adapter: bool = False
) -> list[DatasetObject]:
    """Puts the dataset into a bucket of an s3_store (its `Storage`), made if need be; returns what it consists of."""
    made = plan(seed, objects=objects, big_size=big_size, adapter=adapter)
    content = Content(seed)
    sink.create_bucket(bucket)
    for item in made:
        sink.put_pieces(
            bucket, item.key, content.pieces(item), headers=item.headers, tags=item.tags, multipart=item.part_size > 0
        )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", required=True, type=Path, help="the folder of a store that is not running")
    parser.add_argument("--bucket", default="source")
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument(
        "--objects", type=int, default=1000, help="ordinary objects, beside the hostile and the big one"
    )
    parser.add_argument("--big-size", type=int, default=BIG_SIZE, help="bytes of the multipart object, 0: none")
    parser.add_argument("--adapter", action="store_true", help="only what a Snowball's S3 adapter can hold")
    arguments = parser.parse_args(argv)
    package = f"{__package__}." if __package__ else ""
    storage = importlib.import_module(f"{package}s3_store.storage").Storage(arguments.folder)
    started = time.monotonic()
    sizes = {"objects": arguments.objects, "big_size": arguments.big_size}
    made = load(storage, arguments.bucket, arguments.seed, **sizes, adapter=arguments.adapter)
    storage.close()
    seconds = round(time.monotonic() - started, 2)
    print(json.dumps({"objects": len(made), "bytes": sum(item.size for item in made), "seconds": seconds}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
