# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job's configuration: defaults, every problem at once with its path and fix, YAML's own traps."""

from __future__ import annotations

import copy
import os
import re
import subprocess
import sys
from dataclasses import FrozenInstanceError, asdict, fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from snowsync.config import job_file
from snowsync.core.errors import ConfigError
from snowsync.core.model import MIB, Evidence

LEAST: dict[str, Any] = {
    "job": "photos",
    "source": {"bucket": "camera"},
    "destination": {"bucket": "archive"},
    "volumes": [{"name": "disk-1", "path": "/mnt/disk1"}],
}

FULL = """
job: photos_2024
mode: staged
state_dir: /srv/state
source:
  bucket: Camera_Roll
  prefix: "in/2024 "
  endpoints: ["HTTPS://Snow1.example:8443/", "http://[FD00::1]:8080", "https://10.0.0.7"]
  region: snow
  credentials_file: /etc/keys/source
  profile: field
  ca_bundle: /etc/keys/ca.pem
  addressing: path
  list_version: v1
  sorted: false
  etag: opaque
  max_connections: 1000
destination: {bucket: archive, endpoints: []}
volumes:
  - {name: a, path: /mnt/a/, limit: 10GiB, require_mount: false, drop_folder: ./out/going/}
  - {name: b, path: //mnt//b}
space: {high_watermark: 1, low_watermark: 0.5, reserve: 0}
group: {objects: 1, bytes: 64KiB, seconds: 1}
mover:
  {tool: s5cmd, workers: 8, processes: 0, large_workers: 2, large_object: 8MB, part_size: 5MiB, part_concurrency: 4,
   retries: 0, stall_seconds: 0.5, answer_seconds: 7, binary: /opt/s5cmd}
evidence: 3
unproven: hold
reread: always
keep_staged: true
tags: skip
metadata: skip
attempts: 1
pass_interval: 0.5
drop_settle: 0
"""


def job_with(path: str, value: object) -> dict[str, Any]:
    """The least job with one value set, at a path such as `volumes[0].limit`."""
    mapping = copy.deepcopy(LEAST)
    *parents, last = [int(step) if step.isdigit() else step for step in re.findall(r"\w+", path)]
    place: Any = mapping
    for step in parents:
        place = place.setdefault(step, {}) if isinstance(place, dict) else place[step]
    place[last] = value
    return mapping


def names_of(model: type[Any]) -> list[str]:
    return [field.name for field in fields(model)]


def problems_of(mapping: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        job_file.parse_job(mapping, "job.yml")
    return caught.value.problems


def problems_of_yaml(tmp_path: Path, text: str | bytes) -> list[str]:
    path = tmp_path / "job.yml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        job_file.load_job(path)
    assert str(path) in str(caught.value)
    return caught.value.problems


# --- what is right ---


def test_defaults_are_those_of_the_contract() -> None:
    job = job_file.parse_job(LEAST, "job.yml")
    assert job.mode == "staged"
    assert (job.state_path, job.ledger_path, job.reports_path) == (
        Path("/var/lib/snowsync/photos"),
        Path("/var/lib/snowsync/photos/ledger.db"),
        Path("/var/lib/snowsync/photos/reports"),
    )
    assert asdict(job.destination) == {
        "bucket": "archive",
        "prefix": "",
        "endpoints": (),
        "region": "us-east-1",
        "credentials_file": None,
        "profile": "default",
        "ca_bundle": None,
        "addressing": "auto",
        "list_version": "auto",
        "sorted": True,
        "etag": "auto",
        "max_connections": 256,
    }
    assert asdict(job.volumes[0]) == {
        "name": "disk-1",
        "path": Path("/mnt/disk1"),
        "limit": None,
        "require_mount": True,
        "drop_folder": None,
    }
    assert job.volumes[0].drop_path is None
    assert asdict(job.space) == {"high_watermark": 0.9, "low_watermark": 0.8, "reserve": 256 * MIB}
    assert asdict(job.group) == {"objects": 500, "bytes": 256 * MIB, "seconds": 2.0}
    assert asdict(job.mover) == {
        "tool": "auto",
        "workers": 16,
        "processes": None,
        "large_workers": 2,
        "large_object": 16 * MIB,
        "part_size": 64 * MIB,
        "part_concurrency": 4,
        "retries": 2,
        "stall_seconds": 60.0,
        "answer_seconds": None,
        "binary": None,
    }
    assert (job.evidence, job.reread, job.keep_staged) == (Evidence.STORE_DIGEST, "suspect", False)
    assert (job.unproven, job.attempts, job.pass_interval, job.drop_settle) == ("auto", 5, 60.0, 10.0)


def test_every_option_can_be_given(tmp_path: Path) -> None:
    path = tmp_path / "job.yml"
    path.write_text(FULL)
    job = job_file.load_job(path)
    assert job.source is not None
    assert job.source.endpoints == ("https://snow1.example:8443", "http://[fd00::1]:8080", "https://10.0.0.7")
    assert (job.source.prefix, job.source.bucket, job.source.sorted) == ("in/2024 ", "Camera_Roll", False)
    assert (job.source.credentials_file, job.source.ca_bundle) == (Path("/etc/keys/source"), Path("/etc/keys/ca.pem"))
    assert [str(volume.path) for volume in job.volumes] == ["/mnt/a", "/mnt/b"]
    assert (job.volumes[0].limit, job.volumes[0].drop_path) == (10 * 1024 * MIB, Path("/mnt/a/out/going"))
    assert (job.group.bytes, job.mover.large_object, job.mover.part_size) == (65536, 8_000_000, 5 * MIB)
    assert (job.evidence, job.unproven) == (Evidence.READ_BACK, "hold")
    assert (job.mover.stall_seconds, job.drop_settle) == (0.5, 0.0)
    assert job.ledger_path == Path("/srv/state/ledger.db")


def test_full_example_names_every_option() -> None:
    """An option added to a model and not here would go untested."""
    mapping = yaml.safe_load(FULL)
    for part, model in (
        (mapping, job_file.Job),
        (mapping["source"], job_file.Store),
        (mapping["volumes"][0], job_file.Volume),
        (mapping["space"], job_file.Space),
        (mapping["group"], job_file.Group),
        (mapping["mover"], job_file.MoverSettings),
    ):
        assert set(part) == set(names_of(model))


def test_job_is_frozen() -> None:
    job = job_file.parse_job(LEAST, "job.yml")
    with pytest.raises(FrozenInstanceError):
        job.volumes[0].limit = 5  # type: ignore[misc]  # that it is refused is what is tested


def test_drop_folder_stands_in_for_a_source() -> None:
    mapping = job_with("volumes[0].drop_folder", "outgoing")
    mapping["source"] = None
    assert job_file.parse_job(mapping, "job.yml").source is None
    del mapping["source"]
    assert job_file.parse_job(mapping, "job.yml").source is None


def test_mapping_is_left_as_it_was() -> None:
    mapping = copy.deepcopy(LEAST)
    job_file.parse_job(mapping, "job.yml")
    assert mapping == LEAST


# --- one wrong value, its path, its fix ---

WRONG_VALUES = [
    ("job", "Photos", "'Photos' is not valid; use 1 to 63 of a-z"),
    ("job", "../etc", "is not valid"),
    ("job", "a" * 64, "is not valid"),
    ("job", "", "is not valid"),
    ("job", 12, "must be text, not a number; put it in quotes"),
    ("job", None, "must be text, not null"),
    ("mode", "direct", "direct is not implemented; use staged"),
    ("mode", "stagged", "must be staged, not 'stagged'"),
    ("mode", ["staged"], "must be staged, not a list"),
    ("state_dir", "state", "'state' is not an absolute path; start it with /"),
    ("state_dir", "/srv/../etc", "contains ..; write the resolved path"),
    ("source", "s3://camera", "must be a mapping of options, not text"),
    ("destination", None, "must be a mapping of options, not null"),
    ("source.bucket", "s3://camera", "must be a bare bucket name; a prefix goes into `prefix`"),
    ("source.bucket", "camera/2024", "must be a bare bucket name; a prefix goes into `prefix`"),
    ("source.bucket", "ab", "is not a bucket name"),
    ("source.bucket", "my bucket", "is not a bucket name"),
    ("source.prefix", 2024, "must be text, not a number; put it in quotes"),
    ("source.prefix", "é" * 513, "has 1026 bytes; a key has at most 1024"),
    ("source.prefix", "\ud800", "is not valid Unicode"),
    ("source.endpoints", "https://a", "must be a list, not text"),
    ("source.endpoints[0]", "snow1:8443", "must start with https:// or http://"),
    ("source.endpoints[0]", "ftp://snow1", "must start with https:// or http://"),
    ("source.endpoints[0]", "https:snow1", "must start with https:// or http://"),
    ("source.endpoints[0]", "https://", "must start with https:// or http://; write https://host:port"),
    ("source.endpoints[0]", "https://snow1/bucket", "has a path, query or fragment"),
    ("source.endpoints[0]", "https://snow1?x=1", "has a path, query or fragment"),
    ("source.endpoints[0]", "https://snow1/?", "has a path, query or fragment"),
    ("source.endpoints[0]", "https://snow1#top", "has a path, query or fragment"),
    ("source.endpoints[0]", "https://joe:hush@snow1", "contains a user or password; remove it"),
    ("source.endpoints[0]", "https://joe@snow1", "contains a user or password; remove it"),
    ("source.endpoints[0]", "https://snow1:0", "has no usable host or port"),
    ("source.endpoints[0]", "https://snow1:", "has no usable host or port"),
    ("source.endpoints[0]", "https://:8443", "has no usable host or port"),
    ("source.endpoints[0]", "https://snow1:65536", "is not a URL with a host and a port of 1 to 65535"),
    ("source.endpoints[0]", "https://snow1:port", "is not a URL with a host and a port of 1 to 65535"),
    ("source.endpoints[0]", "https://[fd00::1", "is not a URL with a host"),
    ("source.endpoints[0]", "https://[fd00::zz]", "; write https://host:port"),
    ("source.endpoints[0]", "https://snow..1", "has no usable host or port"),
    ("source.endpoints[0]", "https://-snow", "has no usable host or port"),
    ("source.endpoints[0]", " https://snow1", "contains white space"),
    ("source.endpoints[0]", "https://snow1\n", "contains white space"),
    ("source.endpoints[0]", "https://snöw", "contains white space or characters that no URL has"),
    ("source.endpoints[0]", None, "must be a URL, not null"),
    ("source.region", "us east", "is not valid; give a region such as us-east-1"),
    ("source.credentials_file", "~/.aws/credentials", "is not an absolute path"),
    ("source.profile", "[default]", "is not valid; give the name of a section"),
    ("source.ca_bundle", 5, "must be an absolute path, not a number"),
    ("source.addressing", "host", "must be auto or path or virtual, not 'host'"),
    ("source.list_version", "2", "must be auto or v2 or v1, not '2'"),
    ("source.list_version", 2, "must be auto or v2 or v1, not a number"),
    ("source.sorted", "no", "must be true or false without quotes, not text"),
    ("source.sorted", 1, "must be true or false without quotes, not a number"),
    ("source.etag", "md5", "must be auto or opaque, not 'md5'"),
    ("source.max_connections", 0, "must be from 1 to 1000, not 0"),
    ("source.max_connections", 1001, "must be from 1 to 1000, not 1001"),
    ("source.max_connections", True, "must be a whole number without quotes, not true/false"),
    ("source.max_connections", "64", "must be a whole number without quotes, not text"),
    ("source.max_connections", 2.5, "must be a whole number without quotes, not 2.5"),
    ("volumes", {}, "must be a list, not a mapping"),
    ("volumes", [], "needs at least one volume; give its name and path"),
    ("volumes[0]", "/mnt/disk1", "must be a mapping of options, not text"),
    ("volumes[0].name", "disk_1", "is not valid; use 1 to 63 of a-z, 0-9 and -"),
    ("volumes[0].path", "mnt/disk1", "is not an absolute path"),
    ("volumes[0].path", "/", "is the root directory"),
    ("volumes[0].path", "/mnt\0", "is not an absolute path"),
    ("volumes[0].limit", 0, "must be at least 1 bytes, not 0 bytes"),
    ("volumes[0].limit", -1, "is negative"),
    ("volumes[0].limit", "10G", "has the unknown unit 'G'; write 10GiB or 10GB"),
    ("volumes[0].limit", "lots", "is not a size; give a whole number of bytes, or text such as 10GiB"),
    ("volumes[0].limit", "10XB", "has the unknown unit 'XB'; write 10GiB or 500MB"),
    ("volumes[0].limit", "90000PiB", "must be at most"),
    ("volumes[0].limit", True, "is not a size"),
    ("volumes[0].limit", 1.5, "is not a size"),
    ("volumes[0].limit", "-5GiB", "is not a size"),
    ("volumes[0].require_mount", "false", "must be true or false without quotes"),
    ("volumes[0].drop_folder", "/srv/out", "is not a folder below the volume"),
    ("volumes[0].drop_folder", "../out", "is not a folder below the volume"),
    ("volumes[0].drop_folder", "out/../..", "is not a folder below the volume"),
    ("volumes[0].drop_folder", ".", "is not a folder below the volume"),
    ("volumes[0].drop_folder", "", "is not a folder below the volume"),
    ("volumes[0].drop_folder", "./.snowsync/out", "is inside .snowsync, which belongs to the engine"),
    ("space", None, "must be a mapping of options, not null"),
    ("space.high_watermark", 90, "must be a fraction above 0 and up to 1, not 90; write 0.9 for 90 %"),
    ("space.high_watermark", 0, "must be a fraction above 0 and up to 1, not 0"),
    ("space.low_watermark", float("nan"), "must be a fraction above 0 and up to 1, not nan"),
    ("space.low_watermark", "80%", "must be a fraction without quotes or unit, not text"),
    ("space.low_watermark", True, "must be a fraction without quotes or unit, not true/false"),
    ("space.low_watermark", 0.9, "0.9 is not below space.high_watermark (0.9)"),
    ("space.low_watermark", 0.95, "0.95 is not below space.high_watermark (0.9); lower the first or raise the second"),
    ("space.reserve", -1, "is negative"),
    ("group.objects", 0, "must be from 1 to 100000, not 0"),
    ("group.bytes", 0, "must be at least 1 bytes"),
    ("group.seconds", 0, "must be more than 0"),
    ("group.seconds", "2s", "must be a number of seconds without quotes or unit, not text"),
    ("group.seconds", float("inf"), "must be more than 0 and at most"),
    ("group.seconds", float("nan"), "must be more than 0 and at most"),
    ("group.seconds", 10**400, "must be more than 0 and at most"),
    ("mover.tool", "rclone", "must be auto or native or s5cmd, not 'rclone'"),
    ("mover.workers", 0, "must be from 1 to 256, not 0"),
    ("mover.processes", 17, "must be from 0 to 16, not 17"),
    ("mover.large_workers", -4, "must be from 1 to 256, not -4"),
    ("mover.part_size", "4MiB", "must be at least 5 MiB, not 4 MiB"),
    ("mover.part_size", "6GiB", "must be at most 5 GiB, not 6 GiB"),
    ("mover.part_concurrency", 65, "must be from 1 to 64, not 65"),
    ("mover.retries", -1, "must be from 0 to 100, not -1"),
    ("mover.stall_seconds", -1, "must be more than 0"),
    ("mover.answer_seconds", 0, "must be more than 0"),
    ("mover.binary", "s5cmd", "is not an absolute path"),
    ("evidence", 1, "must be 2 (the store's digest equals ours) or 3 (read back)"),
    ("evidence", 4, "4 is impossible"),
    ("evidence", 5, "must be 2"),
    ("evidence", "2", "must be 2"),
    ("evidence", 2.0, "must be 2"),
    ("evidence", True, "must be 2"),
    ("unproven", "refuse", "must be auto or hold or accept, not 'refuse'"),
    ("reread", "never", "must be suspect or always, not 'never'"),
    ("keep_staged", "yes", "must be true or false without quotes"),
    ("tags", "no", "must be copy or skip, not 'no'"),
    ("metadata", True, "must be copy or skip, not true/false"),
    ("attempts", 0, "must be from 1 to 1000, not 0"),
    ("pass_interval", 0, "must be more than 0"),
    ("drop_settle", -1, "must be more than 0"),
    ("drop_settle", None, "must be a number of seconds without quotes or unit, not null"),
]


@pytest.mark.parametrize(("path", "value", "message"), WRONG_VALUES)
def test_wrong_value_is_named_by_path_with_its_fix(path: str, value: object, message: str) -> None:
    mapping = job_with(path, value) if "endpoints[" not in path else job_with("source.endpoints", [value])
    (problem,) = problems_of(mapping)
    assert problem.startswith(f"{path}: ")
    assert message in problem
    assert "\n" not in problem


@pytest.mark.parametrize("option", sorted(set(yaml.safe_load(FULL)) - {"job", "destination", "volumes"}))
def test_every_option_of_a_job_may_be_left_out(option: str) -> None:
    mapping = yaml.safe_load(FULL)
    del mapping[option]
    job_file.parse_job(mapping, "job.yml")


def test_every_option_has_a_wrong_value_above() -> None:
    tested = {re.sub(r"\[.*?\]", "", path) for path, _, _ in WRONG_VALUES}
    for part, model in (
        ("", job_file.Job),
        ("source.", job_file.Store),
        ("volumes.", job_file.Volume),
        ("space.", job_file.Space),
        ("group.", job_file.Group),
        ("mover.", job_file.MoverSettings),
    ):
        missing = {f"{part}{name}" for name in names_of(model)} - tested
        assert missing <= {"group", "mover", "mover.large_object"}


@pytest.mark.parametrize("option", ["job", "destination", "volumes"])
def test_missing_option_is_named(option: str) -> None:
    mapping = {name: value for name, value in LEAST.items() if name != option}
    assert problems_of(mapping) == [f"{option}: is missing; add it"]


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("volume", "did you mean `volumes`?"),
        ("keep-staged", "did you mean `keep_staged`?"),
        ("source.endpoint", "did you mean `endpoints`?"),
        ("destination.Bucket", "did you mean `bucket`?"),
        ("volumes[0].limits", "did you mean `limit`?"),
        ("mover.worker", "did you mean `workers`?"),
        ("space.highwatermark", "did you mean `high_watermark`?"),
        ("group.zzz", "known options: objects, bytes, seconds"),
    ],
)
def test_unknown_option_gets_a_hint(path: str, hint: str) -> None:
    mapping = copy.deepcopy(LEAST) | {"mover": {}, "space": {}, "group": {}}
    parent, _, name = path.rpartition(".")
    place = mapping["volumes"][0] if parent == "volumes[0]" else mapping[parent] if parent else mapping
    place[name] = 1
    assert problems_of(mapping) == [f"{path}: unknown option; {hint}"]


@pytest.mark.parametrize("option", ["secret_key", "access_key", "aws_secret_access_key", "password", "Session_Token"])
def test_secret_in_the_job_is_pointed_out_and_not_repeated(option: str) -> None:
    (problem,) = problems_of(job_with(f"source.{option}", "hush-hush"))
    assert problem == f"source.{option}: secrets do not belong here; put it into the file that `credentials_file` names"


@pytest.mark.parametrize("endpoint", ["https://joe:hush@snow1", "hush://snow1", "https://snow1:hush", "https://h/hush"])
def test_url_that_may_hold_a_password_is_not_repeated(endpoint: str) -> None:
    (problem,) = problems_of(job_with("source.endpoints", [endpoint]))
    assert "hush" not in problem


# --- several values together ---


def volumes_job(*volumes: dict[str, Any], **more: object) -> dict[str, Any]:
    return {**copy.deepcopy(LEAST), "volumes": list(volumes), **more}


def test_volume_names_are_unique() -> None:
    mapping = volumes_job({"name": "a", "path": "/x"}, {"name": "b", "path": "/y"}, {"name": "a", "path": "/z"})
    assert problems_of(mapping) == [
        "volumes[2].name: 'a' is already the name of volumes[0]; volume names must be unique"
    ]


@pytest.mark.parametrize("same", ["/mnt/a", "/mnt/a/", "//mnt/./a"])
def test_volume_paths_are_unique(same: str) -> None:
    mapping = volumes_job({"name": "a", "path": "/mnt/a"}, {"name": "b", "path": same})
    assert problems_of(mapping) == [
        "volumes[1].path: /mnt/a is already volumes[0].path; each volume needs its own path"
    ]


