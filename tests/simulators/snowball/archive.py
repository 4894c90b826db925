# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client as AWS ships it: an archive to unpack, whose programs want `chmod u+x` first."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOP = "snowball-client-linux-1.2.0-661"


def make_archive(path: Path) -> None:
    """Writes TOP/{bin/snowballEdge,jre/bin/java,lib/snowball}; the same bytes, and so the same checksum, each time."""
    files = {f"lib/snowball/{source.name}": source.read_bytes() for source in sorted(HERE.glob("*.py"))}
    files["bin/snowballEdge"] = (HERE / "snowballEdge").read_bytes()
    files["jre/bin/java"] = b"#!/bin/sh\nexit 1\n"
    with (
        path.open("wb") as output,
        gzip.GzipFile("", "wb", fileobj=output, mtime=0) as packed,
        tarfile.open(mode="w", fileobj=packed, format=tarfile.GNU_FORMAT) as archive,
    ):
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(f"{TOP}/{name}")
            member.size = len(content)
            member.mode = 0o644
            archive.addfile(member, io.BytesIO(content))
