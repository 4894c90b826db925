# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Helpers shared by the commands."""

from __future__ import annotations

import argparse
import json
import os
from typing import TYPE_CHECKING

from ..core.keys import readable

if TYPE_CHECKING:
    from ..config.job_file import Job

EXIT_NOT_DRAINED = 124


def load_named_job(parsed: argparse.Namespace) -> Job:
    """The job that the command line names. Raises ConfigError."""
    from ..config.job_file import job_path, load_job

    return load_job(job_path(parsed.job, parsed.jobs_dir))


def become_owner(job: Job) -> None:
    """Switch to the owner of the job's state directory: its units could not use files created by root."""
    import pwd

    try:
        owner = job.state_path.stat()
    except OSError:
        return  # no state yet, so no other owner
    if os.geteuid() != 0 or owner.st_uid == 0:
        return
    try:
        os.initgroups(pwd.getpwuid(owner.st_uid).pw_name, owner.st_gid)
    except KeyError:
        os.setgroups([owner.st_gid])
    os.setgid(owner.st_gid)
    os.setuid(owner.st_uid)


def print_json(document: object) -> None:
    # ASCII only, so that the document is valid whatever the terminal's encoding is.
    print(json.dumps(_readable(document), indent=2, default=str))


def _readable(value: object) -> object:
    """The document without lone surrogates, which stand for bytes that are not UTF-8: few JSON parsers accept them."""
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, dict):
        return {_readable(name): _readable(each) for name, each in value.items()}
    return [_readable(each) for each in value] if isinstance(value, list | tuple) else value
