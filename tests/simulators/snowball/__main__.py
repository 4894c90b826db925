# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m snowball make|cluster|set|show|reboot|list|serve|client|archive ...`: the devices of SNOWBALL_SIM."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .archive import make_archive
from .fleet import VARIABLE, Fleet
from .model import GENERATIONS, STATES


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="snowball", description=__doc__)
    parser.add_argument("--folder", type=Path, help="where the devices are, instead of SNOWBALL_SIM")
    commands = parser.add_subparsers(dest="action", required=True)
    make = commands.add_parser("make", help="a device and its snowdir")
    _describe_device(make)
    make.add_argument("--wrong-code", action="store_true", help="the snowdir holds a code that is not the device's")
    make.add_argument("--wrong-manifest", action="store_true", help="the snowdir holds another device's manifest")
    cluster = commands.add_parser("cluster", help="devices NAME-1, NAME-2, ... with one manifest and code")
    _describe_device(cluster)
    cluster.add_argument("--nodes", type=int, default=3)
    change = commands.add_parser("set", help="change what is true about a device")
    change.add_argument("name")
    change.add_argument("fields", nargs="+", metavar="NAME=JSON", help="for example software.fail_at=INSTALLING")
    for action, text in (("show", "everything about a device"), ("reboot", "cut its power for a moment")):
        commands.add_parser(action, help=text).add_argument("name")
    commands.add_parser("list", help="the names of all devices")
    serve = commands.add_parser("serve", help="the S3 front of a device, until SIGTERM")
    serve.add_argument("name")
    serve.add_argument("--bucket", action="append", default=[], help="has this bucket (may be repeated)")
    serve.add_argument("--service", choices=("s3", "s3-snow"), default="s3", help="the adapter, or s3-snow")
    serve.add_argument("--port", type=int, default=0, help="0 (default): any free port")
    serve.add_argument("--host", default="", help="default: the address of the device's endpoint")
    serve.add_argument("--switch", action="append", default=[], metavar="NAME=JSON", help="see s3_store.Switches")
    archive = commands.add_parser("archive", help="the client as an archive to install from")
    archive.add_argument("path", type=Path)
    client = commands.add_parser("client", help="which generation of the client is installed")
    client.add_argument("generation", choices=GENERATIONS)
    return parser


def _describe_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name")
    parser.add_argument("--snowdir", type=Path, metavar="DIR", help="make the folder NAME in this one")
    parser.add_argument("--generation", choices=GENERATIONS, default="new", help="the shapes that it prints")
    parser.add_argument("--state", choices=STATES, default="LOCKED")
    parser.add_argument("--endpoint", help="https://ADDRESS[:9091]; default: a free address of 127.9.0.0/16")
    parser.add_argument("--field", action="append", default=[], metavar="NAME=JSON", help="see `set`")


def _fields(settings: Sequence[str]) -> dict[str, Any]:
    found = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            sys.exit(f"{setting!r} is not NAME=JSON")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _made(arguments: argparse.Namespace) -> dict[str, Any]:
    fields = {"generation": arguments.generation, "state": arguments.state, **_fields(arguments.field)}
    return {**fields, **({"endpoint": arguments.endpoint} if arguments.endpoint else {})}


def _run(fleet: Fleet, arguments: argparse.Namespace) -> Any:
    if arguments.action == "make":
        spoilt = {"wrong_code": arguments.wrong_code, "wrong_manifest": arguments.wrong_manifest}
        return fleet.make(arguments.name, snowdir=arguments.snowdir, **spoilt, **_made(arguments)).show()
    if arguments.action == "cluster":
        nodes = fleet.make_cluster(arguments.name, arguments.nodes, snowdir=arguments.snowdir, **_made(arguments))
        return [node.show() for node in nodes]
    if arguments.action == "list":
        return fleet.names()
    if arguments.action == "client":
        return fleet.set_client(arguments.generation)
    if arguments.action == "archive":
        return make_archive(arguments.path)
    device = fleet[arguments.name]
    if arguments.action == "set":
        return device.set(**_fields(arguments.fields))
    if arguments.action == "reboot":
        device.reboot()
    return device.show()


def _serve(fleet: Fleet, arguments: argparse.Namespace) -> int:
    from .front import Front

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *ignored: stop.set())
    front = Front(
        fleet,
        arguments.name,
        buckets=arguments.bucket,
        service_id=arguments.service,
        port=arguments.port,
        host=arguments.host,
        **_fields(arguments.switch),
    ).start()
    print(f"serving {arguments.name} on {front.url}", flush=True)
    stop.wait()
    front.stop()
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    if arguments.folder:
        os.environ[VARIABLE] = str(arguments.folder)
    try:
        if arguments.action == "serve":
            return _serve(Fleet.of_environment(), arguments)
        answer = _run(Fleet.of_environment(), arguments)
    except (KeyError, ValueError) as error:
        sys.exit(f"snowball: {error.args[0]}")
    print(json.dumps(answer, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
