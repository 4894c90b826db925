# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the start of one family of servers works with."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from .certificates import Certificates
from .processes import Processes
from .store import Store, write_credentials

REGION = "us-east-1"


@dataclass(frozen=True)
class Place:
    """An empty folder, the address to listen on, the certificates to show, and who keeps the processes."""

    folder: Path
    address: str
    certificates: Certificates
    processes: Processes

    def stores(
        self, family: str, ports: dict[str, int], access_key: str, secret_key: str, quirks: dict[str, frozenset[str]]
    ) -> dict[str, Store]:
        """One store per scheme; `ports` and `quirks` are by scheme."""
        credentials = write_credentials(self.folder / "credentials", access_key, secret_key)
        return {
            scheme: Store(
                name=f"{family}-{scheme}",
                url=f"{scheme}://{self.address}:{port}",
                access_key=access_key,
                secret_key=secret_key,
                region=REGION,
                ca_bundle=str(self.certificates.authority) if scheme == "https" else None,
                credentials_file=str(credentials),
                quirks=quirks[scheme],
            )
            for scheme, port in ports.items()
        }


def new_secret() -> str:
    """A secret that no log, argv or module result may ever show: tests look for it."""
    return secrets.token_hex(20)
