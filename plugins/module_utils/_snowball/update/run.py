# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Carrying out a software update: looking at the device, taking the next step, remembering it before and after.

The memory is written before a step that must not be forgotten, so that a run that is killed at any moment leaves all
that the next one needs to go on.
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

# The client answers before the device begins, so the state may be the old one for some answers more.
STILL_ANSWERS = 3
MOST_STEPS = 100
SILENT = (Unreachable, CommandTimedOut)


class UpdateFailed(SnowballError):
    trouble = "update_failed"
    mend = "Run the task again to try it once more; if it fails again, give AWS Support the logs of the device"


class StateFileDamaged(Misconfigured):
    trouble = "damaged_file"
    mend = (
        "If no update of this device is under way, remove the file; else restore it, as it names the services that are "
        "to be started again"
    )


_MENDS = {
    "DOWNLOAD_FAILED": "Look whether the host that runs the client stays connected to the device, then run it again",
    "DECRYPT_FAILED": "The file is damaged or belongs to another job: run the task again with the update of this job",
    "INSTALL_FAILED": UpdateFailed.mend,
    "REQUIRE_REBOOT": "Restart the device once more by hand; if that does not help, ask AWS Support",
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
        raise ValueError("it is no mapping as this module writes it")
    return document


@dataclass
class Update:
    """One run. `download` is None when the file is there, or when the device gets the update by itself."""

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
        """Takes steps until the goal is reached; raises SnowballError or DownloadError."""
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
        raise UpdateFailed("update the software", self.client.name, f"no end after {MOST_STEPS} steps")

    def forecast(self) -> list[Step]:
        """What `run` would do; the device is asked, and nothing is changed."""
        self.memory = self.notebook.read()
        return forecast(self.look(remember=False), self.memory, self.goal)

    def told(self) -> list[str]:
        """The steps of this run as a user is told of them."""
        steps = [step for step in self.done.steps if step in TOLD]
        return [step.value for step in steps if step is not Step.FETCH or self.fetched]

    def look(self, remember: bool = True) -> Seen:
        """The device now. It may be silent only while it boots because of us."""
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
        """A device with a connection knows what is the latest; it decides when nothing else names a version."""
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
            return  # the device is offline, or says so in words that nobody knows; the file is there
        if not self.path or is_at_least(software.installed, latest):
            self.goal = replace(self.goal, version=latest)

    def remember(self, **changes: Any) -> None:
        self.memory = self.notebook.write(replace(self.memory, **changes))

    def failure(self) -> UpdateFailed:
        """Why trying on would not help."""
        software = self.software or Software("")
        cause = f"InstallState is {software.state or 'not told'}"
        if software.state == "DECRYPT_FAILED" and self.download:
            self.download.forget()
        if software.state in ("NA", "DOWNLOADED"):
            wanted = self.memory.target or self.goal.version or "another one"
            cause = f"version {software.installed} is installed and not {wanted}, in state {software.state}"
        if software.error:
            cause += f": {software.error}"
        mend = _MENDS.get(software.state, UpdateFailed.mend)
        return UpdateFailed("update the software", self.client.name, cause, mend)

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
        """The client reads the whole file, so it may take as long as a wait."""
        if self.path and not os.path.isfile(self.path):
            raise Misconfigured("download the update", self.client.name, f"there is no file {self.path}")
        self.memory = self.notebook.write(Memory(services=self.memory.services, source=self.goal.source))
        uri = f"file://{quote(self.path)}" if self.path else ""
        limit = max(self.patience.timeout, self.client.command_timeout)
        self._order(lambda: self.client.download_updates(uri, timeout=limit))

    def install(self) -> None:
        self.remember(install_sent=True)
        self._order(self.client.install_updates)

    def _order(self, send: Any) -> None:
        """Sends a command and sees it begin; one that the device took in a run before is not an error."""
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
            doing=f"see it leave {was}",
            device=self.client.name,
            show=lambda software: software.state,
        )

    def wait(self) -> None:
        """Until the state is one to act upon; a device that was locked in between is unlocked first."""
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
        # What somebody else installed, or this did in a run before, may have left services running.
        if not self.memory.reboots and not self.memory.is_rebooting and Step.INSTALL not in self.done:
            self.remember(services={**running_services(self.client), **self.memory.services})
        self.remember(is_rebooting=True)
        self.client.reboot_device()
        self.patience.until(
            self._state_or_silence,
            lambda state: state != UNLOCKED,
            doing="see it restart",
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
