# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections through a SOCKS5 proxy, and what its refusals are called."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from simulators.proxy import LOGIN, running

from snowsync.store import socks


@contextmanager
def answering(*answers: bytes) -> Iterator[str]:
    """A proxy that gives these answers, one for each message."""
    server = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        connection, _ = server.accept()
        with connection:
            for each in answers:
                connection.recv(1024)
                connection.sendall(each)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield f"socks5h://127.0.0.1:{server.getsockname()[1]}"
    finally:
        thread.join()
        server.close()


@pytest.mark.parametrize("needs_login", [False, True])
def test_a_connection_leads_to_the_host(needs_login: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as store, running(needs_login=needs_login) as proxy:
        login = ":".join(LOGIN) + "@" if needs_login else ""
        with socks.connect(proxy.url("socks5h", login), "store.test", store.getsockname()[1], 10) as connection:
            peer, _ = store.accept()
            peer.sendall(b"hello")
            assert connection.recv(5) == b"hello"
            peer.close()
        assert proxy.asked == [("socks", "store.test")]


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([b"HT"], "it is not a SOCKS5 proxy"),
        ([b"\x05\xff"], "requires a login that was not given"),
        ([b"\x05"], "closed the connection"),
        ([b"\x05\x00", b"\x05\x05\x00\x01"], "connection refused by the store"),
        ([b"\x05\x00", b"\x05\x63\x00\x01"], "reply 99"),
    ],
)
def test_a_refusal_is_told(answers: list[bytes], words: str) -> None:
    with answering(*answers) as proxy, pytest.raises(OSError, match=words):
        socks.connect(proxy, "store.test", 80, 10)


def test_a_wrong_login_is_told_without_it() -> None:
    with (
        answering(b"\x05\x02", b"\x01\x01") as proxy,
        pytest.raises(OSError, match="rejected the user or the") as caught,
    ):
        socks.connect(proxy.replace("//", "//user:hush@"), "store.test", 80, 10)
    assert "hush" not in str(caught.value)
