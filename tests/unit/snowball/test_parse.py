# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the client prints, read: recorded outputs of its versions, and whatever else a device may print."""

from __future__ import annotations

import base64
import importlib
import json
import re
import string
import subprocess
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from snowball_outputs import OUTPUTS

pytestmark = pytest.mark.usefixtures("collection")
PACKAGE = "ansible_collections.edgeops.snowsync.plugins.module_utils"
few = settings(max_examples=60, deadline=None)


def parse(name: str, text: str) -> Any:
    return getattr(importlib.import_module(f"{PACKAGE}._snowball.parse"), name)(text)


def plain(value: Any) -> dict[str, Any]:
    """A value as the table says it."""
    shown = asdict(value)
    if "endpoints" in shown:
        shown["kinds"] = [endpoint.kind for endpoint in value.endpoints]
        shown["urls"] = [endpoint.url for endpoint in value.endpoints]
        shown["free"] = value.capacities[0].available if value.capacities else None
    if "certificate_expiry" in shown:
        expiry = shown["certificate_expiry"]
        shown["expires"] = expiry.isoformat() if expiry else None
    return shown


# -- recorded -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parser", "text", "said"),
    [entry[2:3] + entry[3:] for entry in OUTPUTS],
    ids=[f"{command}-{version}" for version, command, *rest in OUTPUTS],
)
def test_a_recorded_output_is_understood(parser: str, text: str, said: Any) -> None:
    value = parse(parser, text)
    if parser == "client_version":
        assert (value.version, value.build) == said
    elif parser == "updates":
        assert (value.installed, value.latest) == said
    elif parser == "certificates":
        assert [asdict(each) for each in value] == said
    elif parser == "virtual_interfaces":
        assert [each.ip_address for each in value] == said
    elif parser in ("access_key_ids", "service_ids", "pem", "features"):
        assert value == said
    elif parser == "time_sources":
        assert list(value) == said
    else:
        shown = plain(value)
        assert {name: shown[name] for name in said} == said


def test_the_table_knows_both_generations_of_everything_that_changed() -> None:
    changed = {"version", "list-certificates", "describe-service s3-snow", "describe-device", "check-for-updates"}
    changed |= {"describe-device-software", "describe-virtual-network-interfaces"}
    for command in changed:
        assert len({text for version, name, parser, text, said in OUTPUTS if name == command}) > 1, command


@pytest.mark.parametrize("entry", [entry for entry in OUTPUTS if entry[3].startswith(("{", "["))], ids=lambda e: e[1])
def test_words_around_json_are_passed_over(entry: Any) -> None:
    version, command, parser, text, said = entry
    noise = "Picked up JAVA_TOOL_OPTIONS: -Dx=1\nWarning: {not json\n"
    assert parse(parser, noise + text + "Done.\n") == parse(parser, text)


@pytest.mark.parametrize("entry", OUTPUTS, ids=lambda entry: f"{entry[1]}-{entry[0]}")
def test_windows_line_ends_change_nothing(entry: Any) -> None:
    version, command, parser, text, said = entry
    assert parse(parser, text.replace("\n", "\r\n")) == parse(parser, text)


@pytest.mark.parametrize("parser", sorted({entry[2] for entry in OUTPUTS}))
@pytest.mark.parametrize("text", ["", "\n", "null", "An unexpected failure", "{", "{}", "[1]", '"UNLOCKED"'])
def test_what_is_no_answer_is_a_value_error(parser: str, text: str) -> None:
    if (parser, text) == ("features", "{}"):
        return  # a device without features
    with pytest.raises(ValueError):
        parse(parser, text)


# -- anything a device may print ------------------------------------------------------------------------------------

