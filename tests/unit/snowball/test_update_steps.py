# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The next step of a software update, for every state of the device and everything that may be remembered."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import run_module
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture(scope="session")
def steps() -> Any:
    return run_module.backend("_snowball.update.steps")


OLD, NEW = "118", "119"
SERVICES = {"s3-snow": {}}
UNDER_WAY = {"install_sent": True, "target": NEW}
DONE = {"install_sent": True, "target": NEW, "reboots": 2, "done": True, "source": "file"}

# state, (installed, installing), what is remembered, what is wanted, steps of this run -> next step
TABLE = [
    # nothing begun
    ("NA", (OLD, ""), {}, {"version": NEW}, "", "DOWNLOAD"),
    ("NA", (OLD, ""), {}, {"version": NEW, "must_fetch": True}, "", "FETCH"),
    ("NA", (OLD, ""), {}, {"version": NEW}, "DOWNLOAD", "FAIL"),
    ("NA", (OLD, ""), {}, {}, "", "DOWNLOAD"),
    ("NA", (NEW, ""), {}, {"version": NEW}, "", "NOTHING"),
    ("NA", ("1000", ""), {}, {"version": "999"}, "", "NOTHING"),
    ("NA", ("999", ""), {}, {"version": "1000"}, "", "DOWNLOAD"),
    ("NA", ("1.2", ""), {}, {"version": "1.3"}, "", "DOWNLOAD"),
    ("NA", (NEW, ""), {}, {"version": NEW, "is_forced": True}, "", "DOWNLOAD"),
    # left from a run before
    ("NA", (NEW, ""), {"services": SERVICES}, {"version": NEW}, "", "START_SERVICES"),
    ("NA", (NEW, ""), DONE, {"source": "file"}, "", "NOTHING"),
    ("NA", (NEW, ""), DONE, {"source": "another file"}, "", "DOWNLOAD"),
    ("NA", ("120", ""), DONE, {"source": "file"}, "", "DOWNLOAD"),
    ("NA", (NEW, ""), DONE, {"source": "file", "is_forced": True}, "", "DOWNLOAD"),
    ("NA", (NEW, ""), DONE, {"source": "file", "is_forced": True}, "DOWNLOAD FINISH", "NOTHING"),
    ("NA", (NEW, ""), DONE, {"version": "120"}, "DOWNLOAD FINISH", "FAIL"),
    ("NA", (NEW, ""), DONE, {"version": "120"}, "INSTALL FINISH", "DOWNLOAD"),
    # on the device
    ("DOWNLOADING", (OLD, NEW), {}, {}, "", "WAIT"),
    ("DECRYPTING", (OLD, NEW), {}, {}, "DOWNLOAD", "WAIT"),
    ("DOWNLOADED", (OLD, NEW), {}, {}, "DOWNLOAD WAIT", "INSTALL"),
    ("DOWNLOADED", (OLD, NEW), {}, {}, "INSTALL", "FAIL"),
    ("DOWNLOADED", (OLD, NEW), {"services": SERVICES}, {}, "INSTALL", "START_SERVICES"),
    ("DOWNLOADED", (OLD, NEW), DONE, {"version": "120"}, "INSTALL FINISH", "INSTALL"),
    ("DOWNLOADED", (NEW, NEW), {}, {}, "DOWNLOAD", "NOTHING"),
    ("DOWNLOADED", (NEW, NEW), {"services": SERVICES}, {}, "", "START_SERVICES"),
    ("DOWNLOADED", (NEW, NEW), {}, {"version": "120"}, "", "FAIL"),
    ("DOWNLOADED", (NEW, NEW), {}, {"is_forced": True}, "", "INSTALL"),
    ("INSTALLING", (OLD, NEW), UNDER_WAY, {}, "INSTALL", "WAIT"),
    ("INSTALLING", (OLD, NEW), {}, {}, "", "WAIT"),
    # what failed before is tried again, what failed now is not
    ("DOWNLOAD_FAILED", (OLD, NEW), {}, {}, "", "DOWNLOAD"),
    ("DOWNLOAD_FAILED", (OLD, NEW), {}, {"must_fetch": True}, "", "FETCH"),
    ("DOWNLOAD_FAILED", (OLD, NEW), {}, {}, "DOWNLOAD WAIT", "FAIL"),
    ("DECRYPT_FAILED", (OLD, NEW), {}, {}, "", "DOWNLOAD"),
    ("DECRYPT_FAILED", (OLD, NEW), {}, {}, "DOWNLOAD WAIT", "FAIL"),
    ("INSTALL_FAILED", (OLD, NEW), UNDER_WAY, {}, "", "DOWNLOAD"),
    ("INSTALL_FAILED", (OLD, NEW), UNDER_WAY, {}, "INSTALL WAIT", "FAIL"),
    ("INSTALL_FAILED", (OLD, NEW), {**UNDER_WAY, "services": SERVICES}, {}, "INSTALL WAIT", "START_SERVICES"),
    ("INSTALL_FAILED", (OLD, NEW), {**UNDER_WAY, "services": SERVICES}, {}, "INSTALL START_SERVICES", "FAIL"),
    # two restarts, whatever the state says in between
    ("REQUIRE_REBOOT", (OLD, NEW), UNDER_WAY, {}, "", "REBOOT"),
    ("REQUIRE_REBOOT", (OLD, NEW), {}, {}, "", "REBOOT"),
    ("REQUIRE_REBOOT", (OLD, NEW), {**UNDER_WAY, "reboots": 1}, {}, "", "REBOOT"),
    ("REQUIRE_REBOOT", (OLD, NEW), {**UNDER_WAY, "reboots": 2}, {}, "", "REBOOT"),
    ("REQUIRE_REBOOT", (OLD, NEW), {**UNDER_WAY, "reboots": 3}, {}, "", "FAIL"),
    ("REQUIRE_REBOOT", (OLD, NEW), {**UNDER_WAY, "reboots": 3, "services": SERVICES}, {}, "", "START_SERVICES"),
    ("NA", (NEW, ""), {**UNDER_WAY, "reboots": 1}, {}, "REBOOT UNLOCK", "REBOOT"),
    ("NA", (NEW, ""), {**UNDER_WAY, "reboots": 1}, {"version": NEW}, "", "REBOOT"),
    ("NA", (NEW, ""), {**UNDER_WAY, "reboots": 2}, {"version": NEW}, "", "FINISH"),
    ("NA", (NEW, ""), {**UNDER_WAY, "reboots": 2, "services": SERVICES}, {}, "", "START_SERVICES"),
    ("NA", (OLD, ""), {**UNDER_WAY, "reboots": 2}, {}, "", "FAIL"),
    ("NA", (OLD, ""), {**UNDER_WAY, "reboots": 2, "services": SERVICES}, {}, "", "START_SERVICES"),
    # somebody else restarted it twice, or the installation was lost
    ("NA", (NEW, ""), UNDER_WAY, {"version": NEW}, "", "FINISH"),
    ("NA", (OLD, ""), UNDER_WAY, {"version": NEW}, "", "DOWNLOAD"),
    # nobody knows this one
    ("FROZEN", (OLD, ""), {}, {}, "", "FAIL"),
    ("", (OLD, ""), {}, {}, "", "FAIL"),
]


