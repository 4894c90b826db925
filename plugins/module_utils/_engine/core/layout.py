# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The layout of a volume: folders and file names. Staged files are named by keys.to_path().

On a volume the engine owns `.snowsync`::

    .snowsync/volume.json            the marker: {"uuid", "name"}
    .snowsync/incoming/<job>/<id>    files the mover is writing; all of it can be discarded after a crash
    .snowsync/staged/<job>/<path>    proven objects
    .snowsync/quarantine/<job>/<id>  the last copy of an object that did not match
    .snowsync/outgoing/<job>/<id>    a link to the original place of a dropped file that is about to be deleted
    .snowsync/ledgers/<job>.json     the ledger that owns the job's files here: {"ledger", "host", "path"}, and its
                                     newest group as far as known here: {"counter", "at_ms"}
"""

from __future__ import annotations

import re

OWN_FOLDER = ".snowsync"  # the engine's folder on every volume

# In it:
MARKER = "volume.json"
MARKER_PATH = f"{OWN_FOLDER}/{MARKER}"  # from the top of the volume
LEDGERS = "ledgers"
INCOMING = "incoming"
STAGED = "staged"
QUARANTINE = "quarantine"
OUTGOING = "outgoing"
JOB_FOLDERS = (INCOMING, STAGED, QUARANTINE, OUTGOING)  # in each of them, every job has a folder of its own

UNFINISHED = ".new"  # suffix of a marker or record that is being written
PROBE = "probe-"  # prefix of short-lived files that test the filesystem
_ASIDE = ".delivered"
_EVACUATED = "evacuate-"

_UUID = "[0-9a-f-]{36}"
_PROBE_NAME = f"{PROBE}{_UUID}a*"
# A mover's file, boto3's temporary file beside it, a copy made by an evacuation, a write test.
_PARTIAL_NAME = rf"({_EVACUATED})?[0-9]+(\.[0-9A-Za-z]+)?|{_PROBE_NAME}"
_is_partial = re.compile(_PARTIAL_NAME).fullmatch
_is_link = re.compile("[0-9]+").fullmatch
_quarantined = re.compile(r"([0-9]+)(?:~([0-9]+)(?:\.[0-9]+)?)?").fullmatch
_holds_no_object = re.compile(
    rf"{re.escape(OWN_FOLDER)}/({re.escape(MARKER)}(\.{_UUID}|{re.escape(UNFINISHED)})?|{_PROBE_NAME}"
    rf"|{LEDGERS}/[^/]+\.json({re.escape(UNFINISHED)})?|{INCOMING}/[^/]+/({_PARTIAL_NAME}))"
).fullmatch
_links_to_dropped = re.compile(rf"{re.escape(OWN_FOLDER)}/{OUTGOING}/[^/]+/[0-9]+").fullmatch


def record_name(job: str) -> str:
    """The name, in `ledgers`, of the record that says which ledger owns the job's files."""
    return f"{job}.json"


def record_path(job: str) -> str:
    """Its path relative to `.snowsync`."""
    return f"{LEDGERS}/{record_name(job)}"


def holds_no_object(path: str) -> bool:
    """Whether a path relative to the volume is a marker, a record, a probe or a mover's leftover."""
    return bool(_holds_no_object(path))


def links_to_dropped(path: str) -> bool:
    """Whether a path relative to the volume is one of the engine's links to dropped files."""
    return bool(_links_to_dropped(path))


# -- incoming ---------------------------------------------------------------------------------------------------------


def evacuated_name(object_id: int) -> str:
    """The name in `incoming` of a copy that is being evacuated from another volume."""
    return f"{_EVACUATED}{object_id}"


def is_partial(name: str) -> bool:
    """Whether the engine created the file with this name in `incoming`."""
    return bool(_is_partial(name))


def is_evacuated(name: str) -> bool:
    return name.startswith(_EVACUATED)


# -- quarantine -------------------------------------------------------------------------------------------------------


def quarantine_name(object_id: int, generation: int, number: int = 0) -> str:
    """The name of a copy that was staged and no longer has its digest: it may be the last copy.

    `number` distinguishes several copies of one generation.
    """
    return f"{object_id}~{generation}" + (f".{number}" if number else "")


def object_of(name: str) -> int | None:
    """The object of a file in the quarantine: `<id>`, a fetch that did not match, or `<id>~<generation>`."""
    found = _quarantined(name)
    return int(found[1]) if found else None


def generation_of(name: str) -> int:
    """The generation of a copy in the quarantine; 0 for a fetch that did not match."""
    found = _quarantined(name)
    return int(found[2] or 0) if found else 0


# -- outgoing ---------------------------------------------------------------------------------------------------------


def is_link(name: str) -> bool:
    """Whether this is the name of a link in `outgoing` to a dropped file."""
    return bool(_is_link(name))


def aside_name(object_id: int) -> str:
    """The name of a dropped file that was moved to `outgoing` for a last check (volumes/outgoing_files.py)."""
    return f"{object_id}{_ASIDE}"


def object_aside(name: str) -> int | None:
    """The object whose dropped file was moved into `outgoing` under this name."""
    number = name.removesuffix(_ASIDE)
    return int(number) if name.endswith(_ASIDE) and number.isdecimal() else None
