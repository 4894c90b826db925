# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fragile disks: block devices that are slow, fail, turn read-only or lose power when a test says so. See README.md."""

from .filesystems import evict, is_mounted, make_filesystem, mount, remount, unmount
from .rack import Disk, Rack, Traffic

__all__ = ["Disk", "Rack", "Traffic", "evict", "is_mounted", "make_filesystem", "mount", "remount", "unmount"]
