# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles volumes and dual_sync make of a host's record, with their own variables as Ansible evaluates them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import jinja2
import pytest
from role_variables import evaluated

from snowsync.config import job_file

pytestmark = pytest.mark.usefixtures("collection")

ROOT = Path(__file__).resolve().parents[3]


def entry(name: str, state: str = "ready") -> dict[str, str]:
    return {"name": name, "path": f"/srv/snowsync/{name}", "identity": f"identity of {name}", "state": state}


def record(*entries: dict[str, str]) -> dict[str, str]:
    text = json.dumps({"version": 1, "volumes": entries})
    return {"content": base64.b64encode(text.encode()).decode()}


RECORD = record(entry("volume-02", "formatted"), entry("volume-01"))
NONE: dict[str, str] = {}
JOB: dict[str, Any] = {"job": "photos", "destination": {"bucket": "archive"}, "volumes": "provisioned"}
LISTED = {
    **JOB,
    "job": "listed",
    "volumes": [
        {"name": "disk1", "path": "/mnt/disk1"},
        {"name": "disk2", "path": "/mnt/disk2", "require_mount": True},
        {"name": "folder", "path": "/srv/folder", "require_mount": False},
    ],
}


def of_jobs(variable: str, found: dict[str, str], *jobs: dict[str, Any]) -> Any:
    return evaluated("dual_sync", variable, __dual_sync_record_file=found, dual_sync_jobs=list(jobs))


def of_job(variable: str, job: dict[str, Any]) -> Any:
    known = {"__dual_sync_job": job, "dual_sync_jobs": [job], "__dual_sync_record_file": RECORD}
    return evaluated("dual_sync", variable, __dual_sync_snowball_files={"results": []}, **known)


# -- jobs ---------------------------------------------------------------------------------------------------------


def test_provisioned_is_every_volume_in_use_in_the_order_of_names() -> None:
    assert of_jobs("__dual_sync_provisioned", RECORD) == [
        {"name": "volume-01", "path": "/srv/snowsync/volume-01"},
        {"name": "volume-02", "path": "/srv/snowsync/volume-02"},
    ]


@pytest.mark.parametrize("state", ["formatting", "absent"])
def test_a_volume_that_is_not_made_or_not_wanted_is_no_volume(state: str) -> None:
    assert of_jobs("__dual_sync_provisioned", record(entry("volume-01", state))) == []


@pytest.mark.parametrize("found", [NONE, record(), record(entry("volume-01", "absent"))])
def test_a_job_without_a_volume_waits_and_no_other_does(found: dict[str, str]) -> None:
    unwanted = {"job": "gone", "state": "absent"}
    assert of_jobs("__dual_sync_without_volumes", found, JOB, LISTED, unwanted) == [JOB]
    assert of_jobs("__dual_sync_without_volumes", RECORD, JOB, LISTED, unwanted) == []


@pytest.mark.parametrize(
    "volumes",
    [
        "provisoned",
        None,
        [],
        7,
        {"name": "disk1", "path": "/mnt/disk1"},
        ["/mnt/disk1"],
        [{"path": "/mnt/disk1"}],
        [*LISTED["volumes"], {"name": "disk3"}],
    ],
)
def test_volumes_that_are_no_list_of_volumes_are_refused_by_the_name_of_the_job(volumes: object) -> None:
    assert of_jobs("__dual_sync_odd_volumes", RECORD, JOB, LISTED, {**JOB, "job": "odd", "volumes": volumes}) == ["odd"]


def test_the_engine_takes_a_job_with_provisioned_volumes() -> None:
    job = job_file.parse_job(of_job("__dual_sync_config", {**JOB, "source": {"bucket": "photos"}}), "test")
    assert [(volume.name, str(volume.path), volume.require_mount) for volume in job.volumes] == [
        ("volume-01", "/srv/snowsync/volume-01", True),
        ("volume-02", "/srv/snowsync/volume-02", True),
    ]


def test_listed_volumes_are_those_of_the_list() -> None:
    assert of_job("__dual_sync_config", LISTED)["volumes"] == LISTED["volumes"]


def test_units_wait_for_what_has_to_be_mounted() -> None:
    assert [volume["name"] for volume in of_job("__dual_sync_volumes_mounted", LISTED)] == ["disk1", "disk2"]
    assert of_job("__dual_sync_volumes_mounted", {**LISTED, "volumes": LISTED["volumes"][2:]}) == []


def test_folders_of_provisioned_volumes_are_not_handed_over_again() -> None:
    assert of_job("__dual_sync_volumes_listed", JOB) == []
    assert of_job("__dual_sync_volumes_listed", LISTED) == LISTED["volumes"]


