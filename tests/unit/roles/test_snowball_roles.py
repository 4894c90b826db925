# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles snowball and dual_sync make of a device, with their own variables as Ansible evaluates them."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import yaml
from role_variables import evaluated

from snowsync.config import job_file

pytestmark = pytest.mark.usefixtures("collection")

ARN = "arn:aws:snowball-device:::certificate/"
PEM = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"


# -- the device's side --------------------------------------------------------------------------------------------


def endpoint(protocol: str, port: int, arn: str = "", state: str = "ACTIVE") -> dict[str, str]:
    return {
        "url": f"{protocol}://192.0.2.10:{port}",
        "protocol": protocol,
        "state": state,
        "certificate_arn": ARN + arn if arn else "",
    }


INFO: dict[str, Any] = {
    "s3_endpoints": {"adapter": [endpoint("http", 8080), endpoint("https", 8443, "b")], "object": [], "control": []},
    "certificates": [{"arn": ARN + "a", "pem": PEM.format("A")}, {"arn": ARN + "b", "pem": PEM.format("B")}],
    "services": {"s3": {"service_id": "s3", "state": "ACTIVE"}},
}
SNOW = {**INFO, "s3_endpoints": {**INFO["s3_endpoints"], "object": [endpoint("https", 443, "a")]}}
STARTING = {**INFO, "s3_endpoints": {**INFO["s3_endpoints"], "object": [endpoint("https", 443, "a", "ACTIVATING")]}}


def of_device(variable: str, info: dict[str, Any], **options: Any) -> Any:
    return evaluated("snowball", variable, inventory_hostname="sbe-01", hostvars={}, __snowball_info=info, **options)


def test_the_adapter_is_listed_as_it_can_be() -> None:
    store = of_device("__snowball_store", INFO)
    assert store.pop("ca_bundle").startswith("/etc/snowsync/snowballs/sbe-01.")
    assert store == {
        "endpoints": ["https://192.0.2.10:8443"],
        "region": "snow",
        "list_version": "v1",
        "sorted": False,
    }


def test_the_certificate_is_that_of_the_endpoint() -> None:
    assert of_device("__snowball_certificate", INFO) == PEM.format("B")
    assert of_device("__snowball_certificate", SNOW) == PEM.format("A")


def test_another_certificate_has_another_file() -> None:
    names = {of_device("__snowball_pem", info) for info in (INFO, SNOW)}
    assert len(names) == 2


@pytest.mark.parametrize(
    ("info", "interface", "urls"),
    [
        (SNOW, "auto", ["https://192.0.2.10:443"]),
        (SNOW, "adapter", ["https://192.0.2.10:8443"]),
        (STARTING, "auto", ["https://192.0.2.10:8443"]),
        (STARTING, "s3-snow", []),
        (INFO, "none", []),
        ({"services": {}}, "auto", []),
        ({**INFO, "s3_endpoints": {"adapter": [endpoint("http", 8080)]}}, "auto", ["http://192.0.2.10:8080"]),
    ],
)
def test_the_interface_that_is_used(info: dict[str, Any], interface: str, urls: list[str]) -> None:
    assert of_device("__snowball_endpoints", {"s3_endpoints": {}, **info}, snowball_interface=interface) == urls


def test_new_s3_is_a_store_like_any_other() -> None:
    assert set(of_device("__snowball_store", SNOW)) == {"endpoints", "region", "ca_bundle"}


def test_plain_http_needs_no_certificate() -> None:
    info = {**INFO, "s3_endpoints": {"adapter": [endpoint("http", 8080)]}}
    assert "ca_bundle" not in of_device("__snowball_store", info)
    assert of_device("__snowball_store_files", info) == ["sbe-01.yml"]


@pytest.mark.parametrize(
    ("host", "snowdir", "folder"),
    [
        ("localhost", "/srv/snowdirs/sbe-01", "/srv/snowdirs/sbe-01"),
        ("localhost", "", "/home/u/.snowsync/snowballs/sbe-01"),
        ("edge1", "/srv/snowdirs/sbe-01", "/home/u/.snowsync/snowballs/sbe-01"),
        ("here", "/srv/snowdirs/sbe-01", "/srv/snowdirs/sbe-01"),
    ],
)
def test_where_manifest_and_keys_are(host: str, snowdir: str, folder: str) -> None:
    known = {
        "inventory_hostname": "sbe-01",
        "hostvars": {"edge1": {}, "here": {"ansible_connection": "local"}},
        "snowball_host": host,
        "snowball_snowdir": snowdir,
        "snowball_manifest": "/srv/snowdirs/sbe-01/JID1_manifest.bin",
        "__snowball_home": {"stdout": "/home/u"},
    }
    assert evaluated("snowball", "__snowball_folder", **known) == folder
    in_place = "/srv" in folder
    expected = "/srv/snowdirs/sbe-01/JID1_manifest.bin" if in_place else f"{folder}/JID1_manifest.bin"
    assert evaluated("snowball", "__snowball_manifest", **known) == expected


@pytest.mark.parametrize("checksum", ["sha256:" + "AB" * 32, "ab" * 32])
def test_which_client_is_used(checksum: str) -> None:
    known = {"__snowball_home": {"stdout": "/home/u"}, "snowball_client_checksum": checksum}
    assert evaluated("snowball", "__snowball_client", **known) == "snowballEdge"
    assert evaluated("snowball", "__snowball_client", snowball_client="/opt/c", **known) == "/opt/c"
    found = evaluated("snowball", "__snowball_client", snowball_client_archive="/srv/c.tar.gz", **known)
    assert found == "/home/u/.snowsync/snowball-client/abababababababab/bin/snowballEdge"


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ({"failed": True, "msg": "Snowball sbe-01 is locked."}, "Snowball sbe-01 is locked."),
        ({"failed": True, "msg": "No space left"}, 'Snowball sbe-01 failed in the task "Write": No space left'),
        (
            {
                "failed": True,
                "msg": "One or more",
                "results": [{"failed": False}, {"failed": True, "msg": "sbe-01: no"}],
            },
            "sbe-01: no",
        ),
    ],
)
def test_trouble_names_the_device(result: dict[str, Any], words: str) -> None:
    known = {"inventory_hostname": "sbe-01", "ansible_failed_result": result, "ansible_failed_task": {"name": "Write"}}
    assert evaluated("snowball", "__snowball_words", **known) == words


