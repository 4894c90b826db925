# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The module ``volume_provision``: scan the host, plan (_volume/plan.py), act and report."""

from __future__ import annotations

import difflib
import json
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ansible_collections.edgeops.snowsync.plugins.module_utils._volume.actions import Hands, locked
from ansible_collections.edgeops.snowsync.plugins.module_utils._volume.fstab import with_line, without
from ansible_collections.edgeops.snowsync.plugins.module_utils._volume.left_alone import carries
from ansible_collections.edgeops.snowsync.plugins.module_utils._volume.look import Places, Run, look
from ansible_collections.edgeops.snowsync.plugins.module_utils._volume.model import (
    Entry,
    Machine,
    Plan,
    VolumeError,
    VolumePlan,
    Wish,
)
from ansible_collections.edgeops.snowsync.plugins.module_utils._volume.plan import plan_present
from ansible_collections.edgeops.snowsync.plugins.module_utils._volume.remove import plan_removed


@dataclass
class Outcome:
    """What was done, or would be done: `done` holds the steps, `problems` the failures, each of one volume."""

    machine: Machine
    wish: Wish
    plan: Plan
    done: list[str] = field(default_factory=list)
    problems: list[VolumeError] = field(default_factory=list)
    failed: set[str] = field(default_factory=set)

    def as_result(self) -> dict[str, Any]:
        return {
            "changed": bool(self.done),
            "steps": self.done,
            "volumes": [self._volume(volume) for volume in self.plan.volumes],
            "left_alone": [{"device": device, "reason": reason} for device, reason in self.plan.left_alone],
        }

    def _volume(self, volume: VolumePlan) -> dict[str, Any]:
        entry = volume.entry
        return {
            "name": entry.name,
            "path": entry.path,
            "device": volume.device,
            "disk": entry.disk,
            "size": volume.size,
            "filesystem": entry.filesystem,
            "filesystem_uuid": entry.filesystem_uuid,
            "identity": entry.identity,
            "state": self._state(volume),
            "was": volume.state,
        }

    def _state(self, volume: VolumePlan) -> str:
        if volume.entry.name in self.failed:
            return "failed"
        if self.wish.state == "present":
            return "missing" if volume.state == "missing" else "ready"
        return self.wish.state

    def warnings(self) -> Iterator[str]:
        for volume in self.plan.volumes:
            entry = volume.entry
            if self.wish.state == "present" and volume.state == "missing":
                gone = f"The disk of {entry.name} ({entry.disk}) is missing from this host"
                yield f"{gone}; `state: absent` takes it out of use"
            if entry.name in self.machine.folders:
                yield f"{entry.path} held files while nothing was mounted there: they are now hidden below the mount"

    def diff(self) -> list[dict[str, str]]:
        """Two diffs: the devices that are changed, and fstab."""
        before, after = self.machine.fstab, self.machine.fstab
        for step in self.plan.steps:
            after = with_line(after, step.entry.path, step.line) if step.do == "fstab" else after
            source = f"UUID={step.entry.filesystem_uuid}"
            after = without(after, step.entry.path, source) if step.do == "fstab_out" else after
        devices = [volume for volume in self.plan.volumes if volume.steps]
        return [
            {
                "before_header": "volumes",
                "after_header": "volumes",
                "before": "".join(f"{self._before(volume)}\n" for volume in devices),
                "after": "".join(f"{self._after(volume)}\n" for volume in devices),
            },
            {
                "before_header": "fstab",
                "after_header": "fstab",
                "before": _changed_lines(before, after, "-"),
                "after": _changed_lines(before, after, "+"),
            },
        ]

    def _before(self, volume: VolumePlan) -> str:
        if volume.state != "new":
            return f"{volume.device or volume.entry.disk}: {volume.entry.name}, {volume.state}"
        disk = next(found for disk in self.machine.disks for found in disk.family() if found.path == volume.device)
        return f"{volume.device}: {carries(disk) or 'blank'}"

    def _after(self, volume: VolumePlan) -> str:
        entry, device = volume.entry, volume.device or volume.entry.disk
        if self.wish.state == "present":
            return f"{device}: {entry.name}, {entry.filesystem}, mounted at {entry.path}"
        return f"{device}: {'blank' if self.wish.state == 'wiped' else f'{entry.name}, taken out of use'}"


