# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""botocore's clients for one endpoint, with the route, timeouts and credentials of the job.

It costs some 30 MB of memory, so botocore is imported only for the first request.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..core.errors import StoreError
from . import socks
from .address import ca_file, proxy_for
from .boto_errors import store_error
from .connections import Turns
from .encodings import PLAIN, Packing
from .remedies import AskedWith
from .timeouts import Asked, Patience
from .upload_bodies import Section

if TYPE_CHECKING:
    from ..config.credentials import Credentials, Keys
    from ..config.job_file import Store

_SESSION_LOCK = threading.Lock()  # a session creates one client at a time


class UploadHeaders:
    """The headers of the upload that each thread carries out.

    botocore gets them from here, not as parameters: it rejects metadata that is not ASCII, and an `Expires` that is not
    a date.
    """

    def __init__(self) -> None:
        self._own = threading.local()

    def set(self, headers: Mapping[str, str]) -> None:
        """The headers of this thread's next requests."""
        self._own.headers = headers

    def add_to(self, params: dict[str, Any], **_: object) -> None:
        """Called by botocore before it sends."""
        params["headers"].update(self._own.headers)


class ClientMaker:
    """Makes botocore's clients for one endpoint. `connections` is how many a client keeps."""

    def __init__(
        self, store: Store, url: str, connect_timeout: float, connections: int, packing: Packing, headers: UploadHeaders
    ) -> None:
        self._store = store
        self._url = url
        self._connect_timeout = connect_timeout
        self._connections = connections
        self._packing = packing
        self._headers = headers

    def make(self, attempts: int, answer_seconds: float, credentials: Credentials) -> Any:
        """A client that makes up to `attempts` attempts and waits `answer_seconds` for a response."""
        import botocore.config

        proxy = proxy_for(self._url)
        is_socks = proxy.startswith("socks")
        config = botocore.config.Config(
            signature_version="s3v4",
            s3={"addressing_style": "virtual" if self._store.addressing == "virtual" else "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            retries={"total_max_attempts": attempts, "mode": "standard"},
            connect_timeout=self._connect_timeout,
            read_timeout=answer_seconds,
            proxies={urlsplit(self._url).scheme: proxy} if proxy and not is_socks else {},
            use_fips_endpoint=False,
            use_dualstack_endpoint=False,
            tcp_keepalive=True,
            max_pool_connections=self._connections,
        )
        client = _session().create_client(
            "s3",
            region_name=self._store.region,
            endpoint_url=self._url,
            aws_access_key_id=credentials.access_key,
            aws_secret_access_key=credentials.secret_key,
            aws_session_token=credentials.session_token or None,
            verify=ca_file(self._store) or True,
            config=config,
        )
        for operation in ("PutObject", "CreateMultipartUpload"):
            client.meta.events.register(f"before-call.s3.{operation}", self._headers.add_to)
        client.meta.events.register("before-call.s3.GetObject", self._welcome)
        if is_socks:
            _lead_through_socks(client, proxy)
        client.meta.events.register("before-parameter-build.s3", _stay_in_region)
        return client

    def _welcome(self, params: dict[str, Any], **_: object) -> None:
        if self._packing.welcome != PLAIN:  # botocore's default
            params["headers"]["Accept-Encoding"] = self._packing.welcome


class BotoEndpoint:
    """One endpoint through botocore: clients with its current credentials, and their errors. Thread-safe.

    `attempts` is the maximum number of attempts per request, `patience` sets the response timeouts, `turns` limits how
    many threads make a request at once.
    """

    def __init__(
        self, store: Store, maker: ClientMaker, keys: Keys, attempts: int, patience: Patience, turns: Turns
    ) -> None:
        self.turns = turns
        self._store = store
        self._maker = maker
        self._keys = keys
        self._attempts = attempts
        self._patience = patience
        # By attempts and kind of request, each with its credentials.
        self._clients: dict[tuple[int, Asked], tuple[Credentials, Any]] = {}

    def client(self, asked: Asked = Asked.HEAD, *, attempts: int = 0) -> Any:
        """A client with at most `attempts` attempts, and with the timeouts for the kind of request `asked`."""
        credentials = self._keys.current()
        with _SESSION_LOCK:
            made_with, client = self._clients.get((attempts, asked), (None, None))
            if made_with is not credentials:
                answer_seconds = self._patience.of(asked).answer
                client = self._maker.make(attempts or self._attempts, answer_seconds, credentials)
                self._clients[attempts, asked] = (credentials, client)
            for _made_with, other in self._clients.values():
                if other is not client:
                    other.close()  # frees its idle connections; requests in flight continue
        return client

    @contextmanager
    def errors(self, action: str, section: Section | None = None, *, of_object: bool = True) -> Iterator[None]:
        """Turns botocore's exceptions into StoreError, and a failure to read the file into its OSError."""
        try:
            with self.turns.turn():
                yield
        except StoreError:
            raise
        except Exception as error:
            if section is not None and section.error is not None:
                raise section.error from None
            store = self._store
            asked = AskedWith(store.region, *(() if of_object else (store.addressing, store.list_version)))
            raise store_error(action, error, of_object=of_object, asked=asked) from None


@functools.cache
def _session() -> Any:
    """One session for all clients: it holds the API model of S3, some 10 MB."""
    import botocore.session

    # The job sets everything: nothing is read from the AWS files and profiles of the user it runs as.
    nowhere = dict.fromkeys(("config_file", "credentials_file"), (None, None, os.devnull, None))
    return botocore.session.Session(session_vars=nowhere | {"profile": (None, None, None, None)})


def _stay_in_region(context: dict[str, Any], **_: object) -> None:
    """botocore would follow a bucket to its own region; the movers cannot, so a wrong region must fail here."""
    context.setdefault("s3_redirect", {})["redirected"] = True


def _lead_through_socks(client: Any, proxy: str) -> None:
    """Route the client's connections through a SOCKS proxy, for which botocore has no setting."""
    manager = client._endpoint.http_session._manager

    def connect(connection: Any) -> Any:
        timeout = connection.timeout if isinstance(connection.timeout, (int, float)) else None
        return socks.connect(proxy, connection.host, connection.port, timeout)

    manager.pool_classes_by_scheme = {
        scheme: type(
            "SocksPool", (pool,), {"ConnectionCls": type("Socks", (pool.ConnectionCls,), {"_new_conn": connect})}
        )
        for scheme, pool in manager.pool_classes_by_scheme.items()
    }
