# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The next step of a software update, from the device's state and our own records. No side effects here.

The device reports its InstallState, so an interrupted run continues from the device's state. It does not report how
often it was restarted since the installation, nor which services ran before. These are in the memory, kept in a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.model import UNLOCKED, Software

# A device is restarted twice after an installation, and unlocked after each (AWS: "reboot, unlock, reboot, unlock").
REBOOTS = 2
# One more is tried if the device still asks for it, because the count may include a restart that came too early.
MOST_REBOOTS = 3

BUSY = ("DOWNLOADING", "DECRYPTING", "INSTALLING")
FAILED = ("DOWNLOAD_FAILED", "DECRYPT_FAILED", "INSTALL_FAILED")
INSTALLATION = ("DOWNLOADED", "INSTALLING", "REQUIRE_REBOOT")


class Step(Enum):
    WAIT_FOR_BOOT = "wait for the device to respond"
    NOTE_REBOOT = "record the restart"
    UNLOCK = "unlock"
    FETCH = "fetch"
    DOWNLOAD = "download"
    WAIT = "wait for the device to finish"
    STOP_SERVICES = "stop_services"
    INSTALL = "install"
    REBOOT = "reboot"
    START_SERVICES = "start_services"
    FINISH = "record the installation"
    FAIL = "fail"
    NOTHING = "nothing"


# The steps that are reported to the user. The others wait or update the records.
TOLD = (
    Step.UNLOCK,
    Step.FETCH,
    Step.DOWNLOAD,
    Step.STOP_SERVICES,
    Step.INSTALL,
    Step.REBOOT,
    Step.START_SERVICES,
)


@dataclass(frozen=True)
class Memory:
    """Our own records of an update, kept in the state file.

    `target` is the version that is being installed, once the device has reported it. `services` are those to start
    again, each with its settings. `is_rebooting` is set before a restart is requested and cleared after it was
    observed. `done` means that `target` was installed from the update `source`.
    """

    target: str = ""
    services: Mapping[str, Any] = field(default_factory=dict)
    install_sent: bool = False
    reboots: int = 0
    is_rebooting: bool = False
    done: bool = False
    source: str = ""

    @property
    def is_under_way(self) -> bool:
        return self.install_sent and not self.done

    @property
    def may_be_booting(self) -> bool:
        return self.is_rebooting or (self.is_under_way and self.reboots > 0)

    def seeing(self, software: Software) -> Memory:
        """Adds what the device reports, even if someone else started the installation."""
        if software.state not in INSTALLATION:
            return self
        memory = Memory(services=self.services, source=self.source) if self.done else self
        begun = memory.install_sent or software.state != "DOWNLOADED"
        return replace(memory, target=software.installing or memory.target, install_sent=begun)


@dataclass(frozen=True)
class Goal:
    """The target: `version` or a later one, "" for the one in `source`.

    `is_forced` reinstalls the same version. `must_fetch` means that the file is not complete on this host yet.
    """

    version: str = ""
    source: str = ""
    is_forced: bool = False
    must_fetch: bool = False


@dataclass(frozen=True)
class Seen:
    """The device now: `state` is "" if it does not respond; `software` is None unless it is unlocked; `running` are the
    services that must be stopped before an installation, set only when one is due."""

    state: str
    software: Software | None = None
    running: tuple[str, ...] = ()


@dataclass(frozen=True)
class Done:
    """The steps of this run: a step that failed is not tried twice in one run."""

    steps: tuple[Step, ...] = ()

    def __contains__(self, step: Step) -> bool:
        return step in self.steps

    def since_finish(self, step: Step) -> bool:
        last = max((number for number, each in enumerate(self.steps) if each is Step.FINISH), default=-1)
        return step in self.steps[last + 1 :]

    def and_then(self, step: Step) -> Done:
        return Done((*self.steps, step))


def next_step(seen: Seen, memory: Memory, goal: Goal, done: Done) -> Step:
    """The next step; NOTHING if the goal is reached, FAIL if retrying would not help."""
    if not seen.state:
        return Step.WAIT_FOR_BOOT
    if memory.is_rebooting:
        return Step.REBOOT if seen.state == UNLOCKED else Step.NOTE_REBOOT
    if seen.state != UNLOCKED or seen.software is None:
        return Step.UNLOCK
    state = seen.software.state
    if state in BUSY:
        return Step.WAIT
    if state in FAILED:
        return _after_failure(memory, goal, done)
    if state == "DOWNLOADED":
        return _downloaded(seen, seen.software, memory, goal, done)
    if state == "REQUIRE_REBOOT":
        return Step.REBOOT if memory.reboots < MOST_REBOOTS else _give_up(memory, done)
    return _at_rest(seen.software, memory, goal, done) if state == "NA" else Step.FAIL