def _changed_lines(before: str, after: str, sign: str) -> str:
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return "".join(f"{line[2:]}\n" for line in lines if line.startswith(f"{sign} "))


def provision(
    run: Run,
    wish: Wish,
    *,
    check: bool,
    command: str,
    places: Places | None = None,
    move: Callable[[str, str], None] = os.rename,
) -> Outcome:
    """Bring a host's volumes to the desired state, or predict the steps. VolumeError: nothing was changed."""
    places = places or Places()
    ask = partial(vouch, run, command, places.ledgers)
    if check:
        outcome = _decide(look(run, wish, places), wish, lambda: "TO-BE-MADE")
        hands = Hands(run, wish, outcome.machine, places, ask, only_looks=True)
        for volume in outcome.plan.volumes:
            _ask(hands, volume, outcome)
        return outcome
    with locked(places):
        outcome = _decide(look(run, wish, places), wish, lambda: str(uuid.uuid4()))
        hands = Hands(run, wish, outcome.machine, places, ask, move)
        hands.prepare(outcome.plan.steps)
        outcome.done.clear()
        for volume in outcome.plan.volumes:
            _act(hands, volume, outcome)
    return outcome


def _decide(machine: Machine, wish: Wish, new_uuid: Callable[[], str]) -> Outcome:
    plan = plan_present(machine, wish, new_uuid) if wish.state == "present" else plan_removed(machine, wish)
    return Outcome(machine, wish, plan, [str(step) for step in plan.steps], list(plan.problems))


def _ask(hands: Hands, volume: VolumePlan, outcome: Outcome) -> None:
    """The part that check mode can do as well: check whether a volume may be wiped."""
    try:
        for step in volume.steps[:1]:
            if step.do == "vouch":
                hands.do(step)
    except VolumeError as error:
        outcome.problems.append(error)
        outcome.failed.add(volume.entry.name)


def _act(hands: Hands, volume: VolumePlan, outcome: Outcome) -> None:
    """Process one volume; a failure does not affect the others."""
    for step in volume.steps:
        try:
            hands.do(step)
        except VolumeError as error:
            outcome.problems.append(error)
            outcome.failed.add(volume.entry.name)
            return
        outcome.done.append(str(step))


def vouch(run: Run, command: str, ledgers: str, entry: Entry) -> None:
    """Check in the ledgers of this host whether the volume still holds anything needed; VolumeError if it does."""
    if not os.access(command, os.X_OK):
        if any(os.path.exists(f"{ledgers}/{name}/ledger.db") for name in _names(ledgers)):
            raise VolumeError(
                "wipe",
                entry.name,
                f"there are ledgers below {ledgers}, but there is no {command} to query them",
                "Set `executable`",
            )
        return
    code, printed, error = run([command, "volumes", "--json"])
    if code != 0:
        raise VolumeError("query the ledgers of this host about", entry.name, error or f"exit code {code}")
    try:
        problems = list(needed(json.loads(printed), entry))
    except (ValueError, KeyError, TypeError) as problem:
        raise VolumeError(
            "query the ledgers of this host about", entry.name, f"the output of {command} cannot be parsed ({problem})"
        ) from problem
    for problem in problems:
        raise VolumeError(
            "wipe",
            entry.name,
            problem,
            "Empty it with `snowsync evacuate` or `snowsync drain`, and wait until it is empty",
        )


def needed(answer: Any, entry: Entry) -> Iterator[str]:
    """Why jobs still need a volume, from the output of ``snowsync volumes --json``."""
    for job in answer if isinstance(answer, list) else [answer]:
        for volume in job["volumes"]:
            count = max(volume["staged_objects"], volume["undelivered_objects"])
            if volume["identity"] == entry.identity and count:
                yield f"it holds {count} object{'s' * (count != 1)} of job {job['job']}"


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []
