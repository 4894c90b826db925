# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One client connection: HTTP/1.1 requests in, answers out, keep-alive, and the faults that happen on the wire."""

from __future__ import annotations

import os
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.client import responses as REASONS
from urllib.parse import unquote_plus, unquote_to_bytes

from .faults import Plan, Rule
from .model import ConnectionLost, Entry, S3Error, Switches
from .storage import Storage

HEAD_LIMIT = 64 * 1024
READ_BLOCK = 256 * 1024
SMALL_BODY = 64 * 1024
LINGER_LIMIT = 64 * 1024 * 1024


class Request:
    """The head of one request. `path` is decoded from the first `/` on; header names are in lower case."""

    __slots__ = ("body_started", "bucket", "headers", "key", "method", "pairs", "query", "raw_path", "version")

    def __init__(self, method: str, target: str, version: str, headers: dict[str, str]) -> None:
        if target.startswith("http://"):  # as clients of a proxy send it, and every server takes it
            target = "/" + target.split("/", 3)[3]
        self.method = method
        self.version = version
        self.headers = headers
        self.raw_path, _, raw_query = target.partition("?")
        self.pairs = _query_pairs(raw_query) if raw_query else []
        self.query = dict(self.pairs)
        self.body_started = False
        self.bucket, self.key = _split_path(self.raw_path)

    def take_bucket(self, bucket: str) -> None:
        """The bucket stands in the host's name: all of the path is the key."""
        self.bucket, self.key = bucket, _split_path(f"/{bucket}{self.raw_path}")[1]

    @property
    def wants_close(self) -> bool:
        connection = self.headers.get("connection", "").lower()
        return connection == "close" or (self.version == "HTTP/1.0" and connection != "keep-alive")


def _query_pairs(raw_query: str) -> list[tuple[str, str]]:
    pairs = []
    for item in raw_query.split("&"):
        if item:
            name, _, value = item.partition("=")
            pairs.append((unquote_plus(name), unquote_plus(value, errors="surrogateescape")))
    return pairs


def _split_path(raw_path: str) -> tuple[str, str]:
    if not raw_path.startswith("/"):
        raise S3Error("InvalidURI")
    bucket, _, key = raw_path[1:].partition("/")
    if "%" not in raw_path and raw_path.isascii():
        return bucket, key
    try:
        return (
            unquote_to_bytes(bucket.encode("latin-1")).decode(),
            unquote_to_bytes(key.encode("latin-1")).decode(errors="surrogateescape"),
        )
    except UnicodeDecodeError:
        raise S3Error("InvalidURI", "the bucket is not UTF-8") from None


