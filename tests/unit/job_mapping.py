# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job as the mapping that its file would hold, to change some of it and to parse it again."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from snowsync.config.job_file import Job


def mapping_of(job: Job) -> dict[str, Any]:
    mapping: dict[str, Any] = json.loads(json.dumps(asdict(job), default=str))
    return mapping