@pytest.mark.parametrize(("first", "second"), [("/mnt/a", "/mnt/a/b"), ("/mnt/a/b/c", "/mnt/a")])
def test_volumes_do_not_contain_each_other(first: str, second: str) -> None:
    (problem,) = problems_of(volumes_job({"name": "a", "path": first}, {"name": "b", "path": second}))
    assert problem.startswith(f"volumes[1].path: {second} and volumes[0].path {first} contain each other")


def test_volumes_beside_each_other_are_fine() -> None:
    mapping = volumes_job({"name": "a", "path": "/mnt/a"}, {"name": "b", "path": "/mnt/ab"})
    assert len(job_file.parse_job(mapping, "job.yml").volumes) == 2


@pytest.mark.parametrize(
    ("volume", "more"), [("/srv", {"state_dir": "/srv/state"}), ("/srv", {"state_dir": "/srv"}), ("/var/lib", {})]
)
def test_state_does_not_lie_on_a_volume(volume: str, more: dict[str, str]) -> None:
    (problem,) = problems_of(volumes_job({"name": "a", "path": volume}, **more))
    assert problem.startswith(f"state_dir: is on volumes[0] ({volume}); put it on the system disk")


def test_volume_may_lie_beside_or_below_the_state() -> None:
    job_file.parse_job(volumes_job({"name": "a", "path": "/srv/a"}, state_dir="/srv/state"), "job.yml")
    job_file.parse_job(volumes_job({"name": "a", "path": "/srv/state/a"}, state_dir="/srv/state"), "job.yml")


