# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What source, ledger and destination together say of one object. No effects here."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.etag import parse
from ..core.model import Doubt, Evidence, ListedObject, Origin, State
from ..core.text import plain_text
from ..ledger.records import Entry

SAME, DIFFERS, MISSING, EXTRA, UNPROVEN = "=", "*", "+", "-", "!"

MEANINGS = {
    SAME: "identical at source and destination",
    DIFFERS: "differs",
    MISSING: "missing at the destination",
    EXTRA: "only at the destination",
    UNPROVEN: "cannot be proven, or an error",
}

# Where the ledger and the stores disagree; every kind is counted, and its first objects named.
DISAGREEMENTS = {
    "lost": "delivered, says the ledger, but the destination lacks them",
    "replaced": "delivered, says the ledger, but the destination has something else now",
    "outdated": "staged, but the source has changed since: they will be fetched again",
    "changed": "delivered, and the source has changed since: not seen by the job yet",
    "gone": "pending, but the source no longer has them",
    "unlisted": "at the source, but not in the ledger: not seen by the job yet",
}

_PROVEN = (State.DELIVERED, State.RELEASED)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One symbol with its reason; `disagreement` is a key of DISAGREEMENTS or empty. `comparable` false: read back.

    `doubt`: all agrees, as far as it goes, but nothing proves that the source gave what was once stored there.
    """

    symbol: str
    reason: str = ""
    disagreement: str = ""
    comparable: bool = True
    doubt: Doubt | None = None


@dataclass(frozen=True, slots=True)
class Trust:
    """Whether the ETags of each store say anything about the bytes, and whether there is a ledger at all."""

    source: bool = True
    destination: bool = True
    ledger: bool = True


def judge(source: ListedObject | None, entry: Entry | None, destination: ListedObject | None, trust: Trust) -> Verdict:
    """The verdict on one object, of which at least one of the three is known."""
    if source and destination:
        return _both(source, entry, destination, trust)
    if source:
        return _only_source(source, entry, trust)
    if entry and entry.origin == Origin.DROP:
        return _dropped(entry, destination, trust)
    if destination:
        return _only_destination(entry)
    return _nowhere(entry) if entry else Verdict(UNPROVEN, "nothing is known of it")


def _both(source: ListedObject, entry: Entry | None, destination: ListedObject, trust: Trust) -> Verdict:
    pinned = entry if entry and _is_same_object(entry, source, trust) else None
    disagreement = _unseen(source, entry, trust)
    size = pinned.size if pinned else source.size  # as it is read, where the listing has another one
    if size != destination.size:
        replaced = disagreement or ("replaced" if pinned and pinned.state in _PROVEN else "")
        return Verdict(DIFFERS, f"{size} bytes at the source, {destination.size} at the destination", replaced)
    if (pinned and _proves(pinned, destination, trust)) or _equal(source.etag, destination.etag, trust):
        if pinned and pinned.source_evidence is Evidence.NOT_PROVEN:
            return _not_proven(pinned, disagreement, trust)
        return Verdict(SAME, disagreement=disagreement)
    if pinned and pinned.state in _PROVEN:
        return _replaced(pinned, destination, trust)
    if trust.source and trust.destination and _are_md5s(source.etag, destination.etag):
        return Verdict(DIFFERS, f"MD5 {source.etag} at the source, {destination.etag} at the destination", disagreement)
    return Verdict(UNPROVEN, _incomparable(source.etag, destination, trust), disagreement, comparable=False)


def _not_proven(entry: Entry, disagreement: str, trust: Trust) -> Verdict:
    """What was delivered is what was staged. An ETag that is equal may be no digest: the ledger knows from a HEAD."""
    parsed = parse(entry.etag)
    doubt = Doubt.LAYOUT if trust.source and parsed and parsed.parts > 1 else Doubt.OPAQUE
    reason = "it is what two reads of the source gave; the ETag there does not prove that"
    return Verdict(UNPROVEN, reason, disagreement, comparable=False, doubt=doubt)


def _is_same_object(entry: Entry, source: ListedObject, trust: Trust) -> bool:
    """Whether the ledger's row is about what the source has now. An opaque ETag alone does not say so."""
    same = entry.origin == Origin.SOURCE and entry.as_listed[:2] == (source.size, source.etag)
    return same and (trust.source or entry.as_listed[2] == source.modified_ms)


