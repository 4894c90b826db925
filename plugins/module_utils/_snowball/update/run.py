# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Performs a software update: queries the device, performs the next step, records it before and after.

The memory is written before each step that must be recorded, so that a run that is killed at any time leaves
everything that the next run needs to continue.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from urllib.parse import quote

from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball import shared_files
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.client import SnowballClient
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.errors import (
    CommandTimedOut,
    Misconfigured,
    SnowballError,
    Unreachable,
    WrongState,
    WrongUpdateState,
)
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.model import UNLOCKED, Software
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.unlock import (
    ensure_unlocked,
    find_devices,
    state_of,
)
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.update.download import Download
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.update.services import (
    running_services,
    start_services,
    stop_services,
)
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.update.steps import (
    BUSY,
    TOLD,
    Done,
    Goal,
    Memory,
    Seen,
    Step,
    forecast,
    is_at_least,
    next_step,
)
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.wait import Patience

# The client returns before the device starts the operation, so the state may be the old one for a few more queries.
STILL_ANSWERS = 3
MOST_STEPS = 100
SILENT = (Unreachable, CommandTimedOut)


class UpdateFailed(SnowballError):
    trouble = "update_failed"
    fix = "Run the task again; if it fails again, send the logs of the device to AWS Support"


class StateFileDamaged(Misconfigured):
    trouble = "damaged_file"
    fix = (
        "If no update of this device is in progress, remove the file; otherwise restore it, because it lists the "
        "services to start again"
    )


_FIXES = {
    "DOWNLOAD_FAILED": "Check that the host that runs the client stays connected to the device, then run it again",
    "DECRYPT_FAILED": "The file is damaged or belongs to another job: run the task again with the update of this job",
    "INSTALL_FAILED": UpdateFailed.fix,
    "REQUIRE_REBOOT": "Restart the device manually once more; if that does not help, contact AWS Support",
}


@dataclass(frozen=True)
class Notebook:
    """The memory of one device's update, in a file."""

    client: SnowballClient
    path: str

    def read(self) -> Memory:
        text = shared_files.read_text(self.path)
        try:
            return Memory() if text is None else Memory(**_plain(json.loads(text)))
        except (ValueError, TypeError) as error:
            cause = f"{self.path}: {error}"
            raise StateFileDamaged("read the state of the update", self.client.name, cause) from error

    def write(self, memory: Memory) -> Memory:
        text = json.dumps(asdict(memory), indent=2) + "\n"
        change = shared_files.change_of(self.path, shared_files.read_text(self.path), text, shared_files.PRIVATE)
        if change.needed:
            shared_files.apply(self.client.module, change)
        return memory


def _plain(document: Any) -> dict[str, Any]:
    if not isinstance(document, dict) or not isinstance(document.get("services", {}), dict):
        raise ValueError("it is not a mapping written by this module")
    return document


