# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The values of a job: each class is a mapping of its YAML file, each field an option, with its default.

Nothing is checked here: config/job_file.py makes a Job only of values that config/schema.py and config/agreement.py
accept. Sizes are bytes, durations are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..core.model import MIB, Evidence

STATE_ROOT = Path("/var/lib/snowsync")


@dataclass(frozen=True)
class Store:
    """A bucket and prefix, reached through `endpoints` (`scheme://host[:port]`; empty: the AWS of `region`)."""

    bucket: str
    prefix: str = ""
    endpoints: tuple[str, ...] = ()
    region: str = "us-east-1"
    credentials_file: Path | None = None
    profile: str = "default"
    ca_bundle: Path | None = None
    addressing: Literal["auto", "path", "virtual"] = "auto"
    list_version: Literal["auto", "v2", "v1"] = "auto"
    sorted: bool = True
    etag: Literal["auto", "opaque"] = "auto"
    max_connections: int = 256


@dataclass(frozen=True)
class Volume:
    """A staging filesystem: `limit` in bytes (None: the whole filesystem), `drop_folder` relative to `path`."""

    name: str
    path: Path
    limit: int | None = None
    require_mount: bool = True
    drop_folder: str | None = None

    @property
    def drop_path(self) -> Path | None:
        return self.path / self.drop_folder if self.drop_folder else None


@dataclass(frozen=True)
class Space:
    """Watermarks as fractions of the usable size (`limit`, or the filesystem); `reserve` bytes of the filesystem."""

    high_watermark: float = 0.9
    low_watermark: float = 0.8
    reserve: int = 256 * MIB


@dataclass(frozen=True)
class Group:
    """A group is committed when it has `objects` objects or `bytes` bytes, or is `seconds` old."""

    objects: int = 500
    bytes: int = 256 * MIB
    seconds: float = 2.0


@dataclass(frozen=True)
class MoverSettings:
    """How the movers work: `large_workers` objects of `large_object` bytes and more are sent from each volume at once.

    There are more of them if they have fewer parts than `part_concurrency`. Half of these workers fetch, so that large
    objects finish one after another and both hops work at the same time.
    `processes` of each direction move small objects (None: as the number of CPUs suggests).
    `tool` auto is the native mover, which costs less CPU and reads nothing twice.
    """

    tool: Literal["auto", "native", "s5cmd"] = "auto"
    workers: int = 16
    processes: int | None = None
    large_workers: int = 2
    large_object: int = 16 * MIB
    part_size: int = 64 * MIB
    part_concurrency: int = 4
    retries: int = 2
    stall_seconds: float = 60.0
    answer_seconds: float | None = None
    binary: Path | None = None

    def is_large(self, size: int) -> bool:
        """Whether an object of `size` bytes uses the lane of large objects and has its parts remembered."""
        return size >= self.large_object


@dataclass(frozen=True, kw_only=True)
class Job:
    """One configured transfer."""

    job: str
    mode: Literal["staged"] = "staged"
    state_dir: Path | None = None
    source: Store | None = None
    destination: Store
    volumes: tuple[Volume, ...]
    space: Space = Space()
    group: Group = Group()
    mover: MoverSettings = MoverSettings()
    evidence: Evidence = Evidence.STORE_DIGEST
    unproven: Literal["auto", "hold", "accept"] = "auto"
    reread: Literal["suspect", "always"] = "suspect"
    keep_staged: bool = False
    tags: Literal["copy", "skip"] = "copy"
    metadata: Literal["copy", "skip"] = "copy"
    attempts: int = 5
    pass_interval: float = 60.0
    drop_settle: float = 10.0

    @property
    def state_path(self) -> Path:
        return self.state_dir or STATE_ROOT / self.job

    @property
    def ledger_path(self) -> Path:
        return self.state_path / "ledger.db"

    @property
    def reports_path(self) -> Path:
        return self.state_path / "reports"
