# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A CA and a certificate for loopback, made with the openssl command."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

NAMES = ("DNS:localhost", "IP:127.0.0.1")


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: the CA that clients trust, the certificate and the key of the server."""

    ca: Path
    certificate: Path
    key: Path


def make_certificates(
    folder: str | os.PathLike[str], *, days: int = 30, names: tuple[str, ...] = NAMES
) -> Certificates:
    """Makes them in `folder` unless they are there. Elliptic curve keys, because they take no time to make."""
    base = Path(folder)
    base.mkdir(parents=True, exist_ok=True)
    made = Certificates(base / "ca.pem", base / "server.pem", base / "server.key")
    if made.certificate.exists():
        return made
    ca_key = base / "ca.key"
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    ca_use = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    _openssl(
        "req", "-x509", *new_key, "-days", str(days), "-subj", "/CN=Simulated device CA", *ca_use,
        "-keyout", str(ca_key), "-out", str(made.ca),
    )  # fmt: skip
    request, extensions = base / "server.csr", base / "server.ext"
    _openssl("req", "-new", *new_key, "-subj", "/CN=localhost", "-keyout", str(made.key), "-out", str(request))
    extensions.write_text(
        f"subjectAltName={','.join(names)}\nbasicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\n"
    )
    _openssl(
        "x509", "-req", "-in", str(request), "-CA", str(made.ca), "-CAkey", str(ca_key), "-CAcreateserial",
        "-days", str(days), "-sha256", "-extfile", str(extensions), "-out", str(made.certificate),
    )  # fmt: skip
    return made


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"Failed to run openssl {arguments[0]}: {done.stderr.strip()}")