def next_of(steps: Any, seen: Any, remembered: dict[str, Any], wanted: dict[str, Any], done: str) -> str:
    ran = steps.Done(tuple(steps.Step[name] for name in done.split()))
    return str(steps.next_step(seen, steps.Memory(**remembered), steps.Goal(**wanted), ran).name)


def software(steps: Any, state: str, versions: tuple[str, str]) -> Any:
    return steps.Software(installed=versions[0], installing=versions[1], state=state)


@pytest.mark.parametrize(("state", "versions", "remembered", "wanted", "done", "expected"), TABLE)
def test_next_step(
    steps: Any,
    state: str,
    versions: tuple[str, str],
    remembered: dict[str, Any],
    wanted: dict[str, Any],
    done: str,
    expected: str,
) -> None:
    seen = steps.Seen("UNLOCKED", software(steps, state, versions))
    assert next_of(steps, seen, remembered, wanted, done) == expected


def test_the_table_has_every_state_and_every_decision(steps: Any) -> None:
    from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.model import INSTALL_STATES

    assert len(INSTALL_STATES) == 9
    assert set(INSTALL_STATES) <= {row[0] for row in TABLE}
    elsewhere = {"WAIT_FOR_BOOT", "NOTE_REBOOT", "UNLOCK", "STOP_SERVICES"}
    assert {row[-1] for row in TABLE} | elsewhere == {step.name for step in steps.Step}


@pytest.mark.parametrize(
    ("state", "remembered", "expected"),
    [
        ("", {**UNDER_WAY, "is_rebooting": True}, "WAIT_FOR_BOOT"),
        ("LOCKED", {**UNDER_WAY, "is_rebooting": True}, "NOTE_REBOOT"),
        ("UNLOCKING", {**UNDER_WAY, "is_rebooting": True}, "NOTE_REBOOT"),
        ("UNLOCKED", {**UNDER_WAY, "is_rebooting": True}, "REBOOT"),
        ("LOCKED", {**UNDER_WAY, "reboots": 1}, "UNLOCK"),
        ("LOCKED", {}, "UNLOCK"),
        ("UNLOCKING", {}, "UNLOCK"),
    ],
)
def test_a_device_that_is_not_unlocked(steps: Any, state: str, remembered: dict[str, Any], expected: str) -> None:
    """A restart that was ordered, and of which nobody knows whether it came, is told by the lock."""
    seen = steps.Seen(state, software(steps, "REQUIRE_REBOOT", (OLD, NEW)) if state == "UNLOCKED" else None)
    assert next_of(steps, seen, remembered, {}, "") == expected


