# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The S3 front of a simulated Snowball Edge. What the adapter lacks is tested in test_s3_store_limits."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, SSLError
from simulators.boto_client import client_of
from simulators.s3_store import adapter_switches
from simulators.snowball import Device, Fleet, certificates
from simulators.snowball.fleet import HERE
from simulators.snowball.front import Front
from snowball_shell import FOR_EVER, Shell, make_interfaces, open_fleet


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    return open_fleet(tmp_path, monkeypatch)


@pytest.fixture
def shell(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(fleet, capsys)


@pytest.fixture
def device(fleet: Fleet) -> Device:
    return fleet.make("alpha", unlock_seconds=FOR_EVER, boot_seconds=0)


@pytest.fixture
def front(device: Device) -> Iterator[Front]:
    with device.serve("bucket") as running:
        yield running


def unlock(shell: Shell, device: Device, front: Front) -> None:
    assert shell.call(device, "unlock-device").code == 0
    device.set(unlock_seconds=0)
    front.wait()


def lists(device: Device, **options: Any) -> list[str]:
    answer = client_of(device.store(), **options).list_objects(Bucket="bucket")
    return [entry["Key"] for entry in answer.get("Contents", [])]


def test_the_port_is_closed_while_the_device_is_locked(shell: Shell, device: Device, front: Front) -> None:
    device.store().put("bucket", "key", b"there already")
    with pytest.raises(EndpointConnectionError):
        lists(device)
    shell.call(device, "unlock-device")
    with pytest.raises(EndpointConnectionError):
        lists(device)
    device.set(unlock_seconds=0)
    front.wait()
    assert lists(device) == ["key"]
    device.set(unlock_seconds=FOR_EVER)
    device.reboot()
    front.wait(is_open=False)
    with pytest.raises(EndpointConnectionError):
        lists(device)
    unlock(shell, device, front)
    assert lists(device) == ["key"]


@pytest.mark.parametrize("change", [{"reachable": False}, {"services": {"s3": {"state": "INACTIVE"}}}])
def test_the_port_follows_the_device(shell: Shell, device: Device, front: Front, change: dict[str, Any]) -> None:
    unlock(shell, device, front)
    device.set(**change)
    front.wait(is_open=False)
    with pytest.raises(EndpointConnectionError):
        lists(device)


def test_the_device_says_where_its_front_is(shell: Shell, device: Device, front: Front, tmp_path: Path) -> None:
    """What it prints of endpoint, certificate and keys is enough for a client."""
    unlock(shell, device, front)
    (endpoint,) = shell.call(device, "describe-service", "--service-id", "s3").json["Endpoints"]
    assert f"{endpoint['Protocol']}://{endpoint['Host']}:{endpoint['Port']}" == front.url == device.store().url
    assert endpoint["Host"] == urlsplit(device.endpoint).hostname
    arn = endpoint["CertificateAssociation"]["CertificateArn"]
    pem = tmp_path / "ca.pem"
    pem.write_text(shell.call(device, "get-certificate", "--certificate-arn", arn).out)
    store = device.store()
    store.ca_path = pem
    s3 = client_of(store, request_checksum_calculation="when_required")
    s3.put_object(Bucket="bucket", Key="key", Body=b"bytes")
    assert s3.get_object(Bucket="bucket", Key="key")["Body"].read() == b"bytes"
    assert device.store().get("bucket", "key") == b"bytes"


@pytest.mark.parametrize("maker", ["openssl", "cryptography"])
def test_the_certificate_stands_strict_checks(
    shell: Shell, device: Device, front: Front, monkeypatch: pytest.MonkeyPatch, maker: str
) -> None:
    """Those of Python 3.13; made by the openssl command, or on a host that lacks it."""
    if maker == "cryptography":
        monkeypatch.setattr(certificates.shutil, "which", lambda name: None)
        monkeypatch.setattr(certificates, "_by_openssl", None)
    unlock(shell, device, front)
    context = ssl.create_default_context(cafile=str(device.store().ca_path))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    address = urlsplit(front.url)
    with (
        socket.create_connection((address.hostname or "", address.port or 0), 10) as plain,
        context.wrap_socket(plain, server_hostname=address.hostname) as secure,
    ):
        certificate = secure.getpeercert() or {}
    assert certificate["subjectAltName"] == (("IP Address", address.hostname),)


def test_a_certificate_of_the_device_that_belongs_to_no_endpoint(
    shell: Shell, device: Device, front: Front, tmp_path: Path
) -> None:
    unlock(shell, device, front)
    first = shell.call(device, "list-certificates").json["Certificates"][0]["CertificateArn"]
    store = device.store()
    store.ca_path = tmp_path / "ca.pem"
    store.ca_path.write_text(shell.call(device, "get-certificate", "--certificate-arn", first).out)
    with pytest.raises(SSLError):
        client_of(store).list_objects(Bucket="bucket")


def test_a_new_address_has_a_new_certificate(shell: Shell, device: Device, front: Front) -> None:
    unlock(shell, device, front)
    device.store().put("bucket", "key", b"bytes")
    before = device.store()
    device.set(unlock_seconds=FOR_EVER)
    device.reboot()
    front.wait(is_open=False)
    device.set(endpoint="https://127.9.66.1:9091")
    unlock(shell, device, front)
    assert urlsplit(front.url).hostname == "127.9.66.1"
    assert lists(device) == ["key"]
    with pytest.raises(EndpointConnectionError):
        client_of(before).list_objects(Bucket="bucket")
    before.url = front.url
    with pytest.raises(SSLError):
        client_of(before).list_objects(Bucket="bucket")


@pytest.mark.parametrize("wrong", ["secret_key", "access_key"])
def test_a_wrong_key_is_refused(shell: Shell, device: Device, front: Front, wrong: str) -> None:
    unlock(shell, device, front)
    with pytest.raises(ClientError) as refused:
        lists(device, **{wrong: "simulator"})
    code = {"secret_key": "SignatureDoesNotMatch", "access_key": "InvalidAccessKeyId"}[wrong]
    assert refused.value.response["Error"]["Code"] == code


def test_the_front_is_an_adapter(shell: Shell, device: Device, front: Front) -> None:
    assert front.server.store.switches == adapter_switches()
    assert (adapter_switches().max_connections, adapter_switches().key_limit) == (1000, 933)
    unlock(shell, device, front)
    s3 = client_of(device.store())
    with pytest.raises(ClientError, match="ListObjectsV2"):
        s3.list_objects_v2(Bucket="bucket")
    assert s3.list_objects(Bucket="bucket")["ResponseMetadata"]["HTTPHeaders"]["server"] == "AWSSnowball"


def test_an_upload_with_the_checksums_of_boto3_is_refused(shell: Shell, device: Device, front: Front) -> None:
    """Over TLS they come as aws-chunked."""
    unlock(shell, device, front)
    with pytest.raises(ClientError, match="aws-chunked"):
        client_of(device.store()).put_object(Bucket="bucket", Key="key", Body=b"bytes")
    assert device.store().list("bucket") == {}


def test_object_storage_has_a_front_without_these_limits(fleet: Fleet, shell: Shell) -> None:
    quick = {"s3-snow": {"start_seconds": 0}}
    device = fleet.make("alpha", state="UNLOCKED", services=quick)
    with device.serve("bucket", service_id="s3-snow", host="127.9.0.1") as front:
        interfaces = make_interfaces(shell, device)
        with pytest.raises(EndpointConnectionError):
            client_of(device.store("s3-snow")).list_objects(Bucket="bucket")
        start = ("start-service", "--service-id", "s3-snow", "--virtual-network-interface-arns")
        assert shell.call(device, *start, *interfaces).code == 0
        front.wait()
        described = shell.call(device, "describe-service", "--service-id", "s3-snow").json["Endpoints"][1]
        assert f"https://{described['Host']}:{described['Port']}" == front.url
        assert client_of(device.store("s3-snow")).list_objects_v2(Bucket="bucket")["KeyCount"] == 0


def test_the_front_as_a_process(fleet: Fleet, shell: Shell, device: Device) -> None:
    command = [sys.executable, "-m", "snowball", "serve", "alpha", "--bucket", "bucket"]
    environment = {**fleet.environment(), "PYTHONPATH": str(HERE.parent)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().removeprefix("serving alpha on ").strip()
        assert device.store().url == url
        device.store().put("bucket", "key", b"bytes")
        device.set(state="UNLOCKED")
        described = shell.call(device, "describe-service", "--service-id", "s3").json
        assert str(described["Endpoints"][0]["Port"]) == url.rpartition(":")[2]
        assert json.loads((device.folder / "device.json").read_text())["services"]["s3"]["ports"]["http"] is None
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(100) == 0
        process.stdout.close()
