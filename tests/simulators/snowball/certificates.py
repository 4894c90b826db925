# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificate that a device makes for an address: self-signed, so that it is its own CA bundle."""

from __future__ import annotations

import datetime
import ipaddress
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import Any

DAYS = 360
ORGANIZATION = "Simulated Snowball"


def make_certificate(folder: Path, device_id: str, address: str) -> dict[str, Any]:
    """Makes `folder`/SERIAL.{pem,key}; returns arn, pem, address and SERIAL as file."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    serial = secrets.token_hex(16)
    certificate, key = folder / f"{serial}.pem", folder / f"{serial}.key"
    make = _by_openssl if shutil.which("openssl") else _by_cryptography
    make(certificate, key, device_id, address)
    key.chmod(0o600)
    arn = f"arn:aws:snowball-device:::certificate/{serial}"
    return {"arn": arn, "pem": certificate.read_text(), "address": address, "file": serial}


def _by_openssl(certificate: Path, key: Path, device_id: str, address: str) -> None:
    kind = "IP" if _is_ip(address) else "DNS"
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-sha256",
        "-days", str(DAYS), "-subj", f"/O={ORGANIZATION}/CN={device_id}",
        "-addext", f"subjectAltName={kind}:{address}",
        "-addext", "keyUsage=critical,digitalSignature,keyCertSign",
        "-keyout", str(key), "-out", str(certificate),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"Failed to make a certificate for {address} with openssl: {done.stderr.strip()}")


def _by_cryptography(certificate: Path, key: Path, device_id: str, address: str) -> None:
    """For `make demo`, which has this package and asks for no openssl."""
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as error:
        raise RuntimeError("A certificate takes the openssl command or the Python package cryptography.") from error
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, device_id)])
    san: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(address)) if _is_ip(address) else x509.DNSName(address)
    usage = (
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "crl_sign",
        "encipher_only",
    )
    unused = dict.fromkeys((*usage, "decipher_only"), False)
    now = datetime.datetime.now(datetime.timezone.utc)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, key_cert_sign=True, **unused), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName([san]), critical=False)
        .sign(private, hashes.SHA256())
    )
    certificate.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


def _is_ip(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True
