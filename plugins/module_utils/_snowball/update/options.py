# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""From the options of snowball_update to a run, and from a run to the module's result."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ansible_collections.edgeops.snowsync.plugins.module_utils._common.argspec import ArgumentSpec
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.access import Access
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.argspec import WAIT
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.client import SnowballClient
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.errors import Misconfigured
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.update.download import Download
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.update.link import update_link, version_in
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.update.run import Notebook, Update
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.update.steps import Goal
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.wait import patience_of

FILE_NAME = "offline-updates"  # as AWS calls it
UPDATE = ArgumentSpec(
    {
        "job_id": {"type": "str"},
        "url": {"type": "str", "no_log": True},
        "path": {"type": "path"},
        "version": {"type": "str"},
        "force": {"type": "bool", "default": False},
        "device_ips": {"type": "list", "elements": "str", "default": []},
        "state_file": {"type": "path"},
        "delete_file": {"type": "bool", "default": False},
        # A boot takes 10 minutes, 20 in a cluster, and an installation longer.
        "timeout": {**WAIT.options["timeout"], "default": 3600.0},
    },
    mutually_exclusive=[("job_id", "url")],
)


def update_of(client: SnowballClient, options: Mapping[str, Any]) -> Update:
    """The run for the options; raises SnowballError."""
    path = file_of(options, client)
    notebook = Notebook(client, state_file_of(options, path, client.access))
    memory = notebook.read()
    # A link may have expired, and is not needed if the device already has the update.
    needs_link = _has_link(options) and not memory.is_under_way
    link = Link(options, client) if needs_link else None
    source = memory.source
    version = options["version"] or ""
    if link:
        first = link.first
        source, version = without_query(first), version or version_in(first)
    elif path and not _has_link(options):
        source = identity_of(path) or memory.source
    fetch = _has_link(options)
    download = Download(path, link or Link(options, client)) if fetch else None
    goal = Goal(version, source, options["force"], must_fetch=fetch)
    return Update(client, notebook, patience_of(options), goal, path, download)


def _has_link(options: Mapping[str, Any]) -> bool:
    return bool(options["job_id"] or options["url"])


class Link:
    """The link for Download: first the known one, then a new one from AWS."""

    def __init__(self, options: Mapping[str, Any], client: SnowballClient) -> None:
        self._options = options
        self._client = client
        self._known: list[str] = []

    @property
    def first(self) -> str:
        self._known = self._known or [self._get()]
        return self._known[0]

    def __call__(self) -> str:
        return self._known.pop() if self._known else self._get()

    def _get(self) -> str:
        link = self._options["url"] or update_link(self._options, self._client.name)
        self._client.keep_secret(link)
        return link


def file_of(options: Mapping[str, Any], client: SnowballClient) -> str:
    """The path of the update on this host, "" if the device downloads it itself."""
    if options["path"]:
        path = os.path.abspath(options["path"])
        return os.path.join(path, FILE_NAME) if os.path.isdir(path) else path
    if not _has_link(options):
        return ""
    if not client.access.folder:
        raise Misconfigured("choose the file", client.name, "neither `path` nor `snowdir` is set")
    return os.path.join(client.access.folder, FILE_NAME)


def state_file_of(options: Mapping[str, Any], path: str, access: Access) -> str:
    """The state file of this device: beside the update, which the nodes of a cluster share."""
    if options["state_file"]:
        return os.path.abspath(options["state_file"])
    if not path and not access.folder:
        raise Misconfigured("choose the state file", access.name, "neither `path` nor `snowdir` is set")
    key = access.endpoint.rpartition("//")[2] or access.profile or "default"
    key = re.sub(r"[^\w.-]+", "-", key).strip("-")
    return f"{path or os.path.join(access.folder, FILE_NAME)}.{key}.json"


def without_query(link: str) -> str:
    """The link without the signature that makes it a secret."""
    parts = urlsplit(link)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def identity_of(path: str) -> str:
    """The identity of the file, "" if it does not exist."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return ""
    return f"{path} {found.st_size} {found.st_mtime_ns}"


def carry_out(update: Update, options: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Runs the update, or predicts its steps; returns the module's result."""
    if check_mode:
        steps = [step.value for step in update.forecast()]
        return result_of(update, steps) | {"changed": bool(steps)}
    update.run()
    deleted = options["delete_file"] and _delete(update.path)
    steps = update.told()
    return result_of(update, steps) | {"changed": bool(steps or deleted)}


def _delete(path: str) -> bool:
    """Deletes the file and its records; AWS requires this after the installation."""
    was_there = bool(path) and os.path.exists(path)
    for ending in ("", ".part", ".source.json", ".lock") if path else ():
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path + ending)
    return was_there


def result_of(update: Update, steps: list[str]) -> dict[str, Any]:
    """The result so far, also after a failure."""
    before, after = update.before, update.software
    return {
        "steps": steps,
        "previous_version": before.installed if before else "",
        "installed_version": after.installed if after else "",
        "install_state": after.state if after else "",
        "services_started": update.started,
        "file": update.path,
        "fetched_bytes": update.fetched,
        "state_file": update.notebook.path,
    }


def diff_of(result: Mapping[str, Any], check_mode: bool, wanted: str) -> dict[str, Any]:
    """The version before and after."""
    expected = wanted or "the new one" if check_mode and "install" in result["steps"] else result["installed_version"]
    return {
        "before": {"installed_version": result["previous_version"]},
        "after": {"installed_version": expected},
    }