names = st.text(string.ascii_letters, min_size=1, max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
texts = st.text(string.ascii_letters + string.digits + ".:/-", min_size=1, max_size=16)

DEVICE = {
    "ActiveNetworkInterface": {"IpAddress": "192.0.2.1"},
    "PhysicalNetworkInterfaces": [{"PhysicalNetworkInterfaceId": "s.ni-1", "IpAddressAssignment": "DHCP"}],
    "DeviceCapacities": [{"Name": "HDD Storage", "Total": 3}],
    "DeviceType": "V3_5C",
    "Tags": [{"Key": "a", "Value": "b"}],
    "ClusterAssociation": {"ClusterId": "CID1", "State": "ASSOCIATED"},
}


def shuffled(draw: Any, pairs: dict[str, Any]) -> dict[str, Any]:
    return dict(draw(st.permutations(list(pairs.items()))))


@st.composite
def documents(draw: Any, required: dict[str, Any], optional: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """A document with all required fields, some of the optional ones, unknown ones, in any order."""
    kept = draw(st.sets(st.sampled_from(sorted(optional)))) if optional else set()
    unknown = {f"X{name}": value for name, value in draw(st.dictionaries(names, values, max_size=3)).items()}
    return shuffled(draw, {**required, **{name: optional[name] for name in kept}, **unknown}), kept


@few
@given(documents({"DeviceId": "JID1", "UnlockStatus": {"State": "UNLOCKING", "Later": 1}}, DEVICE))
def test_a_device_needs_an_id_and_a_state_and_nothing_else(made: tuple[dict[str, Any], set[str]]) -> None:
    document, kept = made
    device = parse("device", json.dumps(document))
    assert (device.device_id, device.state) == ("JID1", "UNLOCKING")
    assert device.ip_address == ("192.0.2.1" if "ActiveNetworkInterface" in kept else "")
    assert len(device.interfaces) == ("PhysicalNetworkInterfaces" in kept)
    assert len(device.capacities) == ("DeviceCapacities" in kept)
    assert device.device_type == ("V3_5C" if "DeviceType" in kept else "")
    assert device.tags == ({"a": "b"} if "Tags" in kept else {})
    assert device.cluster_id == ("CID1" if "ClusterAssociation" in kept else "")


@few
@given(st.dictionaries(st.sampled_from(sorted(DEVICE)), values))
def test_fields_of_an_unforeseen_shape_cost_nothing_but_themselves(odd: dict[str, Any]) -> None:
    device = parse("device", json.dumps({"DeviceId": "JID1", "UnlockStatus": {"State": "LOCKED"}, **odd}))
    assert (device.device_id, device.state) == ("JID1", "LOCKED")


SERVICE = {
    "Endpoints": [
        {"Protocol": "https", "Port": 443, "Host": "192.0.2.2", "Description": "s3-snow bucket API endpoint"}
    ],
    "Autostart": True,
    "ServiceCapacities": [{"Name": "S3 Storage", "Available": 5}],
    "ServiceConfiguration": {"AllowedHosts": ["192.0.2.0/24"]},
}


@few
@given(documents({"ServiceId": "s3-snow", "Status": {"State": "ACTIVE"}}, SERVICE))
def test_a_service_needs_an_id_and_a_state_and_nothing_else(made: tuple[dict[str, Any], set[str]]) -> None:
    document, kept = made
    service = parse("service", json.dumps(document))
    assert (service.service_id, service.state) == ("s3-snow", "ACTIVE")
    assert [endpoint.kind for endpoint in service.endpoints] == ["control"] * ("Endpoints" in kept)
    assert service.autostart is (True if "Autostart" in kept else None)
    assert service.allowed_hosts == (("192.0.2.0/24",) if "ServiceConfiguration" in kept else None)


@few
@given(st.dictionaries(st.sampled_from([*SERVICE, "Status", "Storage"]), values))
def test_a_service_of_an_unforeseen_shape_is_read_all_the_same(odd: dict[str, Any]) -> None:
    assert parse("service", json.dumps({"ServiceId": "nfs", **odd})).service_id == "nfs"


SOFTWARE = {"InstallingVersion": "119", "CertificateExpiry": "Sat Mar 30 16:47:51 UTC 2024", "ErrorMessage": "no"}
LINES = {"InstalledVersion": "Installed version", "InstallingVersion": "Installing version"}
LINES |= {"InstallState": "Install State", "CertificateExpiry": "CertificateExpiry", "ErrorMessage": "Error message"}


@few
@given(documents({"InstalledVersion": "118", "InstallState": "DOWNLOADING"}, SOFTWARE))
def test_software_says_the_same_as_json_and_as_lines(made: tuple[dict[str, Any], set[str]]) -> None:
    document, kept = made
    software = parse("software", json.dumps(document))
    known = {name: value for name, value in document.items() if name in LINES}
    lines = "".join(f"{LINES[name]}: {value}\n" for name, value in known.items())
    assert parse("software", lines) == software
    assert (software.installed, software.state) == ("118", "DOWNLOADING")
    assert software.installing == ("119" if "InstallingVersion" in kept else "")
    assert (software.certificate_expiry is not None) == ("CertificateExpiry" in kept)


@few
@given(st.permutations(["s3", "nfs", "ec2"]), st.dictionaries(names, values, max_size=3))
def test_lists_keep_their_order(services: list[str], unknown: dict[str, Any]) -> None:
    assert parse("service_ids", json.dumps({**unknown, "ServiceIds": services})) == tuple(services)


secrets = st.text(string.ascii_letters + string.digits + "+/=%#;", min_size=1, max_size=44)


@few
@given(texts, secrets, st.booleans(), st.sampled_from(["snowballEdge", "default", "a profile"]))
def test_any_secret_is_read_as_it_is(key_id: str, secret: str, reverse: bool, section: str) -> None:
    lines = [f"aws_access_key_id = {key_id}", f"aws_secret_access_key = {secret}"]
    text = "\n".join([f"[{section}]", *(reversed(lines) if reverse else lines), "region = snow", ""])
    keys = parse("keys", text)
    assert (keys.access_key_id, keys.secret_access_key) == (key_id, secret)
    assert secret not in repr(keys) or secret in repr(type(keys)(key_id, ""))


def test_half_a_pair_of_keys_is_no_answer_and_is_not_repeated() -> None:
    with pytest.raises(ValueError) as error:
        parse("keys", "[snowballEdge]\naws_secret_access_key = hunter2")
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        '{ "Certificate" : "-----BEGIN CERTIFICATE-----\\nMIID\\n-----END CERTIFICATE-----\\n" }',
        "Picked up something\n-----BEGIN CERTIFICATE-----\r\nMIID\r\n-----END CERTIFICATE-----",
    ],
)
def test_a_certificate_is_found_in_what_stands_around_it(text: str) -> None:
    assert parse("pem", text) == "-----BEGIN CERTIFICATE-----\nMIID\n-----END CERTIFICATE-----\n"


