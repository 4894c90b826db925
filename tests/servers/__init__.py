# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real S3 servers for tests: ordinary processes on free ports, their data in a temporary folder.

::

    with Servers() as servers:
        store = servers.store("swift-https")

The same from a shell, until it is told to stop (the file appears when all of them answer)::

    PYTHONPATH=tests python3 -m servers swift-http rgw-https --ready FILE [--address ADDRESS]

Three implementations, because each shows what the others hide: OpenStack Swift behaves as the documentation of S3
says; Ceph RGW is a second production server with gaps; ``rclone serve s3`` answers oddly on purpose of nobody.
What is odd about each is named in `Store.quirks` and proven by ``tests/integration/test_servers.py``.
"""

from __future__ import annotations

from .processes import ServerFailed
from .servers import STORE_NAMES, Servers
from .store import QUIRKS, Store

__all__ = ["QUIRKS", "STORE_NAMES", "ServerFailed", "Servers", "Store"]
