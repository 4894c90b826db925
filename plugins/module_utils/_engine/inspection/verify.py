# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The independent comparison of source, ledger and destination, object by object.

How the three are brought together: merged_listings.py.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import StoreError
from ..core.etag import agree
from ..core.keys import why_not_movable
from ..core.model import UNTOLD, Doubt, ListedObject
from ..core.text import count_text
from ..ledger import binding
from ..ledger.reader import LedgerReader
from ..ledger.records import Entry
from ..proofs.proof import etag_is_digest
from .judge import MISSING, UNPROVEN, Trust, Verdict, judge
from .merged_listings import MergedListings
from .read_back import ReadBack
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


class DestinationAnswers:
    """The destination's objects as it answers for them one by one."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._has_told = False  # warned that the destination contradicts itself

    def of(self, listed: ListedObject) -> ListedObject:
        """The destination's object according to HEAD, which the proof was based on, whatever the listing shows."""
        try:
            head = self._side.head(listed.key)
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
        return listed._replace(size=size, etag=head.etag or listed.etag)


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
        self._output = output
        self._listener = listener
        self._trust = Trust(
            source=job.source is None or job.source.etag != "opaque",
            destination=job.destination.etag != "opaque",
            ledger=ledger is not None,
        )
        stores = {"source": job.source, "destination": job.destination}
        unsorted = {name for name, store in stores.items() if store and not store.sorted}
        naming = binding.naming(job, ledger.ledger.stores.bindings() if ledger else ())
        self._listings = MergedListings(sides, ledger, naming, unsorted, job.state_path)
        self._reading = ReadBack(job.source, sides, read)
        self._answers = DestinationAnswers(sides["destination"])

    def run_in_order(self) -> Result:
        while True:
            try:
                return self._run()
            except OutOfOrder as error:
                _log.warning(
                    "the %s does not list in key order: sorting its listing in %s", error.side, self._job.state_path
                )
                self._listings.sort(error.side)
                for hearer in (self._output, self._listener):
                    if hearer:
                        hearer.restart()

    def _run(self) -> Result:
        result = Result(self._job.job)
        tell_at = time.monotonic() + _TELL_SECONDS
        with contextlib.ExitStack() as stack:
            merged = self._listings.objects(stack, partial(self._note_outside, result))
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

    def _note_outside(self, result: Result, listed: ListedObject) -> None:
        reason = why_not_movable(listed.key, self._source_prefix)
        self._note(result, listed, None, Verdict(UNPROVEN, f"it cannot be moved: {reason}"))

    @property
    def _source_prefix(self) -> str:
        return self._job.source.prefix if self._job.source else ""

    def _look_at(
        self, result: Result, source: ListedObject | None, entry: Entry | None, destination: ListedObject | None
    ) -> None:
        verdict = judge(source, entry, destination, self._trust)
        if destination and verdict.disagreement == "replaced":
            destination = self._answers.of(destination)
            verdict = judge(source, entry, destination, self._trust)
        if destination and self._reading.is_due(verdict):
            result.read_back += 1
            verdict = self._reading.verdict(source, entry, destination, verdict)
        if source and verdict.symbol == MISSING and (reason := why_not_movable(source.key, self._source_prefix)):
            verdict = Verdict(MISSING, f"it cannot be moved: {reason}")
        known = source or entry or destination
        assert known is not None
        accepted = verdict.doubt is not None and self._is_accepted(verdict.doubt, source)
        self._note(result, known, entry, verdict, accepted=accepted)

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
