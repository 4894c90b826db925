# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The verdict on one object from source, ledger and destination. Pure functions."""

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

# Where the ledger and the stores disagree; every kind is counted, and its first objects are listed.
DISAGREEMENTS = {
    "lost": "delivered according to the ledger, but missing at the destination",
    "replaced": "delivered according to the ledger, but replaced at the destination since",
    "outdated": "staged, but changed at the source since: will be fetched again",
    "changed": "delivered, but changed at the source since: not listed again by the job yet",
    "gone": "pending, but no longer at the source",
    "unlisted": "at the source, but not in the ledger: not listed by the job yet",
}

_PROVEN = (State.DELIVERED, State.RELEASED)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One symbol with its reason; `disagreement` is a key of DISAGREEMENTS or empty.

    Not `comparable`: must be read back. `doubt`: everything agrees, but nothing proves that the source returned what
    was once stored there.
    """

    symbol: str
    reason: str = ""
    disagreement: str = ""
    comparable: bool = True
    doubt: Doubt | None = None


@dataclass(frozen=True, slots=True)
class Trust:
    """Whether the ETags of each store can be digests, and whether there is a ledger at all."""

    source: bool = True
    destination: bool = True
    ledger: bool = True


def judge(source: ListedObject | None, entry: Entry | None, destination: ListedObject | None, trust: Trust) -> Verdict:
    """The verdict on one object; at least one of the three must be given."""
    if source and destination:
        return _both(source, entry, destination, trust)
    if source:
        return _only_source(source, entry, trust)
    if entry and entry.origin == Origin.DROP:
        return _dropped(entry, destination, trust)
    if destination:
        return _only_destination(entry)
    return _nowhere(entry) if entry else Verdict(UNPROVEN, "nothing is known about it")


def _both(source: ListedObject, entry: Entry | None, destination: ListedObject, trust: Trust) -> Verdict:
    pinned = entry if entry and _is_same_object(entry, source, trust) else None
    disagreement = _unseen(source, entry, trust)
    size = pinned.size if pinned else source.size  # as read, if the listing has another one
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
    """Delivered is what was staged. An equal ETag may not be a digest: the ledger knows that from a HEAD."""
    parsed = parse(entry.etag)
    doubt = Doubt.LAYOUT if trust.source and parsed and parsed.parts > 1 else Doubt.OPAQUE
    reason = "two reads of the source agree, but its ETag does not prove the content"
    return Verdict(UNPROVEN, reason, disagreement, comparable=False, doubt=doubt)


def _is_same_object(entry: Entry, source: ListedObject, trust: Trust) -> bool:
    """Whether the ledger's row describes what the source has now. An opaque ETag alone is not enough."""
    same = entry.origin == Origin.SOURCE and entry.as_listed[:2] == (source.size, source.etag)
    return same and (trust.source or entry.as_listed[2] == source.modified_ms)


def _proves(entry: Entry, destination: ListedObject, trust: Trust) -> bool:
    """Whether the destination still has what was proven at delivery, or (by its digest) when it was staged."""
    if entry.size != destination.size:
        return False
    if entry.state in _PROVEN and entry.destination_etag and entry.destination_etag == destination.etag:
        return True
    return bool(entry.digest) and _equal(entry.digest, destination.etag, Trust(True, trust.destination))


def _equal(etag: str, other: str, trust: Trust) -> bool:
    """Whether both are the same digest, as far as listings show: they omit KMS keys, with which no ETag is a digest."""
    parsed = parse(etag)
    return trust.source and trust.destination and parsed is not None and parsed == parse(other)


def _are_md5s(etag: str, other: str) -> bool:
    """Whether both are MD5s of the whole object, so that different values mean different bytes."""
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
    """What the ledger does not know about the source's object yet."""
    if not trust.ledger:
        return ""
    if entry is None:
        return "unlisted"
    if entry.as_listed == (source.size, source.etag, source.modified_ms):
        return ""
    return {State.STAGED: "outdated", State.DELIVERED: "changed", State.RELEASED: "changed"}.get(entry.state, "")


def _only_source(source: ListedObject, entry: Entry | None, trust: Trust) -> Verdict:
    if entry is None:
        return Verdict(MISSING, "not listed by the job yet" if trust.ledger else "", _unseen(source, entry, trust))
    return Verdict(MISSING, _whereabouts(entry), "lost" if entry.state in _PROVEN else _unseen(source, entry, trust))


def _whereabouts(entry: Entry) -> str:
    error = f": {plain_text(entry.last_error)}" if entry.last_error else ""
    if entry.state == State.STAGED:
        return f"staged on volume {entry.volume or '?'}{error}"
    return f"{entry.state.label}{error}"


def _dropped(entry: Entry, destination: ListedObject | None, trust: Trust) -> Verdict:
    """An object from a drop folder: the ledger's digest replaces the source."""
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
    return Verdict(EXTRA, f"no longer at the source ({_whereabouts(entry)})")


def _nowhere(entry: Entry) -> Verdict:
    """A row whose object is in neither store."""
    if entry.state in _PROVEN:
        return Verdict(UNPROVEN, f"{entry.state.label} according to the ledger, but in neither store", "lost")
    if entry.state == State.STAGED:
        return Verdict(MISSING, f"{_whereabouts(entry)}; no longer at the source")
    return Verdict(UNPROVEN, f"{_whereabouts(entry)}; no longer at the source", "gone")
