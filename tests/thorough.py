# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `SNOWSYNC_THOROUGH` (minutes) adds to the tests: all numbers and combinations instead of those that differ."""

from __future__ import annotations

import os

MINUTES = float(os.environ.get("SNOWSYNC_THOROUGH") or 0)
THOROUGH = MINUTES > 0
