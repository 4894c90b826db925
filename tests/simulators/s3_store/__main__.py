# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m s3_store --folder DIR [--port N] [--bucket NAME]... [--tls] [--adapter] [--switch NAME=VALUE]...`"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from .certificates import make_certificates
from .model import Switches, adapter_switches
from .server import Server


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="s3_store",
        description="Serve S3 on loopback until SIGTERM. The secret key is read from S3_STORE_SECRET_KEY.",
    )
    parser.add_argument("--folder", required=True, type=Path, help="where objects, journal and certificates are kept")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 (default): any free port")
    parser.add_argument("--bucket", action="append", default=[], help="make this bucket (may be repeated)")
    parser.add_argument("--access-key", default="simulator")
    parser.add_argument("--tls", action="store_true", help="HTTPS with a CA made in FOLDER/tls (ca.pem)")
    parser.add_argument("--certificate", nargs=2, metavar=("CERT", "KEY"), help="HTTPS with these PEM files")
    parser.add_argument("--adapter", action="store_true", help="the limits of a Snowball Edge S3 adapter")
    parser.add_argument("--switch", action="append", default=[], metavar="NAME=JSON", help="see model.Switches")
    parser.add_argument("--fault", action="append", default=[], metavar="JSON", help="a rule, see faults.Rule")
    return parser.parse_args(argv)


def _switches(arguments: argparse.Namespace) -> Switches:
    values = {}
    for setting in arguments.switch:
        name, _, value = setting.partition("=")
        try:
            values[name] = json.loads(value)
        except ValueError:
            values[name] = value
    return adapter_switches(**values) if arguments.adapter else Switches().changed(**values)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _arguments(argv)
    certificate: tuple[str, str] | None = None
    if arguments.certificate:
        certificate = (arguments.certificate[0], arguments.certificate[1])
    elif arguments.tls:
        made = make_certificates(arguments.folder / "tls")
        certificate = (str(made.certificate), str(made.key))
    arguments.folder.mkdir(parents=True, exist_ok=True)
    secret = os.environ.get("S3_STORE_SECRET_KEY", "simulator-secret")
    server = Server(
        arguments.folder,
        host=arguments.host,
        port=arguments.port,
        credentials={arguments.access_key: secret},
        switches=_switches(arguments),
        certificate=certificate,
    )
    for bucket in arguments.bucket:
        server.store.storage.create_bucket(bucket)
    for rule in arguments.fault:
        server.store.faults.add(json.loads(rule))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    server.start()
    print(f"listening on {server.url}", flush=True)
    stop.wait()
    server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
