# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The requests to one endpoint as they are sent: URL, signature and Accept-Encoding, and renewed credentials."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from ..config.credentials import renewed_since
from ..core.errors import StoreError, Trouble
from .address import Signer, host_header, place_of
from .curl import Transfer
from .encodings import PLAIN, Packing

if TYPE_CHECKING:
    from ..config.credentials import Keys
    from ..config.job_file import Store

_Answered = TypeVar("_Answered")
FIRST_BYTE = ("range: bytes=0-0",)  # the header line of a GET for the first byte


class SignedRequests:
    """Prepares handles for requests about a bucket and its objects. Thread-safe."""

    def __init__(self, store: Store, endpoint: str, keys: Keys, packing: Packing) -> None:
        self._place = place_of(store, endpoint)
        host = host_header(self._place.url)
        self._signer = Signer(keys, store.region, host)
        self._checksum_signer = Signer(keys, store.region, host, checksum_mode=True)
        self._packing = packing

    def begin_bucket(self, transfer: Transfer, method: str, query: str = "") -> None:
        self._begin(transfer, method, self._place.bucket_path, query, self._signer, PLAIN, ())

    def begin_object(
        self, transfer: Transfer, method: str, object_key: str, query: str = "", extra: tuple[str, ...] = ()
    ) -> None:
        """`extra` are further header lines, which are not signed."""
        path = self._place.object_path(object_key)
        self._begin(transfer, method, path, query, self._signer, self._packing.welcome, extra)

    def begin_head_with_checksums(self, transfer: Transfer, object_key: str) -> None:
        """A HEAD with x-amz-checksum-mode."""
        path = self._place.object_path(object_key)
        self._begin(transfer, "HEAD", path, "", self._checksum_signer, PLAIN, ())

    def _begin(
        self,
        transfer: Transfer,
        method: str,
        path: str,
        query: str,
        signer: Signer,
        welcome: str,
        extra: tuple[str, ...],
    ) -> None:
        url = f"{self._place.url}{path}?{query}" if query else self._place.url + path
        transfer.begin(url, [*signer.headers(method, path, query), f"accept-encoding: {welcome}", *extra])


def with_current_keys(keys: Keys, ask: Callable[[], _Answered]) -> _Answered:
    """The result of `ask`, repeated if its credentials are rejected, as long as they have been renewed since.

    A rejected request has delivered no data, so repeating it is safe.
    """
    while True:
        before = keys.current()
        try:
            return ask()
        except StoreError as error:
            if error.trouble is not Trouble.CREDENTIAL or not renewed_since(keys, before):
                raise
