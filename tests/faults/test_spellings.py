# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stores that spell their answers otherwise than AWS: they are understood, or what cannot be read is named."""

from __future__ import annotations

import os
from typing import Any

import pytest
from faults.rig import SOURCE, Rig

MIB = 1024 * 1024
KEYS = [f"k{number}" for number in range(7)]
CONTROL = "a\x01b"


def fill(rig: Rig, **switches: Any) -> None:
    """A few objects, and stores that both answer so."""
    for key in KEYS:
        rig.source.put(SOURCE, key, os.urandom(700))
    for store in (rig.source, rig.destination):
        store.set_switches(**switches)


@pytest.mark.parametrize(
    "switches",
    [
        {"before_xml": "\ufeff \n", "head_length": False, "put_status": 201},
        {"doubled_headers": "etag,content-length,last-modified", "put_status": 204, "list_paginated": False},
        {"framing": "chunked", "list_dates": "%d/%m/%y"},
        {"framing": "close", "head_length": False},
    ],
    ids=str,
)
def test_other_spellings_are_understood(rig: Rig, switches: dict[str, Any]) -> None:
    fill(rig, **switches)
    code, summary, errors = rig.run()
    assert (code, summary["failure_count"]) == (0, 0), errors
    rig.assert_delivered()
    reads, writes = rig.source.count("GetObject"), rig.destination.count("PutObject")
    code, summary, errors = rig.run()
    assert (code, summary["changed"]) == (0, False), errors
    assert (rig.source.count("GetObject"), rig.destination.count("PutObject")) == (reads, writes)


def test_dates_that_cannot_be_read_are_told_once(rig: Rig) -> None:
    fill(rig, list_dates="%d/%m/%y", max_keys=3)
    errors = rig.run()[2]
    assert errors.count("cannot be read; such objects have no date") == 1
    assert "k0: its date" in errors


@pytest.mark.parametrize(
    ("raw", "store"),
    [(True, {}), (False, {"list_version": "v1"}), (True, {"list_version": "v1", "sorted": False})],
    ids=str,
)
def test_a_key_that_no_xml_can_hold_is_named_and_hides_no_other(rig: Rig, raw: bool, store: dict[str, Any]) -> None:
    fill(rig, list_encoding=False, raw_controls=raw, list_paginated=store.get("sorted", True))
    for side in ("source", "destination"):
        rig.config[side].update(store)
    rig.source.put(SOURCE, CONTROL, b"control")
    code, summary, errors = rig.run()
    assert (code, summary["failure_count"]) == (0, 0), errors
    assert r'"a\u0001b": its key has a character that XML cannot contain' in errors
    rig.assert_delivered([*KEYS, CONTROL])
    assert rig.snowsync("verify", "JOB").returncode == 0


MARKUP = ["k2<b", "k2>&c", "k3]]>", "k3<Size>9</Size>"]


@pytest.mark.parametrize("store", [{}, {"list_version": "v1", "sorted": False}], ids=str)
def test_keys_that_are_written_as_they_are_hide_no_other(rig: Rig, store: dict[str, Any]) -> None:
    fill(rig, list_encoding=False, raw_markup=True, list_paginated=store.get("sorted", True), max_keys=4)
    for side in ("source", "destination"):
        rig.config[side].update(store)
    for key in MARKUP:
        rig.source.put(SOURCE, key, key.encode())
    code, summary, errors = rig.run()
    assert (code, summary["failure_count"]) == (0, 0), errors
    assert errors.count("a response is not valid XML, and was read entry by entry") == 1
    rig.assert_delivered([*KEYS, *MARKUP])
    assert rig.snowsync("verify", "JOB").returncode == 0


@pytest.mark.parametrize("charset", ["utf-16", "iso-8859-1"])
def test_other_charsets_are_read(rig: Rig, charset: str) -> None:
    fill(rig, list_encoding=False, charset=charset, max_keys=5)
    rig.source.put(SOURCE, "k3é", b"e")
    code, summary, errors = rig.run()
    assert (code, summary["failure_count"]) == (0, 0), errors
    rig.assert_delivered()
    rig.source.set_fault("status", operation="ListObjectsV2", status=403, code="InvalidAccessKeyId")
    code, _summary, errors = rig.run()
    assert (code, "the store does not know this access key" in errors) == (5, True), errors


