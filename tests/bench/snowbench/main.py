# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Arguments in, a table on stdout, one JSON file with every single run."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from .chart import chart
from .cores import Cores, available_cpus
from .disk import can_be_made, own_filesystem, size_for
from .figures import figures_table, ratios, ratios_table, summarize
from .links import ShapedLinks
from .processes import MEMORY_NOTE
from .session import DATA_SETS, MIB, THROTTLED_SETS, Bench, DataSet, Options, detailed_runs
from .stores import BenchError, StoreServer, build_server
from .tools import DEFAULT_TOOLS, DESTINATION_BUCKET, OURS, RCLONE_REMOTES, SOURCE_BUCKET, TOOLS, Place, Tool

ROOT = Path(__file__).resolve().parents[3]
MEMORY_FOLDER = Path("/dev/shm")
# Two stores, the volume's page cache, and room for everybody else.
MEMORY_FACTOR = 4
DEFAULT_LAYOUTS = "50,4x50,10+50+100"  # the volumes' speeds in MB/s


def main(arguments: Sequence[str] | None = None) -> int:
    parsed = parse_arguments(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return run_throttled(parsed) if parsed.throttled else run_bench(parsed)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/bench/run", description=__doc__)
    parser.add_argument("--sets", type=lambda text: text.split(","), help=f"{', '.join(DATA_SETS)} (all)")
    parser.add_argument("--tools", type=names_of(TOOLS), default=list(DEFAULT_TOOLS), help=", ".join(TOOLS))
    parser.add_argument("--rounds", type=positive, default=3, help="runs of every tool on every set (3)")
    parser.add_argument("--scale", type=float, default=1.0, help="0.1: a tenth of every set, for a quick look")
    parser.add_argument("--shaped", metavar="RATE", help="shape both links between namespaces, e.g. 400mbit; root only")
    parser.add_argument(
        "--part-size", type=positive, default=50, help="of the source's large objects, MiB (50: s5cmd's)"
    )
    parser.add_argument(
        "--throttled",
        metavar="MB/S",
        nargs="?",
        const=DEFAULT_LAYOUTS,
        help=f"our job alone over volumes of these speeds ({DEFAULT_LAYOUTS}), all compared with the first; root only;"
        " sets: 1MiB, 128MiB",
    )
    parser.add_argument("--volumes", type=positive, default=2, help="volumes of our job; peers get the first (2)")
    parser.add_argument(
        "--job", type=json_mapping, default={}, help='settings of our job, e.g. {"mover": {"workers": 8}}'
    )
    parser.add_argument("--cores", type=positive, help="CPUs for the tools; the stores get the others (all share all)")
    parser.add_argument("--delay", type=float, default=0.0, metavar="MS", help="before each answer of a store (0)")
    parser.add_argument("--tls", action="store_true", help="HTTPS, with a certificate that the tools verify")
    parser.add_argument(
        "--no-ext4",
        action="store_true",
        help="volumes on the disk below --work, not on an ext4 of their own (root only)",
    )
    parser.add_argument("--no-noop", action="store_true", help="leave the no-op passes out")
    parser.add_argument("--quiet", type=float, default=0.0, help="wait up to so many seconds for a quiet machine (0)")
    parser.add_argument("--work", type=Path, default=ROOT / ".bench", help="volumes (on disk), logs and results")
    parser.add_argument("--stores", type=Path, help="where the stores keep data (/dev/shm if it is large enough)")
    parser.add_argument("--timeout", type=float, default=3600.0, help="seconds for one command")
    parsed = parser.parse_args(arguments)
    known = THROTTLED_SETS if parsed.throttled else DATA_SETS
    parsed.sets = parsed.sets or list(known)
    if unknown := [name for name in parsed.sets if name not in known]:
        parser.error(f"--sets: unknown: {', '.join(unknown)}; choose from {', '.join(known)}")
    return parsed


def names_of(known: dict[str, Any]) -> Any:
    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        unknown = [name for name in chosen if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; choose from {', '.join(known)}")
        return chosen

    return parse


def json_mapping(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("must be a JSON object")
    return value


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def run_bench(parsed: argparse.Namespace) -> int:
    started = datetime.datetime.now().astimezone()
    data_sets = [DATA_SETS[name].scaled(parsed.scale) for name in parsed.sets]
    tools = [TOOLS[name] for name in parsed.tools]
    folder = parsed.work.resolve()
    binary = build_server(folder / "build")
    logs = folder / "logs" / started.strftime("%Y%m%d-%H%M%S")
    logs.mkdir(parents=True)
    options = options_of(parsed, tools, logs, noop=not parsed.no_noop)
    stores = choose_stores(parsed.stores, folder, data_sets)
    print(describe(parsed, data_sets, tools, stores), flush=True)
    with two_stores(binary, stores, parsed) as (source, destination), volume_disk(parsed, folder, data_sets):
        options = replace(options, trust=trust(source, destination, logs))
        place = Place(source.url, destination.url, folder / "work", parsed.volumes, parsed.job)
        bench = Bench(source, destination, place, options, lambda line: print(line, flush=True))
        try:
            for data_set in data_sets:
                bench.run_data_set(data_set)
        finally:
            shutil.rmtree(place.work, ignore_errors=True)
            path = write_results(folder, started, parsed, bench, data_sets, tools)
    print_results(bench, tools, place)
    print(f"\nresults: {path}\nchart:   {path.with_suffix('.svg')}\nlogs:    {logs}")
    return 1 if any(run.is_void for run in bench.runs) else 0


def run_throttled(parsed: argparse.Namespace) -> int:
    """Our job over slow volumes; see volumes.py."""
    from .volumes import Layout, VolumesBench, summarize_volumes, volumes_table  # needs tests/disks

    started = datetime.datetime.now().astimezone()
    data_sets = [THROTTLED_SETS[name].scaled(parsed.scale) for name in parsed.sets]
    layouts = [Layout.parse(text) for text in parsed.throttled.split(",")]
    folder = parsed.work.resolve()
    binary = build_server(folder / "build")
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
        "started": started.isoformat(),
        "machine": {"cores": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version()},
        "options": {name: value for name, value in vars(parsed).items() if name not in ("work", "stores")},
        "summaries": [asdict(summary) for summary in summaries],
        "runs": [asdict(run) for run in bench.runs],
    }
    path = folder / f"results-{started:%Y%m%d-%H%M%S}.json"
    path.write_text(json.dumps(document, indent=1) + "\n")
    print(f"\nresults: {path}\nlogs:    {logs}")
    return 1 if any(run.problems for run in bench.runs) else 0


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


def command_lines(tools: Sequence[Tool], place: Place) -> list[str]:
    lines = [f"{tool.name:<13} {shlex.join(step.argv)}" for tool in tools for step in tool.steps(place)]
    return [*lines, f"{'':<13} rclone's remotes by environment: {RCLONE_REMOTES}"]


def print_results(bench: Bench, tools: Sequence[Tool], place: Place) -> None:
    summaries = summarize(bench.runs)
    print("\nMedians per pass, all hops together\n")
    print(figures_table(summaries))
    found = ratios(summaries)
    if found:
        print("\nRatios of these medians (below 1: ours needs less)\n")
        print(ratios_table(found))
    print("\nCommands")
    print("\n".join(command_lines(tools, place)))
    print("\nWhat each verifies")
    print("\n".join(f"{tool.name:<13} {tool.checks_bytes}" for tool in tools))
    print(f"\n{MEMORY_NOTE}\nothers CPU s: what everything else on this machine used during the run; large means noise")


def write_results(
    folder: Path,
    started: datetime.datetime,
    parsed: argparse.Namespace,
    bench: Bench,
    data_sets: Sequence[DataSet],
    tools: Sequence[Tool],
) -> Path:
    summaries = summarize(bench.runs)
    document = {
        "started": started.isoformat(),
        "machine": {"cores": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version()},
        "options": {name: value for name, value in vars(parsed).items() if name not in ("work", "stores")},
        "sets": [asdict(data_set) for data_set in data_sets],
        "tools": {tool.name: tool.version() for tool in tools},
        "memory": MEMORY_NOTE,
        "summaries": [asdict(summary) for summary in summaries],
        "ratios": [asdict(ratio) for ratio in ratios(summaries)],
        "runs": detailed_runs(bench.runs, bench.details),
    }
    path = folder / f"results-{started:%Y%m%d-%H%M%S}.json"
    path.write_text(json.dumps(document, indent=1) + "\n")
    path.with_suffix(".svg").write_text(chart(summaries, document["machine"]))
    return path
