# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Resends what the destination lost: objects that are delivered according to the ledger, but must be sent again.

They are named by an operator, or found by the comparison of `verify`. Nothing is removed, and the destination is asked
again before a byte is sent, so that naming too many costs only one request each. Works while units run.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..core.errors import Trouble
from ..core.keys import is_utf8
from ..core.text import bytes_text, count_text, counted_text, key_text
from ..inspection.judge import Verdict
from ..inspection.verify import verify_job
from ..ledger import binding
from ..ledger.ledger import Ledger
from ..ledger.objects import FETCHED, GONE, ON_ITS_WAY, RESENT_ACTIONS, SENT, UNKNOWN_KEY, Resent
from ..ledger.reader import LedgerReader
from ..ledger.records import Tally

if TYPE_CHECKING:
    from pathlib import Path

    from ..config.job_file import Job

_BATCH = 1000
_NAMED = 100
_REASONS = {
    "lost": (Trouble.NOT_FOUND, "the destination no longer has it"),
    "replaced": (Trouble.MISMATCH, "the destination has something else in its place"),
    "": (Trouble.OTHER, "an operator requested that it be sent again"),
}


@dataclass(slots=True)
class Resending:
    """The result for the objects: all are counted, by one of RESENT_ACTIONS, the first hundred of each are named."""

    job: str
    dry_run: bool
    tallies: dict[str, Tally] = field(default_factory=lambda: dict.fromkeys(RESENT_ACTIONS, Tally()))
    keys: dict[str, list[str]] = field(default_factory=lambda: {action: [] for action in RESENT_ACTIONS})

    @property
    def failed(self) -> int:
        """How many of the named objects cannot be sent again."""
        return self.tallies[UNKNOWN_KEY].objects + self.tallies[GONE].objects

    def note(self, resent: Resent) -> None:
        self.tallies[resent.action] += Tally(1, resent.size)
        if len(self.keys[resent.action]) < _NAMED:
            self.keys[resent.action].append(resent.key)

    def record(self) -> dict[str, Any]:
        """As `resend --json` prints it."""
        return {
            "job": self.job,
            "dry_run": self.dry_run,
            "changed": not self.dry_run and (self.tallies[SENT] + self.tallies[FETCHED]).objects > 0,
            "objects": {
                action: {"objects": tally.objects, "bytes": tally.bytes, "keys": self.keys[action]}
                for action, tally in self.tallies.items()
            },
        }


def resend(job: Job, keys: Sequence[str], *, dry_run: bool = False) -> Resending:
    """Put these objects back. Raises LedgerError if there is no ledger, ConfigError if it is about other stores."""
    with _Resender(job, dry_run) as resender:
        resender.put_back("", dict.fromkeys(keys))
        return resender.found


def resend_lost(job: Job, *, dry_run: bool = False) -> Resending:
    """Put back everything that is missing or different at the destination. Raises what `verify_job` raises."""
    with _Resender(job, dry_run) as resender:
        with contextlib.closing(_Findings(job.state_path)) as findings:
            verify_job(job, listener=findings)
            for kind in ("lost", "replaced"):
                resender.put_back(kind, findings.keys(kind))
        return resender.found


class _Resender:
    """Puts objects back, a batch at a time."""

    def __init__(self, job: Job, dry_run: bool) -> None:
        LedgerReader.open(job.ledger_path).close()  # raises with the reason if there is none
        self.found = Resending(job.job, dry_run)
        self._ledger = Ledger(job.ledger_path, readonly=dry_run)
        try:
            binding.check(job, self._ledger.stores)
        except BaseException:
            self._ledger.close()
            raise

    def __enter__(self) -> _Resender:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._ledger.close()

    def put_back(self, kind: str, keys: Iterable[str]) -> None:
        trouble, message = _REASONS[kind]
        for batch in _batches(keys):
            usable = [key for key in batch if is_utf8(key)]  # the ledger has no other keys
            for resent in self._ledger.objects.resend(usable, trouble, message, dry_run=self.found.dry_run):
                self.found.note(resent)
            for key in set(batch).difference(usable):
                self.found.note(Resent(key, UNKNOWN_KEY))


class _Findings:
    """The findings of a comparison, kept in a file until it is complete: an unsorted listing restarts it."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile("w+", encoding="utf-8", dir=folder)  # noqa: SIM115  # closed by `close`

    def note(self, key: str, verdict: Verdict) -> None:
        if verdict.disagreement in ("lost", "replaced"):
            self._file.write(json.dumps([verdict.disagreement, key]) + "\n")

    def restart(self) -> None:
        self._file.seek(0)
        self._file.truncate()

    def keys(self, kind: str) -> Iterator[str]:
        self._file.seek(0)
        for line in self._file:
            found, key = json.loads(line)
            if found == kind:
                yield key

    def close(self) -> None:
        self._file.close()


def _batches(keys: Iterable[str]) -> Iterator[list[str]]:
    left = iter(keys)
    while batch := list(islice(left, _BATCH)):
        yield batch


# -- for people -----------------------------------------------------------------------------------------------------

_MEANINGS = {
    SENT: ("staged again: will be sent from the volumes", "would be sent again from the volumes"),
    FETCHED: ("pending again: will be fetched from the source and sent", "would be fetched from the source and sent"),
    ON_ITS_WAY: ("already in progress",) * 2,
    GONE: ("cannot be sent: dropped files that are no longer here; drop them again",) * 2,
    UNKNOWN_KEY: ("not in the ledger",) * 2,
}


def render(found: Resending) -> str:
    """What was done, or would be done, as text."""
    lines = []
    for action, tally in found.tallies.items():
        if tally.objects:
            size = f" ({bytes_text(tally.bytes)})" if action != UNKNOWN_KEY else ""
            lines.append(f"{counted_text(tally.objects, 'object')}{size} {_MEANINGS[action][found.dry_run]}:")
            lines += [f"  {key_text(key)}" for key in found.keys[action][:20]]
            lines += [f"  ... and {count_text(tally.objects - 20)} more"] if tally.objects > 20 else []
    if not lines:
        lines.append("nothing to send again")
    lines += ["nothing was changed; run without --dry-run to do it"] if found.dry_run else []
    return "\n".join([f"job {found.job}", *lines])
