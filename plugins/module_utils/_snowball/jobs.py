# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The Snowball jobs of an AWS account, and their snowdirs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball import snowdirs
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.secret_files import flat_mapping, move_in

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

# Before this state AWS has no manifest for the job. After it the device is gone.
READY = "WithCustomer"
FIXES = {
    "AccessDeniedException": "Allow snowball:ListJobs, snowball:GetJobManifest and snowball:GetJobUnlockCode",
    "InvalidJobStateException": f"AWS provides manifest and code only while the job is {READY}: wait for its arrival",
    "InvalidResourceException": "Check the job ID and the region: a job belongs to the region it was ordered in",
}


class SnowjobError(Exception):
    """Names the operation, the job, the cause and the fix; never contains a code or a presigned URL."""


@dataclass(frozen=True)
class Wanted:
    """A desired snowdir: `endpoint` is "" if the address is not known yet."""

    job_id: str
    name: str
    endpoint: str = ""


@dataclass(frozen=True)
class Account:
    """The account of a boto3 client; `errors` are the exceptions of boto3, `download` gets the content of a URL."""

    client: Any
    errors: tuple[type[Exception], ...]
    download: Callable[[str], bytes]
    keep_secret: Callable[[str], object]

    def ready(self) -> list[str]:
        """The IDs of all jobs whose device is with the customer."""
        with self._asking("list the jobs of the account"):
            pages = self.client.get_paginator("list_jobs").paginate()
            return [job["JobId"] for page in pages for job in page["JobListEntries"] if job.get("JobState") == READY]

    def code(self, job_id: str) -> str:
        with self._asking(f"get the unlock code of job {job_id}"):
            code = str(self.client.get_job_unlock_code(JobId=job_id)["UnlockCode"])
        self.keep_secret(code)
        return code

    def manifest(self, job_id: str) -> bytes:
        doing = f"get the manifest of job {job_id}"
        with self._asking(doing):
            url = str(self.client.get_job_manifest(JobId=job_id)["ManifestURI"])
        self.keep_secret(url)
        try:
            content = self.download(url)
        except Exception as error:  # urllib, ssl and ansible each raise their own
            cause = getattr(error, "code", "") or getattr(error, "reason", "") or type(error).__name__
            raise SnowjobError(f"Failed to {doing}: the download failed ({cause}). Run the task again.") from None
        if not content:
            raise SnowjobError(f"Failed to {doing}: it is empty. Run the task again.")
        return content

    def _asking(self, doing: str) -> _Asking:
        return _Asking(doing, self.errors)


class _Asking:
    """Turns boto3 exceptions into SnowjobError."""

    def __init__(self, doing: str, errors: tuple[type[Exception], ...]) -> None:
        self.doing, self.errors = doing, errors

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if isinstance(error, self.errors):
            code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
            fix = FIXES.get(code, "Check the credentials, the region and the network of the host that runs this")
            raise SnowjobError(f"Failed to {self.doing}: {error}. {fix}.") from error


@dataclass
class Written:
    """The result for one job; `kept` lists what was already in the snowdir and differs from AWS."""

    job_id: str
    name: str
    path: str
    changed: bool = False
    incomplete: bool = False
    kept: list[str] = field(default_factory=list)
    problem: str = ""

    def as_result(self) -> dict[str, Any]:
        return dict(vars(self))


def wanted_jobs(folder: str, given: list[dict[str, Any]] | None, account: Account) -> list[Wanted]:
    """The requested jobs, or all that are ready; a job that already has a snowdir keeps it under any name."""
    if given is None:
        given = [{"job_id": job_id} for job_id in account.ready()]
    homes = dict(_homes(folder))
    wanted = [
        Wanted(job["job_id"], job.get("name") or homes.get(job["job_id"], job["job_id"]), job.get("endpoint") or "")
        for job in given
    ]
    names = [each.name for each in wanted]
    wrong = sorted({name for name in names if names.count(name) > 1 or not snowdirs.NAME.fullmatch(name)})
    if wrong:
        raise SnowjobError(
            f"Failed to name the snowdirs: {', '.join(wrong)} is used twice or is not a valid host name."
        )
    return wanted