@pytest.mark.parametrize("source", [{}, {"source": None}])
def test_job_without_source_needs_a_drop_folder(source: dict[str, None]) -> None:
    mapping = {name: value for name, value in LEAST.items() if name != "source"} | source
    (problem,) = problems_of(mapping)
    assert problem.startswith("source: is not set, and no volume has a `drop_folder`")


def test_repeated_endpoint_is_named() -> None:
    mapping = job_with("destination.endpoints", ["https://a", "https://b", "HTTPS://A/"])
    assert problems_of(mapping) == [
        "destination.endpoints[2]: repeats destination.endpoints[0]; remove one of them",
    ]


def stores(source: dict[str, Any], destination: dict[str, Any]) -> dict[str, Any]:
    return {
        **LEAST,
        "source": {"bucket": "data", **source},
        "destination": {"bucket": "data", **destination},
    }


@pytest.mark.parametrize(
    ("source", "destination"),
    [
        ({}, {}),
        ({"prefix": "a/"}, {}),
        ({}, {"prefix": "a/"}),
        ({"prefix": "a/"}, {"prefix": "a/b/"}),
        ({"region": "eu-west-1"}, {}),
        ({"endpoints": ["https://h"]}, {"endpoints": ["https://H:443"]}),
        ({"endpoints": ["https://x:1", "https://h:9"]}, {"endpoints": ["https://h:9", "https://y:1"]}),
        ({"endpoints": ["https://s3.eu-west-1.amazonaws.com"]}, {}),
    ],
)
def test_job_that_would_feed_itself_is_refused(source: dict[str, Any], destination: dict[str, Any]) -> None:
    (problem,) = problems_of(stores(source, destination))
    assert problem.startswith("destination: is the same as the source")