def drop_in(job: dict[str, Any], units: str) -> list[str]:
    folder = ROOT / "roles/dual_sync/templates"
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(folder), trim_blocks=True)
    environment.filters["comment"] = str
    environment.tests["match"] = lambda *_words: False
    known = {name: of_job(name, job) for name in ("__dual_sync_volumes", "__dual_sync_volumes_mounted")}
    text = environment.get_template("job.conf.j2").render(
        ansible_managed="managed",
        dual_sync_unit={"side": "source"},
        __dual_sync_sides_handed_over=[],
        __dual_sync_state_folder="/var/lib/snowsync/photos",
        __dual_sync_mount_units={"stdout": units},
        **known,
    )
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_a_unit_starts_after_the_mounts_and_requires_none() -> None:
    lines = drop_in(JOB, "srv-a.mount srv-b\\x2dc.mount")
    assert lines[: lines.index("[Service]")] == ["managed", "[Unit]", "After=srv-a.mount", "After=srv-b\\x2dc.mount"]


def test_a_job_of_folders_waits_for_no_mount() -> None:
    assert "[Unit]" not in drop_in({**LISTED, "volumes": LISTED["volumes"][2:]}, "")


def test_only_units_with_drop_folders_may_take_leases() -> None:
    assert not [line for line in drop_in(LISTED, "") if "CAP_" in line or "PrivateUsers" in line]
    (first, *others) = LISTED["volumes"]
    lines = drop_in({**LISTED, "volumes": [{**first, "drop_folder": "drop"}, *others]}, "")
    assert lines[-3:] == ["AmbientCapabilities=CAP_LEASE", "CapabilityBoundingSet=CAP_LEASE", "PrivateUsers=no"]


# -- what is said -------------------------------------------------------------------------------------------------


def test_each_volume_and_each_disk_left_alone_has_a_line() -> None:
    volume = {**entry("volume-01"), "device": "/dev/sdb", "filesystem": "ext4"}
    present = {
        "volumes": [volume, {**entry("volume-02", "missing"), "device": "", "filesystem": "ext4"}],
        "left_alone": [{"device": "/dev/sda", "reason": "it carries the running system (/)"}],
    }
    removed = {"volumes": [{**entry("volume-03", "absent"), "device": "/dev/sdc", "filesystem": "xfs"}]}
    assert evaluated("volumes", "__volumes_lines", __volumes_present=present, __volumes_removed=removed) == [
        "volume-01: ready at /srv/snowsync/volume-01, ext4 on /dev/sdb",
        "volume-02: missing at /srv/snowsync/volume-02, its disk is missing",
        "volume-03: absent at /srv/snowsync/volume-03, xfs on /dev/sdc",
        "/dev/sda is left alone: it carries the running system (/)",
    ]


def test_what_a_volume_failed_with_is_kept_until_the_end() -> None:
    failed = {"msg": "Failed to mount volume-02", "volumes": [], "left_alone": []}
    made = {"volumes": [], "left_alone": []}
    skipped = {"skipped": True}
    for removed, present, troubles in [
        (skipped, failed, ["Failed to mount volume-02"]),
        (failed, made, ["Failed to mount volume-02"]),
        (skipped, made, []),
    ]:
        known = {"__volumes_removed": removed, "__volumes_present": present}
        assert evaluated("volumes", "__volumes_troubles", **known) == troubles


# -- reset --------------------------------------------------------------------------------------------------------


def survey(**counts: int) -> dict[str, str]:
    volume = {"name": "volume-01", "path": "/srv/a", "bytes": 0, "kept_count": 0, "problem": "", "files": 0, **counts}
    losses = {f"{what}_{unit}": 0 for what in ("undelivered", "dropped") for unit in ("objects", "bytes")}
    return {"stdout": json.dumps({"error": "", "volumes": [volume], **losses})}


def of_reset(variable: str, found: dict[str, str], *, ledger: bool) -> Any:
    known = {"__dual_sync_reset_survey": found, "__dual_sync_reset_ledger": {"stat": {"exists": ledger}}}
    return evaluated("dual_sync", variable, **known)


def test_a_reset_is_needed_where_there_is_a_ledger_or_a_file() -> None:
    assert of_reset("__dual_sync_reset_needed", survey(), ledger=True) is True
    assert of_reset("__dual_sync_reset_needed", survey(files=1), ledger=False) is True
    assert of_reset("__dual_sync_reset_needed", survey(), ledger=False) is False


def test_what_stays_is_said() -> None:
    lines = of_reset("__dual_sync_reset_lines", survey(files=3, bytes=2048, kept_count=2), ledger=True)
    assert lines[0] == "volume-01 at /srv/a: 3 files of the job (2.00 KB) would be removed, 2 others kept"


def test_only_units_that_ran_are_started_again() -> None:
    states = {"a": "active", "b": "inactive", "c": "activating", "d": "failed"}
    results = [{"dual_sync_unit": unit, "stdout": state} for unit, state in states.items()]
    running = evaluated("dual_sync", "__dual_sync_reset_running", __dual_sync_reset_units={"results": results})
    assert running == ["a", "c"]