def _homes(folder: str) -> Iterator[tuple[str, str]]:
    """Job ID and snowdir of what was fetched before."""
    for name in snowdirs.names_in(folder) if os.path.isdir(folder) else []:
        for manifest in snowdirs.look(os.path.join(folder, name)).manifests:
            job_id = os.path.basename(manifest).removesuffix(f"_{snowdirs.MANIFEST_ENDING}")
            yield job_id, name


def fetch(module: AnsibleModule, folder: str, wanted: Wanted, account: Account) -> Written:
    """Writes one job into its snowdir. Conflicting content is reported as a problem and never overwritten."""
    written = Written(wanted.job_id, wanted.name, os.path.join(folder, wanted.name))
    try:
        _fill(module, written, wanted, account)
    except SnowjobError as error:
        written.problem = str(error)
    except OSError as error:
        written.problem = f"Failed to write the snowdir of job {wanted.job_id}: {error}. Check its owner and mode."
    return written


def _fill(module: AnsibleModule, written: Written, wanted: Wanted, account: Account) -> None:
    found = snowdirs.look(written.path) if os.path.isdir(written.path) else None
    content = account.manifest(wanted.job_id)
    known = [manifest for manifest in (found.manifests if found else ()) if _read(manifest) == content]
    if found and found.manifests and not known:
        names = ", ".join(os.path.basename(path) for path in found.manifests)
        raise SnowjobError(
            f"Failed to write the manifest of job {wanted.job_id}: snowdir {wanted.name} has another one ({names}), "
            f"which is never overwritten. Set another name for the job, or move {written.path} away."
        )
    path = known[0] if known else os.path.join(written.path, f"{wanted.job_id}_{snowdirs.MANIFEST_ENDING}")
    config = os.path.join(written.path, snowdirs.CONFIG_NAME)
    before = _read(config) if found and found.has_config else b""
    after = _completed(before, {"endpoint_url": wanted.endpoint, "unlock_key": account.code(wanted.job_id)}, written)
    _folders(module, written)
    _file(module, written, path, content, is_there=bool(known))
    _file(module, written, config, after, is_there=after == before)


def _completed(before: bytes, values: dict[str, str], written: Written) -> bytes:
    """sbe_config.yaml with the missing values added; existing values may be vaulted or templates, and are kept."""
    text = before.decode()
    if text.startswith("$ANSIBLE_VAULT"):
        written.kept.append(snowdirs.CONFIG_NAME)
        return before
    said = flat_mapping(text)
    for key, value in values.items():
        pattern = snowdirs.CODE if key == "unlock_key" else snowdirs.ENDPOINT
        if value and said.get(key) not in (None, value) and pattern.fullmatch(said[key]):
            written.kept.append(key)
    written.incomplete = not (said.get("endpoint_url") or values["endpoint_url"])
    missing = [f'{key}: "{value}"\n' for key, value in values.items() if value and key not in said]
    ended = text if not text or text.endswith("\n") else f"{text}\n"
    return (ended + "".join(missing)).encode() if missing else before


def _folders(module: AnsibleModule, written: Written) -> None:
    if not os.path.isdir(written.path):
        written.changed = True
        if module.check_mode:
            return
        os.makedirs(os.path.dirname(written.path), snowdirs.FOLDER_MODE, exist_ok=True)
        os.mkdir(written.path, snowdirs.FOLDER_MODE)
    written.changed = module.set_mode_if_different(written.path, snowdirs.FOLDER_MODE, written.changed)


def _file(module: AnsibleModule, written: Written, path: str, content: bytes, is_there: bool) -> None:
    if not is_there:
        written.changed = True
        if module.check_mode:
            return
        descriptor, temporary = tempfile.mkstemp(dir=module.tmpdir)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        move_in(module, temporary, path, snowdirs.FILE_MODE)
    if os.path.exists(path):
        written.changed = module.set_mode_if_different(path, snowdirs.FILE_MODE, written.changed)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
