# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The addresses and signatures of the native mover's requests, and what a refusal says about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...config.credentials import renewed_since
from ...core.errors import StoreError, Trouble
from ...store.address import Signer, host_header, place_of, query_string
from ...store.answers import failure
from ...store.curl import Transfer
from ...store.remedies import AskedWith

if TYPE_CHECKING:
    from ...config.credentials import Keys
    from ...config.job_file import Store

NO_EXPECT = "expect:"  # otherwise libcurl sends `Expect: 100-continue` for larger bodies, and waits


class SignedTransfer:
    """A transfer of one request, and the credentials in use when it was signed."""

    def __init__(self, transfer: Transfer, keys: Keys, region: str) -> None:
        self.transfer = transfer
        self._keys = keys
        self._region = region
        self._signed_with = keys.current()

    def refused(self, action: str, body: bytes) -> StoreError:
        """The error for a response without success, of which `body` is the beginning."""
        status, block = self.transfer.status, self.transfer.header_block
        error = failure(action, status, body, of_object=True, asked=AskedWith(self._region), headers=block)
        if error.trouble is Trouble.CREDENTIAL and renewed_since(self._keys, self._signed_with):
            detail = f"the credentials were renewed during the request, which is retried ({error.detail})"
            return StoreError(Trouble.BROKEN, action, detail, code=error.code, status=error.status)
        return error


class RequestSigner:
    """Addresses and signs requests for the objects of a bucket at one endpoint. Thread-safe."""

    def __init__(self, store: Store, endpoint: str, keys: Keys) -> None:
        self._keys = keys
        self._region = store.region
        self._place = place_of(store, endpoint)
        self._signer = Signer(keys, store.region, host_header(self._place.url))

    def start(self, transfer: Transfer) -> SignedTransfer:
        """To be called before the request is signed: a renewal while it is under way is noticed then."""
        return SignedTransfer(transfer, self._keys, self._region)

    def lines_to_get(self, object_key: str, welcomed: str) -> tuple[str, list[str]]:
        """The URL and header lines of a GET that accepts the encoding `welcomed`."""
        path = self._place.object_path(object_key)
        return self._place.url + path, [*self._signer.headers("GET", path, ""), f"accept-encoding: {welcomed}"]

    def lines_to_send(
        self, method: str, object_key: str, parameters: dict[str, str], headers: dict[str, str], payload: str
    ) -> tuple[str, list[str]]:
        """The URL and header lines of another request; `payload` is the SHA-256 of its body, or UNSIGNED_PAYLOAD."""
        path, query = self._place.object_path(object_key), query_string(parameters)
        lines = self._signer.sign(method, path, query, headers, payload)
        url = self._place.url + path
        return f"{url}?{query}" if query else url, [*lines, NO_EXPECT]
