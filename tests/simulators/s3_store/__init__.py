# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An S3 store on loopback for demonstrations and tests: correct by default, faulty on demand. See ../README.md."""

from __future__ import annotations

from .client import RemoteStore, RunningStore, start
from .model import Switches, adapter_switches
from .server import Server
from .storage import Storage

__all__ = ["RemoteStore", "RunningStore", "Server", "Storage", "Switches", "adapter_switches", "start"]
