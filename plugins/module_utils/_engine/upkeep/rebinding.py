# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""An edited job: shows the effect of a changed source or destination in its file, and applies the chosen meaning.

"same": the store recorded in the ledger, under another name. "new": another store, where nothing is proven. No file is
removed either way; only the ledger is changed, in one transaction for each side.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..core.errors import ConfigError, LedgerError
from ..core.model import State
from ..core.text import bytes_text, counted_text, plain_text
from ..ledger.binding import SIDES, Binding, Change, End, changes, ends_of, newest
from ..ledger.bindings import Holding
from ..ledger.ledger import Ledger
from ..ledger.locks import locked_alone
from ..ledger.ports import CountedStores, ReboundStores
from ..ledger.reader import LedgerReader
from ..ledger.records import Tally

if TYPE_CHECKING:
    from ..config.job_file import Job

SAME, NEW = "same", "new"
MEANINGS = (SAME, NEW)


@dataclass(frozen=True, slots=True)
class Side:
    """One side of the job: what the ledger recorded, what the job file says, and the differences."""

    name: str  # one of binding.SIDES
    was: End
    now: End
    changes: tuple[Change, ...]

    def record(self) -> dict[str, Any]:
        return {
            "side": self.name,
            "was": _end_record(self.was),
            "now": _end_record(self.now),
            "changed": [change.name for change in self.changes],
        }


def _end_record(end: End) -> dict[str, Any]:
    return {"bucket": end.bucket, "prefix": end.prefix, "endpoints": list(end.addresses)}


@dataclass(slots=True)
class Rebinding:
    """What a rebind would do, or did if `confirmed`. `tallies` are of the ledger before the change.

    Their names: staged, delivered (the file is still on a volume), released (it is not), gone (dropped files among
    the released), pending, failed (including quarantined).
    """

    job: str
    sides: list[Side]
    tallies: dict[str, Tally]
    meaning: str = ""  # SAME or NEW, once chosen
    confirmed: bool = False
    left: list[str] = field(default_factory=list)  # sides that are still refused

    def record(self) -> dict[str, Any]:
        """As `rebind --json` prints it."""
        return {
            "job": self.job,
            "confirmed": self.confirmed,
            "changed": self.confirmed and bool(self.sides),
            "meaning": self.meaning,
            "sides": [side.record() for side in self.sides],
            "refused": self.left,
            **{
                f"{name}_{what}": getattr(tally, what)
                for name, tally in self.tallies.items()
                for what in ("objects", "bytes")
            },
        }


def survey(job: Job, side: str | None = None) -> Rebinding:
    """What differs, or the effect of "new" for `side`. Nothing is changed; works while units run."""
    with LedgerReader.open(job.ledger_path) as reader:
        return _look(job, reader.ledger.stores, side)


def rebind(job: Job, meaning: str, confirm: str, side: str | None = None) -> Rebinding:
    """Apply the meaning of the change of all sides, or of `side`, if `confirm` is the job's name.

    Raises JobLocked while a unit runs, ConfigError for a wrong name, LedgerError if there is no ledger.
    """
    if confirm != job.job:
        raise ConfigError("--confirm", [f"is {confirm!r}, but the job is {job.job!r}: nothing was changed"])
    if not job.ledger_path.exists():
        raise LedgerError(f"There is no ledger at {job.ledger_path}: the job has not run yet, nothing to rebind")
    with locked_alone(job):
        ledger = Ledger(job.ledger_path)
        try:
            found = _look(job, ledger.stores, side)
            for each in found.sides:
                _apply(ledger.stores, each, is_same=meaning == SAME)
            found.left = _refused(job, ledger.stores.bindings())
        finally:
            ledger.close()
    found.meaning, found.confirmed = meaning, True
    return found


def _apply(stores: ReboundStores, side: Side, *, is_same: bool) -> None:
    if side.name == "source":
        stores.rebind_source(side.now, is_same=is_same)
    else:
        stores.rebind_destination(side.now, is_same=is_same)


def _look(job: Job, stores: CountedStores, side: str | None) -> Rebinding:
    bindings = stores.bindings()
    recorded, ends = newest(bindings), ends_of(job)
    sides = [
        Side(name, recorded[name].end, ends[name], tuple(changes(recorded[name].end, ends[name])))
        for name in SIDES
        if name in recorded and side in (None, name)
    ]
    # An explicitly given side may be another store behind the same name.
    sides = [each for each in sides if each.changes or each.name == side]
    return Rebinding(job.job, sides, _tallies(stores.holdings()), left=_refused(job, bindings))


def _refused(job: Job, bindings: Iterable[Binding]) -> list[str]:
    ends = ends_of(job)
    recorded = newest(bindings)
    return [side for side in SIDES if side in recorded and changes(recorded[side].end, ends[side])]