def test_the_verdict_has_a_line_for_each() -> None:
    hostvars = {"a": {"snowball_trouble": ""}, "b": {"snowball_trouble": "b is locked"}, "c": {}}
    lines = evaluated("snowball", "__snowball_verdicts", hostvars=hostvars, ansible_play_hosts_all=["c", "b", "a"])
    assert lines[:2] == ["a: ready", "b: b is locked"] and lines[2].startswith("c: its host")


# -- the job's side -----------------------------------------------------------------------------------------------


def answers(**stores: dict[str, Any]) -> dict[str, Any]:
    """What the task that reads the files of Snowballs registers; a device without a file has no content."""
    return {
        "results": [
            {"__dual_sync_snowball": name, "content": base64.b64encode(yaml.safe_dump(store).encode()).decode()}
            if store
            else {"__dual_sync_snowball": name, "failed": False, "msg": "file not found"}
            for name, store in stores.items()
        ]
    }


STORE = {
    "endpoints": ["https://192.0.2.10:8443"],
    "region": "snow",
    "list_version": "v1",
    "sorted": False,
    "ca_bundle": "/etc/snowsync/snowballs/sbe-01.1234.pem",
}
JOB: dict[str, Any] = {
    "job": "photos",
    "source": {"bucket": "photos", "snowball": "sbe-01"},
    "destination": {"bucket": "archive", "access_key": "AKIA", "secret_key": "secret"},
    "volumes": [{"name": "disk1", "path": "/mnt/disk1"}],
}


def of_job(variable: str, job: dict[str, Any], **more: Any) -> Any:
    known = {
        "dual_sync_jobs": [job],
        "__dual_sync_job": job,
        "__dual_sync_snowball_files": answers(**{"sbe-01": STORE}),
    }
    return evaluated("dual_sync", variable, **{**known, **more})


def test_a_job_that_names_a_snowball_is_a_job_for_the_engine() -> None:
    job = job_file.parse_job(of_job("__dual_sync_config", JOB), "test")
    assert job.source is not None
    found = {name: getattr(job.source, name) for name in STORE}
    assert {**found, "endpoints": list(found["endpoints"]), "ca_bundle": str(found["ca_bundle"])} == STORE
    assert job.source.bucket == "photos"
    assert (job.destination.endpoints, job.destination.list_version) == ((), "auto")


def test_a_snowball_may_be_the_destination() -> None:
    job = {**JOB, "source": {"bucket": "photos"}, "destination": {"bucket": "import", "snowball": "sbe-01"}}
    parsed = job_file.parse_job(of_job("__dual_sync_config", job), "test")
    assert parsed.destination.list_version == "v1" and parsed.destination.endpoints == ("https://192.0.2.10:8443",)
    assert of_job("__dual_sync_sides_with_snowball", job) == ["destination"]


def test_what_the_job_says_goes_before() -> None:
    source = {**JOB["source"], "sorted": True, "endpoints": ["https://203.0.113.1:8443"], "etag": "opaque"}
    found = of_job("__dual_sync_config", {**JOB, "source": source})["source"]
    assert (found["sorted"], found["endpoints"], found["etag"]) == (True, ["https://203.0.113.1:8443"], "opaque")
    assert "snowball" not in found


def test_no_job_without_snowballs_changes() -> None:
    job = {**JOB, "source": {"bucket": "photos", "region": "eu-central-1", "access_key": "A", "secret_key": "S"}}
    none: dict[str, Any] = {"results": []}
    found = of_job("__dual_sync_config", job, __dual_sync_snowball_files=none)
    assert found["source"] == {"bucket": "photos", "region": "eu-central-1"}
    assert found["destination"] == {"bucket": "archive"}
    assert of_job("__dual_sync_snowballs_named", job) == of_job("__dual_sync_sides_with_snowball", job) == []
    assert of_job("__dual_sync_waiting", job, __dual_sync_snowball_files=none) == []


@pytest.mark.parametrize(
    ("more", "sides"),
    [({}, ["source"]), ({"access_key": "A", "secret_key": "S"}, []), ({"credentials_file": "/root/keys"}, [])],
)
def test_whose_keys_are_handed_over(more: dict[str, str], sides: list[str]) -> None:
    assert of_job("__dual_sync_sides_with_snowball", {**JOB, "source": {**JOB["source"], **more}}) == sides


def test_a_job_waits_for_its_snowball_and_no_other_does() -> None:
    other = {"job": "other", "source": {"bucket": "b"}, "destination": {"bucket": "c"}, "volumes": []}
    gone = {"job": "gone", "state": "absent"}
    known = {"dual_sync_jobs": [JOB, other, gone], "__dual_sync_snowball_files": answers(**{"sbe-01": {}})}
    assert [job["job"] for job in of_job("__dual_sync_waiting", JOB, **known)] == ["photos"]
    assert of_job("__dual_sync_snowballs_missing", JOB, **known) == ["sbe-01"]
    known["__dual_sync_snowball_files"] = answers(**{"sbe-01": STORE})
    assert of_job("__dual_sync_waiting", JOB, **known) == []
