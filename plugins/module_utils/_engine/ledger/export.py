# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Exports a ledger for other programs: CSV, JSON, or the `Key,Size` of the older tools."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from ..core.model import Evidence, Origin, State, source_evidence
from ..core.text import iso_text
from .reader import LedgerReader

_EVIDENCE_LABELS: dict[int | None, str | None] = {level.value: level.name.lower() for level in Evidence}
_STATE_LABELS = tuple(state.label for state in State)
_ORIGIN_LABELS = tuple(origin.name.lower() for origin in Origin)
EXPORT_FORMATS = ("csv", "json", "forerunner")

_COLUMNS = (
    "id", "key", "size", "etag", "modified", "generation", "origin", "state", "volume", "group_id", "part_size",
    "digest", "destination_etag", "headers", "source_evidence", "source_tool", "destination_evidence",
    "destination_tool", "attempts", "sends", "not_before", "suspect", "last_error", "listed", "staged", "delivered",
    "released",
)  # fmt: skip
_TIMES = ("modified", "not_before", "listed", "staged", "delivered", "released")
_STORED = ", ".join(f"{name}_ms" if name in _TIMES else name for name in _COLUMNS)


def export(reader: LedgerReader, form: str, stream: TextIO) -> int:
    """Write every object to `stream` in one of EXPORT_FORMATS; returns how many objects were written.

    csv and json carry every column, with labels for states and evidence, names for volumes and ISO 8601 times;
    forerunner is `Key,Size` of everything delivered or released. Text in CSV is always quoted.
    """
    if form == "forerunner":
        return _export_forerunner(reader, stream)
    records = _records(reader)
    return _export_csv(records, stream) if form == "csv" else _export_json(records, stream)


def _records(reader: LedgerReader) -> Iterator[dict[str, Any]]:
    names = {volume.id: volume.name for volume in reader.volumes()}
    for row in reader._pages(f"SELECT {_STORED} FROM objects WHERE id > ? ORDER BY id", 0):
        record: dict[str, Any] = dict(zip(_COLUMNS, row, strict=True))
        for name in _TIMES:
            record[name] = iso_text(record[name]) if record[name] else None
        record["state"] = _STATE_LABELS[record["state"]]
        record["origin"] = _ORIGIN_LABELS[record["origin"]]
        record["volume"] = names.get(record["volume"])
        record["suspect"] = bool(record["suspect"])
        if record["source_evidence"] is not None:
            record["source_evidence"] = source_evidence(record["source_evidence"])
        for name in ("source_evidence", "destination_evidence"):
            record[name] = _EVIDENCE_LABELS.get(record[name])
        yield record


def _csv(stream: TextIO) -> Any:
    # All text is quoted: a reader that splits at a bare CR or LF in a key would otherwise see two rows.
    return csv.writer(stream, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")


def _export_csv(records: Iterable[dict[str, Any]], stream: TextIO) -> int:
    stream.write(",".join(_COLUMNS) + "\n")
    writer = _csv(stream)
    count = 0
    for record in records:
        record["suspect"] = int(record["suspect"])
        writer.writerow(record.values())
        count += 1
    return count


def _export_json(records: Iterable[dict[str, Any]], stream: TextIO) -> int:
    encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
    count = 0
    stream.write("[")
    for record in records:
        record["headers"] = json.loads(record["headers"]) if record["headers"] else {}
        stream.write(",\n" if count else "\n")
        stream.write(encode(record))
        count += 1
    stream.write("\n]\n")
    return count


def _export_forerunner(reader: LedgerReader, stream: TextIO) -> int:
    stream.write("Key,Size\n")
    writer = _csv(stream)
    count = 0
    for moved in reader.moved():
        writer.writerow((moved.key, moved.size))
        count += 1
    return count
