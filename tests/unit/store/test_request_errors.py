# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors of requests: what they say was requested, and which options they name."""

from __future__ import annotations

from snowsync.config.job_file import Store
from snowsync.core.errors import Trouble
from snowsync.store.curl import Answer, Receiver, Transfer, Waiting, libcurl
from snowsync.store.request_errors import LATE, RequestErrors, silent
from snowsync.store.timeouts import Silence

ERRORS = RequestErrors(Store(bucket="bucket", list_version="v1"), "http://host:9")


class Ended(Transfer):
    """A handle whose request has ended with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(libcurl().Curl())
        self._status = status

    @property
    def status(self) -> int:
        return self._status


def answer(status: int, body: str) -> Answer:
    transfer = Ended(status)
    receiver = Receiver(transfer, lambda chunk: None)
    receiver.refused = body.encode()
    return Answer(transfer, receiver)


def test_actions_name_the_object_and_the_endpoint() -> None:
    assert ERRORS.listing("p/") == "list s3://bucket/p/ at http://host:9"
    assert ERRORS.reading("k") == "fetch s3://bucket/k from http://host:9"
    assert ERRORS.looking_at("k") == "look at s3://bucket/k at http://host:9"


def test_only_a_refused_listing_may_be_of_the_wrong_version() -> None:
    body = "<Error><Code>NotImplemented</Code><Message>m</Message></Error>"
    refused = answer(501, "")
    of_listing = ERRORS.of_listing("list", refused, body.encode())
    assert (of_listing.trouble, of_listing.code) == (Trouble.UNSUPPORTED, "NotImplemented")
    assert "set `list_version: v2`" in of_listing.detail
    of_object = ERRORS.of_object("fetch", answer(501, body))
    assert (of_object.trouble, of_object.code) == (Trouble.UNSUPPORTED, "NotImplemented")
    assert "list_version" not in of_object.detail


def test_a_missing_key_is_the_object_s_and_not_the_bucket_s() -> None:
    assert ERRORS.of_object("fetch", answer(404, "")).trouble is not Trouble.BUCKET
    assert ERRORS.of_listing("list", answer(404, ""), b"").trouble is Trouble.BUCKET


def test_a_refused_head_is_explained_by_the_reason() -> None:
    reason = b"<Error><Code>ExpiredToken</Code><Message>m</Message></Error>"
    explained = ERRORS.of_head("k", 400, b"", reason)
    assert (explained.trouble, explained.code) == (Trouble.CREDENTIAL, "ExpiredToken")
    assert str(explained).startswith("Failed to look at s3://bucket/k at http://host:9: ")
    assert ERRORS.of_head("k", 404, b"", b"").trouble is Trouble.NOT_FOUND


def test_a_late_head_is_told_from_one_that_timed_out() -> None:
    late = ERRORS.late_head("k", 5.0)
    assert (late.trouble, late.code, late.detail) == (Trouble.TIMEOUT, LATE, "no response within 5 seconds")
    waiting = Waiting(Silence(1, 1), lambda: True)
    waiting.silent_for = 61.4
    timed_out = silent("look", waiting)
    assert (timed_out.trouble, timed_out.code) == (Trouble.TIMEOUT, "")
    assert "sent nothing for 61 seconds" in timed_out.detail