@dataclass(slots=True)
class Response:
    """An answer: `body`, or a range of an entry (`start`, `length`) that the caller releases afterwards.

    `declared` overrides Content-Length (the answer to HEAD). `added` headers come beside others of the same name.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    entry: Entry | None = None
    start: int = 0
    length: int = 0
    declared: int | None = None
    close: bool = False
    replacement: Callable[[], Entry] | None = None
    added: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Wire:
    """What a connection needs to know of its server."""

    storage: Storage
    server_header: Callable[[], str]
    clock: Callable[[], float]
    bytes_per_second: Callable[[], int]
    switches: Callable[[], Switches]
    closing: Callable[[float], bool]  # waits up to that many seconds, True when the server stops


_DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>\n'


class Connection:
    """A socket with its read buffer. All methods raise ConnectionLost when the peer is gone."""

    def __init__(self, sock: socket.socket, wire: Wire, number: int) -> None:
        self.sock = sock
        self.wire = wire
        self.number = number
        self.plan: Plan | None = None
        self.sent = 0
        self.received = 0
        self._buffer = bytearray()
        self._flags = 0 if isinstance(sock, ssl.SSLSocket) else socket.MSG_WAITALL
        self._expects = False
        self._pace_start = 0.0
        self._pace_bytes = 0
        self._is_begun = False  # the answer: its head and blanks are out

    # -- reading ---------------------------------------------------------------------------------------------------

    def _fill(self) -> bool:
        try:
            data = self.sock.recv(65536)
        except (OSError, ValueError) as error:
            raise ConnectionLost(str(error)) from error
        self._buffer += data
        return bool(data)

    def read_request(self) -> Request | None:
        """The next request, None when the client closed between two. S3Error: not HTTP."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > HEAD_LIMIT:
                raise S3Error("BadRequest", "the request head is too long")
            if not self._fill():
                return None
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        try:
            method, target, version = lines[0].split(" ")
            headers = _parse_headers(lines)
        except ValueError:
            raise S3Error("BadRequest", "the request line is malformed") from None
        self._expects = headers.get("expect", "").lower() == "100-continue"
        self.plan = None
        self.sent = self.received = 0
        self._pace_start, self._pace_bytes = time.monotonic(), 0
        return Request(method, target, version, headers)

    def _start_body(self) -> None:
        if self._expects:
            self._expects = False
            self._send(b"HTTP/1.1 100 Continue\r\n\r\n")

    @property
    def continue_pending(self) -> bool:
        """The client still waits for leave to send the body."""
        return self._expects

    def read_line(self) -> bytes:
        self._start_body()
        while (end := self._buffer.find(b"\r\n")) < 0:
            if not self._fill():
                raise ConnectionLost("the body ended early")
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def read_exactly(self, count: int) -> bytes:
        return b"".join(bytes(block) for block in self.read_blocks(count))

    def read_blocks(self, count: int) -> Iterator[bytes | memoryview]:
        """`count` bytes of the body; a block is valid until the next one is asked for."""
        self._start_body()
        plan, rate = self.plan, self._rate()
        if plan is not None or rate:
            yield from self._spoiled_blocks(count, plan, rate)
            return
        for block in self._plain_blocks(count, READ_BLOCK):
            self.received += len(block)
            yield block

    def _plain_blocks(self, count: int, size: int) -> Iterator[bytes | memoryview]:
        if self._buffer and count:
            block = bytes(self._buffer[:count])
            del self._buffer[:count]
            count -= len(block)
            yield block
        if not count:
            return
        scratch = memoryview(bytearray(min(size, count)))
        while count > 0:
            try:
                got = self.sock.recv_into(scratch[: min(count, size)], 0, self._flags)
            except (OSError, ValueError) as error:
                raise ConnectionLost(str(error)) from error
            if not got:
                raise ConnectionLost("the body ended early")
            count -= got
            yield scratch[:got]

    def _spoiled_blocks(self, count: int, plan: Plan | None, rate: int) -> Iterator[bytes | memoryview]:
        stall = plan.first("stall", "request") if plan else None
        cut = plan.first("cut", "request") if plan else None
        for block in self._plain_blocks(count, min(READ_BLOCK, max(4096, rate // 10)) if rate else 16384):
            if cut and self.received + len(block) >= (cut.after or 0):
                self.abandon(reset=cut.reset)
            if stall and self.received + len(block) >= (stall.after or 0):
                self.stall(stall.seconds)
                stall = None
            self.received += len(block)
            self._pace(len(block), rate)
            yield block

    # -- writing ---------------------------------------------------------------------------------------------------

    def _send(self, data: bytes | bytearray | memoryview) -> None:
        try:
            self.sock.sendall(data)
        except (OSError, ValueError) as error:
            raise ConnectionLost(str(error)) from error

    def send_blanks(self, request_id: str, seconds: float, every: float) -> None:
        """Begin an answer of 200 and show now and then that work goes on, as stores do while they put parts together.

        Who leaves meanwhile does not end the work.
        """
        end = time.monotonic() + seconds
        response = Response(headers={"Content-Type": "application/xml", "Transfer-Encoding": "chunked"})
        try:
            self._send(self._head(response, 0, request_id, "none") + _chunk(_DECLARATION))
            self._is_begun = True
            while time.monotonic() < end:
                self.stall(min(every, max(0.0, end - time.monotonic())))
                self._send(_chunk(b" "))
        except ConnectionLost:
            self.wire.closing(max(0.0, end - time.monotonic()))

    def _send_end(self, response: Response) -> None:
        self._is_begun = False
        self._send(_chunk(response.body.removeprefix(_DECLARATION)) + b"0\r\n\r\n")

    def send(self, response: Response, request_id: str, *, head_only: bool) -> None:
        """Sends the answer whole, or raises ConnectionLost."""
        if self._is_begun:
            self._send_end(response)
            return
        entry = response.entry
        length = response.length if entry is not None else len(response.body)
        declared = length if response.declared is None else response.declared
        framing = self._framing(response, head_only=head_only)
        head = self._head(response, declared, request_id, framing)
        plan, rate = self.plan, self._rate()
        if framing == "chunked":
            self._send_in_chunks(head, response, length)
        elif head_only or length == 0:
            self._spoil_empty(plan)
            self._send(head)
        elif rate or (plan is not None and plan.touches_body):
            self._send(head)
            self._send_spoiled(response, length, plan, rate)
        elif entry is None:
            self._send(head + response.body)
            self.sent += length
        elif length <= SMALL_BODY:
            self._send(head + b"".join(self.wire.storage.blocks(entry, response.start, length, SMALL_BODY)))
            self.sent += length
        else:
            self._send(head)
            self._send_file(entry, response.start, length)

    def _spoil_empty(self, plan: Plan | None) -> None:
        if plan is not None and (cut := plan.first("cut", "headers", "body")):
            self.abandon(reset=cut.reset)

    def _framing(self, response: Response, *, head_only: bool) -> str:
        """How the end of an answer is told: `length`, `chunked`, `close`, or `none` where it has no body."""
        switches = self.wire.switches()
        if response.status in (204, 304):
            return "none"
        if head_only:
            return "length" if switches.head_length else "none"
        response.close = response.close or switches.framing == "close"
        return switches.framing

    def _send_in_chunks(self, head: bytes, response: Response, length: int) -> None:
        self._send(head)
        for start in range(0, length, 8192):
            piece = self._piece(response, start, min(8192, length - start))
            self._send(_chunk(bytes(piece)))
            self.sent += len(piece)
        self._send(b"0\r\n\r\n")

    def _head(self, response: Response, length: int, request_id: str, framing: str) -> bytes:
        status, version = response.status, "1.0" if framing == "close" else "1.1"
        lines = [
            f"HTTP/{version} {status} {REASONS.get(status, 'Unknown')}\r\n",
            f"Server: {self.wire.server_header()}\r\nDate: {http_date(self.wire.clock())}\r\n",
            f"x-amz-request-id: {request_id}\r\nx-amz-id-2: {request_id}\r\n",
        ]
        headers = dict(response.headers)
        if framing == "length":
            headers.setdefault("Content-Length", str(length))
        elif framing == "chunked":
            headers["Transfer-Encoding"] = "chunked"
        doubled = [name for name in headers if name.lower() in self.wire.switches().doubled_headers.lower().split(",")]
        pairs = [*headers.items(), *((name, headers[name]) for name in doubled), *response.added.items()]
        lines += [f"{name}: {value}\r\n" for name, value in pairs]
        lines.append("Connection: close\r\n\r\n" if response.close else "\r\n")
        return "".join(lines).encode("latin-1", "replace")

    def _send_file(self, entry: Entry, start: int, length: int) -> None:
        storage = self.wire.storage
        if isinstance(self.sock, ssl.SSLSocket):
            for block in storage.blocks(entry, start, length):
                self._send(block)
                self.sent += len(block)
            return
        out = self.sock.fileno()
        for blob, offset, count in storage.extents(entry, start, length):
            descriptor = os.open(storage.blob_path(blob), os.O_RDONLY | os.O_CLOEXEC)
            try:
                while count > 0:
                    sent = os.sendfile(out, descriptor, offset, count)
                    if not sent:
                        raise ConnectionLost("the stored file is too short")
                    offset, count, self.sent = offset + sent, count - sent, self.sent + sent
            except OSError as error:
                raise ConnectionLost(str(error)) from error
            finally:
                os.close(descriptor)

    # -- faults ----------------------------------------------------------------------------------------------------

    def _rate(self) -> int:
        rates = [self.wire.bytes_per_second(), self.plan.rate if self.plan else 0]
        return min((rate for rate in rates if rate > 0), default=0)

    def _pace(self, count: int, rate: int) -> None:
        if not rate:
            return
        self._pace_bytes += count
        ahead = self._pace_bytes / rate - (time.monotonic() - self._pace_start)
        if ahead > 0:
            self.stall(ahead)

    def _send_spoiled(self, response: Response, length: int, plan: Plan | None, rate: int) -> None:
        rules = plan.rules if plan is not None else []
        moments = _moments(rules, length, response.start)
        block_size = min(READ_BLOCK, max(1024, rate // 10), rate) if rate else READ_BLOCK
        position = 0
        source = response
        zero = False
        while position <= length:
            for rule in moments.pop(position, []):
                if rule.action in ("cut", "bad_spot"):
                    self.abandon(reset=rule.reset)
                elif rule.action == "stall":
                    self.stall(rule.seconds)
                elif rule.action == "zero":
                    zero = True
                elif rule.action == "replace" and response.replacement is not None:
                    source = Response(entry=response.replacement(), start=response.start)
            if position == length:
                return
            end = min([length, position + block_size, *(at for at in moments if at > position)])
            block = bytearray(end - position) if zero else self._piece(source, position, end - position)
            for rule in rules:
                _flip(rule, block, position, length)
            self._send(block)
            self.sent += len(block)
            self._pace(len(block), rate)
            position = end

    def _piece(self, source: Response, position: int, count: int) -> bytearray:
        if source.entry is None:
            return bytearray(source.body[position : position + count])
        data = bytearray(b"".join(self.wire.storage.blocks(source.entry, source.start + position, count)))
        return data + bytes(count - len(data))  # a shorter new version: the length was already promised

    def stall(self, seconds: float | None) -> None:
        """Waits that long (None: for ever); ConnectionLost when the peer leaves or the server stops meanwhile."""
        end = None if seconds is None else time.monotonic() + seconds
        poll = select.poll()
        poll.register(self.sock, select.POLLRDHUP)
        while end is None or time.monotonic() < end:
            left = 0.25 if end is None else min(0.25, end - time.monotonic())
            if self.wire.closing(max(left, 0.0)):
                raise ConnectionLost("the server stops")
            if any(event & (select.POLLRDHUP | select.POLLHUP | select.POLLERR) for _, event in poll.poll(0)):
                raise ConnectionLost("the client went away")

    def linger(self) -> None:
        """Before closing with unread data in the socket: lets the client read the answer first."""
        try:
            self.sock.settimeout(1.0)
            if not isinstance(self.sock, ssl.SSLSocket):
                self.sock.shutdown(socket.SHUT_WR)
            left = LINGER_LIMIT
            while left > 0 and (data := self.sock.recv(READ_BLOCK)):
                left -= len(data)
        except (OSError, ValueError):
            pass

    def abandon(self, *, reset: bool = False) -> None:
        """Ends the connection here and now; always raises ConnectionLost."""
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise ConnectionLost("a fault ends the connection")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _parse_headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError(line)
        name = name.lower()
        value = value.strip(" \t")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers


def _moments(rules: list[Rule], length: int, start: int) -> dict[int, list[Rule]]:
    """Position in the body, which begins at byte `start` of the object -> what happens before that byte is sent."""
    moments: dict[int, list[Rule]] = {}
    for rule in rules:
        if rule.action == "bad_spot" and start <= (rule.offset or 0) < start + length:
            moments.setdefault((rule.offset or 0) - start, []).append(rule)
        if rule.action in ("cut", "stall") and rule.where == "request":
            continue
        if rule.action == "stall" and rule.where != "body":
            continue
        if rule.action in ("cut", "stall", "zero") or (rule.action == "replace" and rule.after is not None):
            moments.setdefault(min(rule.after or 0, length), []).append(rule)
    return moments


def _flip(rule: Rule, block: bytearray, position: int, length: int) -> None:
    if rule.action != "corrupt":
        return
    at = length // 2 if rule.offset is None else rule.offset
    if at < 0:
        at += length
    if position <= at < position + len(block):
        block[at - position] ^= rule.xor


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_date_cache: Mapping[int, str] = {}


def http_date(epoch: float) -> str:
    """RFC 1123, in English whatever the locale."""
    global _date_cache
    second = int(epoch)
    cached = _date_cache.get(second)
    if cached is None:
        now = time.gmtime(second)
        cached = (
            f"{_DAYS[now.tm_wday]}, {now.tm_mday:02d} {_MONTHS[now.tm_mon]} {now.tm_year} "
            f"{now.tm_hour:02d}:{now.tm_min:02d}:{now.tm_sec:02d} GMT"
        )
        _date_cache = {second: cached}
    return cached