def test_a_listing_that_is_cut_off_goes_on_after_its_last_key(rig: Rig) -> None:
    fill(rig, list_limit=700)
    code, summary, errors = rig.run()
    assert (code, summary["failure_count"], summary["listed"]["objects"]) == (0, 0, len(KEYS)), errors
    assert "it was cut off" in errors
    rig.assert_delivered()
    assert rig.snowsync("verify", "JOB").returncode == 0


def test_a_page_that_nobody_can_read_is_named_and_hides_no_other(rig: Rig) -> None:
    fill(rig)
    rig.source.put(SOURCE, "k3x", b"hidden")
    rig.source.set_switches(unreadable="^k3x$")
    code, summary, errors = rig.run()
    assert (code, summary["left_behind"], summary["drained"]) == (3, 1, False), errors
    assert [failure["key"] for failure in summary["failures"]] == ["what stands after 'k3' and up to 'k3x'"]
    assert "cannot be read" in summary["failures"][0]["message"]
    rig.assert_delivered(KEYS)
    rig.source.set_switches(unreadable="")
    code, summary, errors = rig.run()
    assert (code, summary["drained"]) == (0, True), errors
    rig.assert_delivered()


# -- large objects ------------------------------------------------------------------------------------------------


def large(rig: Rig) -> None:
    rig.config["mover"] = {"large_object": 6 * MIB, "part_size": 5 * MIB}
    rig.source.put(SOURCE, "large", os.urandom(11 * MIB), part_size=5 * MIB)


@pytest.mark.parametrize(("status", "list_parts"), [(201, True), (204, False)])
def test_parts_that_are_answered_without_an_etag(rig: Rig, status: int, list_parts: bool) -> None:
    large(rig)
    rig.destination.set_switches(part_etags=False, put_status=status, list_parts=list_parts)
    code, summary, errors = rig.run()
    assert (code, summary["failure_count"]) == (0, 0), errors
    rig.assert_delivered()
    assert rig.destination.count("ListParts") >= 1
    assert rig.destination.count("UploadPart") == 3


# -- what cannot be read ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "side", "name", "value"),
    [
        ("GetObject", "source", "ETag", '"0123"'),
        ("HeadObject", "destination", "ETag", '"0123"'),
        ("HeadObject", "destination", "Content-Length", "699"),
        ("GetObject", "source", "Content-Length", "699, 700"),
    ],
)
def test_an_answer_that_contradicts_itself_is_the_trouble_of_its_object(
    rig: Rig, operation: str, side: str, name: str, value: str
) -> None:
    fill(rig)
    rig.config["attempts"] = 2
    store = rig.source if side == "source" else rig.destination
    store.set_fault("headers", operation=operation, key="^k3$", add={name: value})
    code, summary, errors = rig.run()
    assert code == 3, errors
    assert {failure["key"] for failure in summary["failures"]} == {"k3"}
    for failure in summary["failures"]:
        assert "the response is not a valid S3 response" in failure["message"]
    assert "rests" not in errors
    rig.assert_delivered([key for key in KEYS if key != "k3"])
    assert store.count(operation) <= len(KEYS) + 6


# -- redirects ----------------------------------------------------------------------------------------------------

ELSEWHERE = {"Location": "https://elsewhere.example/"}


@pytest.mark.parametrize("operation", ["ListObjectsV2", "GetObject", "PutObject", "HeadObject"])
def test_a_redirect_is_not_followed_and_tells_where_it_leads(rig: Rig, operation: str) -> None:
    fill(rig)
    rig.config["attempts"] = 1
    is_listing = operation == "ListObjectsV2"
    store = rig.source if operation in ("ListObjectsV2", "GetObject") else rig.destination
    store.set_fault("status", operation=operation, key="" if is_listing else "^k3$", status=308, code="", set=ELSEWHERE)
    code, summary, errors = rig.run()
    assert code == (5 if is_listing else 3), errors
    told = errors if is_listing else summary["failures"][0]["message"]
    assert "it redirects to 'https://elsewhere.example/', which is not followed" in told
    if not is_listing:
        assert {failure["key"] for failure in summary["failures"]} == {"k3"}
        rig.assert_delivered([key for key in KEYS if key != "k3"])
