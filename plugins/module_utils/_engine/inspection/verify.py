# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The independent comparison of source, ledger and destination, object by object.

Merges three iterators in the order of the keys' UTF-8 bytes, so that no bucket is held in memory. The listing of a
store that lists in another order is first sorted on the disk of the state directory.
"""

from __future__ import annotations

import contextlib
import heapq
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import StoreError, Trouble
from ..core.etag import PartDigests, agree
from ..core.keys import key_bytes, why_not_movable
from ..core.model import UNTOLD, Doubt, ListedObject
from ..core.text import count_text, plain_text
from ..ledger import binding
from ..ledger.reader import LedgerReader
from ..ledger.records import Entry
from ..proofs.proof import etag_is_digest
from ..proofs.source_check import Finding, SourceCheck
from ..store.encodings import UNPACKED
from .judge import DIFFERS, MISSING, SAME, UNPROVEN, Trust, Verdict, judge
from .listing_order import SortedSpool
from .store_side import Listener, OutOfOrder, Side, StoreSide
from .verify_result import CombinedFile, Result

if TYPE_CHECKING:
    from ..config.job_file import Job

_log = logging.getLogger("snowsync.verify")
_TELL_SECONDS = 10.0


# -- the comparison ---------------------------------------------------------------------------------------------


def verify_job(
    job: Job,
    *,
    combined: Path | None = None,
    read_back: bool = False,
    read_all: bool = False,
    open_side: Callable[[Job, str], Side] = StoreSide,
    listener: Listener | None = None,
) -> Result:
    """Compare source, ledger and destination of a job; `combined` gets one line per object.

    `read_back` reads both sides if digests cannot be compared, `read_all` whenever both sides have the object. What
    the source returns is then also compared with its ETag.

    Nothing is written to a store. Raises StoreError when a listing fails (an object that cannot be read back is a
    finding), LedgerError for an unreadable ledger, LocalError when `combined` cannot be written, ConfigError for a
    job file that names other stores than the ledger.
    """
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        ledger = stack.enter_context(LedgerReader.open(job.ledger_path)) if job.ledger_path.exists() else None
        if ledger:
            binding.check(job, ledger.ledger.stores)
        sides = {name: open_side(job, name) for name in ("source", "destination") if name != "source" or job.source}
        for side in sides.values():
            stack.callback(side.close)
        output = stack.enter_context(CombinedFile(combined)) if combined else None
        result = _Comparison(
            job, sides, ledger, output, "all" if read_all else "needed" if read_back else "", listener
        ).run_in_order()
        if output:
            output.finish()
            result.combined = str(combined)
    result.seconds = time.monotonic() - started
    return result


class _Comparison:
    """One comparison; starts again from the beginning if a listing turns out to be unsorted."""

    def __init__(
        self,
        job: Job,
        sides: dict[str, Side],
        ledger: LedgerReader | None,
        output: CombinedFile | None,
        read: str,
        listener: Listener | None = None,
    ) -> None:
        self._job = job
        self._sides = sides
        self._ledger = ledger
        self._output = output
        self._read = read
        self._has_told = False  # warned that the destination contradicts itself
        self._listener = listener
        stores = {"source": job.source, "destination": job.destination}
        self._unsorted = {name for name, store in stores.items() if store and not store.sorted}
        self._trust = Trust(
            source=job.source is None or job.source.etag != "opaque",
            destination=job.destination.etag != "opaque",
            ledger=ledger is not None,
        )
        self._naming = binding.naming(job, ledger.ledger.stores.bindings() if ledger else ())
        self._source_prefix = job.source.prefix if job.source else ""

    def run_in_order(self) -> Result:
        while True:
            try:
                return self._run()
            except OutOfOrder as error:
                _log.warning(
                    "the %s does not list in key order: sorting its listing in %s", error.side, self._job.state_path
                )
                self._unsorted.add(error.side)
                for hearer in (self._output, self._listener):
                    if hearer:
                        hearer.restart()

    def _run(self) -> Result:
        result = Result(self._job.job)
        tell_at = time.monotonic() + _TELL_SECONDS
        with contextlib.ExitStack() as stack:
            source_pages = self._below_prefix(result, self._listed("source", stack))
            merged = _merge(
                self._in_order("source", source_pages),
                self._entries(),
                self._in_order("destination", self._listed("destination", stack)),
            )
            for number, (source, entry, destination) in enumerate(merged, start=1):
                self._look_at(result, source, entry, destination)
                if number % 1000 == 0 and time.monotonic() > tell_at:
                    tell_at = time.monotonic() + _TELL_SECONDS
                    _log.info("compared %s objects so far", count_text(number))
            self._note_unread(result)
        return result

    def _note_unread(self, result: Result) -> None:
        for name, side in self._sides.items():
            for what in side.unread:
                verdict = Verdict(UNPROVEN, f"unreadable entry in the listing of the {name}")
                self._note(result, ListedObject(what, 0, "", 0), None, verdict)

    def _look_at(
        self, result: Result, source: ListedObject | None, entry: Entry | None, destination: ListedObject | None
    ) -> None:
        verdict = judge(source, entry, destination, self._trust)
        if destination and verdict.disagreement == "replaced":
            destination = self._as_answered(destination)
            verdict = judge(source, entry, destination, self._trust)
        if destination and self._is_to_be_read(verdict):
            result.read_back += 1
            verdict = self._read_back(source, entry, destination, verdict)
        if source and verdict.symbol == MISSING and (reason := why_not_movable(source.key, self._source_prefix)):
            verdict = Verdict(MISSING, f"it cannot be moved: {reason}")
        known = source or entry or destination
        assert known is not None
        accepted = verdict.doubt is not None and self._is_accepted(verdict.doubt, source)
        self._note(result, known, entry, verdict, accepted=accepted)

    def _as_answered(self, listed: ListedObject) -> ListedObject:
        """The destination's object according to HEAD, which the proof was based on, whatever the listing shows."""
        try:
            head = self._sides["destination"].head(listed.key)
        except StoreError:
            return listed
        if head.size in (listed.size, UNTOLD) and agree(head.etag, listed.etag):
            return listed
        if not self._has_told:
            self._has_told = True
            _log.warning(
                "the destination contradicts itself: its listing shows %r with %d bytes and ETag %r, HEAD shows %d"
                " bytes and ETag %r; using HEAD",
                listed.key,
                listed.size,
                listed.etag,
                head.size,
                head.etag,
            )
        size = listed.size if head.size == UNTOLD else head.size
        return replace(listed, size=size, etag=head.etag or listed.etag)

    def _note(
        self,
        result: Result,
        known: ListedObject | Entry,
        entry: Entry | None,
        verdict: Verdict,
        *,
        accepted: bool = False,
    ) -> None:
        result.note(known.key, known.size, entry, verdict, accepted=accepted)
        if self._listener:
            self._listener.note((entry or known).key, verdict)
        if self._output:
            self._output.write(verdict.symbol, known.key)

    def _is_to_be_read(self, verdict: Verdict) -> bool:
        if self._read == "all":
            return verdict.symbol == SAME or not verdict.comparable
        return bool(self._read) and not verdict.comparable

    def _listed(self, side: str, stack: contextlib.ExitStack) -> Iterable[Sequence[ListedObject]]:
        """Pages of a side, in key order."""
        if side not in self._sides:
            return ()
        pages: Iterable[Sequence[ListedObject]] = self._sides[side].pages()
        if side in self._unsorted:
            spool = SortedSpool(self._job.state_path)
            stack.callback(spool.close)
            pages = spool.fill(pages).pages()
        return pages

    def _below_prefix(
        self, result: Result, pages: Iterable[Sequence[ListedObject]]
    ) -> Iterator[Sequence[ListedObject]]:
        """The source's pages without keys outside the prefix: these have no name at the destination."""
        for page in pages:
            for listed in page:
                if not listed.key.startswith(self._source_prefix):
                    reason = why_not_movable(listed.key, self._source_prefix)
                    self._note(result, listed, None, Verdict(UNPROVEN, f"it cannot be moved: {reason}"))
            yield [listed for listed in page if listed.key.startswith(self._source_prefix)]

    def _in_order(self, side: str, pages: Iterable[Sequence[ListedObject]]) -> Iterator[tuple[bytes, ListedObject]]:
        last = b""
        for page in pages:
            for listed in page:
                position = self._position(listed.key, is_destination=side == "destination")
                if position <= last and last:
                    raise OutOfOrder(side)
                last = position
                yield position, listed

    def _position(self, object_key: str, *, is_destination: bool = False) -> bytes:
        if not is_destination:
            object_key = self._naming.destination_key(object_key)
        return key_bytes(object_key)

    def _entries(self) -> Iterator[tuple[bytes, Entry]]:
        """(key at the destination, row); if two rows map to the same key (before and after a rebind), the newer."""
        naming = self._naming
        last = b""
        lanes = [self._entries_under(prefix) for prefix in (naming.current, *naming.earlier)]
        for position, entry in heapq.merge(*lanes, key=lambda pair: pair[0]):
            if position != last or not last:
                yield position, entry
            last = position

    def _entries_under(self, prefix: str) -> Iterator[tuple[bytes, Entry]]:
        if self._ledger:
            for entry in self._ledger.entries(prefix):
                if self._naming.prefix_of(entry.key) == prefix:
                    yield self._position(entry.key), entry

    # -- reading back -----------------------------------------------------------------------------------------

    def _read_back(
        self,
        source: ListedObject | None,
        entry: Entry | None,
        destination: ListedObject,
        verdict: Verdict,
        *,
        again: bool = False,
    ) -> Verdict:
        if source is None and (entry is None or not entry.digest):
            return verdict
        try:
            check = self._check(source, entry) if source else None
            with ThreadPoolExecutor(1) as pool:
                theirs = (
                    pool.submit(self._sides["source"].read, source.key, check.update, check.head)
                    if source and check
                    else None
                )
                # A dropped file may be gone: the ledger has its ETag, computed with this part size.
                ours = self._digest(destination, entry.part_size if entry and not source else 0)
                if theirs:
                    theirs.result()
            finding = check.finding() if check else Finding.MATCHES
        except StoreError as error:
            if error.code == UNPACKED and not again:
                return self._read_back(source, entry, destination, verdict, again=True)
            return Verdict(UNPROVEN, f"could not be read back: {plain_text(str(error))}", verdict.disagreement)
        expected = check.md5 if check else entry.digest if entry else ""
        return _as_read(verdict, source, finding, expected, ours)

    def _check(self, source: ListedObject, entry: Entry | None) -> SourceCheck:
        store, side = self._job.source, self._sides["source"]
        assert store is not None
        head = side.head(source.key)
        listed = (source.size, source.etag, source.modified_ms)
        # If the source contradicts its own listing, the object as read is the right one.
        is_known = entry is not None and bool(entry.digest) and entry.as_listed == listed
        if not agree(source.etag, head.etag) and not is_known:
            raise StoreError(Trouble.CHANGED, f"read {source.key!r}", "it was overwritten after it was listed")
        if head.size == UNTOLD:
            head = replace(head, size=source.size)
        return SourceCheck(store, head, lambda number: side.head(source.key, part_number=number))

    def _digest(self, destination: ListedObject, part_size: int) -> str:
        digests = PartDigests(part_size)
        side = self._sides["destination"]
        head = side.head(destination.key)
        side.read(destination.key, digests.update, replace(head, size=destination.size))
        return digests.etag()

    # -- what is not proven -----------------------------------------------------------------------------------

    def _is_accepted(self, doubt: Doubt, source: ListedObject | None) -> bool:
        """Whether the job accepts such an object."""
        if doubt is Doubt.LAYOUT and self._job.unproven == "auto" and source and self._is_under_key(source.key):
            doubt = Doubt.OPAQUE
        return doubt.is_accepted(self._job.unproven)

    def _is_under_key(self, object_key: str) -> bool:
        """Asks with HEAD, since a listing does not show it."""
        try:
            head = self._sides["source"].head(object_key)
        except StoreError:
            return False
        return self._job.source is not None and not etag_is_digest(self._job.source, head)


