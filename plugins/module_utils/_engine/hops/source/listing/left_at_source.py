# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What the source lists and no run can move: each is reported once per run, and counted in every pass."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ....core import keys
from ....core.errors import Trouble
from ....core.model import UNTOLD, ListedObject, Origin, State
from ....ledger import left_behind
from ....ledger.ledger import Failure, Row
from ....ledger.source_ports import SourceJournal
from ...counters import Listed
from ...setbacks import Setbacks

if TYPE_CHECKING:
    from ....config.job_file import Store

_log = logging.getLogger("snowsync.source")
_MOST_TOLD = 100_000  # beyond that, what an earlier run recorded is not reported again by this one
CANNOT_BE_READ = " cannot be read"  # follows the place of an entry that a page could not show


class LeftAtSource:
    """Entries of a listing that the ledger or the destination cannot hold. Used by the lister's thread."""

    def __init__(self, source: Store, journal: SourceJournal, setbacks: Setbacks, listed: Listed) -> None:
        self._source = source
        self._journal = journal
        self._setbacks = setbacks
        self._listed = listed
        self._count = 0  # in this pass so far
        self._told: set[int] = set()  # hashes of what this run reported, up to a limit

    def restart(self) -> None:
        """The listing starts from its beginning."""
        self._count = 0
        self._listed.begin()

    def usable(self, objects: Sequence[ListedObject]) -> Sequence[ListedObject]:
        """The page without objects that cannot be moved because of their keys."""
        usable, left = keys.movable(objects, self._source.prefix)
        for listed, reason in left:
            self._refuse(listed, reason)
        self._add(len(left))
        return usable

    def _refuse(self, listed: ListedObject, reason: str) -> None:
        name = keys.readable(listed.key)
        self._leave(name, f"the object {name!r} was left at the source: {reason}", listed.size)

    def leave_unread(self, unread: Sequence[str]) -> None:
        """Count each unreadable entry as at least one object that is left behind."""
        for what in unread:
            self._leave(what.partition(CANNOT_BE_READ)[0], f"the source's listing: {what}; it is left there", UNTOLD)
        self._add(len(unread))

    def _add(self, count: int) -> None:
        self._count += count
        self._listed.left_behind = max(self._listed.left_behind, self._count)

    def _leave(self, name: str, message: str, size: int) -> None:
        known = hash((name, message))
        if known in self._told:
            return
        is_recorded = left_behind.is_recorded(self._journal, name, message)
        if len(self._told) < _MOST_TOLD:
            self._told.add(known)
        elif is_recorded:
            return
        row = Row(0, name, size, "", 0, 0, Origin.SOURCE, State.FAILED, None, 0, "", "", 0, 0, 0)
        failure = Failure(row, "source", Trouble.UNSUPPORTED, message, left_behind.ACTION)
        if not is_recorded:  # by an earlier run: the ledger records it only once
            self._journal.record(failure)
        self._setbacks.note(failure)
        _log.error("%s", message)

    def pass_ended(self) -> None:
        """Record how many objects a pass to the end of the listing left."""
        self._listed.left_behind = self._count
        left_behind.note_count(self._journal, self._source, self._count)