def _tallies(holdings: Iterable[Holding]) -> dict[str, Tally]:
    found = dict.fromkeys(("staged", "delivered", "released", "gone", "pending", "failed"), Tally())
    for holding in holdings:
        found[_name_of(holding)] += Tally(holding.objects, holding.bytes)
    return found


def _name_of(holding: Holding) -> str:
    if holding.state in (State.QUARANTINED, State.FAILED):
        return "failed"
    if holding.state == State.RELEASED and holding.is_dropped:
        return "gone"
    return "delivered" if holding.state == State.DELIVERED else holding.state.label


# -- for people -----------------------------------------------------------------------------------------------------


def render(found: Rebinding) -> str:
    """What differs, what each choice would do, or what was done, as text."""
    if not found.sides:
        return f"job {found.job}: source and destination in the job file are those recorded in the ledger"
    lines = [line for side in found.sides for line in _side_lines(side)]
    if found.confirmed:
        return "\n".join([*lines, *_done_lines(found)])
    lines.append(f"the ledger of job {found.job} holds: {_holds_text(found.tallies)}")
    for side in found.sides:
        lines += _choice_lines(side, found.tallies)
    name = found.sides[0].name
    which = f" --side {name}" if len(found.sides) == 1 and not found.sides[0].changes else ""
    lines += [
        "nothing was changed; to continue as before, restore the old values in the job file",
        "to accept the new values, stop the job's units and run one of",
        *(f"  snowsync rebind {found.job}{which} --as {meaning} --confirm {found.job}" for meaning in MEANINGS),
    ]
    return "\n".join(lines)


def _side_lines(side: Side) -> list[str]:
    if not side.changes:
        return [f"{side.name}: {plain_text(side.now.words)}, unchanged"]
    return [
        f"{side.name}: the ledger has {plain_text(side.was.words)}",
        f"  the job file has {plain_text(side.now.words)}",
    ]


def _holds_text(tallies: dict[str, Tally]) -> str:
    words = {
        **{name: name for name in tallies},
        "gone": "released from drop folders",
        "failed": "failed or quarantined",
    }
    held = [f"{_tally_text(tally)} {words[name]}" for name, tally in tallies.items() if tally.objects]
    return ", ".join(held) or "nothing"


def _choice_lines(side: Side, tallies: dict[str, Tally]) -> list[str]:
    if side.name == "destination":
        return _destination_lines(tallies)
    return _source_lines(side, tallies)


def _destination_lines(tallies: dict[str, Tally]) -> list[str]:
    done = tallies["delivered"] + tallies["released"] + tallies["gone"]
    lines = [
        "--as same: it is the same destination under another name",
        f"  all proofs stay valid: {_tally_text(done)} delivered, not sent again",
        "--as new: it is another destination, where nothing is proven",
        f"  {_tally_text(tallies['staged'])} staged: sent there from the volumes",
        f"  {_tally_text(tallies['delivered'])} delivered and still on a volume: staged again, and sent from there",
        f"  {_tally_text(tallies['released'])} released: fetched again if the source still has them",
        f"  {_tally_text(tallies['pending'])} pending, {_tally_text(tallies['failed'])} failed: unchanged",
    ]
    if tallies["gone"].objects:
        lines.append(f"  {_tally_text(tallies['gone'])} from drop folders, no longer here: NOT sent, forgotten")
    return lines


def _source_lines(side: Side, tallies: dict[str, Tally]) -> list[str]:
    lines = [
        "--as same: it is the same source under another name",
        "  everything stays unchanged, and what is pending is fetched from there",
        "--as new: it is another source, and the old one is not used again",
        f"  {_tally_text(tallies['staged'])} staged: still delivered, under their existing names",
        f"  {_tally_text(tallies['pending'])} pending, {_tally_text(tallies['failed'])} failed: forgotten, with a"
        " record, if no volume has a copy; the new source lists what it has",
        f"  {_tally_text(tallies['delivered'] + tallies['released'])} delivered: stay delivered",
    ]
    if side.was.prefix != side.now.prefix:
        lines += [
            "another source prefix: keys that begin with both prefixes have another name at the destination from now"
            " on, and are not proven under that name;",
            "  an object of the new source replaces one of the old source that has the same name there",
        ]
    return lines


def _done_lines(found: Rebinding) -> list[str]:
    words = {SAME: "the same as before: all proofs stay valid", NEW: "new: no earlier proof counts for it"}
    lines = [f"the {side.name} is {words[found.meaning]}" for side in found.sides]
    lines += [f"the {side} is still refused: snowsync rebind {found.job}" for side in found.left]
    return [*lines, f"start the units of job {found.job} again"] if not found.left else lines


def _tally_text(tally: Tally) -> str:
    return f"{counted_text(tally.objects, 'object')} ({bytes_text(tally.bytes)})"