def test_services_are_stopped_before_the_installation(steps: Any) -> None:
    seen = steps.Seen("UNLOCKED", software(steps, "DOWNLOADED", (OLD, NEW)), running=("s3-snow",))
    assert next_of(steps, seen, {}, {}, "DOWNLOAD") == "STOP_SERVICES"


@pytest.mark.parametrize(
    ("state", "before", "after"),
    [
        ("NA", {}, {}),
        ("DOWNLOADING", {}, {}),
        ("DOWNLOADED", {}, {"target": NEW}),
        ("INSTALLING", {}, UNDER_WAY),
        ("REQUIRE_REBOOT", {"services": SERVICES}, {**UNDER_WAY, "services": SERVICES}),
        ("DOWNLOADED", {**DONE, "services": SERVICES}, {"target": NEW, "services": SERVICES, "source": "file"}),
    ],
)
def test_what_is_learned_from_the_device(steps: Any, state: str, before: dict[str, Any], after: dict[str, Any]) -> None:
    assert steps.Memory(**before).seeing(software(steps, state, (OLD, NEW))) == steps.Memory(**after)


# -- a whole run, without a device -----------------------------------------------------------------------------------

WHOLE = ["DOWNLOAD", "STOP_SERVICES", "INSTALL", "REBOOT", "UNLOCK", "REBOOT", "UNLOCK", "START_SERVICES"]


def forecast(steps: Any, seen: Any, remembered: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    told = steps.forecast(seen, steps.Memory(**remembered), steps.Goal(**wanted))
    return [step.name for step in told]


@pytest.mark.parametrize(
    ("state", "remembered", "wanted", "expected"),
    [
        ("NA", {}, {"version": NEW, "must_fetch": True}, ["FETCH", *WHOLE[:1], *WHOLE[2:7]]),
        ("DOWNLOADED", {}, {}, WHOLE[1:]),
        ("INSTALLING", {"services": SERVICES}, {}, WHOLE[3:]),
        ("REQUIRE_REBOOT", {**UNDER_WAY, "reboots": 1, "services": SERVICES}, {}, WHOLE[5:]),
        ("DECRYPT_FAILED", {}, {}, [*WHOLE[:1], *WHOLE[2:7]]),
    ],
)
def test_what_would_be_done(
    steps: Any, state: str, remembered: dict[str, Any], wanted: dict[str, Any], expected: list[str]
) -> None:
    running = ("s3-snow",) if state == "DOWNLOADED" else ()
    seen = steps.Seen("UNLOCKED", software(steps, state, (OLD, NEW)), running)
    assert forecast(steps, seen, remembered, wanted) == expected


def test_of_a_locked_device_only_the_unlocking_can_be_told(steps: Any) -> None:
    assert forecast(steps, steps.Seen("LOCKED"), {}, {"version": NEW}) == ["UNLOCK"]
    for state in ("", "LOCKED"):
        assert forecast(steps, steps.Seen(state), {**UNDER_WAY, "is_rebooting": True}, {}) == ["UNLOCK"]


memories = st.fixed_dictionaries(
    {
        "target": st.sampled_from(["", OLD, NEW]),
        "services": st.sampled_from([{}, SERVICES]),
        "install_sent": st.booleans(),
        "reboots": st.integers(0, 4),
        "is_rebooting": st.booleans(),
        "done": st.booleans(),
        "source": st.sampled_from(["", "file", "other"]),
    }
)
goals = st.fixed_dictionaries(
    {
        "version": st.sampled_from(["", OLD, NEW]),
        "source": st.sampled_from(["", "file"]),
        "is_forced": st.booleans(),
        "must_fetch": st.booleans(),
    }
)
states = st.sampled_from(sorted({row[0] for row in TABLE} - {"", "FROZEN"}))


@settings(max_examples=300, deadline=None)
@given(state=states, running=st.booleans(), remembered=memories, wanted=goals)
def test_every_beginning_comes_to_an_end(
    steps: Any, state: str, running: bool, remembered: dict[str, Any], wanted: dict[str, Any]
) -> None:
    """Whatever is found and remembered, also if it contradicts itself: no endless restarts, nothing ordered twice."""
    seen = steps.Seen("UNLOCKED", software(steps, state, (OLD, NEW)), ("nfs",) if running else ())
    told = forecast(steps, seen, remembered, wanted)
    assert len(told) <= 2 * len(WHOLE) + 4
    assert told.count("DOWNLOAD") <= 1
    assert told.count("REBOOT") <= 2 * steps.MOST_REBOOTS
    assert told.count("STOP_SERVICES") == 0 or "START_SERVICES" in told


def test_the_memory_is_what_the_state_file_holds(steps: Any) -> None:
    import json

    memory = steps.Memory(**{**UNDER_WAY, "services": SERVICES, "reboots": 1})
    assert steps.Memory(**json.loads(json.dumps(dataclasses.asdict(memory)))) == memory
