# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the store was asked and what it answered: a bounded log and counters, for assertions of tests."""

from __future__ import annotations

import itertools
import threading
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from typing import Any

SETTLE_SECONDS = 0.2


@dataclass(slots=True)
class Record:
    """One request. `at` seconds since the epoch, `seconds` until the last byte was out, bytes of bodies only.

    `completed` is false when the connection ended before the whole answer was out (or the body was in);
    `version` of a write is the ETag it published.
    """

    number: int
    at: float
    method: str
    operation: str
    bucket: str
    key: str
    connection: int
    status: int = 0
    code: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    seconds: float = 0.0
    etag: str = ""
    range: str = ""
    upload_id: str = ""
    part_number: int = 0
    access_key: str = ""
    content_md5: str = ""
    completed: bool = False
    faults: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True)
class Connections:
    """How many connections and requests there are and were at most."""

    now: int = 0
    peak: int = 0
    total: int = 0
    refused: int = 0
    requests_now: int = 0
    requests_peak: int = 0


class RequestLog:
    """Thread-safe. Keeps the last `limit` requests; counters and writes are not bounded by it."""

    def __init__(self, limit: int = 200_000) -> None:
        self._lock = threading.Lock()
        self._settled = threading.Condition(self._lock)
        self._sending: set[int] = set()
        self._numbers = itertools.count(1)
        self.records: deque[Record] = deque(maxlen=limit)
        self.connections = Connections()
        self._clear_counters()

    def _clear_counters(self) -> None:
        self.requests: Counter[tuple[str, str, str]] = Counter()  # (operation, bucket, key)
        self.operations: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.codes: Counter[str] = Counter()
        self.bytes_in = 0
        self.bytes_out = 0
        self.writes: dict[tuple[str, str], list[Record]] = {}

    def begin(self, record: Record) -> None:
        with self._lock:
            record.number = next(self._numbers)
            self.connections.requests_now += 1
            self.connections.requests_peak = max(self.connections.requests_peak, self.connections.requests_now)

    def answering(self, record: Record) -> None:
        """Counts the request before its answer goes out: who has the answer finds the request here."""
        with self._lock:
            self._count(record)
            self._sending.add(record.number)

    def _count(self, record: Record) -> None:
        self.records.append(record)
        self.requests[record.operation, record.bucket, record.key] += 1
        self.operations[record.operation] += 1
        self.statuses[record.status] += 1
        if record.code:
            self.codes[record.code] += 1

    def end(self, record: Record) -> None:
        with self._settled:
            self.connections.requests_now -= 1
            if record.number in self._sending:
                self._sending.remove(record.number)
            else:
                self._count(record)
            self.bytes_in += record.bytes_in
            self.bytes_out += record.bytes_out
            if not self._sending:
                self._settled.notify_all()

    def _settle(self) -> None:
        """Under the lock: gives answers that are going out a moment to end, for `completed` and the bytes."""
        self._settled.wait_for(lambda: not self._sending, SETTLE_SECONDS)

    def wrote(self, record: Record) -> None:
        """A PutObject, CopyObject or CompleteMultipartUpload that published an object (whatever was answered)."""
        with self._lock:
            self.writes.setdefault((record.bucket, record.key), []).append(record)

    def connected(self, left: int = 0) -> int:
        """The number of the new connection, from 1; `left` others were closed by their clients, and not here yet."""
        with self._lock:
            connections = self.connections
            connections.now += 1
            connections.total += 1
            connections.peak = max(connections.peak, connections.now - left)
            return connections.total

    def disconnected(self) -> None:
        with self._lock:
            self.connections.now -= 1

    def refused(self) -> None:
        with self._lock:
            self.connections.refused += 1

    def clear(self) -> None:
        with self._lock:
            self.records.clear()
            self._clear_counters()
            self.connections.peak = self.connections.now
            self.connections.total = self.connections.now
            self.connections.requests_peak = self.connections.requests_now
            self.connections.refused = 0

    def lines(self, after: int = 0) -> list[dict[str, Any]]:
        """The requests numbered above `after`, in order of their answers."""
        with self._lock:
            self._settle()
            records = list(self.records)
        return [record.as_dict() for record in records if record.number > after]

    def counters(self) -> dict[str, Any]:
        """Everything counted since the start or the last clear, as plain JSON values."""
        with self._lock:
            self._settle()
            return {
                "operations": dict(self.operations),
                "statuses": {str(status): count for status, count in self.statuses.items()},
                "codes": dict(self.codes),
                "bytes_in": self.bytes_in,
                "bytes_out": self.bytes_out,
                "connections": asdict(self.connections),
                "requests": [
                    {"operation": operation, "bucket": bucket, "key": key, "count": count}
                    for (operation, bucket, key), count in self.requests.items()
                ],
            }

    def write_list(self) -> list[dict[str, Any]]:
        """Every publication per key, oldest first."""
        with self._lock:
            return [
                {"bucket": bucket, "key": key, "writes": [record.as_dict() for record in records]}
                for (bucket, key), records in self.writes.items()
            ]
