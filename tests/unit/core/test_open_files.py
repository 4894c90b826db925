# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The limit for open files is raised as far as it may be, and kept to."""

from __future__ import annotations

import resource

import pytest

from snowsync.core.open_files import requests_within_open_files


class Limits:
    """The limits of a process, without touching those of the tests."""

    def __init__(self, soft: int, hard: int) -> None:
        self.now = (soft, hard)

    def get(self, _which: int) -> tuple[int, int]:
        return self.now

    def set(self, _which: int, limits: tuple[int, int]) -> None:
        self.now = limits


@pytest.mark.parametrize(
    ("soft", "hard", "after", "allowed"),
    [
        (1024, 4096, 1600, 200),
        (1024, resource.RLIM_INFINITY, 1600, 200),
        (1024, 1200, 1200, 150),
        (1024, 1024, 1024, 128),
        (65536, 65536, 65536, 200),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, resource.RLIM_INFINITY, 200),
    ],
)
def test_requests_get_a_quarter_of_the_open_files(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, after: int, allowed: int
) -> None:
    limits = Limits(soft, hard)
    monkeypatch.setattr(resource, "getrlimit", limits.get)
    monkeypatch.setattr(resource, "setrlimit", limits.set)
    assert requests_within_open_files(200) == allowed
    assert limits.now == (after, hard)