def _as_read(verdict: Verdict, source: ListedObject | None, finding: Finding, expected: str, ours: str) -> Verdict:
    """The verdict after reading both sides; `expected` and `ours` are the digests of what was read."""
    disagreement = verdict.disagreement
    if source and finding is Finding.REFUTES:
        reason = f"the source returns bytes (MD5 {expected}) that do not match its ETag {plain_text(source.etag)}"
        return Verdict(DIFFERS, f"read back: {reason}; MD5 {ours} at the destination", disagreement)
    if ours != expected:
        return Verdict(DIFFERS, f"read back: {expected} expected, {ours} at the destination", disagreement)
    if source and finding is Finding.UNKNOWN:
        reason = f"both sides have the same bytes (MD5 {ours}), but the source's ETag {plain_text(source.etag)}"
        return Verdict(UNPROVEN, f"{reason} matches no known part layout", disagreement, doubt=Doubt.LAYOUT)
    return Verdict(SAME, disagreement=disagreement if verdict.symbol == SAME else "")


_BEYOND = b"\xff" * 65536  # sorts after every key: S3 keys have at most 1,024 bytes
_Merged = tuple["ListedObject | None", "Entry | None", "ListedObject | None"]


def _merge(
    source: Iterator[tuple[bytes, ListedObject]],
    entries: Iterator[tuple[bytes, Entry]],
    destination: Iterator[tuple[bytes, ListedObject]],
) -> Iterator[_Merged]:
    """What the three have for each key, in order; each of them is sorted by its first element."""
    end: tuple[bytes, None] = (_BEYOND, None)
    listed: tuple[bytes, ListedObject | None] = next(source, end)
    row: tuple[bytes, Entry | None] = next(entries, end)
    found: tuple[bytes, ListedObject | None] = next(destination, end)
    while (position := min(listed[0], row[0], found[0])) != _BEYOND:
        yield (
            listed[1] if listed[0] == position else None,
            row[1] if row[0] == position else None,
            found[1] if found[0] == position else None,
        )
        if listed[0] == position:
            listed = next(source, end)
        if row[0] == position:
            row = next(entries, end)
        if found[0] == position:
            found = next(destination, end)
