# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulated Snowball Edge devices, the client command that drives them, and their S3 front. See ../README.md."""

from __future__ import annotations

from .errors import ClientError, DeviceError
from .fleet import Device, Fleet

__all__ = ["ClientError", "Device", "DeviceError", "Fleet"]
