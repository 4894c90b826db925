# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What a hand and its parent say to each other. No side effects.

| from the parent | values |
| --- | --- |
| SETUP | a mapping, see `hand.py` |
| KEYS | access key, secret key, session token, whether they may change again soon |
| FOLDER | the parent's descriptor, of which a duplicate comes with the frame |
| FETCH, SEND | a piece of work |
| WIDTHS | its number, the connections of each lane in all hands together, the volumes in the order of their coming |

| from the hand | values |
| --- | --- |
| ARRIVED, RECEIVED, SENT, FAILED | an outcome |
| BEAT | bytes moved so far, whether a store packs (see `store/encodings.py`), what each worker does |
| LOOK | whether the keys changed: KEYS is the answer |
| FITS | the number of a WIDTHS: no lane has more connections than that allows |
| SLOWED | a request was refused for now, or not answered in time |
| LOG | logger, level, text |
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ...core.errors import Trouble
from ...core.header_text import dump_headers, load_headers
from ...core.model import Arrived, Fetch, Head, Outcome, Received, Send
from ...core.workers import Doing, Look
from .channel import Message

SETUP, KEYS, FOLDER, FETCH, SEND, WIDTHS = "setup", "keys", "folder", "fetch", "send", "widths"
ARRIVED, RECEIVED, SENT, FAILED, BEAT, LOOK, LOG = "arrived", "received", "sent", "failed", "beat", "look", "log"
FITS, SLOWED = "fits", "slowed"
OUTCOMES = frozenset({ARRIVED, RECEIVED, SENT, FAILED})

_in_folder = re.compile(r"/proc/self/fd/(\d+)(/.*)", re.DOTALL).fullmatch


def folder_of(path: str) -> int | None:
    """The descriptor that a path starts from; None: it starts from none."""
    found = _in_folder(path)
    return int(found[1]) if found else None


def relocated(path: str, folders: dict[int, int]) -> str:
    """The path in a process that has duplicates of the descriptors, by their numbers in the other one."""
    found = _in_folder(path)
    return f"/proc/self/fd/{folders[int(found[1])]}{found[2]}" if found else path


def say_work(work: Fetch | Send) -> Message:
    return (FETCH if isinstance(work, Fetch) else SEND), *work


def read_work(message: Message, folders: dict[int, int]) -> Fetch | Send:
    """`folders` as for `relocated`."""
    kind, number, key, size, path, *rest = message
    path = relocated(path, folders)
    return Fetch(number, key, size, path, *rest) if kind == FETCH else Send(number, key, size, path, *rest)


def say_outcome(outcome: Outcome) -> Message:
    if outcome.arrived:
        return ARRIVED, outcome.id, outcome.arrived.digest, outcome.arrived.header_text
    if outcome.received:
        return RECEIVED, outcome.id, _head_values(outcome.received.head), outcome.received.etag
    if outcome.trouble:
        return FAILED, outcome.id, outcome.trouble.value, outcome.message
    return SENT, outcome.id, _head_values(outcome.answered) if outcome.answered else None


def read_outcome(message: Message) -> Outcome:
    kind, number, *values = message
    if kind == ARRIVED:
        return Outcome(number, arrived=Arrived(*values))
    if kind == RECEIVED:
        return Outcome(number, received=Received(_head_of(values[0]), values[1], 0))
    if kind == FAILED:
        return Outcome(number, Trouble(values[0]), values[1])
    return Outcome(number, answered=_head_of(values[0]) if values[0] else None)


def say_looks(looks: Iterable[Look]) -> list[tuple[str, str, float, int]]:
    return [(look.name, look.doing.value, look.seconds, look.disk) for look in looks]


def read_looks(values: Iterable[tuple[str, str, float, int]]) -> list[Look]:
    return [Look(name, Doing(doing), seconds, disk) for name, doing, seconds, disk in values]


def _head_values(head: Head) -> tuple[Any, ...]:
    return (
        head.status,
        head.size,
        head.etag,
        head.modified_ms,
        dump_headers(head.headers),
        head.tag_count,
        head.parts_count,
        head.encryption,
        dict(head.checksums),
        head.server_time_ms,
    )


def _head_of(values: tuple[Any, ...]) -> Head:
    status, size, etag, modified_ms, header_text, *rest = values
    return Head(status, size, etag, modified_ms, load_headers(header_text), *rest)
