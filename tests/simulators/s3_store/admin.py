# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The admin endpoint `/_sim/...`: faults, switches, log and objects, without authentication, for loopback only."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Protocol

from .call import Store
from .connection import Connection, Request, Response
from .model import S3Error


class Listener(Protocol):
    """The part of a server that the admin endpoint steers."""

    def set_listener(self, mode: str, seconds: float | None = None) -> None: ...

    def describe(self) -> dict[str, Any]: ...


class Control:
    """What a test may do to a store; the same calls in process and over the admin endpoint."""

    def __init__(self, store: Store, listener: Listener) -> None:
        self.store = store
        self.listener = listener

    def set_switches(self, **values: Any) -> dict[str, Any]:
        self.store.switches = self.store.switches.changed(**values)
        return asdict(self.store.switches)

    def set_keys(self, access_key: str, secret_key: str, *, keep: bool = False) -> None:
        """From now on this key pair is known, and no other, unless `keep` leaves those that were known."""
        known = dict(self.store.secrets) if keep else {}
        self.store.secrets = {**known, access_key: secret_key}

    def objects(self, bucket: str) -> list[dict[str, Any]]:
        """Everything in a bucket, sorted by key, as plain JSON values."""
        storage = self.store.storage
        with storage.lock:
            entries = [storage.bucket(bucket).entries[key] for key in storage.bucket(bucket).sorted_keys()]
        return [
            {
                "key": entry.key,
                "size": entry.size,
                "etag": entry.etag,
                "modified_ms": entry.modified_ms,
                "headers": entry.headers,
                "tags": entry.tags,
                "parts": list(entry.parts),
            }
            for entry in entries
        ]

    def uploads(self, bucket: str) -> list[dict[str, Any]]:
        """The multipart uploads under way."""
        storage = self.store.storage
        with storage.lock:
            return [
                {"key": upload.key, "upload_id": upload.upload_id, "parts": len(upload.parts)}
                for upload in storage.bucket(bucket).uploads.values()
            ]

    def get(self, bucket: str, key: str) -> bytes:
        storage = self.store.storage
        entry = storage.open_entry(bucket, key)
        try:
            return b"".join(storage.blocks(entry))
        finally:
            storage.release(entry)

    def put(
        self,
        bucket: str,
        key: str,
        data: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        part_size: int = 0,
        modified_ms: int = 0,
    ) -> str:
        """The ETag."""
        storage = self.store.storage
        storage.create_bucket(bucket)
        entry = storage.put_bytes(
            bucket, key, data, headers=headers, tags=tags, part_size=part_size, modified_ms=modified_ms
        )
        return entry.etag

    def fill(self, bucket: str, count: int, size: int = 0, prefix: str = "") -> None:
        """`count` objects of the same `size` bytes at once, named PREFIX + nine digits."""
        self.store.storage.create_bucket(bucket)
        self.store.storage.fill(bucket, count, size, prefix)

    def delete(self, bucket: str, key: str) -> bool:
        return self.store.storage.delete(bucket, key)

    def damage(self, bucket: str, key: str, offset: int = 0, xor: int = 1) -> None:
        """Bit rot: flips bits of one stored byte; size, ETag and time stay."""
        storage = self.store.storage
        entry = storage.entry(bucket, key)
        for blob, at, _count in storage.extents(entry, offset, 1):
            with open(storage.blob_path(blob), "r+b", buffering=0) as file:
                file.seek(at)
                value = file.read(1)[0]
                file.seek(at)
                file.write(bytes([value ^ xor]))


Answer = Callable[[Control, Mapping[str, str], bytes], Any]


def _fault_add(control: Control, _query: Mapping[str, str], body: bytes) -> Any:
    given = json.loads(body)
    return [control.store.faults.add(rule) for rule in (given if isinstance(given, list) else [given])]


def _fault_remove(control: Control, query: Mapping[str, str], _body: bytes) -> Any:
    control.store.faults.remove(query.get("id"))
    return {}


