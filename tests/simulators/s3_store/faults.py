# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults as rules: which requests are hit, and what is done to them."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

ACTIONS: Mapping[str, str] = {
    "status": "answer `status` with `code` (and `message`, `retry_after`, the headers `set`)",
    "page": "answer `status` with the web page of a proxy, whose title is `message`",
    "bad_spot": "break off where an answer reaches the byte `offset` of the object, whichever range was asked for",
    "blanks": "answer 200 at once, then a blank every `every` seconds for `seconds`; then comes what the operation did",
    "stall": "say nothing for `seconds` (null: for ever) at `where`: headers, body (after `after` bytes), request",
    "cut": "end the connection after `after` bytes of the answer's body; `where` request: of the request's body; "
    "`reset`: with RST; `after` null: instead of an answer",
    "corrupt": "flip the bits `xor` of the byte at `offset` of the answer's body (negative: from its end; "
    "null: its middle)",
    "zero": "zeros instead of the answer's body from `after` on",
    "short": "the first `after` bytes (null: half) of an object, with a Content-Length that says that these are all",
    "foreign": "the bytes of another object of the bucket, under the headers of the one that was asked for",
    "replace": "put another version of the object (same size unless `size` is given): before the answer (`after` null) "
    "or after `after` bytes of the body, whose rest is then of the new version",
    "store_wrong": "keep other bytes than were sent: `kind` flip, zero or truncate; `etag` stored (of the wrong bytes) "
    "or received (a lie)",
    "reorder": "put the parts of an upload together in the wrong order; `etag` as with store_wrong",
    "not_stored": "acknowledge a PutObject or CompleteMultipartUpload and keep nothing of it",
    "stale": "answer a HEAD as before the object was last written: with the older one, or that there is none",
    "etag": "the object gets an ETag that is no digest: `kind` opaque, kms, or hex (which looks like one)",
    "rate": "`bytes_per_second` on this request and its answer",
    "latency": "`seconds` before the request is looked at",
    "headers": "`set` and `remove` headers of the answer; `add` some, beside those of the same name",
    "omit": "leave keys that match the regular expression `keys` out of a listing",
    "repeat_page": "give a listing's own token as the next one",
}


@dataclass(slots=True)
class Rule:
    """One fault. Empty matchers match everything; all that are given must match.

    `method` and `operation` take alternatives separated by `|` (`PutObject|UploadPart`), `bucket` is exact, `key` a
    regular expression searched in the key. Of the matching requests, only number `nth` (1-based) is hit, or those from
    `first` on, or each with `probability` (drawn from `seed`); `count` limits how many are hit at all (null: all).
    `done` true: the operation takes effect, then status, stall or cut spoil its answer.
    """

    action: str
    id: str = ""
    method: str = ""
    operation: str = ""
    bucket: str = ""
    key: str = ""
    access_key: str = ""
    nth: int | None = None
    first: int = 1
    probability: float = 1.0
    seed: int = 0
    count: int | None = None
    done: bool = False
    where: str = "headers"
    status: int = 503
    code: str = "SlowDown"
    message: str = ""
    retry_after: int | None = None
    seconds: float | None = None
    every: float = 1.0
    after: int | None = None
    reset: bool = False
    offset: int | None = None
    xor: int = 1
    size: int | None = None
    kind: str = "flip"
    etag: str = "stored"
    bytes_per_second: int = 0
    set: dict[str, str] = field(default_factory=dict)
    remove: list[str] = field(default_factory=list)
    add: dict[str, str] = field(default_factory=dict)
    keys: str = ""
    matched: int = 0
    hits: int = 0

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise ValueError(f"unknown action {self.action!r}, known: {', '.join(ACTIONS)}")
        if self.where not in ("headers", "body", "request"):
            raise ValueError(f"where: {self.where!r} is not headers, body or request")
        re.compile(self.key)
        re.compile(self.keys)


