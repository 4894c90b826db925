# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Progress within large objects: fetched ranges are made durable and recorded, sent parts are recorded.

Order for a fetched range: in the file and hashed -> fdatasync of the file -> one transaction for all ranges that
arrived meanwhile. Each object in flight has a thread that waits for disk and ledger; nothing else waits for them.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from ..core import workers
from ..core.errors import LedgerError
from ..core.model import Fetch, Send
from ..core.parts import Piece, SentPart, Upload
from ..ledger.parts import PartLedger
from ..volumes.open_volume import sync_file

_log = logging.getLogger("snowsync.parts")
_Item = TypeVar("_Item")


@dataclass(slots=True)
class _Trust:
    """What this process itself wrote to, or read again from, one partial file; `file` is its device and inode."""

    generation: int
    volume: int
    file: tuple[int, int]
    pieces: dict[int, Piece] = field(default_factory=dict)

    def holds(self, piece: Piece) -> bool:
        return self.pieces.get(piece.start) == piece


class _Recorder(Generic[_Item]):
    """Passes what arrived meanwhile to `write`, in a thread that is started when first needed."""

    def __init__(self, name: str, write: Callable[[list[_Item]], None]) -> None:
        self._name = name
        self._write = write
        self._changed = threading.Condition()
        self._waiting: list[_Item] = []
        self._thread: workers.Worker | None = None
        self._is_ending = False
        self._error: BaseException | None = None

    def put(self, item: _Item) -> None:
        with self._changed:
            self._waiting.append(item)
            if self._thread is None:
                self._thread = workers.start(self._run, self._name, self._fail)
            self._changed.notify()

    def finish(self) -> None:
        """Wait until everything is written. Raises what `write` raised (OSError when the disk failed).

        Nothing was written after such an error.
        """
        with self._changed:
            self._is_ending = True
            self._changed.notify()
        if self._thread:
            with workers.at_medium():
                self._thread.join()
        if self._error:
            raise self._error

    def _fail(self, error: BaseException) -> None:
        self._error = error

    def _run(self) -> None:
        while batch := self._next():
            try:
                self._write(batch)
            except LedgerError as error:
                _log.warning("%s; unrecorded parts of large objects are transferred again after an interruption", error)

    def _next(self) -> list[_Item]:
        with self._changed:
            while not self._waiting and not self._is_ending:
                self._changed.wait()
            batch, self._waiting = self._waiting, []
            return batch