@pytest.mark.parametrize(
    ("source", "destination"),
    [
        ({}, {"bucket": "other"}),
        ({"prefix": "a/"}, {"prefix": "b/"}),
        ({"endpoints": ["https://h:1"]}, {"endpoints": ["https://h:2"]}),
        ({"endpoints": ["https://h:1"]}, {}),
        ({"endpoints": ["https://notamazonaws.com"]}, {}),
    ],
)
def test_other_store_bucket_or_prefix_is_fine(source: dict[str, Any], destination: dict[str, Any]) -> None:
    job_file.parse_job(stores(source, destination), "job.yml")


# --- all at once ---


@pytest.mark.parametrize(
    ("store", "mover", "problem"),
    [
        (
            {"endpoints": ["http://10.0.0.1:9000"]},
            {},
            "virtual needs a host name, source.endpoints[0] is an IP address",
        ),
        ({"endpoints": ["http://[fd00::1]"]}, {}, "virtual needs a host name"),
        (
            {"endpoints": ["https://s.test"], "bucket": "a.b"},
            {},
            "no TLS certificate matches a bucket name with dots before the",
        ),
        ({"bucket": "a.b"}, {}, "no TLS certificate matches a bucket name with dots"),
        (
            {"endpoints": ["http://s.test"], "bucket": "Camera"},
            {},
            "'Camera' cannot be part of a host name; use path",
        ),
        (
            {"endpoints": ["http://s.test"]},
            {"tool": "s5cmd"},
            "s5cmd does not support source.addressing: virtual; use native",
        ),
    ],
)
def test_bucket_that_cannot_stand_before_the_host_is_refused(
    store: dict[str, Any], mover: dict[str, str], problem: str
) -> None:
    mapping = yaml.safe_load(FULL) | {"mover": mover}
    mapping["source"] = {"bucket": "camera", "addressing": "virtual", **store}
    (found,) = problems_of(mapping)
    assert problem in found
    mapping["source"]["addressing"] = "auto"
    job_file.parse_job(mapping, "job.yml")


@pytest.mark.parametrize("store", [{"endpoints": ["http://s.test"], "bucket": "a.b"}, {"bucket": "camera"}])
def test_bucket_may_stand_before_the_host(store: dict[str, Any]) -> None:
    mapping = yaml.safe_load(FULL) | {"mover": {}}
    mapping["source"] = {"bucket": "camera", "addressing": "virtual", **store}
    job_file.parse_job(mapping, "job.yml")


def test_all_problems_are_told_at_once() -> None:
    mapping = {
        "jbo": "x",
        "job": "Bad Name",
        "evidence": 9,
        "source": {"bucket": "data", "endpoints": ["https://h", "nonsense"], "max_connections": 0},
        "destination": {"bucket": "data", "endpoints": ["https://h", "https://h"], "etag": "md5"},
        "volumes": [{"name": "a", "path": "/mnt/a", "limit": "10G"}, {"name": "a", "path": "/mnt/a/b"}, 5],
        "space": {"high_watermark": 0.5, "low_watermark": 0.5, "reserve": "x"},
        "group": {"objects": 0},
        "mover": {"workers": "many"},
    }
    paths = [problem.partition(": ")[0] for problem in problems_of(mapping)]
    assert sorted(paths) == sorted(
        [
            "jbo",
            "job",
            "evidence",
            "source.endpoints[1]",
            "source.max_connections",
            "destination.endpoints[1]",
            "destination.etag",
            "volumes[0].limit",
            "volumes[1].name",
            "volumes[1].path",
            "volumes[2]",
            "space.low_watermark",
            "space.reserve",
            "group.objects",
            "mover.workers",
        ]
    )


