# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What both stores were asked, by side and operation. Pure."""

from __future__ import annotations


def requests_between(before: dict[str, dict[str, int]], after: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    return {
        side: {
            name: count - before[side].get(name, 0) for name, count in counts.items() if count != before[side].get(name)
        }
        for side, counts in after.items()
    }


NO_REQUESTS = ("connections", "keys_listed")


def totals(requests: dict[str, dict[str, int]]) -> dict[str, int]:
    """Of both stores."""
    counts = [(name, count) for side in requests.values() for name, count in side.items()]
    return {
        "requests": sum(count for name, count in counts if name not in NO_REQUESTS),
        "keys_listed": sum(count for name, count in counts if name == "keys_listed"),
    }


TRANSFERS = ("GetObject", "PutObject", "UploadPart", "CompleteMultipartUpload")


def noop_problems(requests: dict[str, dict[str, int]]) -> list[str]:
    """A pass that moved bytes was no no-op pass."""
    return [
        f"no-op pass did {counts[name]} {name} at the {side}"
        for side, counts in requests.items()
        for name in TRANSFERS
        if counts.get(name)
    ]
