# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How requests are addressed and signed, and what a refusal says if the credentials were renewed."""

from __future__ import annotations

from typing import Any

import pytest
from fake_keys import GivenKeys, credentials

from snowsync.config.credentials import Credentials
from snowsync.config.job_file import Store
from snowsync.core.errors import Trouble
from snowsync.movers.native.signing import NO_EXPECT, RequestSigner
from snowsync.store.address import UNSIGNED_PAYLOAD

REFUSAL = b"<Error><Code>ExpiredToken</Code><Message>The token has expired</Message></Error>"


def renewed() -> Credentials:
    """The same keys, in use since another moment."""
    return credentials("AKIATEST", "token")


class Refused:
    """A transfer with an error response."""

    status = 400
    header_block = b"HTTP/1.1 400 Bad Request\r\n\r\n"


def signer(keys: GivenKeys, addressing: str = "path") -> RequestSigner:
    store = Store(bucket="bucket", endpoints=["http://host:9000"], addressing=addressing)  # type: ignore[arg-type]
    return RequestSigner(store, "http://host:9000", keys)


@pytest.mark.parametrize(
    ("addressing", "url"), [("path", "http://host:9000/bucket/a%20b"), ("virtual", "http://bucket.host:9000/a%20b")]
)
def test_a_get_names_the_encoding_that_it_accepts(addressing: str, url: str) -> None:
    found, lines = signer(GivenKeys(renewed()), addressing).lines_to_get("a b", "gzip")
    assert found == url
    assert lines[-1] == "accept-encoding: gzip"
    assert lines[0].lower().startswith("authorization: aws4-hmac-sha256 credential=akiatest/")


def test_a_request_with_a_body_is_signed_with_its_headers() -> None:
    found, lines = signer(GivenKeys(renewed())).lines_to_send(
        "PUT", "key", {"uploadId": "x/y", "partNumber": "2"}, {"content-md5": "abc="}, UNSIGNED_PAYLOAD
    )
    assert found == "http://host:9000/bucket/key?partNumber=2&uploadId=x%2Fy"
    assert lines[-1] == NO_EXPECT
    assert "content-md5: abc=" in lines
    assert "content-md5;host;" in lines[0]
    plain, _lines = signer(GivenKeys(renewed())).lines_to_send("PUT", "key", {}, {}, UNSIGNED_PAYLOAD)
    assert plain == "http://host:9000/bucket/key"


@pytest.mark.parametrize("is_renewed", [False, True])
def test_a_refused_credential_that_was_renewed_meanwhile_is_retried(is_renewed: bool) -> None:
    keys = GivenKeys(renewed())
    transfer: Any = Refused()
    signed = signer(keys).start(transfer)
    assert signed.transfer is transfer
    if is_renewed:
        keys.now = renewed()
    error = signed.refused("fetch it", REFUSAL)
    assert (error.code, error.status) == ("ExpiredToken", 400)
    assert error.trouble is (Trouble.BROKEN if is_renewed else Trouble.CREDENTIAL)
    assert ("were renewed during the request" in str(error)) == is_renewed


def test_another_refusal_has_nothing_to_do_with_the_credentials() -> None:
    keys = GivenKeys(renewed())
    signed = signer(keys).start(Refused())  # type: ignore[arg-type]  # all that is asked of it here
    keys.now = renewed()
    assert signed.refused("fetch it", b"<Error><Code>NoSuchKey</Code></Error>").trouble is Trouble.NOT_FOUND
