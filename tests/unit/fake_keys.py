# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of a store that change only when a test says so."""

from __future__ import annotations

from pathlib import Path

from snowsync.config.credentials import Credentials


def credentials(access_key: str, token: str = "") -> Credentials:
    return Credentials(access_key, "secret", token, Path("file"), "default")


class GivenKeys:
    """A test renews them by setting `now`."""

    def __init__(self, first: Credentials) -> None:
        self.now = first

    def current(self) -> Credentials:
        return self.now

    def look(self) -> bool:
        return False

    def may_change(self) -> bool:
        return False