class Faults:
    """The rules in force. `active` is false while there are none: then nothing is spent on them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: dict[str, Rule] = {}
        self._random: dict[str, random.Random] = {}
        self._next = 1
        self.active = False

    def add(self, values: Mapping[str, Any]) -> str:
        """The rule's id; ValueError says what is wrong with it."""
        known = {entry.name for entry in fields(Rule)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"unknown in a fault: {', '.join(unknown)}; known: {', '.join(sorted(known))}")
        if "action" not in values:
            raise ValueError("a fault needs an action")
        with self._lock:
            rule = Rule(**values)
            if not rule.id:
                rule.id = f"fault-{self._next}"
                self._next += 1
            self._rules[rule.id] = rule
            self._random[rule.id] = random.Random(rule.seed)
            self.active = True
            return rule.id

    def remove(self, rule_id: str | None = None) -> None:
        """Removes one rule, or all."""
        with self._lock:
            if rule_id is None:
                self._rules.clear()
            else:
                self._rules.pop(rule_id, None)
            self.active = bool(self._rules)

    def rules(self) -> list[dict[str, Any]]:
        with self._lock:
            return [asdict(rule) for rule in self._rules.values()]

    def match(self, method: str, operation: str, bucket: str, key: str, access_key: str = "") -> Plan | None:
        """What is to be done to this request; counts it."""
        with self._lock:
            hit = [
                rule for rule in self._rules.values() if self._hits(rule, method, operation, bucket, key, access_key)
            ]
        return Plan(hit) if hit else None

    def _hits(self, rule: Rule, method: str, operation: str, bucket: str, key: str, access_key: str) -> bool:
        if (
            (rule.method and method not in rule.method.split("|"))
            or (rule.operation and operation not in rule.operation.split("|"))
            or (rule.bucket and bucket != rule.bucket)
            or (rule.access_key and access_key != rule.access_key)
            or (rule.key and not re.search(rule.key, key))
        ):
            return False
        rule.matched += 1
        if rule.count is not None and rule.hits >= rule.count:
            return False
        if rule.nth is not None and rule.matched != rule.nth:
            return False
        if rule.matched < rule.first:
            return False
        if rule.probability < 1.0 and self._random[rule.id].random() >= rule.probability:
            return False
        rule.hits += 1
        return True


class Plan:
    """The rules that hit one request, by what they do."""

    __slots__ = ("rules",)

    def __init__(self, rules: list[Rule]) -> None:
        self.rules = rules

    def first(self, action: str, *wheres: str, done: bool | None = None) -> Rule | None:
        """The first rule of that action at one of these places (any if none is named)."""
        for rule in self.rules:
            if rule.action == action and (not wheres or rule.where in wheres) and done in (None, rule.done):
                return rule
        return None

    def all(self, action: str) -> list[Rule]:
        return [rule for rule in self.rules if rule.action == action]

    @property
    def rate(self) -> int:
        """Bytes per second, 0 for no limit."""
        rates = [rule.bytes_per_second for rule in self.rules if rule.action == "rate" and rule.bytes_per_second > 0]
        return min(rates, default=0)

    @property
    def touches_body(self) -> bool:
        """Whether the answer's body has to go through Python instead of sendfile."""
        actions = {rule.action for rule in self.rules}
        return bool(actions & {"bad_spot", "corrupt", "zero", "rate", "replace", "foreign"}) or any(
            rule.action in ("stall", "cut") and rule.where != "request" for rule in self.rules
        )


def damaged(rule: Rule, block: bytes | memoryview, offset: int) -> bytes:
    """What a store that keeps wrong bytes writes instead of `block`, which starts at `offset`."""
    if rule.kind == "truncate":
        keep = rule.after or 0
        return bytes(block[: max(0, keep - offset)])
    if rule.kind == "zero":
        return bytes(len(block))
    data = bytearray(block)
    at = (rule.offset or 0) - offset
    if 0 <= at < len(data):
        data[at] ^= rule.xor
    return bytes(data)