def _log_clear(control: Control, _query: Mapping[str, str], _body: bytes) -> Any:
    control.store.log.clear()
    return {}


def _switches_set(control: Control, _query: Mapping[str, str], body: bytes) -> Any:
    return control.set_switches(**json.loads(body))


def _keys_set(control: Control, _query: Mapping[str, str], body: bytes) -> Any:
    control.set_keys(**json.loads(body))
    return {}


def _listener_set(control: Control, _query: Mapping[str, str], body: bytes) -> Any:
    given = json.loads(body)
    control.listener.set_listener(given["mode"], given.get("seconds"))
    return {}


def _object_put(control: Control, query: Mapping[str, str], body: bytes) -> Any:
    options = json.loads(query.get("options", "{}"))
    return {"etag": control.put(query["bucket"], query["key"], body, **options)}


def _object_delete(control: Control, query: Mapping[str, str], _body: bytes) -> Any:
    return {"deleted": control.delete(query["bucket"], query["key"])}


def _damage(control: Control, query: Mapping[str, str], body: bytes) -> Any:
    control.damage(query["bucket"], query["key"], **json.loads(body or b"{}"))
    return {}


def _fill(control: Control, query: Mapping[str, str], body: bytes) -> Any:
    control.fill(query["bucket"], **json.loads(body))
    return {}


def _bucket_create(control: Control, query: Mapping[str, str], _body: bytes) -> Any:
    return {"created": control.store.storage.create_bucket(query["bucket"])}


ROUTES: Mapping[tuple[str, str], Answer] = {
    ("GET", ""): lambda control, _query, _body: control.listener.describe(),
    ("GET", "faults"): lambda control, _query, _body: control.store.faults.rules(),
    ("POST", "faults"): _fault_add,
    ("DELETE", "faults"): _fault_remove,
    ("GET", "switches"): lambda control, _query, _body: asdict(control.store.switches),
    ("POST", "switches"): _switches_set,
    ("POST", "keys"): _keys_set,
    ("GET", "log"): lambda control, query, _body: control.store.log.lines(int(query.get("after", "0"))),
    ("DELETE", "log"): _log_clear,
    ("GET", "counters"): lambda control, _query, _body: control.store.log.counters(),
    ("GET", "writes"): lambda control, _query, _body: control.store.log.write_list(),
    ("POST", "listener"): _listener_set,
    ("GET", "objects"): lambda control, query, _body: control.objects(query["bucket"]),
    ("GET", "uploads"): lambda control, query, _body: control.uploads(query["bucket"]),
    ("GET", "object"): lambda control, query, _body: control.get(query["bucket"], query["key"]),
    ("PUT", "object"): _object_put,
    ("DELETE", "object"): _object_delete,
    ("POST", "damage"): _damage,
    ("PUT", "bucket"): _bucket_create,
    ("POST", "fill"): _fill,
}


def handle(control: Control, request: Request, connection: Connection) -> Response:
    """The answer to one admin request; lists of the log come as JSON lines."""
    name = request.raw_path.removeprefix("/_sim/")
    body = connection.read_exactly(int(request.headers.get("content-length", "0")))
    answer = ROUTES.get((request.method, name))
    if answer is None:
        return _json(404, {"error": f"no {request.method} /_sim/{name}"})
    try:
        value = answer(control, request.query, body)
    except S3Error as error:
        return _json(error.status, {"error": error.code})
    except (ValueError, KeyError, TypeError) as error:
        return _json(400, {"error": f"{type(error).__name__}: {error}"})
    if isinstance(value, bytes):
        return Response(200, {"Content-Type": "application/octet-stream"}, value)
    if name == "log" and request.method == "GET":
        lines = "".join(json.dumps(line) + "\n" for line in value)
        return Response(200, {"Content-Type": "application/x-ndjson"}, lines.encode())
    return _json(200, value)


def _json(status: int, value: Any) -> Response:
    return Response(status, {"Content-Type": "application/json"}, json.dumps(value).encode() + b"\n")