# -- states and dates -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ("NA", "NA"),
        ("N/A", "NA"),
        ("REQUIRE_REBOOT", "REQUIRE_REBOOT"),
        ("Requires Reboot", "REQUIRE_REBOOT"),
        ("require reboot", "REQUIRE_REBOOT"),
        ("Download-Failed", "DOWNLOAD_FAILED"),
        (" installing ", "INSTALLING"),
        ("VERIFYING", "VERIFYING"),
    ],
)
def test_an_install_state_has_one_spelling(said: str, state: str) -> None:
    assert parse("install_state", said) == state


def test_every_install_state_of_the_model_is_its_own_spelling() -> None:
    states = importlib.import_module(f"{PACKAGE}._snowball.model").INSTALL_STATES
    assert len(states) == 9
    assert [parse("install_state", state) for state in states] == list(states)
    assert [parse("install_state", state.replace("_", " ").title()) for state in states[1:]] == list(states[1:])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sat Mar 30 16:47:51 UTC 2024", "2024-03-30T16:47:51+00:00"),
        ("Thur Mar 31 16:47:51 UTC 2022", "2022-03-31T16:47:51+00:00"),
        ("Mar 1 06:07:08 2025", "2025-03-01T06:07:08+00:00"),
        ("Sunday September 7 06:07:08 GMT 2025", "2025-09-07T06:07:08+00:00"),
        ("Sat Mar 30 16:47:51 GMT+02:00 2024", "2024-03-30T14:47:51+00:00"),
        ("2024-03-30T16:47:51Z", "2024-03-30T16:47:51+00:00"),
        ("2024-03-30 16:47:51", "2024-03-30T16:47:51+00:00"),
        ("Sat Mar 32 16:47:51 UTC 2024", None),
        ("Sat Foo 30 16:47:51 UTC 2024", None),
        ("soon", None),
        ("", None),
    ],
)
def test_a_date_is_read_leniently(text: str, expected: str | None) -> None:
    found = parse("date", text)
    assert (found.isoformat() if found else None) == expected


@few
@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)),
    st.sampled_from(["UTC ", "GMT ", ""]),
    st.sampled_from(["%a ", "%A ", "", "Thur "]),
)
def test_every_date_comes_back(moment: datetime, zone: str, weekday: str) -> None:
    moment = moment.replace(microsecond=0, tzinfo=timezone.utc)
    assert parse("date", moment.strftime(f"{weekday}%b %d %H:%M:%S {zone}%Y")) == moment


# -- certificates ---------------------------------------------------------------------------------------------------


def not_after(pem: str) -> datetime | None:
    found: datetime | None = importlib.import_module(f"{PACKAGE}._snowball.certificate").not_after(pem)
    return found


@pytest.mark.parametrize("days", [1, 360, 20000])
def test_the_end_of_a_certificate_is_what_openssl_says(tmp_path: Path, days: int) -> None:
    """Beyond 2049 a certificate says its end in another form."""
    key, pem = tmp_path / "key", tmp_path / "pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=a"]
        + ["-days", str(days), "-keyout", str(key), "-out", str(pem)],
        check=True,
        capture_output=True,
    )
    said = subprocess.run(
        ["openssl", "x509", "-noout", "-enddate", "-in", str(pem)], check=True, capture_output=True, text=True
    ).stdout
    expected = datetime.strptime(said.strip(), "notAfter=%b %d %H:%M:%S %Y GMT").replace(tzinfo=timezone.utc)
    assert not_after(pem.read_text()) == expected
    assert expected - datetime.now(timezone.utc) > timedelta(days=days - 1)


@few
@given(st.binary(max_size=64))
def test_what_is_no_certificate_has_no_end(data: bytes) -> None:
    text = base64.b64encode(data).decode()
    assert not_after(f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n") is None
    assert not_after(re.sub("-", "", text)) is None