class PartKeeper:
    """What a unit remembers of its large objects. It is the `PartMemory` of the unit's movers."""

    lasts = True

    def __init__(self, ledger: PartLedger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._trust: dict[int, _Trust] = {}
        self._fetching: dict[int, _Recorder[Piece]] = {}
        self._sending: dict[int, _Recorder[SentPart]] = {}
        self._progress: set[int] = set()

    def remembers(self, work: Fetch | Send) -> bool:
        """Whether parts of it were fetched or sent that need not be moved again."""
        if not work.generation:
            return False
        if isinstance(work, Fetch):
            return bool(self._ledger.pieces(work.id, work.generation, work.volume))
        return any(upload.generation == work.generation for upload in self._ledger.uploads(work.id))

    # -- for movers: fetched ------------------------------------------------------------------------------------

    def fetched(self, work: Fetch) -> list[Piece]:
        """The pieces that the file at `work.path` already holds, sorted by start."""
        pieces = self._ledger.pieces(work.id, work.generation, work.volume) if work.generation else []
        file = _identity(work.path) if pieces else None
        if file is None:
            self._distrust(work.id)
            return []
        trust = self._trusted(work, file)
        return [replace(piece, is_trusted=trust.holds(piece)) for piece in pieces]

    def _trusted(self, work: Fetch, file: tuple[int, int]) -> _Trust:
        """What is trusted of this very file: nothing if it is not the same file as before."""
        with self._lock:
            trust = self._trust.get(work.id)
            if trust is None or (trust.generation, trust.volume, trust.file) != (work.generation, work.volume, file):
                trust = self._trust[work.id] = _Trust(work.generation, work.volume, file)
            return trust

    def forget_fetched(self, work: Fetch) -> None:
        """The file is started again from scratch."""
        if work.generation:
            self.forget(work.id)

    def keep_fetched(self, work: Fetch, piece: Piece) -> None:
        """These bytes are in the file, and hashed."""
        if not work.generation:
            return
        with self._lock:
            recorder = self._fetching.get(work.id)
            if recorder is None:
                recorder = _Recorder(f"parts-of-{work.id}", lambda pieces: self._record_fetched(work, pieces))
                self._fetching[work.id] = recorder
        recorder.put(piece)

    def _record_fetched(self, work: Fetch, pieces: list[Piece]) -> None:
        sync_file(work.path)
        self._ledger.keep_pieces(work.id, work.generation, work.volume, pieces)
        file = _identity(work.path)
        if file is None:
            return
        trust = self._trusted(work, file)
        with self._lock:
            for piece in pieces:
                inside = [start for start in trust.pieces if piece.start <= start < piece.end]
                for start in inside:
                    del trust.pieces[start]
                trust.pieces[piece.start] = replace(piece, is_trusted=False)
            self._progress.add(work.id)

    def settle(self, work: Fetch | Send) -> None:
        """Wait until what was kept is durable. OSError when the file cannot be synced."""
        recorder: _Recorder[Piece] | _Recorder[SentPart] | None
        with self._lock:
            recorder = (
                self._fetching.pop(work.id, None) if isinstance(work, Fetch) else self._sending.pop(work.id, None)
            )
        if recorder:
            recorder.finish()

    # -- for movers: sent ---------------------------------------------------------------------------------------

    def uploads(self, work: Send) -> list[Upload]:
        """All uploads of this object that have not ended, including those of other generations."""
        return self._ledger.uploads(work.id) if work.generation else []

    def begin_upload(self, upload: Upload) -> None:
        """Durable before this returns."""
        if upload.generation:
            self._ledger.begin_upload(upload)

    def sent(self, work: Send) -> list[SentPart]:
        """The parts that the store has acknowledged."""
        return self._ledger.sent_parts(work.id, work.generation)

    def keep_sent(self, work: Send, part: SentPart) -> None:
        """The store has acknowledged a part."""
        if not work.generation:
            return
        with self._lock:
            recorder = self._sending.get(work.id)
            if recorder is None:
                recorder = _Recorder(f"parts-of-{work.id}", lambda parts: self._record_sent(work, parts))
                self._sending[work.id] = recorder
        recorder.put(part)

    def _record_sent(self, work: Send, parts: list[SentPart]) -> None:
        self._ledger.keep_sent(work.id, work.generation, parts)
        with self._lock:
            self._progress.add(work.id)

    def end_upload(self, upload: Upload) -> None:
        """The upload was completed or aborted, or no longer exists."""
        self._ledger.end_upload(upload)

    # -- for units ----------------------------------------------------------------------------------------------

    def partial(self, object_id: int, generation: int) -> tuple[int, int] | None:
        """(volume, bytes) of the partial file of an object that is not completely fetched; None: there is none."""
        return self._ledger.partial(object_id, generation)

    def lies_on(self, object_id: int, volume: int) -> bool:
        """Whether to keep the partial file of this object on this volume, for its current generation."""
        return object_id in self._ledger.partials(volume)

    def kept_on(self, volume: int) -> set[int]:
        """The objects whose partial files on this volume are to be kept."""
        return self._ledger.partials(volume)

    def doubt(self, volume: int) -> None:
        """A volume came, or came back: what is there is hashed again before it is used."""
        with self._lock:
            self._trust = {number: trust for number, trust in self._trust.items() if trust.volume != volume}

    def forget(self, object_id: int) -> None:
        """The partial file of an object is no longer of use."""
        self._distrust(object_id)
        self._ledger.forget_pieces(object_id)

    def _distrust(self, object_id: int) -> None:
        with self._lock:
            self._trust.pop(object_id, None)

    def progressed(self, object_id: int) -> bool:
        """Whether parts of this object were recorded since the previous call."""
        with self._lock:
            found = object_id in self._progress
            self._progress.discard(object_id)
            return found


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