@pytest.mark.parametrize(
    ("mapping", "crossing"),
    [
        (stores({"max_connections": 0}, {}), "destination"),
        (stores({}, {"etag": 1}) | {"attempts": 0}, "destination"),
        (job_with("space", {"high_watermark": 0.2, "reserve": "x"}), "space.low_watermark"),
        (volumes_job({"name": "a", "path": "/a", "limit": 0}, {"name": "a", "path": "/b"}), "volumes[1].name"),
        (volumes_job({"path": "/a"}, {"name": "b", "path": "/a"}), "volumes[1].path"),
        (volumes_job({"name": "a", "path": "/"}, attempts=0), "volumes[0].path"),
        (volumes_job({"name": "a", "path": "/a"}, attempts=0, source=None), "source"),
        ({"job": "x", "volumes": []}, "volumes"),
        (
            stores({"max_connections": 5, "bucket": "other"}, {}) | {"mover": {"tool": "s5cmd", "workers": 0}},
            "source.max_connections",
        ),
    ],
)
def test_wrong_value_does_not_hide_what_values_say_together(mapping: dict[str, Any], crossing: str) -> None:
    paths = [problem.partition(": ")[0] for problem in problems_of(mapping)]
    assert paths.count(crossing) == 1
    assert len(paths) > 1


@pytest.mark.parametrize(
    "mapping",
    [
        volumes_job({"name": "a", "path": "/a", "drop_folder": "/abs"}, source=None),
        job_with("source", "s3://camera"),
        job_with("source", {"bucket": "a b"}),
        stores({"endpoints": "https://h"}, {}),
        stores({"prefix": 5}, {"prefix": "in/"}),
        job_with("volumes", "/mnt"),
        job_with("volumes[0]", None),
        job_with("space", {"high_watermark": "x"}),
    ],
)
def test_wrong_value_is_not_blamed_twice(mapping: dict[str, Any]) -> None:
    assert len(problems_of(mapping)) == 1


anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.dates()),
    lambda children: st.one_of(
        st.lists(children, max_size=3), st.dictionaries(st.text(max_size=8), children, max_size=3)
    ),
    max_leaves=8,
)
_shape = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(names_of(job_file.Job), anything),
        "source": st.fixed_dictionaries({}, optional=dict.fromkeys(names_of(job_file.Store), anything)),
        "destination": st.fixed_dictionaries(
            {"bucket": st.sampled_from(["abc", 5])}, optional={"endpoints": anything, "prefix": anything}
        ),
        "volumes": st.lists(
            st.fixed_dictionaries({}, optional=dict.fromkeys(names_of(job_file.Volume), anything)), max_size=3
        ),
    },
)


@given(st.one_of(anything, _shape))
@example({"a\nb": 1, "job": "a\nb", "volumes": [{"x\ny": 1}]})
def test_any_nonsense_is_a_config_error(mapping: object) -> None:
    try:
        job_file.parse_job(mapping, "job.yml")
    except ConfigError as error:
        problems = error.problems
    else:
        return
    assert problems
    assert not [problem for problem in problems if "\n" in problem]


# --- sizes ---


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (0, 0),
        (4096, 4096),
        ("4096", 4096),
        ("10GiB", 10 * 2**30),
        ("500MB", 500 * 10**6),
        ("64KiB", 65536),
        ("64 KB", 64_000),
        ("64kB", 64_000),
        ("7B", 7),
        ("1.5GiB", 3 * 2**29),
        ("0.1 MB", 100_000),
        (" 2TiB ", 2**41),
        ("3PB", 3 * 10**15),
    ],
)
def test_size_is_read(text: object, size: int) -> None:
    assert job_file.parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "GiB", "10 GiB x", "1,5GiB", "1e9", "0x10", "10gib", "10Gib", "10K", "\u0661GiB", None, [1], 1.0, False, -1],
)
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"is not a size|unknown unit|is negative"):
        job_file.parse_size(text)


@given(st.integers(0, 10**7), st.sampled_from(["KiB", "MiB", "GiB", "TiB", "KB", "MB", "GB", "TB"]))
def test_size_counts_by_its_unit(number: int, unit: str) -> None:
    base = 1024 if "i" in unit else 1000
    assert job_file.parse_size(f"{number}{unit}") == number * base ** ("KMGT".index(unit[0]) + 1)


