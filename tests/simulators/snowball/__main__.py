# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m snowball make|cluster|set|show|reboot|list|client ...`: the devices of the folder SNOWBALL_SIM."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .fleet import Fleet
from .model import GENERATIONS, STATES


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="snowball", description=__doc__)
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
    device = fleet[arguments.name]
    if arguments.action == "set":
        return device.set(**_fields(arguments.fields))
    if arguments.action == "reboot":
        device.reboot()
    return device.show()


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        answer = _run(Fleet.of_environment(), arguments)
    except (KeyError, ValueError) as error:
        sys.exit(f"snowball: {error.args[0]}")
    print(json.dumps(answer, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
