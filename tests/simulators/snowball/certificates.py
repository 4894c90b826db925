# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificate that a device makes for an address: self-signed, so that it is its own CA bundle."""

from __future__ import annotations

import secrets
import subprocess
from pathlib import Path
from typing import Any

DAYS = 360


def make_certificate(folder: Path, device_id: str, address: str) -> dict[str, Any]:
    """Makes `folder`/ARN-END.{pem,key} with the openssl command; returns arn, pem, address and the key's file name."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    serial = secrets.token_hex(16)
    certificate, key = folder / f"{serial}.pem", folder / f"{serial}.key"
    kind = "IP" if address.replace(".", "").isdigit() else "DNS"
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-sha256",
        "-days", str(DAYS), "-subj", f"/O=Amazon.com, Inc./OU=Simulated Snowball/CN={device_id}",
        "-addext", f"subjectAltName={kind}:{address}",
        "-addext", "keyUsage=critical,digitalSignature,keyCertSign",
        "-keyout", str(key), "-out", str(certificate),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"Failed to make a certificate for {address} with openssl: {done.stderr.strip()}")
    key.chmod(0o600)
    arn = f"arn:aws:snowball-device:::certificate/{serial}"
    return {"arn": arn, "pem": certificate.read_text(), "address": address, "file": serial}