def _after_failure(memory: Memory, goal: Goal, done: Done) -> Step:
    """A failure in this run is final; an earlier failure is retried once, starting with the download."""
    if done.since_finish(Step.DOWNLOAD) or done.since_finish(Step.INSTALL):
        return _give_up(memory, done)
    return Step.FETCH if goal.must_fetch else Step.DOWNLOAD


def _give_up(memory: Memory, done: Done) -> Step:
    """A device that keeps its old version gets its services back."""
    return Step.START_SERVICES if memory.services and Step.START_SERVICES not in done else Step.FAIL


def _downloaded(seen: Seen, software: Software, memory: Memory, goal: Goal, done: Done) -> Step:
    if _is_same(software) and not goal.is_forced and not memory.install_sent:
        return Step.START_SERVICES if memory.services else _reached(software, goal)
    if done.since_finish(Step.INSTALL):
        return _give_up(memory, done)
    return Step.STOP_SERVICES if seen.running else Step.INSTALL


def _is_same(software: Software) -> bool:
    return bool(software.installing) and software.installing == software.installed


def _reached(software: Software, goal: Goal) -> Step:
    return Step.NOTHING if not goal.version or is_at_least(software.installed, goal.version) else Step.FAIL


def _at_rest(software: Software, memory: Memory, goal: Goal, done: Done) -> Step:
    """NA: before an update, between the two restarts, or after it."""
    if memory.is_under_way and 0 < memory.reboots < REBOOTS:
        return Step.REBOOT
    if memory.is_under_way and memory.target in ("", software.installed):
        # Also if someone else restarted it twice, or if the version was the same.
        return Step.START_SERVICES if memory.services else Step.FINISH
    if memory.is_under_way and memory.reboots >= REBOOTS:
        return _give_up(memory, done)
    if is_reached(software, memory, goal, done):
        return Step.START_SERVICES if memory.services else Step.NOTHING
    if Step.DOWNLOAD in done:
        return _give_up(memory, done)
    return Step.FETCH if goal.must_fetch else Step.DOWNLOAD


def is_reached(software: Software, memory: Memory, goal: Goal, done: Done) -> bool:
    """Whether nothing has to be installed."""
    if goal.is_forced:
        return Step.FINISH in done
    if goal.version:
        return is_at_least(software.installed, goal.version)
    return memory.done and memory.target == software.installed and memory.source == goal.source


def is_at_least(installed: str, wanted: str) -> bool:
    """All known versions are whole numbers; any others must be equal."""
    if installed.isdecimal() and wanted.isdecimal():
        return int(installed) >= int(wanted)
    return installed == wanted


# -- check mode -----------------------------------------------------------------------------------------------------


def forecast(seen: Seen, memory: Memory, goal: Goal, most: int = 60) -> list[Step]:
    """The steps to the goal if nothing fails; the steps after an unlock cannot be predicted."""
    steps: list[Step] = []
    done = Done()
    for _turn in range(most):
        if seen.software:
            memory = memory.seeing(seen.software)
        step = next_step(seen, memory, goal, done)
        if step in (Step.NOTHING, Step.FAIL):
            break
        steps.append(step)
        if seen.software is None and step in (Step.UNLOCK, Step.WAIT_FOR_BOOT, Step.NOTE_REBOOT):
            return [Step.UNLOCK]
        done = done.and_then(step)
        seen, memory, goal = _after(step, seen, memory, goal)
    return [step for step in steps if step in TOLD]


def _after(step: Step, seen: Seen, memory: Memory, goal: Goal) -> tuple[Seen, Memory, Goal]:
    """Device, memory and goal after a successful step."""
    software = seen.software or Software("")
    if step is Step.FETCH:
        goal = replace(goal, must_fetch=False)
    elif step is Step.STOP_SERVICES:
        memory = replace(memory, services=dict.fromkeys(seen.running))
        seen = replace(seen, running=())
    elif step is Step.START_SERVICES:
        memory = replace(memory, services={})
    elif step is Step.FINISH:
        memory = replace(memory, done=True, source=goal.source)
    elif step is Step.INSTALL:
        memory = replace(memory, install_sent=True)
    elif step in (Step.REBOOT, Step.NOTE_REBOOT):
        memory = replace(memory, reboots=memory.reboots + 1, is_rebooting=False)
        seen = replace(seen, state="LOCKED")
    elif step is Step.UNLOCK:
        seen = replace(seen, state=UNLOCKED)
    return replace(seen, software=_software_after(step, software, memory, goal)), memory, goal


def _software_after(step: Step, software: Software, memory: Memory, goal: Goal) -> Software:
    if step is Step.DOWNLOAD:
        return replace(software, state="DOWNLOADING", installing=goal.version or "the new one")
    if step is Step.INSTALL:
        return replace(software, state="INSTALLING")
    if step is Step.WAIT:
        return replace(software, state="REQUIRE_REBOOT" if software.state == "INSTALLING" else "DOWNLOADED")
    if step is Step.REBOOT and memory.reboots >= REBOOTS:
        return replace(software, state="NA", installed=software.installing or software.installed, installing="")
    return software
