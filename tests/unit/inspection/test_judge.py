# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict of `verify` on one object, as a table; and how keys look."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snowsync.cli.arguments import build_parser
from snowsync.core.model import Doubt, Evidence, ListedObject, Origin, State
from snowsync.core.text import key_text
from snowsync.inspection.judge import DISAGREEMENTS, MEANINGS, Trust, judge
from snowsync.ledger.records import Entry

A, B, C = "a" * 32, "b" * 32, "c" * 32

# -- the verdict on one object ----------------------------------------------------------------------------------


def at(size: int = 10, etag: str = A, modified_ms: int = 1) -> ListedObject:
    return ListedObject("k", size, etag, modified_ms)


def entry(state: State = State.RELEASED, **changes: Any) -> Entry:
    values: dict[str, Any] = {
        "key": "k", "size": 10, "etag": A, "modified_ms": 1, "origin": Origin.SOURCE, "state": state, "volume": "",
        "part_size": 0, "digest": A, "destination_etag": A, "last_error": "",
    }  # fmt: skip
    if state in (State.PENDING, State.FAILED, State.QUARANTINED):
        values |= {"digest": "", "destination_etag": ""}
    return Entry(**{**values, **changes})


ALL = Trust()
NO_LEDGER = Trust(ledger=False)
OPAQUE_SOURCE = Trust(source=False)
OPAQUE_DESTINATION = Trust(destination=False)
NOT_PROVEN: dict[str, Any] = {"source_evidence": Evidence.NOT_PROVEN}
dropped = {"origin": Origin.DROP, "etag": A}

