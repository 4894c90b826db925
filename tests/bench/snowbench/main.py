# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of the bench: stores, volumes and tools brought together."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from .arguments import parse_arguments, told_options
from .budget import Budget
from .cores import Cores, available_cpus
from .disk import can_be_made, own_filesystem, size_for
from .links import ShapedLinks
from .results import Record, common_facts, print_results
from .session import DATA_SETS, MIB, THROTTLED_SETS, Bench, DataSet, Options
from .stores import BenchError, StoreServer, build_server
from .tools import DESTINATION_BUCKET, OURS, SOURCE_BUCKET, TOOLS, Place, Tool

MEMORY_FOLDER = Path("/dev/shm")
# Two stores, the volume's page cache, and room for everybody else.
MEMORY_FACTOR = 4


def main(arguments: Sequence[str] | None = None) -> int:
    parsed = parse_arguments(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return run_throttled(parsed) if parsed.throttled else run_bench(parsed)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2


def run_bench(parsed: argparse.Namespace) -> int:
    started, budget = datetime.datetime.now().astimezone(), Budget(parsed.budget)
    data_sets = [DATA_SETS[name].scaled(parsed.scale) for name in parsed.sets]
    tools = [TOOLS[name] for name in parsed.tools]
    folder = parsed.work.resolve()
    binary = server_program(parsed, folder)
    logs = folder / "logs" / started.strftime("%Y%m%d-%H%M%S")
    logs.mkdir(parents=True)
    options = options_of(parsed, tools, logs, noop=not parsed.no_noop)
    stores = choose_stores(parsed.stores, folder, data_sets)
    path = folder / f"results-{started:%Y%m%d-%H%M%S}.json"
    record = Record(path, facts_of(started, parsed, data_sets, tools))
    print(describe(parsed, data_sets, tools, stores), flush=True)
    with two_stores(binary, stores, parsed) as (source, destination), volume_disk(parsed, folder, data_sets):
        options = replace(options, trust=trust(source, destination, logs))
        largest = max(data_set.bytes for data_set in data_sets)
        place = Place(source.url, destination.url, folder / "work", parsed.volumes, largest, parsed.job)
        bench = Bench(source, destination, place, options, budget, record)
        try:
            bench.run(data_sets)
        finally:
            shutil.rmtree(place.work, ignore_errors=True)
            record.write()
    if not parsed.no_tables:
        print_results(record.runs, tools, place)
    print(f"\nresults: {path}\nchart:   {path.with_suffix('.svg')}\nlogs:    {logs}")
    return 1 if any(run.is_void for run in record.runs) else 0


def run_throttled(parsed: argparse.Namespace) -> int:
    """Our job over slow volumes; see volumes.py."""
    from .volumes import Layout, VolumesBench, summarize_volumes, volumes_table  # needs tests/disks

    started = datetime.datetime.now().astimezone()
    data_sets = [THROTTLED_SETS[name].scaled(parsed.scale) for name in parsed.sets]
    layouts = [Layout.parse(text) for text in parsed.throttled.split(",")]
    folder = parsed.work.resolve()
    binary = server_program(parsed, folder)
    logs = folder / "logs" / started.strftime("%Y%m%d-%H%M%S")
    logs.mkdir(parents=True)
    options = options_of(parsed, [], logs, noop=False)
    stores = choose_stores(parsed.stores, folder, data_sets)
    print(describe(parsed, data_sets, [TOOLS[OURS]], stores), flush=True)
    with two_stores(binary, stores, parsed) as pair:
        options = replace(options, trust=trust(*pair, logs))
        bench = VolumesBench(
            pair, folder / "throttled", layouts, options, parsed.job, lambda line: print(line, flush=True)
        )
        try:
            bench.run(data_sets)
        finally:
            shutil.rmtree(folder / "throttled", ignore_errors=True)
    summaries = summarize_volumes(bench.runs)
    print(f"\n{volumes_table(summaries, layouts[0].name)}")
    document = {
        **common_facts(started, told_options(parsed)),
        "summaries": [asdict(summary) for summary in summaries],
        "runs": [asdict(run) for run in bench.runs],
    }
    path = folder / f"results-{started:%Y%m%d-%H%M%S}.json"
    path.write_text(json.dumps(document, indent=1) + "\n")
    print(f"\nresults: {path}\nlogs:    {logs}")
    return 1 if any(run.problems for run in bench.runs) else 0


def facts_of(
    started: datetime.datetime, parsed: argparse.Namespace, data_sets: Sequence[DataSet], tools: Sequence[Tool]
) -> dict[str, object]:
    return {
        **common_facts(started, told_options(parsed)),
        "sets": [asdict(data_set) for data_set in data_sets],
        "tools": {tool.name: tool.version() for tool in tools},
    }


def server_program(parsed: argparse.Namespace, folder: Path) -> Path:
    """What serves the stores: built before, for a machine without Go, or compiled now."""
    return parsed.server.resolve() if parsed.server else build_server(folder / "build")


def choose_stores(asked: Path | None, folder: Path, data_sets: Sequence[DataSet]) -> Path:
    """In memory where it is plenty: the stores' disk traffic would otherwise be charged to the tools."""
    if asked:
        return asked.resolve() / "snowbench-stores"
    needed = MEMORY_FACTOR * max(data_set.bytes for data_set in data_sets)
    if MEMORY_FOLDER.is_dir() and available_memory() > needed and shutil.disk_usage(MEMORY_FOLDER).free > needed:
        return MEMORY_FOLDER / f"snowbench-{os.getuid()}"
    return folder / "stores"


def available_memory() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def options_of(parsed: argparse.Namespace, tools: Sequence[Tool], logs: Path, *, noop: bool) -> Options:
    return Options(
        parsed.rounds,
        tools,
        parsed.part_size * MIB,
        parsed.timeout,
        noop,
        logs,
        parsed.quiet,
        cores_of(parsed),
    )


def has_own_disk(parsed: argparse.Namespace) -> bool:
    return can_be_made() and not (parsed.no_ext4 or parsed.throttled)


def volume_disk(
    parsed: argparse.Namespace, folder: Path, data_sets: Sequence[DataSet]
) -> contextlib.AbstractContextManager[None]:
    """Below `folder`/work: an ext4 of its own, if one can be made and is wanted."""
    if not has_own_disk(parsed):
        return contextlib.nullcontext()
    size = size_for(max(data_set.bytes for data_set in data_sets))
    return own_filesystem(folder / "volumes.img", size, folder / "work")


def trust(source: StoreServer, destination: StoreServer, folder: Path) -> dict[str, str]:
    """What every tool, written in Go or on OpenSSL, takes CAs from; nothing without --tls."""
    if not source.certificate.exists():
        return {}
    bundle = folder / "certificates.pem"
    bundle.write_text(source.certificate.read_text() + destination.certificate.read_text())
    return {"SSL_CERT_FILE": str(bundle)}


@contextlib.contextmanager
def two_stores(binary: Path, folder: Path, parsed: argparse.Namespace) -> Iterator[tuple[StoreServer, StoreServer]]:
    cores = cores_of(parsed)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        links = stack.enter_context(ShapedLinks(parsed.shaped)) if parsed.shaped else None
        servers = []
        for side, bucket in (("source", SOURCE_BUCKET), ("destination", DESTINATION_BUCKET)):
            address = links.server_address(side) if links else "127.0.0.1"
            prefix = [*(links.server_prefix(side) if links else []), *cores.store_prefix]
            delay = ["-delay", f"{parsed.delay}ms"]
            server = StoreServer(binary, folder / side, address=address, prefix=prefix, options=delay, tls=parsed.tls)
            stack.callback(server.stop)
            server.create_bucket(bucket)
            servers.append(server)
        yield servers[0], servers[1]


def describe(parsed: argparse.Namespace, data_sets: Sequence[DataSet], tools: Sequence[Tool], stores: Path) -> str:
    protocol = "HTTPS" if parsed.tls else "HTTP"
    disk = "an ext4 with a journal, in a loop file" if has_own_disk(parsed) else f"below {parsed.work}"
    sets = ", ".join(f"{each.name}: {each.objects} x {each.size} bytes" for each in data_sets)
    return "\n".join(
        [
            f"machine: {os.cpu_count()} cores, {platform.platform()}, {available_memory() // MIB} MiB available",
            f"sets:    {sets}; large objects at the source in parts of {parsed.part_size} MiB",
            f"links:   {parsed.shaped or 'loopback, unshaped'}, {protocol}, {parsed.delay:g} ms per request",
            f"cores:   {cores_text(cores_of(parsed))}",
            f"volumes: {disk}",
            f"our job: {json.dumps(parsed.job) if parsed.job else 'defaults'}",
            f"stores:  {stores} (loopback servers, no signature check; Content-MD5 trusted, all bytes checked after)",
            *(f"tool:    {tool.name}: {tool.version()}" for tool in tools),
            "",
        ]
    )


def cores_of(parsed: argparse.Namespace) -> Cores:
    return Cores.split(parsed.cores, available_cpus())


def cores_text(cores: Cores) -> str:
    if not cores.tools:
        return "tools and stores share all"
    return f"{len(cores.tools)} for the tools, {len(cores.stores)} for the stores"
