# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The result of a comparison: totals, findings, the file with one line per object, and the text output."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from ..core.errors import LocalError, Trouble
from ..core.text import bytes_text, count_text, counted_text, key_text, seconds_text, table
from ..ledger.records import Entry, Tally
from .judge import DIFFERS, DISAGREEMENTS, EXTRA, MEANINGS, MISSING, SAME, UNPROVEN, Verdict

_NAMED = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One object that is not identical, or one disagreement."""

    key: str
    symbol: str
    reason: str


@dataclass(slots=True)
class Disagreement:
    """Objects of one kind of disagreement: all are counted, the first ones are listed."""

    count: int = 0
    keys: list[str] = field(default_factory=list)

    def add(self, key: str) -> None:
        self.count += 1
        if self.count <= _NAMED:
            self.keys.append(key)


@dataclass(slots=True)
class Result:
    """What a comparison found. `findings` has the first objects of every symbol except `=`."""

    job: str
    symbols: dict[str, Tally] = field(default_factory=lambda: dict.fromkeys(MEANINGS, Tally()))
    in_flight: dict[str, Tally] = field(default_factory=lambda: {"pending": Tally(), "staged": Tally()})
    missing: dict[str, int] = field(default_factory=dict)  # missing at the destination, by the ledger's state
    findings: list[Finding] = field(default_factory=list)
    disagreements: dict[str, Disagreement] = field(default_factory=dict)
    # Objects that agree although nothing proves what the source returned; they too have the symbol `!`.
    held: Disagreement = field(default_factory=Disagreement)
    accepted: Disagreement = field(default_factory=Disagreement)  # by the job's `unproven`: not a failure
    read_back: int = 0
    seconds: float = 0.0
    combined: str = ""

    def agrees(self, *, exact: bool = False) -> bool:
        """Whether every object is identical or accepted; with `exact` also that the destination has nothing else."""
        failing = (DIFFERS, MISSING, EXTRA) if exact else (DIFFERS, MISSING)
        return not self.failing_unproven and not any(self.symbols[symbol].objects for symbol in failing)

    @property
    def failing_unproven(self) -> int:
        """How many objects cannot be proven, without those that the job accepts."""
        return self.symbols[UNPROVEN].objects - self.accepted.count

    def record(self, *, exact: bool = False) -> dict[str, Any]:
        """The document of `verify --json`."""
        return {
            "job": self.job,
            "agrees": self.agrees(exact=exact),
            "symbols": {
                symbol: {"objects": tally.objects, "bytes": tally.bytes, "meaning": MEANINGS[symbol]}
                for symbol, tally in self.symbols.items()
            },
            "in_flight": {state: asdict(tally) for state, tally in self.in_flight.items()},
            "missing_by_state": self.missing,
            "findings": [asdict(finding) for finding in self.findings],
            "disagreements": {
                kind: {"meaning": DISAGREEMENTS[kind], "objects": found.count, "keys": found.keys}
                for kind, found in self.disagreements.items()
            },
            "not_proven": {
                "objects": self.held.count + self.accepted.count,
                "accepted": self.accepted.count,
                "keys": [*self.held.keys, *self.accepted.keys],
            },
            "read_back_objects": self.read_back,
            "seconds": round(self.seconds, 3),
            "combined": self.combined,
        }

    def note(self, key: str, size: int, entry: Entry | None, verdict: Verdict, *, accepted: bool = False) -> None:
        """Count one object; `accepted`: the job accepts it although it is not proven."""
        self.symbols[verdict.symbol] += Tally(1, size)
        if entry and entry.state.label in self.in_flight:
            self.in_flight[entry.state.label] += Tally(1, entry.size)
        if verdict.symbol == MISSING:
            state = entry.state.label if entry else "unlisted"
            self.missing[state] = self.missing.get(state, 0) + 1
        if verdict.doubt:
            (self.accepted if accepted else self.held).add(key)
        if verdict.symbol != SAME and not accepted and self._failing(verdict.symbol) <= _NAMED:
            self.findings.append(Finding(key, verdict.symbol, verdict.reason))
        if verdict.disagreement:
            self.disagreements.setdefault(verdict.disagreement, Disagreement()).add(key)

    def _failing(self, symbol: str) -> int:
        return self.failing_unproven if symbol == UNPROVEN else self.symbols[symbol].objects


class CombinedFile:
    """The file with one line per object; it gets its name only when it is complete."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # A target that is not a regular file (a pipe, /dev/stdout) cannot be replaced: the lines are copied at the end.
        self._replaces = path.is_file() or not path.exists()
        try:
            self._stream: IO[str] = tempfile.NamedTemporaryFile(  # noqa: SIM115  # closed by __exit__
                "w+", encoding="utf-8", errors="surrogateescape", delete=False,
                dir=path.parent if self._replaces else None, prefix=f".{path.name}.",
            )  # fmt: skip
        except OSError as error:
            raise self._failed(error) from error
        self._temporary = Path(self._stream.name)

    def _failed(self, error: OSError) -> LocalError:
        return LocalError(Trouble.IO, f"write {self._path}", error.strerror or str(error))

    def __enter__(self) -> CombinedFile:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stream.close()
        self._temporary.unlink(missing_ok=True)

    def write(self, symbol: str, object_key: str) -> None:
        try:
            self._stream.write(f"{symbol} {key_text(object_key)}\n")
        except OSError as error:
            raise self._failed(error) from error

    def restart(self) -> None:
        self._stream.seek(0)
        self._stream.truncate()

    def finish(self) -> None:
        try:
            self._stream.flush()
            if self._replaces:
                os.chmod(self._temporary, 0o640)
                os.replace(self._temporary, self._path)
                return
            self._stream.seek(0)
            with self._path.open("w", encoding="utf-8", errors="surrogateescape") as target:
                shutil.copyfileobj(self._stream, target)
        except OSError as error:
            raise self._failed(error) from error


