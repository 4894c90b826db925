# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A store on loopback that answers what a test scripts: also nothing, half an answer, or what is no S3 at all."""

from __future__ import annotations

import http
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request as it came; header names in lower case. `connection` numbers the connections from 1."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    connection: int

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.target).query, True).items()}

    @property
    def key(self) -> str:
        """The key in the path of /bucket/key."""
        return unquote(self.target.partition("?")[0].split("/", 2)[2])


class Silence:
    """Scripted instead of an answer: the connection stays open, after `first` has been sent."""

    def __init__(self, first: bytes = b"") -> None:
        self.first = first


class Close(Silence):
    """Scripted instead of an answer: `first` is sent and the connection closed."""


Script = Callable[[Asked], "bytes | Silence"]


def reply(status: int = 200, body: bytes | str = b"", head: bool = False, **headers: str) -> bytes:
    """A whole answer; `head` leaves the body out but tells its length. `_` in header names is written as `-`."""
    content = body.encode() if isinstance(body, str) else body
    lines = {"content-length": str(len(content))} | {name.replace("_", "-"): value for name, value in headers.items()}
    start = f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\n"
    block = start + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"
    return block.encode("latin-1") + (b"" if head else content)


def error(status: int, code: str, extra: str = "") -> bytes:
    """A refusal as S3 writes it."""
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>About {code}.</Message>{extra}</Error>'
    return reply(status, body, content_type="application/xml")


class ScriptedStore:
    """Answers every request by `script`, which may be replaced at any time; `asked` holds the requests in order.

    With a `context` it speaks TLS.
    """

    def __init__(self, script: Script, *, address: str = "127.0.0.1", context: ssl.SSLContext | None = None) -> None:
        self.script = script
        self.asked: list[Asked] = []
        self.connections = 0
        self.open_connections = 0
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        store = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with store._lock:
                    store.connections += 1
                    store.open_connections += 1
                    number = store.connections
                if context is None and self.rfile.peek(1)[:1] == b"\x16":  # the start of a TLS handshake
                    self.connection.sendall(reply(400))
                    return
                try:
                    while store._answer(self.rfile, self.connection, number):
                        pass
                finally:
                    with store._lock:
                        store.open_connections -= 1

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            request_queue_size = 64

            def get_request(self) -> tuple[socket.socket, Any]:
                connection, client_address = super().get_request()
                if context is not None:
                    connection = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                return connection, client_address

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that went away is part of the tests."""

        self._server = Server((address, 0), Handler)
        self.url = f"{'https' if context else 'http'}://{address}:{self._server.server_address[1]}"

    def _answer(self, stream: Any, connection: socket.socket, number: int) -> bool:
        start = stream.readline().decode("latin-1").split()
        if len(start) < 3:
            return False
        headers = dict(self._header_lines(stream))
        if headers.get("expect", "").lower() == "100-continue":
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = stream.read(int(headers.get("content-length", "0")))
        asked = Asked(start[0], start[1], headers, body, number)
        with self._lock:
            self.asked.append(asked)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            answer = self.script(asked)
        finally:
            with self._lock:
                self._at_once -= 1
        if isinstance(answer, Silence):
            connection.sendall(answer.first)
            if not isinstance(answer, Close):
                self._over.wait()
            return False
        connection.sendall(answer)
        return True

    @staticmethod
    def _header_lines(stream: Any) -> Iterator[tuple[str, str]]:
        while line := stream.readline().decode("latin-1").rstrip("\r\n"):
            name, _, value = line.partition(":")
            yield name.lower(), value.strip()

    @contextmanager
    def running(self) -> Iterator[ScriptedStore]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()