VERDICTS: dict[str, tuple[ListedObject | None, Entry | None, ListedObject | None, Trust, str, str]] = {
    # both have it
    "the same MD5, no ledger": (at(), None, at(), NO_LEDGER, "=", ""),
    "the same MD5, unknown to the ledger": (at(), None, at(), ALL, "=", "unlisted"),
    "the same MD5, delivered": (at(), entry(), at(), ALL, "=", ""),
    "the same MD5, in flight": (at(), entry(State.PENDING), at(), ALL, "=", ""),
    "the same multipart ETag": (at(etag=f"{A}-3"), None, at(etag=f"{A}-3"), NO_LEDGER, "=", ""),
    "the same empty object": (at(0), entry(size=0), at(0), ALL, "=", ""),
    "another size than listed, as was read": (at(), entry(size=17, listed_size=10), at(17), ALL, "=", ""),
    "another size than listed, and than was read": (at(), entry(size=17, listed_size=10), at(10), ALL, "*", "replaced"),
    "the same MD5 in capitals": (at(etag=A.upper()), None, at(), NO_LEDGER, "=", ""),
    "another size": (at(), None, at(11), NO_LEDGER, "*", ""),
    "another size than was proven": (at(), entry(), at(11), ALL, "*", "replaced"),
    "another MD5": (at(), None, at(etag=B), NO_LEDGER, "*", ""),
    "another MD5 than was proven": (at(), entry(), at(etag=B), ALL, "*", "replaced"),
    "another MD5, and it is still to come": (at(), entry(State.PENDING), at(etag=B), ALL, "*", ""),
    "another MD5, because the source changed": (at(etag=B), entry(), at(), ALL, "*", "changed"),
    "staged, and the source changed": (at(etag=B), entry(State.STAGED), at(), ALL, "*", "outdated"),
    "touched at the source, the bytes are the same": (at(modified_ms=2), entry(), at(), ALL, "=", "changed"),
    # ETags of different kinds
    "multipart here, single there, no ledger": (at(etag=f"{A}-3"), None, at(etag=B), NO_LEDGER, "!", ""),
    "multipart here, single there, proven": (
        at(etag=f"{A}-3"), entry(etag=f"{A}-3", destination_etag=B), at(etag=B), ALL, "=", ""),
    "multipart here, single there, staged with that digest": (
        at(etag=f"{A}-3"), entry(State.STAGED, etag=f"{A}-3", digest=B, destination_etag=""), at(etag=B), ALL, "=", ""),
    "two multipart ETags": (at(etag=f"{A}-3"), None, at(etag=f"{B}-3"), NO_LEDGER, "!", ""),
    "a multipart ETag that is not the proven one": (
        at(etag=f"{A}-3"), entry(etag=f"{A}-3", destination_etag=f"{A}-3"), at(etag=f"{B}-3"), ALL, "!", "replaced"),
    "a proof of another object of the source": (
        at(etag=f"{B}-3"), entry(etag=f"{A}-3", destination_etag=C), at(etag=C), ALL, "!", "changed"),
    "ETags that are no digests": (at(etag="x"), None, at(etag="x"), NO_LEDGER, "!", ""),
    # stores whose ETags prove nothing
    "opaque source, equal ETags": (at(), None, at(), replace(OPAQUE_SOURCE, ledger=False), "!", ""),
    "opaque source, proven": (at(), entry(destination_etag=B, digest=B), at(etag=B), OPAQUE_SOURCE, "=", ""),
    "opaque source, touched since": (at(modified_ms=2), entry(), at(), OPAQUE_SOURCE, "!", "changed"),
    "opaque source, other MD5": (at(), None, at(etag=B), OPAQUE_SOURCE, "!", "unlisted"),
    "opaque destination, equal ETags": (at(), None, at(), replace(OPAQUE_DESTINATION, ledger=False), "!", ""),
    "opaque destination, as it was read back": (
        at(), entry(destination_etag="v1"), at(etag="v1"), OPAQUE_DESTINATION, "=", ""),
    "opaque destination, written again": (
        at(), entry(destination_etag="v1"), at(etag="v2"), OPAQUE_DESTINATION, "!", "replaced"),
    "opaque destination, another size": (at(), None, at(11), replace(OPAQUE_DESTINATION, ledger=False), "*", ""),
    # a source hop that is not proven
    "not proven, delivered": (at(etag="x"), entry(etag="x", **NOT_PROVEN), at(), ALL, "!", ""),
    "not proven, staged, and there already": (
        at(etag="x"), entry(State.STAGED, etag="x", destination_etag="", **NOT_PROVEN), at(), ALL, "!", ""),
    "not proven, and equal by chance": (at(), entry(**NOT_PROVEN), at(), ALL, "!", ""),
    "not proven, opaque by configuration": (at(), entry(**NOT_PROVEN), at(), OPAQUE_SOURCE, "!", ""),
    "not proven, and replaced": (at(etag="x"), entry(etag="x", **NOT_PROVEN), at(etag=B), ALL, "*", "replaced"),
    "not proven, but that was another object": (at(etag=B), entry(**NOT_PROVEN), at(etag=B), ALL, "=", "changed"),
    "proven, with the evidence": (at(), entry(source_evidence=Evidence.STORE_DIGEST), at(), ALL, "=", ""),
    # only the source has it
    "missing, unknown": (at(), None, None, ALL, "+", "unlisted"),
    "missing, no ledger": (at(), None, None, NO_LEDGER, "+", ""),
    "missing, pending": (at(), entry(State.PENDING), None, ALL, "+", ""),
    "missing, staged": (at(), entry(State.STAGED), None, ALL, "+", ""),
    "missing, staged and outdated": (at(etag=B), entry(State.STAGED), None, ALL, "+", "outdated"),
    "missing, delivered says the ledger": (at(), entry(State.DELIVERED), None, ALL, "+", "lost"),
    "missing, released says the ledger": (at(), entry(State.RELEASED), None, ALL, "+", "lost"),
    "missing, failed": (at(), entry(State.FAILED), None, ALL, "+", ""),
    # only the destination has it
    "extra": (None, None, at(), ALL, "-", ""),
    "extra, it left the source": (None, entry(), at(), ALL, "-", ""),
    # neither store has it
    "nowhere, delivered": (None, entry(State.DELIVERED), None, ALL, "!", "lost"),
    "nowhere, pending": (None, entry(State.PENDING), None, ALL, "!", "gone"),
    "nowhere but on a volume": (None, entry(State.STAGED), None, ALL, "+", ""),
    # drop folders
    "dropped, delivered": (None, entry(**dropped), at(), ALL, "=", ""),
    "dropped, delivered in parts": (
        None, entry(**dropped, digest=f"{A}-2", destination_etag=f"{A}-2"), at(etag=f"{A}-2"), ALL, "=", ""),
    "dropped, on its way": (None, entry(State.STAGED, **dropped), None, ALL, "+", ""),
    "dropped, on its way, an older one is there": (
        None, entry(State.STAGED, **dropped, destination_etag=""), at(etag=B), ALL, "*", ""),
    "dropped, on its way, there already": (None, entry(State.STAGED, **dropped), at(), ALL, "=", ""),
    "dropped, lost": (None, entry(**dropped), None, ALL, "+", "lost"),
    "dropped, replaced": (None, entry(**dropped), at(etag=B), ALL, "*", "replaced"),
    "dropped, another size": (None, entry(**dropped), at(11), ALL, "*", "replaced"),
    "dropped, unprovable": (None, entry(**dropped, destination_etag=""), at(etag=f"{B}-2"), ALL, "!", "replaced"),
}  # fmt: skip