# -- for people -------------------------------------------------------------------------------------------------


def render(result: Result, *, exact: bool = False) -> str:
    """The result as text: totals, what is in flight, and a list of what is wrong."""
    total = sum(result.symbols.values(), Tally())
    rows = [
        (symbol, count_text(tally.objects), bytes_text(tally.bytes), MEANINGS[symbol])
        for symbol, tally in result.symbols.items()
    ]
    sections = [
        table(
            ("", "objects", "bytes", ""),
            [*rows, ("", count_text(total.objects), bytes_text(total.bytes), "all")],
            left=(0, 3),
        )
    ]
    sections.append("\n".join(_in_flight_lines(result)))
    sections += ["\n".join(_finding_lines(result, symbol)) for symbol in (DIFFERS, MISSING, UNPROVEN, EXTRA)]
    sections.append("\n".join(_accepted_lines(result)))
    sections.append("\n".join(_disagreement_lines(result)))
    word = "agree" if result.agrees(exact=exact) else "do NOT agree"
    closing = f"job {result.job}: source and destination {word} ({seconds_text(result.seconds)}"
    closing += f", {counted_text(result.read_back, 'object')} read back" if result.read_back else ""
    not_proven = result.held.count + result.accepted.count
    closing += f", {count_text(not_proven)} not proven at the source)" if not_proven else ")"
    sections.append(closing + (f"\nall objects are listed in {result.combined}" if result.combined else ""))
    return "\n\n".join(section for section in sections if section)


def _in_flight_lines(result: Result) -> Iterator[str]:
    moving = [
        f"{count_text(tally.objects)} {state} ({bytes_text(tally.bytes)})"
        for state, tally in result.in_flight.items()
        if tally.objects
    ]
    if moving:
        yield f"in flight according to the ledger: {', '.join(moving)}"
    if result.missing:
        known = {"unlisted": "not listed by the job yet"}
        states = ", ".join(
            f"{count_text(number)} {known.get(state, state)}" for state, number in result.missing.items()
        )
        yield f"ledger states of the missing objects: {states}"


def _finding_lines(result: Result, symbol: str) -> Iterator[str]:
    named = [finding for finding in result.findings if finding.symbol == symbol]
    if named:
        yield f"{MEANINGS[symbol]}:"
    for finding in named:
        yield f"  {symbol} {key_text(finding.key)}" + (f": {finding.reason}" if finding.reason else "")
    rest = (result.failing_unproven if symbol == UNPROVEN else result.symbols[symbol].objects) - len(named)
    if rest:
        yield f"  ... and {count_text(rest)} more"


def _accepted_lines(result: Result) -> Iterator[str]:
    found = result.accepted
    if found.count:
        yield f"{count_text(found.count)} not proven at the source, which the job accepts (`unproven`):"
        yield from (f"  {UNPROVEN} {key_text(object_key)}" for object_key in found.keys)
    if found.count > len(found.keys):
        yield f"  ... and {count_text(found.count - len(found.keys))} more"


def _disagreement_lines(result: Result) -> Iterator[str]:
    for kind, found in result.disagreements.items():
        yield f"{count_text(found.count)} {DISAGREEMENTS[kind]}:"
        yield from (f"  {key_text(object_key)}" for object_key in found.keys)
        if found.count > len(found.keys):
            yield f"  ... and {count_text(found.count - len(found.keys))} more"
