# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A proxy on loopback, HTTP and SOCKS5 on one port, for which every name is that of loopback."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

LOGIN = ("user", "word")


class Proxy(socketserver.ThreadingTCPServer):
    """`asked` holds (protocol, host) of each connection that was made; `needs_login`: SOCKS clients say LOGIN first."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, *, needs_login: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.needs_login = needs_login
        self.asked: list[tuple[str, str]] = []

    def url(self, scheme: str, login: str = "") -> str:
        return f"{scheme}://{login}127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is part of the tests."""


@contextmanager
def running(*, needs_login: bool = False) -> Iterator[Proxy]:
    proxy = Proxy(needs_login=needs_login)
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()


class _Connection(socketserver.BaseRequestHandler):
    server: Proxy

    def handle(self) -> None:
        client: socket.socket = self.request
        first = client.recv(1, socket.MSG_PEEK)
        if first:
            (self._socks if first == b"\x05" else self._http)(client)

    def _http(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(65536)
        method, target, _version = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            store = self._reach("connect", host, int(port))
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            parts = urlsplit(target)
            store = self._reach("http", parts.hostname or "", parts.port or 80)
            store.sendall(head)
        _relay(client, store)

    def _socks(self, client: socket.socket) -> None:
        _version, count = client.recv(2)
        client.recv(count)
        client.sendall(b"\x05\x02" if self.server.needs_login else b"\x05\x00")
        if self.server.needs_login:
            client.recv(1)
            words = tuple(client.recv(client.recv(1)[0]).decode() for _ in range(2))
            client.sendall(b"\x01\x00" if words == LOGIN else b"\x01\x01")
        _version, _command, _reserved, kind = client.recv(4)
        if kind != 3:
            client.sendall(b"\x05\x08\x00\x01" + bytes(6))  # an address: whoever asks has resolved the name itself
            return
        host = client.recv(client.recv(1)[0]).decode()
        store = self._reach("socks", host, int.from_bytes(client.recv(2), "big"))
        client.sendall(b"\x05\x00\x00\x01" + bytes(6))
        _relay(client, store)

    def _reach(self, protocol: str, host: str, port: int) -> socket.socket:
        self.server.asked.append((protocol, host))
        return socket.create_connection(("127.0.0.1", port), 10)


def _relay(client: socket.socket, store: socket.socket) -> None:
    store.settimeout(None)
    back = threading.Thread(target=_copy, args=(store, client), daemon=True)
    back.start()
    _copy(client, store)
    back.join()
    store.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