@dataclass
class Update:
    """One run. `download` is None if the file exists, or if the device downloads the update itself."""

    client: SnowballClient
    notebook: Notebook
    patience: Patience
    goal: Goal
    path: str = ""
    download: Download | None = None
    done: Done = field(default_factory=Done)
    memory: Memory = field(default_factory=Memory)
    has_asked: bool = False
    fetched: int = 0
    started: list[str] = field(default_factory=list)
    before: Software | None = None
    software: Software | None = None

    def run(self) -> None:
        """Performs steps until the goal is reached; raises SnowballError or DownloadError."""
        self.memory = self.notebook.read()
        for _turn in range(MOST_STEPS):
            seen = self.look()
            step = next_step(seen, self.memory, self.goal, self.done)
            if step is Step.NOTHING:
                return
            if step is Step.FAIL:
                raise self.failure()
            EFFECTS[step](self)
            self.done = self.done.and_then(step)
        raise UpdateFailed("update the software", self.client.name, f"not finished after {MOST_STEPS} steps")

    def forecast(self) -> list[Step]:
        """The steps that `run` would perform; the device is queried and not changed."""
        self.memory = self.notebook.read()
        return forecast(self.look(remember=False), self.memory, self.goal)

    def told(self) -> list[str]:
        """The steps of this run that are reported to the user."""
        steps = [step for step in self.done.steps if step in TOLD]
        return [step.value for step in steps if step is not Step.FETCH or self.fetched]

    def look(self, remember: bool = True) -> Seen:
        """The device now. It may be unresponsive only during a restart of ours."""
        try:
            seen = self._ask()
        except SILENT:
            if not self.memory.may_be_booting:
                raise
            return Seen("")
        if seen.software:
            self._ask_for_latest(seen.software)
            self.software = seen.software
            self.before = self.before or seen.software
            learned = self.memory.seeing(seen.software)
            if learned != self.memory:
                self.memory = self.notebook.write(learned) if remember else learned
        return seen

    def _ask(self) -> Seen:
        state = state_of(find_devices(self.client))
        if state != UNLOCKED:
            return Seen(state)
        try:
            software = self.client.software()
        except WrongState:
            return Seen("LOCKED")
        running = tuple(running_services(self.client)) if software.state == "DOWNLOADED" else ()
        return Seen(state, software, running)

    def _ask_for_latest(self, software: Software) -> None:
        """A device with a connection reports the latest version, which is used if no other version is given."""
        if self.goal.version or self.has_asked or software.state != "NA":
            return
        self.has_asked = True
        try:
            latest = self.client.check_for_updates().latest
        except SILENT:
            raise
        except SnowballError:
            if not self.path:
                raise
            return  # the device is offline, possibly with an unknown message; the file exists
        if not self.path or is_at_least(software.installed, latest):
            self.goal = replace(self.goal, version=latest)

    def remember(self, **changes: Any) -> None:
        self.memory = self.notebook.write(replace(self.memory, **changes))

    def failure(self) -> UpdateFailed:
        """Why retrying would not help."""
        software = self.software or Software("")
        cause = f"InstallState is {software.state or 'not reported'}"
        if software.state == "DECRYPT_FAILED" and self.download:
            self.download.forget()
        if software.state in ("NA", "DOWNLOADED"):
            wanted = self.goal.version or self.memory.target or "another one"
            cause = f"version {software.installed} is installed instead of {wanted}, in state {software.state}"
        if software.error:
            cause += f": {software.error}"
        fix = _FIXES.get(software.state, UpdateFailed.fix)
        return UpdateFailed("update the software", self.client.name, cause, fix)

    # -- the steps --

    def wait_for_boot(self) -> None:
        self.patience.until(
            lambda: find_devices(self.client), bool, doing="wait for it to boot", device=self.client.name, show=state_of
        )

    def note_reboot(self) -> None:
        self.remember(reboots=self.memory.reboots + 1, is_rebooting=False)

    def unlock(self) -> None:
        ensure_unlocked(self.client, self.patience)

    def fetch(self) -> None:
        if self.download:
            self.fetched += self.download.fetch()
        self.goal = replace(self.goal, must_fetch=False)

    def order_download(self) -> None:
        """The client reads the whole file, so this may take as long as a wait."""
        if self.path and not os.path.isfile(self.path):
            raise Misconfigured("download the update", self.client.name, f"{self.path} does not exist")
        self.memory = self.notebook.write(Memory(services=self.memory.services, source=self.goal.source))
        uri = f"file://{quote(self.path)}" if self.path else ""
        limit = max(self.patience.timeout, self.client.command_timeout)
        self._order(lambda: self.client.download_updates(uri, timeout=limit))

    def install(self) -> None:
        self.remember(install_sent=True)
        self._order(self.client.install_updates)

    def _order(self, send: Any) -> None:
        """Sends a command and waits for it to start; one that the device accepted in an earlier run is not an error."""
        was = self.software.state if self.software else ""
        try:
            send()
        except WrongUpdateState:
            if self.client.software().state == was:
                raise
            return
        answers = iter(range(STILL_ANSWERS))
        self.patience.until(
            self.client.software,
            lambda software: software.state != was or next(answers, None) is None,
            doing=f"wait for it to leave {was}",
            device=self.client.name,
            show=lambda software: software.state,
        )

    def wait(self) -> None:
        """Waits until the state needs an action; a device that was locked in between is unlocked first."""
        try:
            self.patience.until(
                self.client.software,
                lambda software: software.state not in BUSY,
                doing="wait for the download or the installation",
                device=self.client.name,
                show=lambda software: software.state,
            )
        except WrongState:
            return

    def stop_services(self) -> None:
        running = running_services(self.client)
        self.remember(services={**running, **self.memory.services})
        stop_services(self.client, running, self.patience)

    def reboot(self) -> None:
        # An installation by someone else, or by an earlier run, may have left services running.
        if not self.memory.reboots and not self.memory.is_rebooting and Step.INSTALL not in self.done:
            self.remember(services={**running_services(self.client), **self.memory.services})
        self.remember(is_rebooting=True)
        self.client.reboot_device()
        self.patience.until(
            self._state_or_silence,
            lambda state: state != UNLOCKED,
            doing="wait for it to restart",
            device=self.client.name,
        )
        self.note_reboot()

    def _state_or_silence(self) -> str:
        try:
            return state_of(find_devices(self.client))
        except SILENT:
            return ""

    def start_services(self) -> None:
        for service_id in start_services(self.client, self.memory.services, self.patience):
            self.started.append(service_id)
            left = {name: how for name, how in self.memory.services.items() if name != service_id}
            self.remember(services=left)

    def finish(self) -> None:
        self.remember(done=True, source=self.memory.source or self.goal.source)


EFFECTS: Mapping[Step, Any] = {
    Step.WAIT_FOR_BOOT: Update.wait_for_boot,
    Step.NOTE_REBOOT: Update.note_reboot,
    Step.UNLOCK: Update.unlock,
    Step.FETCH: Update.fetch,
    Step.DOWNLOAD: Update.order_download,
    Step.WAIT: Update.wait,
    Step.STOP_SERVICES: Update.stop_services,
    Step.INSTALL: Update.install,
    Step.REBOOT: Update.reboot,
    Step.START_SERVICES: Update.start_services,
    Step.FINISH: Update.finish,
}
