# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Multipart uploads that nobody continues: aborted, but never one that may be continued."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from hop_items import endpoint_at

from snowsync.core.errors import StoreError, Trouble
from snowsync.hops.destination.proving import abandoned_uploads
from snowsync.hops.destination.proving.abandoned_uploads import abort_cut_off, abort_left_uploads

REFUSED = StoreError(Trouble.DENIED, "abort", "no")


def upload(upload_id: str, url: str = "http://one.test:1") -> Any:
    return SimpleNamespace(upload_id=upload_id, object_id=7, key="to/object-7", endpoint=url, bucket="archive")


def endpoint() -> mock.Mock:
    made = endpoint_at()
    made.store = mock.Mock(bucket="archive")
    return made


def test_a_cut_off_upload_is_aborted_but_those_that_are_continued_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abandoned_uploads, "now_ms", lambda: 1000)
    parts, at = mock.Mock(), endpoint()
    parts.uploads.return_value = [upload("one"), upload("two")]
    abort_cut_off(parts, 7, at, "to/object-7")
    parts.uploads.assert_called_once_with(7)
    at.control().abort_uploads.assert_called_once_with("to/object-7", 1000, keep={"one", "two"})


def test_parts_that_cannot_be_removed_are_reported_and_delay_nothing(caplog: pytest.LogCaptureFixture) -> None:
    at = endpoint()
    for failing in (at.control, at.control.return_value.abort_uploads):
        failing.side_effect = REFUSED
        with caplog.at_level(logging.WARNING):
            abort_cut_off(mock.Mock(**{"uploads.return_value": []}), 7, at, "to/object-7")
        assert "parts of unfinished uploads may remain at the destination" in caplog.text
        failing.side_effect = None
        caplog.clear()


@pytest.mark.parametrize("refused", [False, True])
def test_a_left_upload_is_forgotten_once_it_was_aborted(refused: bool) -> None:
    left, at = upload("one"), endpoint()
    at.control().abort_upload.side_effect = REFUSED if refused else None
    parts = mock.Mock(**{"left_uploads.return_value": [left, upload("other", "http://elsewhere.test:1")]})
    abort_left_uploads(parts, mock.Mock(any_up=True, endpoints=[at]))
    at.control().abort_upload.assert_called_once_with("to/object-7", "one")
    assert parts.end_upload.call_args_list == ([] if refused else [mock.call(left)])


def test_an_upload_whose_id_was_never_received_is_found_by_its_key() -> None:
    nameless, at = upload(""), endpoint()
    parts = mock.Mock(**{"left_uploads.return_value": [nameless], "uploads.return_value": [nameless, upload("two")]})
    abort_left_uploads(parts, mock.Mock(any_up=True, endpoints=[at]))
    at.control().abort_uploads.assert_called_once_with("to/object-7", mock.ANY, keep={"", "two"})
    parts.end_upload.assert_called_once_with(nameless)


def test_nothing_is_aborted_where_no_endpoint_is_up() -> None:
    parts = mock.Mock()
    abort_left_uploads(parts, mock.Mock(any_up=False))
    assert parts.mock_calls == []