# --- the file ---


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("job: [1,\nx: 2", "line 2, column 5: while parsing a flow sequence"),
        ("job: a\nsource:\n  bucket: x\n  bucket: y\n", "line 4, column 3: the key `bucket` occurs twice"),
        ("job: a\njob: a\n", "line 2, column 1: the key `job` occurs twice"),
        ("job: a\n\tx: b\n", "line 2, column 1: while scanning for the next token, found character '\\t'"),
        ("job: *name\n", "line 1, column 6: found undefined alias 'name'"),
        ("job: a\n---\njob: b\n", "line 2, column 1: expected a single document"),
        ("job: !!python/object:os.system {}\n", "line 1, column 6: could not determine a constructor"),
        ("x: 2024-13-01\n", "line 1, column 4: month must be in 1..12"),
        ("? [a]\n: b\n", "line 1, column 3: while constructing a mapping, found unhashable key"),
        ("", "must be a mapping of options (job: ..., destination: ...), not null"),
        ("# nothing yet\n", "must be a mapping of options"),
        ("- job: a\n", "must be a mapping of options (job: ..., destination: ...), not a list"),
        ("photos\n", "must be a mapping of options (job: ..., destination: ...), not text"),
        (b"job: \xff\n", "is not UTF-8 text"),
        (b"job: \x00\n", "is not UTF-8 text"),
        ("[" * 1500, "is nested too deeply"),
    ],
)
def test_what_is_not_a_job_in_yaml_says_where(tmp_path: Path, text: str | bytes, problem: str) -> None:
    (found,) = problems_of_yaml(tmp_path, text)
    assert found.startswith(problem)


def test_option_that_is_not_text_is_named(tmp_path: Path) -> None:
    assert problems_of({**LEAST, "space": {7: 1}}) == ["space.7: is not text; put the option's name in quotes"]
    problems = problems_of_yaml(tmp_path, yaml.safe_dump(LEAST) + "on: 1\n")
    assert problems == ["True: is not text; put the option's name in quotes"]


def test_merge_keys_are_not_taken_for_repeated_ones(tmp_path: Path) -> None:
    path = tmp_path / "job.yml"
    path.write_text(
        "job: a\nsource: &store {bucket: camera, region: snow}\ndestination:\n  <<: *store\n  bucket: archive\n"
        "volumes: [{name: a, path: /a}]\n"
    )
    destination = job_file.load_job(path).destination
    assert (destination.bucket, destination.region) == ("archive", "snow")


def test_missing_file_and_folder_are_said(tmp_path: Path) -> None:
    for path, problem in ((tmp_path / "absent.yml", "there is no such file"), (tmp_path, "cannot be read: Is a dir")):
        with pytest.raises(ConfigError) as caught:
            job_file.load_job(path)
        assert caught.value.origin == str(path)
        assert caught.value.problems[0].startswith(problem)


# --- job_path ---


@pytest.fixture
def jobs_dir(tmp_path: Path) -> Path:
    for name in ("photos.yml", "videos.yaml", "both.yml", "both.yaml", "notes.txt"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(("name", "file"), [("photos", "photos.yml"), ("videos", "videos.yaml"), ("both", "both.yml")])
def test_job_is_found_by_name(jobs_dir: Path, name: str, file: str) -> None:
    assert job_file.job_path(name, jobs_dir) == jobs_dir / file
    assert job_file.job_path(name, str(jobs_dir)) == jobs_dir / file


@pytest.mark.parametrize("path", ["./photos", "/x/y.yml", "photos.yml", "other.yaml", "a/b"])
def test_path_is_taken_as_it_is(jobs_dir: Path, path: str) -> None:
    assert job_file.job_path(path, jobs_dir) == Path(path)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("photo", "there is no job `photo`; did you mean `photos`?"),
        ("zzz", "there is no job `zzz`; existing jobs: both, photos, videos"),
        ("notes", "there is no job `notes`; existing jobs: both, photos, videos"),
        ("Photos", "is neither a job name nor a path"),
        ("", "is neither a job name nor a path"),
        ("..", "is neither a job name nor a path"),
    ],
)
def test_unknown_job_gets_a_hint(jobs_dir: Path, name: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        job_file.job_path(name, jobs_dir)
    assert caught.value.problems[0].startswith(problem)


def test_no_jobs_folder_is_no_jobs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no job `photos`; existing jobs: none"):
        job_file.job_path("photos", tmp_path / "absent")


def test_jobs_folder_that_cannot_be_listed_is_said(tmp_path: Path) -> None:
    file = tmp_path / "jobs"
    file.touch()
    with pytest.raises(ConfigError, match="cannot be listed: Not a directory"):
        job_file.job_path("photos", file)


def test_import_leaves_the_heavy_packages_alone() -> None:
    """A command that only shows its help must not pay for the clients; yaml comes with the first file that is read."""
    heavy = "{'yaml', 'difflib', 'boto3', 'botocore', 'pycurl', 'rich', 'ansible'}"
    program = (
        f"import sys, snowsync.config.job_file, snowsync.config.credentials; print(sorted({heavy} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"
