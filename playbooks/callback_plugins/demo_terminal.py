# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demonstration shows on the terminal besides Ansible's own lines.

A task with the variable ``demo_watch`` runs under ``snowsync watch``: a live display on a terminal, a line every two
seconds in a log. A task with the variable ``demo_print`` shows its standard output as it is.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: demo_terminal
type: notification
short_description: live progress and plain text for the demonstration
version_added: 0.1.0
description: Acts on the tasks of the playbook demo.yml that ask for it, and on no others.
"""

GRACE_SECONDS = 5


class Watcher:
    """Runs ``snowsync watch`` on this process's standard output, from the moment there is a ledger to look at."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        ledger = self._folder / "state" / "ledger.db"
        while not ledger.exists():
            if self._over.wait(0.1):
                return
        command = [Path(sys.executable).with_name("snowsync"), "watch", self._folder / "jobs" / "demo.yml"]
        # Ansible keeps its own standard output from its children unless they are given it.
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stdout, stderr=subprocess.DEVNULL)
        self._over.wait()
        try:
            # It ends by itself when everything has arrived, and then leaves the last state on the screen.
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()

    def end(self) -> None:
        self._over.set()
        self._thread.join()


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "demo_terminal"

    def __init__(self) -> None:
        super().__init__()
        self._folder = Path()

    def v2_playbook_on_start(self, playbook) -> None:
        self._folder = Path(playbook._basedir).resolve().parent / ".demo"

    def v2_playbook_on_task_start(self, task, is_conditional) -> None:
        if "demo_watch" in task.vars:
            sys.stdout.flush()
            watcher, display = Watcher(self._folder), self._display.display

            def end_first(*arguments, **options) -> None:
                """What Ansible says next comes after the live display, not into it."""
                self._display.display = display
                watcher.end()
                display(*arguments, **options)

            self._display.display = end_first

    def v2_runner_on_ok(self, result) -> None:
        if "demo_print" in result._task.vars:
            self._display.display(result._result.get("stdout", ""))
