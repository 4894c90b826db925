# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the job files of fault and integration tests; all of them can be told how many hands their jobs have.

Hands are the processes of the native mover, and by default the number of cores decides. `SNOWSYNC_TEST_HANDS=4` gives
four of each direction to every job that does not say `mover.processes` itself, so that the same tests show that nothing
depends on the number.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

VARIABLE = "SNOWSYNC_TEST_HANDS"
MOST = 16  # what a job may say


def write_job(path: Path, config: Mapping[str, Any]) -> Path:
    """The file of a job, as its test configures it and the environment asks."""
    path.write_text(yaml.safe_dump(with_hands(config)), encoding="utf-8")
    return path


def with_hands(config: Mapping[str, Any]) -> dict[str, Any]:
    """The same job with the number of hands that is asked for, unless it says one."""
    hands = asked_hands()
    return dict(config) if hands is None else {**config, "mover": {"processes": hands, **config.get("mover", {})}}


def asked_hands() -> int | None:
    """What the environment asks for. `pytest.UsageError` if that would be without effect."""
    wrong = sorted(name for name in os.environ if name.startswith("SNOWSYNC_TEST") and name != VARIABLE)
    if wrong:
        raise pytest.UsageError(f"{wrong[0]} has no meaning: the number of hands for tests is {VARIABLE}")
    text = os.environ.get(VARIABLE)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and int(text) <= MOST):
        raise pytest.UsageError(f"{VARIABLE}={text} is no number of hands: give a whole number from 0 to {MOST}")
    return int(text)
