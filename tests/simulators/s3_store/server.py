# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The listening side: a thread per connection, TLS, the connection cap, refusing and coming back."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .admin import Control
from .call import Store
from .connection import Connection, Wire
from .faults import Faults
from .model import ConnectionLost, Switches
from .requestlog import RequestLog
from .service import Service
from .storage import Storage

BACKLOG = 1024
MODES = ("open", "refuse", "silent")


class Server:
    """One store on one port. `start` returns when it listens; `stop` ends every connection.

    `admin_socket` is a Unix socket that serves the same requests also while the port refuses.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        credentials: Mapping[str, str],
        switches: Switches | None = None,
        certificate: tuple[str, str] | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.folder = Path(folder)
        storage = Storage(folder)
        self.store = Store(storage, switches or Switches(), Faults(), RequestLog(), dict(credentials))
        storage.clock = self.store.now
        self.control = Control(self.store, self)
        self._service = Service(self.store, self.control)
        self._context = _tls_context(certificate) if certificate else None
        self._wire = Wire(
            self.store.storage,
            lambda: self.store.switches.server,
            self.store.now,
            lambda: self.store.switches.bytes_per_second,
            lambda: self.store.switches,
            lambda seconds: self._stopping.wait(seconds),
        )
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._admin_listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._clients: set[socket.socket] = set()  # but for those of who steers the store
        self._mode = "open"
        self._threads: list[threading.Thread] = []

    @property
    def url(self) -> str:
        return f"{'https' if self._context else 'http'}://{self.host}:{self.port}"

    @property
    def admin_socket(self) -> Path:
        return self.folder / "admin.sock"

    def describe(self) -> dict[str, Any]:
        return {"url": self.url, "pid": os.getpid(), "mode": self._mode, "buckets": sorted(self.store.storage.buckets)}

    # -- life ------------------------------------------------------------------------------------------------------

    def start(self) -> Server:
        self._listen()
        self._admin_listener = _unix_listener(self.admin_socket)
        self._spawn(self._accept_loop, self._admin_listener, True)
        return self

    def stop(self, grace_seconds: float = 2.0) -> None:
        """Stops accepting, lets requests under way end for `grace_seconds`, then closes everything."""
        self._stopping.set()
        self._unlisten()
        if self._admin_listener is not None:
            _close_listener(self._admin_listener)
            self.admin_socket.unlink(missing_ok=True)
        end = time.monotonic() + grace_seconds
        while self.store.log.connections.requests_now and time.monotonic() < end:
            time.sleep(0.01)
        self._disconnect(lambda _: True)
        for thread in list(self._threads):
            thread.join(timeout=1.0)
        self.store.storage.close()

    def _disconnect(self, chosen: Callable[[socket.socket], bool]) -> None:
        with self._lock:
            connections = [sock for sock in self._open if chosen(sock)]
        for sock in connections:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _spawn(self, target: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        thread.start()
        self._threads = [each for each in self._threads if each.is_alive()] + [thread]

    # -- listening -------------------------------------------------------------------------------------------------

    def set_listener(self, mode: str, seconds: float | None = None) -> None:
        """`open`; `refuse`: the port is closed and connections end; `silent`: they end, new ones get no word.

        With `seconds` the port opens again by itself. What was accepted in silence ends then.
        """
        if mode not in MODES:
            raise ValueError(f"listener: {mode!r} is not one of {', '.join(MODES)}")
        self._mode = mode
        if mode == "refuse":
            self._unlisten()
        else:
            self._listen()
        if mode != "open":
            self._disconnect(lambda sock: sock.family != socket.AF_UNIX)
        if seconds is not None:
            self._spawn(self._reopen_after, seconds)

    def _reopen_after(self, seconds: float) -> None:
        if not self._stopping.wait(seconds):
            self.set_listener("open")

    def _listen(self) -> None:
        with self._lock:
            if self._listener is not None:
                return
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self.host, self.port))
            listener.listen(BACKLOG)
            self.port = listener.getsockname()[1]
            self._listener = listener
        self._spawn(self._accept_loop, listener, False)

    def _unlisten(self) -> None:
        with self._lock:
            listener, self._listener = self._listener, None
        if listener is not None:
            _close_listener(listener)

    def _accept_loop(self, listener: socket.socket, is_admin: bool) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                if (
                    listener.fileno() < 0
                    or self._stopping.is_set()
                    or (not is_admin and self._listener is not listener)
                ):
                    return
                time.sleep(0.01)  # out of descriptors: connections under way will end
                continue
            if not is_admin and self._is_full():
                self.store.log.refused()
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()
                continue
            self._admit(sock, is_admin)

    def _admit(self, sock: socket.socket, is_admin: bool) -> None:
        number = 0
        with self._lock:  # so that none is taken off between being counted as left and the peak
            self._open.add(sock)
            if not is_admin:
                self._clients.add(sock)  # it may be closed by now as well
                number = self.store.log.connected(self._left_by_clients())
        threading.Thread(target=self._serve, args=(sock, number, is_admin), daemon=True).start()

    def _is_full(self) -> bool:
        cap = self.store.switches.max_connections
        with self._lock:
            return bool(cap) and self.store.log.connections.now - self._left_by_clients() >= cap

    def _left_by_clients(self) -> int:
        """Connections that their clients have closed, which the threads that serve them have not seen yet.

        Under the lock.
        """
        return sum(_is_left(sock) for sock in self._clients)

    # -- one connection --------------------------------------------------------------------------------------------

    def _serve(self, sock: socket.socket, number: int, is_admin: bool) -> None:
        active = sock
        try:
            if not is_admin:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._mode == "silent":
                    self._keep_silent(sock, number)
                    return
                if self._context is not None:
                    active = self._handshake(sock)
            trusted = is_admin or sock.family == socket.AF_UNIX or _is_loopback(active)
            self._service.serve(Connection(active, self._wire, number), trusted=trusted)
        except (ConnectionLost, OSError):
            pass
        finally:
            with self._lock:
                self._open.discard(sock)
                self._open.discard(active)
                self._clients -= {sock, active}
                if not is_admin:
                    self.store.log.disconnected()
            active.close()

    def _keep_silent(self, sock: socket.socket, number: int) -> None:
        silent = Connection(sock, self._wire, number)
        while self._mode == "silent":
            silent.stall(0.25)

    def _handshake(self, sock: socket.socket) -> ssl.SSLSocket:
        assert self._context is not None
        sock.settimeout(30.0)
        secure = self._context.wrap_socket(sock, server_side=True)
        secure.settimeout(None)
        with self._lock:
            for known in (self._open, self._clients):
                known.discard(sock)
                known.add(secure)
        return secure


def _tls_context(certificate: tuple[str, str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(*certificate)
    return context


def _is_loopback(sock: socket.socket) -> bool:
    return str(sock.getpeername()[0]).startswith("127.")


def _close_listener(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
    listener.close()


def _unix_listener(path: Path) -> socket.socket:
    """Bound through /proc, because a socket's path may have 107 bytes only."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
    listener.listen(64)
    return listener


def _is_left(sock: socket.socket) -> bool:
    """Whether the other side has closed it. Nothing is read, and nobody waits."""
    descriptor = sock.fileno()
    if descriptor < 0:
        return False
    look = select.poll()
    look.register(descriptor, select.POLLRDHUP)
    return bool(look.poll(0))
