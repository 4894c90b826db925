# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A loopback S3 endpoint that keeps objects in memory, writes down what it is asked, and fails per key as told.

It checks no signature and lists nothing: it is here for what real servers do only when something is wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import struct
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from urllib.parse import parse_qs, unquote


@dataclass
class Request:
    """One request, its body not yet read. `reader` and `writer` are for faults below HTTP."""

    method: str
    target: str
    headers: dict[str, str]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def key(self) -> str:
        return unquote(self.target.partition("?")[0]).lstrip("/").partition("/")[2]

    @property
    def query(self) -> dict[str, str]:
        pairs = parse_qs(self.target.partition("?")[2], keep_blank_values=True)
        return {name: values[0] for name, values in pairs.items()}

    async def body(self) -> bytes:
        return await self.reader.readexactly(int(self.headers.get("content-length", "0")))

    async def answer(self, status: int, headers: dict[str, object] | None = None, body: bytes = b"") -> None:
        """A whole answer; the body is left out for HEAD, and its length is what `headers` say if they do."""
        fields: dict[str, object] = {"Content-Length": len(body)} | (headers or {})
        lines = [f"HTTP/1.1 {status} Status", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        self.writer.write("\r\n".join(lines).encode() + (b"" if self.method == "HEAD" else body))
        await self.writer.drain()

    async def refuse(self, status: int, code: str) -> None:
        text = f"<Error><Code>{code}</Code><Message>for a test</Message></Error>"
        await self.answer(status, {"Content-Type": "application/xml"}, text.encode())

    def reset(self) -> None:
        """End the connection with RST instead of FIN."""
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()


@dataclass
class Stored:
    """An object. `parts` are the sizes of the parts it was uploaded in (empty: one PUT)."""

    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    parts: list[int] = field(default_factory=list)


# True: the request is answered; False: serve it as usual. Raise ConnectionError to end the connection.
Fault = Callable[[Request], Awaitable[bool]]


class FaultServer:
    """`with FaultServer() as server:` serves at `server.url` from a thread of its own."""

    def __init__(self) -> None:
        self.objects: dict[str, Stored] = {}
        self.faults: dict[str, Fault] = {}
        self.requests: list[Request] = []
        self.url = ""
        self._uploads: dict[str, tuple[dict[str, str], dict[int, bytes]]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()

    def __enter__(self) -> FaultServer:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def asked(self, key: str) -> list[Request]:
        return [request for request in list(self.requests) if request.key == key]

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=512))
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, target, _ = first.split(" ")
                pairs = (line.split(":", 1) for line in lines if line)
                request = Request(method, target, {name.lower(): text.strip() for name, text in pairs}, reader, writer)
                self.requests.append(request)
                fault = self.faults.get(request.key)
                if fault is None or not await fault(request):
                    await self._serve_well(request)
        with contextlib.suppress(RuntimeError):  # the loop may be closed already
            writer.close()

    async def _serve_well(self, request: Request) -> None:
        handler = {"PUT": self._put, "POST": self._post, "GET": self._get, "HEAD": self._get}.get(request.method)
        if handler:
            await handler(request)
        else:
            await request.answer(204)

    async def _put(self, request: Request) -> None:
        body = await request.body()
        if "partNumber" in request.query:
            self._uploads[request.query["uploadId"]][1][int(request.query["partNumber"])] = body
        else:
            self.objects[request.key] = Stored(body, request.headers)
        await request.answer(200, {"ETag": f'"{hashlib.md5(body).hexdigest()}"'})

    async def _post(self, request: Request) -> None:
        await request.body()
        if "uploads" in request.query:
            number = str(len(self._uploads))
            self._uploads[number] = (request.headers, {})
            text = f"<InitiateMultipartUploadResult><UploadId>{number}</UploadId></InitiateMultipartUploadResult>"
        else:
            headers, parts = self._uploads[request.query["uploadId"]]
            bodies = [parts[number] for number in sorted(parts)]
            self.objects[request.key] = Stored(b"".join(bodies), headers, [len(body) for body in bodies])
            text = "<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>"
        await request.answer(200, {}, text.encode())

    async def _get(self, request: Request) -> None:
        stored = self.objects.get(request.key)
        if stored is None:
            await request.refuse(404, "NoSuchKey")
            return
        start, end = 0, len(stored.body)
        if "range" in request.headers and request.method == "GET":
            first, _, last = request.headers["range"].removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last) + 1, end)
            await request.answer(
                206, {"Content-Range": f"bytes {start}-{end - 1}/{len(stored.body)}"}, stored.body[start:end]
            )
        else:
            await request.answer(200, {}, stored.body)


def refusing(status: int, code: str = "") -> Fault:
    """Answers every request for a key with this error; without a code, with no body."""

    async def fault(request: Request) -> bool:
        await request.body()
        if code:
            await request.refuse(status, code)
        else:
            await request.answer(status)
        return True

    return fault


def page(status: int) -> Fault:
    """Answers with a web page, as proxies and gateways do."""

    async def fault(request: Request) -> bool:
        await request.body()
        await request.answer(status, {"Content-Type": "text/html"}, b"<html><body>tls: EOF</body></html>")
        return True

    return fault


async def hang_up(request: Request) -> bool:
    """Closes the connection instead of an answer."""
    raise ConnectionError


async def say_nothing(request: Request) -> bool:
    """Takes the request and never answers."""
    await asyncio.sleep(3600)
    return True


def cut_off(*, reset: bool) -> Fault:
    """Ends the body of a GET half way."""

    async def fault(request: Request) -> bool:
        if request.method != "GET":
            return False
        await request.answer(206, {"Content-Length": 1000, "Content-Range": "bytes 0-999/1000"}, b"x" * 500)
        await asyncio.sleep(0.05)
        if reset:
            request.reset()
        raise ConnectionError

    return fault


async def stall_in_body(request: Request) -> bool:
    """Sends half of what a GET wants, or takes 100,000 bytes of a PUT, and then nothing happens any more."""
    if request.method == "GET":
        await request.answer(206, {"Content-Length": 1000, "Content-Range": "bytes 0-999/1000"}, b"x" * 500)
    elif request.method == "PUT":
        await request.reader.readexactly(100_000)
    else:
        return False
    await asyncio.sleep(3600)
    return True


def trickle(seconds: float) -> Fault:
    """Sends 1,000 bytes of a GET, or takes a PUT, in twenty steps over this time."""

    async def fault(request: Request) -> bool:
        if request.method == "GET":
            await request.answer(206, {"Content-Length": 1000, "Content-Range": "bytes 0-999/1000"})
        elif request.method != "PUT":
            return False
        share = int(request.headers.get("content-length", "0")) // 20
        for _ in range(20):
            if request.method == "GET":
                request.writer.write(b"x" * 50)
                await request.writer.drain()
            else:
                await request.reader.readexactly(share)
            await asyncio.sleep(seconds / 20)
        if request.method == "PUT":
            await request.answer(200, {"ETag": '"x"'})
        return True

    return fault
