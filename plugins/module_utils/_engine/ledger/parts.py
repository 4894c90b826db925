# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What the ledger records within large objects: ranges of incoming files, MD5s of parts, multipart uploads."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from ..core.parts import Piece, SentPart, Upload, read_piece
from .database import Database
from .rows import Row

_UPLOAD = "object_id, generation, endpoint, bucket, key, upload_id, part_size, begun_ms"
# Parts count only for an object that is still to be fetched, in the generation that they are of.
_CURRENT = (
    "parts JOIN objects ON objects.id = parts.object_id AND objects.generation = parts.generation"
    " WHERE parts.hop = 'source' AND objects.state = 0"
)


def keep_md5s(db: sqlite3.Connection, key: str, digest: str, part_size: int, md5s: bytes) -> None:
    """An object became staged with this digest, proven in parts with these MD5s; empty: they are not known.

    They stay until the object is released, or its row speaks of other bytes (triggers of the schema).
    """
    if md5s:
        db.execute(
            "INSERT OR REPLACE INTO part_md5s (object_id, generation, part_size, md5s)"
            " SELECT id, generation, part_size, ? FROM objects"
            " WHERE key = ? AND digest = ? AND part_size = ? AND state = 1",
            (md5s, key, digest, part_size),
        )


class PartLedger:
    """The tables `parts`, `part_md5s` and `uploads`: large objects in progress."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- fetched ------------------------------------------------------------------------------------------------

    def pieces(self, object_id: int, generation: int, volume: int) -> list[Piece]:
        """The pieces of a partial file on this volume, sorted by start."""
        sql = (
            "SELECT start, length, digests FROM parts WHERE object_id = ? AND generation = ? AND hop = 'source'"
            " AND volume = ? ORDER BY start"
        )
        found = self._database.all(sql, (object_id, generation, volume))
        return [piece for values in found if (piece := read_piece(*values))]

    def keep_pieces(self, object_id: int, generation: int, volume: int, pieces: Sequence[Piece]) -> None:
        """These ranges are durable in the partial file: they replace any within them, or on other volumes."""
        this = (object_id, generation)
        with self._database.transaction() as db:
            db.execute(
                "DELETE FROM parts WHERE object_id = ? AND hop = 'source' AND (generation != ? OR volume != ?)",
                (*this, volume),
            )
            for piece in pieces:
                db.execute(
                    "DELETE FROM parts WHERE object_id = ? AND generation = ? AND hop = 'source' AND start >= ?"
                    " AND start < ?",
                    (*this, piece.start, piece.end),
                )
                db.execute(
                    "INSERT INTO parts (object_id, generation, hop, start, length, digests, volume)"
                    " VALUES (?, ?, 'source', ?, ?, ?, ?)",
                    (*this, piece.start, piece.length, piece.text, volume),
                )

    def forget_pieces(self, object_id: int) -> None:
        """The partial file of this object is no longer of use, whatever its generation."""
        where = "FROM parts WHERE object_id = ? AND hop = 'source'"
        if not self._database.one(f"SELECT 1 {where} LIMIT 1", (object_id,)):
            return
        with self._database.transaction() as db:
            db.execute(f"DELETE {where}", (object_id,))

    def partial(self, object_id: int, generation: int) -> tuple[int, int] | None:
        """(volume, bytes) of the partial file of an object that is not completely fetched; None: there is none."""
        sql = (
            f"SELECT parts.volume, SUM(parts.length) FROM {_CURRENT} AND parts.object_id = ? AND parts.generation = ?"
            " GROUP BY parts.volume"
        )
        found = self._database.one(sql, (object_id, generation))
        return (int(found[0]), int(found[1])) if found else None

    def partials(self, volume: int) -> set[int]:
        """The objects whose partial files on this volume are to be kept."""
        sql = f"SELECT DISTINCT parts.object_id FROM {_CURRENT} AND parts.volume = ?"
        return {int(number) for (number,) in self._database.all(sql, (volume,))}

    def drop_outdated_pieces(self) -> None:
        """Forget the parts of objects that were staged, replaced or forgotten, in case a kill prevented that."""
        with self._database.transaction() as db:
            db.execute(
                "DELETE FROM parts WHERE hop = 'source' AND NOT EXISTS (SELECT 1 FROM objects WHERE objects.id ="
                " parts.object_id AND objects.generation = parts.generation AND objects.state = 0)"
            )

    # -- staged -------------------------------------------------------------------------------------------------

    def md5s(self, row: Row) -> bytes:
        """The MD5s of an object's parts, from the proof of its file (core/part_md5s.py); empty: they are not known."""
        sql = "SELECT md5s FROM part_md5s WHERE object_id = ? AND generation = ? AND part_size = ?"
        found = self._database.one(sql, (row.id, row.generation, row.part_size)) if row.part_size else None
        return bytes(found[0]) if found else b""

    # -- sent ---------------------------------------------------------------------------------------------------

    def uploads(self, object_id: int) -> list[Upload]:
        """The uploads of an object that have not ended, newest first."""
        sql = f"SELECT {_UPLOAD} FROM uploads WHERE object_id = ? ORDER BY generation DESC, begun_ms DESC"
        return [Upload(*values) for values in self._database.all(sql, (object_id,))]

    def begin_upload(self, upload: Upload) -> None:
        """An upload was begun, and no part of it sent yet; without an id: one is about to be."""
        with self._database.transaction() as db:
            db.execute("DELETE FROM parts WHERE object_id = ? AND hop = 'destination'", (upload.object_id,))
            db.execute(
                f"INSERT OR REPLACE INTO uploads ({_UPLOAD}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    upload.object_id,
                    upload.generation,
                    upload.endpoint,
                    upload.bucket,
                    upload.key,
                    upload.upload_id,
                    upload.part_size,
                    upload.begun_ms,
                ),
            )

    def sent_parts(self, object_id: int, generation: int) -> list[SentPart]:
        """The parts of the newest upload that the store acknowledged."""
        sql = "SELECT start, digests FROM parts WHERE object_id = ? AND generation = ? AND hop = 'destination'"
        found = self._database.all(sql, (object_id, generation))
        return [SentPart(number, etag, md5) for number, text in found for md5, _, etag in [text.partition(" ")]]

    def keep_sent(self, object_id: int, generation: int, parts: Sequence[SentPart]) -> None:
        """The store acknowledged these. `start` is the part's number, `length` is unused."""
        rows = [(object_id, generation, part.number, f"{part.md5} {part.etag}") for part in parts]
        with self._database.transaction() as db:
            db.executemany(
                "INSERT OR REPLACE INTO parts (object_id, generation, hop, start, length, digests)"
                " VALUES (?, ?, 'destination', ?, 0, ?)",
                rows,
            )

    def end_upload(self, upload: Upload) -> None:
        """An upload was completed or aborted, or no longer exists."""
        with self._database.transaction() as db:
            db.execute(
                "DELETE FROM uploads WHERE object_id = ? AND generation = ? AND endpoint = ? AND upload_id = ?",
                (upload.object_id, upload.generation, upload.endpoint, upload.upload_id),
            )
            if upload.upload_id:
                db.execute(
                    "DELETE FROM parts WHERE object_id = ? AND generation = ? AND hop = 'destination'",
                    (upload.object_id, upload.generation),
                )

    def left_uploads(self) -> list[Upload]:
        """Uploads that will not be continued: their object is delivered, replaced, failed or forgotten."""
        sql = (
            f"SELECT {_UPLOAD} FROM uploads WHERE NOT EXISTS (SELECT 1 FROM objects WHERE objects.id = object_id"
            " AND objects.generation = uploads.generation AND objects.state IN (0, 1))"
        )
        return [Upload(*values) for values in self._database.all(sql)]
