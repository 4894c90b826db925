# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A clock that is set while units run, as by NTP on a host whose own clock has no battery."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

import pytest
from faults.rig import SOURCE, Rig, wait_until

# For every Python that is started with this on its path: the time of day is off by as many seconds as the file says.
_STEPPED = """
import pathlib, time
_real, _offset = time.time, pathlib.Path(__file__).with_name("offset")
time.time = lambda: _real() + float(_offset.read_text())
"""
_DAY = 86_400


@pytest.fixture
def step(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the clock of all processes of the rig: so many seconds from the right time."""
    folder = rig.folder / "clock"
    folder.mkdir()

    def set_to(offset: float) -> None:
        (folder / "new").write_text(str(offset), encoding="ascii")
        os.replace(folder / "new", folder / "offset")

    set_to(0)
    (folder / "sitecustomize.py").write_text(_STEPPED, encoding="utf-8")
    rig.fresh = True  # Python reads that file as it starts
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    return set_to


def job_status(rig: Rig) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(rig.snowsync("status", "JOB", "--json").stdout)["jobs"][0]
    return found


def test_a_clock_that_is_set_stops_nothing_and_tells_nothing_wrong(rig: Rig, step: Callable[[float], None]) -> None:
    """It begins in 1970, so that stores refuse every signature; later it is a year ahead, a year behind, and right."""
    step(3600 - time.time())
    for number in range(20):
        rig.source.put(SOURCE, f"object-{number:02}", os.urandom(300))
    process = rig.start()
    wait_until(lambda: any(line["code"] == "RequestTimeTooSkewed" for line in rig.source.log()), "the refusal")
    wait_until(lambda: "set this host's clock (NTP)" in rig.snowsync("status", "JOB").stdout, "the reason")
    rig.source.set_switches(check_skew=False)  # what the store thinks of the clock is not the question from here on
    rig.destination.set_switches(check_skew=False)
    rig.destination.listener("refuse")
    wait_until(lambda: rig.source.count("GetObject") == 20, "all are fetched")
    for offset in (365 * _DAY, -365 * _DAY, 0):
        step(offset)
        found = job_status(rig)
        assert [unit["state"] for unit in found["units"]] == ["running", "running"]
        assert all(0 <= rate["objects"] <= 20 for rate in found["rates"].values())
    rig.destination.listener("open")
    _out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    rig.assert_delivered()
    assert rig.source.count("GetObject") == 20
    report = rig.snowsync("report", "JOB").stdout
    assert "volumes to destination       20" in report
    assert "(-" not in report
