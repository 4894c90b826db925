# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A certification authority for one test run, and the certificate of its servers."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from .processes import require

# What Python 3.13 and newer insist on (VERIFY_X509_STRICT) is spelled out, whatever the system's openssl.cnf says.
CONFIGURATION = """
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {names}
"""


@dataclass(frozen=True)
class Certificates:
    """`authority` is what clients trust; `certificate` and `key` are the servers' (PEM)."""

    authority: Path
    certificate: Path
    key: Path


def make_certificates(folder: Path, address: str) -> Certificates:
    """Certificates for localhost, 127.0.0.1 and `address`, valid for a week."""
    folder.mkdir(parents=True, exist_ok=True)
    names = ", ".join(dict.fromkeys(["DNS:localhost", "IP:127.0.0.1", f"IP:{address}"]))
    configuration = folder / "openssl.cnf"
    configuration.write_text(CONFIGURATION.format(names=names))
    authority, authority_key = folder / "authority.crt", folder / "authority.key"
    certificate, key = folder / "server.crt", folder / "server.key"
    issue: list[str | Path] = [
        require("openssl", "openssl"),
        "req",
        "-x509",
        "-config",
        configuration,
        "-days",
        "7",
        "-nodes",
    ]
    issue += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    _run(*issue, "-extensions", "authority", "-subj", "/CN=snowsync tests", "-keyout", authority_key, "-out", authority)
    _run(
        *issue, "-extensions", "server", "-subj", "/CN=localhost", "-CA", authority, "-CAkey", authority_key,
        "-keyout", key, "-out", certificate,
    )  # fmt: skip
    return Certificates(authority, certificate, key)


def _run(*argv: str | Path) -> None:
    subprocess.run([str(word) for word in argv], check=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
