# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""A connection through a SOCKS5 proxy (RFC 1928, RFC 1929), for botocore, which supports HTTP proxies only.

The proxy resolves the name, as with curl for socks5h:// and s5cmd for socks5://.
"""

from __future__ import annotations

import contextlib
import socket
from urllib.parse import unquote, urlsplit

SCHEMES = ("socks5", "socks5h")
_DEFAULT_PORT = 1080
_NO_LOGIN, _LOGIN = 0, 2
_REPLIES = {
    1: "general failure",
    2: "its rules do not allow this",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused by the store",
    6: "timed out",
    7: "command not supported",
    8: "address type not supported",
}


def connect(proxy: str, host: str, port: int, timeout: float | None) -> socket.socket:
    """A socket that leads to host and port through the proxy (its URL); OSError. `timeout` in seconds."""
    parts = urlsplit(proxy)
    connection = socket.create_connection((parts.hostname or "", parts.port or _DEFAULT_PORT), timeout)
    with contextlib.ExitStack() as failing:
        failing.callback(connection.close)
        _greet(connection, unquote(parts.username or ""), unquote(parts.password or ""))
        _ask_for(connection, host, port)
        failing.pop_all()
    return connection


def _greet(connection: socket.socket, user: str, password: str) -> None:
    offered = bytes([_NO_LOGIN, _LOGIN]) if user else bytes([_NO_LOGIN])
    connection.sendall(bytes([5, len(offered)]) + offered)
    version, method = _receive(connection, 2)
    if version != 5 or method not in offered:
        raise OSError(
            "the SOCKS proxy requires a login that was not given" if version == 5 else "it is not a SOCKS5 proxy"
        )
    if method == _LOGIN:
        words = [word.encode() for word in (user, password)]
        connection.sendall(b"\x01" + b"".join(bytes([len(word)]) + word for word in words))
        if _receive(connection, 2)[1] != 0:
            raise OSError("the SOCKS proxy rejected the user or the password")


def _ask_for(connection: socket.socket, host: str, port: int) -> None:
    name = host.encode("idna")
    connection.sendall(bytes([5, 1, 0, 3, len(name)]) + name + port.to_bytes(2, "big"))
    _version, reply, _reserved, kind = _receive(connection, 4)
    if reply:
        raise OSError(f"the SOCKS proxy could not connect: {_REPLIES.get(reply, f'reply {reply}')}")
    length = {1: 4, 4: 16}.get(kind) or _receive(connection, 1)[0]
    _receive(connection, length + 2)


def _receive(connection: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        piece = connection.recv(count - len(received))
        if not piece:
            raise OSError("the SOCKS proxy closed the connection")
        received += piece
    return received