@pytest.mark.parametrize("name", VERDICTS)
def test_the_verdict_on(name: str) -> None:
    source, row, destination, trust, symbol, disagreement = VERDICTS[name]
    verdict = judge(source, row, destination, trust)
    assert (verdict.symbol, verdict.disagreement) == (symbol, disagreement), verdict.reason
    assert verdict.reason or symbol == "=" or (row is None and not trust.ledger), "whatever is wrong has a reason"
    assert verdict.disagreement in DISAGREEMENTS or not verdict.disagreement
    if not verdict.comparable:
        assert destination is not None and verdict.symbol == "!", "only what is there can be read back"


@pytest.mark.parametrize(
    ("etag", "trust", "doubt"),
    [
        ("x", ALL, Doubt.OPAQUE),
        (B, ALL, Doubt.OPAQUE),  # else it would have been refuted: it lies under a key
        (f"{B}-2", ALL, Doubt.LAYOUT),
        (f"{B}-1", ALL, Doubt.OPAQUE),
        (f"{B}-2", OPAQUE_SOURCE, Doubt.OPAQUE),
    ],
)
def test_why_an_object_is_not_proven(etag: str, trust: Trust, doubt: Doubt) -> None:
    verdict = judge(at(etag=etag), entry(etag=etag, **NOT_PROVEN), at(), trust)
    assert (verdict.symbol, verdict.doubt, verdict.comparable) == ("!", doubt, False)


ROWS = [entry(state, digest=mine, destination_etag=theirs) for state in State for mine in ("", A) for theirs in ("", B)]


@given(
    st.sampled_from([None, *[at(size, etag) for size in (10, 11) for etag in (A, B, f"{A}-2", "x")]]),
    st.sampled_from(
        [None, *[entry(state, digest=d, destination_etag=e) for state in State for d in ("", A) for e in ("", B)]]
    ),
    st.sampled_from([None, *[at(size, etag) for size in (10, 11) for etag in (A, B, f"{A}-2", "x")]]),
    st.builds(Trust, st.booleans(), st.booleans(), st.booleans()),
)
def test_nothing_but_equal_sizes_is_ever_identical(
    source: ListedObject | None, row: Entry | None, destination: ListedObject | None, trust: Trust
) -> None:
    verdict = judge(source, row, destination, trust)
    assert verdict.symbol in MEANINGS
    if verdict.symbol == "=":
        assert source is not None and destination is not None and source.size == destination.size
        proven = row is not None and destination.etag in (row.destination_etag, row.digest)
        assert proven or source.etag == destination.etag
    if source and not destination:
        assert verdict.symbol == "+"
    if destination and not source:
        assert verdict.symbol == "-"


def test_the_help_explains_every_symbol(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build_parser().parse_args(["verify", "--help"])
    text = capsys.readouterr().out
    assert all(f"\n  {symbol}  " in text for symbol in MEANINGS)


# -- how keys look ----------------------------------------------------------------------------------------------


@given(st.text(max_size=8))
def test_a_shown_key_is_one_plain_line_and_can_be_read_back(key: str) -> None:
    shown = key_text(key)
    assert len(shown.splitlines()) == 1 and shown == shown.strip()
    assert not any(character < " " or "\x7f" <= character < "\xa0" for character in shown)
    assert (json.loads(shown) if shown.startswith('"') else shown) == key
