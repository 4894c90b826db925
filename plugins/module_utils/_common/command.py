# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Calling the host's command ``snowsync`` for one job: the user, the arguments and the result."""

from __future__ import annotations

import json
import os
import pwd
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ansible_collections.edgeops.snowsync.plugins.module_utils._common.result import CANNOT_START, CommandFailed

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

CREDENTIALS_ROOT = "/etc/snowsync/credentials"
STATE_ROOT = "/var/lib/snowsync"
SIDES = ("source", "destination")


@dataclass(frozen=True)
class JobCommand:
    """The command for one job: `job` is a name or the path of a job file, `user` runs it (empty: the task's user)."""

    module: AnsibleModule
    executable: str
    jobs_dir: str
    job: str
    user: str

    def call(self, command: str, *arguments: str) -> dict[str, Any]:
        """Runs ``snowsync COMMAND JOB ARGUMENTS --json`` and returns its document; raises CommandFailed."""
        words = [self.executable, "--jobs-dir", self.jobs_dir, command, self.job, *arguments, "--json"]
        try:
            code, stdout, stderr = self.module.run_command(
                as_user(self.user, self.job) + words, handle_exceptions=False
            )
        except OSError as error:
            raise CommandFailed(command, self.job, CANNOT_START, {}, f"{error.filename}: {error.strerror}") from error
        document = _document(stdout)
        if code != 0 or document is None:
            raise CommandFailed(command, self.job, code, document or {}, stderr)
        return document


def from_parameters(module: AnsibleModule) -> JobCommand:
    """The command for the module's options; an inline configuration becomes a file that only its owner can read."""
    options = module.params
    job = options["job"] or _write_config(module, options["config"])
    user = options["user"] or (state_owner(job) if options["job"] else "")
    return JobCommand(module, options["executable"], options["jobs_dir"], job, user)


def _write_config(module: AnsibleModule, config: dict[str, Any]) -> str:
    # JSON is YAML, and mkstemp makes the file 0600.
    descriptor, path = tempfile.mkstemp(suffix=".yml", dir=module.tmpdir)
    module.add_cleanup_file(path)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(config, file, indent=2)
    return path


def state_owner(job: str) -> str:
    """The owner of a job's state if root runs the task, else "": root must leave no files that the units cannot use."""
    if os.geteuid() != 0:
        return ""
    try:
        owner = os.stat(os.path.join(STATE_ROOT, job)).st_uid
        return pwd.getpwuid(owner).pw_name if owner else ""
    except (FileNotFoundError, NotADirectoryError, KeyError):
        return ""


def as_user(user: str, job: str) -> list[str]:
    """The prefix that runs a command as `user`, with the job's credentials passed in the same way as to the units."""
    if not user:
        return []
    files = ((side, os.path.join(CREDENTIALS_ROOT, job, side)) for side in SIDES)
    return [
        "systemd-run",
        "--quiet",
        "--pipe",
        "--wait",
        "--collect",
        f"--description=snowsync job {job}, one run",
        f"--uid={user}",
        *(f"--property=LoadCredential={side}:{path}" for side, path in files if os.path.exists(path)),
        "--",
    ]


def _document(stdout: str) -> dict[str, Any] | None:
    try:
        document = json.loads(stdout)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