def _proves(entry: Entry, destination: ListedObject, trust: Trust) -> bool:
    """Whether the destination still has what was proven: at delivery, or (by the digest) when it was staged."""
    if entry.size != destination.size:
        return False
    if entry.state in _PROVEN and entry.destination_etag and entry.destination_etag == destination.etag:
        return True
    return bool(entry.digest) and _equal(entry.digest, destination.etag, Trust(True, trust.destination))


def _equal(etag: str, other: str, trust: Trust) -> bool:
    """Whether both are one digest, as far as listings tell: they are silent about keys, under which none is one."""
    parsed = parse(etag)
    return trust.source and trust.destination and parsed is not None and parsed == parse(other)


def _are_md5s(etag: str, other: str) -> bool:
    """Whether both are the MD5 of all bytes, so that different ones mean different bytes."""
    first, second = parse(etag), parse(other)
    return first is not None and second is not None and first.parts == second.parts == 0


def _replaced(entry: Entry, destination: ListedObject, trust: Trust) -> Verdict:
    proven = entry.destination_etag or entry.digest
    reason = f"ETag {plain_text(destination.etag)} at the destination, {plain_text(proven or 'none')} was proven"
    if trust.destination and _are_md5s(proven, destination.etag):
        return Verdict(DIFFERS, reason, "replaced")
    return Verdict(UNPROVEN, reason, "replaced", comparable=False)


def _incomparable(etag: str, destination: ListedObject, trust: Trust) -> str:
    opaque = [side for side, trusted in (("source", trust.source), ("destination", trust.destination)) if not trusted]
    why = f"the ETags of the {' and the '.join(opaque)} prove nothing" if opaque else "ETags of different kinds"
    return f"{why} ({plain_text(etag)} and {plain_text(destination.etag)}), and the ledger has no proof"


def _unseen(source: ListedObject, entry: Entry | None, trust: Trust) -> str:
    """What the ledger does not know of the source's object yet."""
    if not trust.ledger:
        return ""
    if entry is None:
        return "unlisted"
    if entry.as_listed == (source.size, source.etag, source.modified_ms):
        return ""
    return {State.STAGED: "outdated", State.DELIVERED: "changed", State.RELEASED: "changed"}.get(entry.state, "")


def _only_source(source: ListedObject, entry: Entry | None, trust: Trust) -> Verdict:
    if entry is None:
        return Verdict(MISSING, "the job has not seen it yet" if trust.ledger else "", _unseen(source, entry, trust))
    return Verdict(MISSING, _whereabouts(entry), "lost" if entry.state in _PROVEN else _unseen(source, entry, trust))


def _whereabouts(entry: Entry) -> str:
    error = f": {plain_text(entry.last_error)}" if entry.last_error else ""
    if entry.state == State.STAGED:
        return f"staged on volume {entry.volume or '?'}{error}"
    return f"{entry.state.label}{error}"


def _dropped(entry: Entry, destination: ListedObject | None, trust: Trust) -> Verdict:
    """A drop folder's object: the ledger's digest stands in for the source."""
    delivered = entry.state in _PROVEN
    if destination is None:
        return Verdict(MISSING, f"from a drop folder, {_whereabouts(entry)}", "lost" if delivered else "")
    if _proves(entry, destination, trust):
        return Verdict(SAME)
    disagreement = "replaced" if delivered else ""
    if entry.size != destination.size:
        reason = f"{entry.size} bytes in the drop folder, {destination.size} at the destination"
        return Verdict(DIFFERS, reason, disagreement)
    if trust.destination and _are_md5s(entry.digest, destination.etag):
        reason = f"MD5 {entry.digest} in the drop folder, {destination.etag} at the destination"
        return Verdict(DIFFERS, reason, disagreement)
    reason = _incomparable(entry.digest, destination, Trust(True, trust.destination))
    return Verdict(UNPROVEN, reason, disagreement, comparable=False)


def _only_destination(entry: Entry | None) -> Verdict:
    if entry is None:
        return Verdict(EXTRA, "unknown to the job")
    return Verdict(EXTRA, f"the source no longer has it ({_whereabouts(entry)})")


def _nowhere(entry: Entry) -> Verdict:
    """A row whose object neither store has."""
    if entry.state in _PROVEN:
        return Verdict(UNPROVEN, f"{entry.state.label}, says the ledger, but neither store has it", "lost")
    if entry.state == State.STAGED:
        return Verdict(MISSING, f"{_whereabouts(entry)}; the source no longer has it")
    return Verdict(UNPROVEN, f"{_whereabouts(entry)}; the source no longer has it", "gone")
