# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Whether the values of a job agree with each other: each alone is checked by config/schema.py."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from .connection_needs import least
from .job import Job, MoverSettings, Store
from .values import is_address


class Agreement:
    """Checks of a job's values against each other. Those that are wrong by themselves are None here and are skipped."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.volumes = [(f"volumes[{index}]", volume) for index, volume in enumerate(job.volumes or ()) if volume]

    def problems(self) -> Iterator[str]:
        yield from self._stores()
        yield from self._volumes()
        yield from self._rest()

    def _stores(self) -> Iterator[str]:
        source, destination = self.job.source, self.job.destination
        for side, store in (("source", source), ("destination", destination)):
            if store is not None:
                yield from _why_not_virtual(side, store)
                yield from _too_few_connections(side, store, self.job.mover)
                yield from _repeated(f"{side}.endpoints", [str(endpoint) for endpoint in store.endpoints or ()])
        if source and destination and _feeds_itself(source, destination):
            yield (
                "destination: is the same as the source (same endpoint and bucket, one prefix contains the other),"
                " the job would copy its own output; choose another bucket or prefix"
            )

        virtual = [side for side in ("source", "destination") if _is_virtual(getattr(self.job, side))]
        if virtual and self.job.mover and self.job.mover.tool == "s5cmd":
            yield f"mover.tool: s5cmd does not support {virtual[0]}.addressing: virtual; use native"

    def _volumes(self) -> Iterator[str]:
        for position, (where, volume) in enumerate(self.volumes):
            for earlier, other in self.volumes[:position]:
                if volume.name and volume.name == other.name:
                    yield f"{where}.name: {volume.name!r} is already the name of {earlier}; volume names must be unique"
                yield from _overlap(f"{where}.path", volume.path, f"{earlier}.path", other.path)
            if volume.path == Path("/"):
                yield f"{where}.path: is the root directory; name the mount point or folder to stage in"
            elif volume.path and self.job.job and self.job.state_path.is_relative_to(volume.path):
                yield f"state_dir: is on {where} ({volume.path}); put it on the system disk, it describes the volumes"

    def _rest(self) -> Iterator[str]:
        space = self.job.space
        if space and space.low_watermark and space.high_watermark and space.low_watermark >= space.high_watermark:
            yield (
                f"space.low_watermark: {space.low_watermark} is not below space.high_watermark"
                f" ({space.high_watermark}); lower the first or raise the second"
            )
        if self.job.volumes is not None and not self.job.volumes:
            yield "volumes: needs at least one volume; give its name and path"
        if self.job.source is None and self.volumes and not any(volume.drop_folder for volume in self.job.volumes):
            yield "source: is not set, and no volume has a `drop_folder`: there is nothing to move; set one of them"


def _is_virtual(store: Store | None) -> bool:
    return store is not None and store.addressing == "virtual"


def _why_not_virtual(side: str, store: Store) -> Iterator[str]:
    """Why the bucket name cannot be part of the host name of an endpoint."""
    if not _is_virtual(store) or not store.bucket:
        return
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", store.bucket):
        yield f"{side}.addressing: {store.bucket!r} cannot be part of a host name; use path"
    elif "." in store.bucket and any(url.startswith("https:") for url in store.endpoints or ("https:",)):
        yield f"{side}.addressing: no TLS certificate matches a bucket name with dots before the host; use path"
    for index, url in enumerate(store.endpoints or ()):
        if is_address(urlsplit(url).hostname or ""):
            yield f"{side}.addressing: virtual needs a host name, {side}.endpoints[{index}] is an IP address; use path"


def _feeds_itself(source: Store, destination: Store) -> bool:
    if source.bucket is None or source.bucket != destination.bucket:
        return False
    if source.endpoints is None or destination.endpoints is None or None in (source.prefix, destination.prefix):
        return False
    same_store = addresses(source) & addresses(destination)
    overlap = source.prefix.startswith(destination.prefix) or destination.prefix.startswith(source.prefix)
    return bool(same_store) and overlap


def addresses(store: Store) -> set[str]:
    """The addresses of a store, with one name for all of AWS: bucket names are unique there."""
    if not store.endpoints:
        return {"aws"}
    found = set()
    for endpoint in store.endpoints:
        parts = urlsplit(endpoint)
        host = (parts.hostname or "").rstrip(".")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        found.add("aws" if re.search(r"\.amazonaws\.com(\.cn)?$", host) else f"{host}:{port}")
    return found


def _too_few_connections(side: str, store: Store, mover: MoverSettings | None) -> Iterator[str]:
    tool = (mover and mover.tool) or "auto"
    if store.max_connections and store.max_connections < least(tool):
        yield (
            f"{side}.max_connections: {store.max_connections} is too low, mover.tool {tool} needs {least(tool)}:"
            f" for listings and checks, boto3, small and large objects; set it to {least(tool)} or more"
        )


def _repeated(where: str, values: list[str]) -> Iterator[str]:
    for index, value in enumerate(values):
        if value in values[:index]:
            yield f"{where}[{index}]: repeats {where}[{values.index(value)}]; remove one of them"


def _overlap(where: str, path: Path | None, other_where: str, other: Path | None) -> Iterator[str]:
    if path is None or other is None:
        return
    if path == other:
        yield f"{where}: {path} is already {other_where}; each volume needs its own path"
    elif path.is_relative_to(other) or other.is_relative_to(path):
        inner, outer = (where, other_where) if path.is_relative_to(other) else (other_where, where)
        yield f"{where}: {path} and {other_where} {other} contain each other ({inner} inside {outer}); separate them"
