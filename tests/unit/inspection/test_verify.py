# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The independent comparison of source, ledger and destination, with stores in memory."""

from __future__ import annotations

import hashlib
import json
import os
import random
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_rows import bring_to, listed, make_job, row_of, stage_dropped

from snowsync.config.job_file import Job, parse_job
from snowsync.core.errors import LocalError, StoreError, Trouble
from snowsync.core.etag import PartDigests
from snowsync.core.keys import key_bytes
from snowsync.core.model import Evidence, Head, Headers, ListedObject, State
from snowsync.inspection.verify import DestinationAnswers, verify_job
from snowsync.inspection.verify_result import Result, render
from snowsync.ledger.ledger import Delivered, Ledger, Staged
from snowsync.ledger.records import Tally

A = "a" * 32

# -- whole comparisons, with stores in memory -------------------------------------------------------------------


class Shelf:
    """A store in memory: key -> content (its ETag is the MD5, or what `etags` says)."""

    def __init__(self, content: dict[str, bytes]) -> None:
        self.content = content
        self.etags: dict[str, str] = {}
        self.order: Callable[[list[str]], list[str]] = lambda keys: sorted(keys, key=key_bytes)
        self.page = 3
        self.listings = 0
        self.reads: list[str] = []
        self.unreadable: set[str] = set()
        self.unread: list[str] = []
        self.closed = 0
        self.heads: list[tuple[str, int]] = []
        self.parts: dict[str, tuple[int, ...]] = {}  # what the store tells of an object's parts
        self.encryption = ""

    def etag(self, key: str) -> str:
        return self.etags.get(key) or hashlib.md5(self.content[key]).hexdigest()

    def cut(self, key: str, *sizes: int) -> None:
        """The object was uploaded in parts of these sizes, and its ETag says so."""
        content, digests = self.content[key], []
        for size in sizes:
            digests.append(hashlib.md5(content[:size]).digest())
            content = content[size:]
        self.etags[key] = f"{hashlib.md5(b''.join(digests)).hexdigest()}-{len(sizes)}"
        self.parts[key] = sizes

    def rot(self, key: str) -> None:
        """As a disk does it: ETag, size and time stay."""
        self.etags[key] = self.etag(key)
        self.content[key] = bytes([self.content[key][0] ^ 1]) + self.content[key][1:]

    def pages(self) -> Iterator[Sequence[ListedObject]]:
        self.listings += 1
        keys = self.order(list(self.content))
        for begin in range(0, len(keys), self.page):
            yield [
                ListedObject(key, len(self.content[key]), self.etag(key), 1) for key in keys[begin : begin + self.page]
            ]

    def read(self, object_key: str, sink: Callable[[bytes], object], stored: object) -> None:
        self.reads.append(object_key)
        if object_key in self.unreadable:
            raise StoreError(Trouble.BROKEN, f"fetch {object_key}", "the connection broke")
        for begin in range(0, len(self.content[object_key]), 7):
            sink(self.content[object_key][begin : begin + 7])

    def head(self, object_key: str, *, part_number: int = 0) -> Head:
        self.heads.append((object_key, part_number))
        size = len(self.content[object_key])
        parts = self.parts.get(object_key, ())
        if part_number and parts:
            size = parts[part_number - 1]
        return Head(200, size, self.etag(object_key), 1000, Headers(), encryption=self.encryption)

    def close(self) -> None:
        self.closed += 1


def test_the_destination_is_believed_when_it_is_asked_for_one_object(caplog: pytest.LogCaptureFixture) -> None:
    shelf = Shelf({"a": b"four", "b": b"as listed"})
    answers = DestinationAnswers(shelf)
    for _time in range(2):
        found = answers.of(ListedObject("a", 3, A, 1))
        assert (found.size, found.etag) == (4, shelf.etag("a"))
    assert caplog.text.count("the destination contradicts itself") == 1
    same = ListedObject("b", 9, shelf.etag("b"), 1)
    assert answers.of(same) is same


def compare(job: Job, source: Shelf, destination: Shelf, **options: Any) -> Result:
    shelves = {"source": source, "destination": destination}
    return verify_job(job, open_side=lambda _job, side: shelves[side], **options)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return make_job(tmp_path)


def objects(result: Result) -> dict[str, int]:
    return {symbol: tally.objects for symbol, tally in result.symbols.items() if tally.objects}


def lines_of(path: Path) -> dict[str, str]:
    return {line[2:]: line[0] for line in path.read_text(encoding="utf-8").splitlines()}


HOSTILE = [
    " lead", "trail ", "'", '"quoted"', "`x`", "$(x)", "*", "?", "#", "\\", "two\nlines", "cr\r", "\t", "\x01", "\x7f",
    "nb\u00a0sp", "\u00e9", "e\u0301", "\U0001f98a", "/lead", "a//b", "dir/", ".", "..", "../x", "a", "a/b", "A", "-x",
    "--raw", "s3://in/key", "x" * 1024, "\u2028", "\ufffe",
]  # fmt: skip


def test_equal_stores_agree_without_a_ledger(job: Job, tmp_path: Path) -> None:
    content = {key: key.encode() for key in HOSTILE}
    source, destination = Shelf(content), Shelf(dict(content))
    result = compare(job, source, destination, combined=tmp_path / "all")
    assert objects(result) == {"=": len(HOSTILE)}
    assert result.symbols["="].bytes == sum(map(len, content.values()))
    assert result.agrees(exact=True)
    assert (source.closed, destination.closed) == (1, 1)
    written = (tmp_path / "all").read_text(encoding="utf-8").split("\n")
    assert len(written) == len(HOSTILE) + 1, "one line per object, whatever is in its key"
    names = [json.loads(line[2:]) if line[2:].startswith('"') else line[2:] for line in written if line]
    assert sorted(names) == sorted(HOSTILE)


def test_each_difference_has_its_symbol_and_its_line(job: Job, tmp_path: Path) -> None:
    source = Shelf({"same": b"1", "other": b"1", "longer": b"1", "only here": b"12"})
    destination = Shelf({"same": b"1", "other": b"2", "longer": b"11", "only there": b"123"})
    result = compare(job, source, destination, combined=tmp_path / "all")
    assert objects(result) == {"=": 1, "*": 2, "+": 1, "-": 1}
    assert lines_of(tmp_path / "all") == {
        "same": "=", "other": "*", "longer": "*", "only here": "+", "only there": "-",
    }  # fmt: skip
    assert result.symbols["-"] == Tally(1, 3)
    assert not result.agrees()
    assert result.missing == {"unlisted": 1}


def test_extra_objects_fail_only_when_asked_for(job: Job) -> None:
    result = compare(job, Shelf({"a": b"1"}), Shelf({"a": b"1", "b": b"2"}))
    assert (result.agrees(), result.agrees(exact=True)) == (True, False)
    assert (result.record()["agrees"], result.record(exact=True)["agrees"]) == (True, False)
    assert "source and destination agree" in render(result)
    assert "do NOT agree" in render(result, exact=True)


def test_prefixes_are_mapped(tmp_path: Path) -> None:
    job = make_job(tmp_path, source={"prefix": "in"}, destination={"prefix": "out/"})
    source = Shelf({"in/a": b"1", "inb": b"2", "in": b"3"})
    destination = Shelf({"out//a": b"1", "out/b": b"2", "out/": b"3"})
    result = compare(job, source, destination, combined=tmp_path / "all")
    assert objects(result) == {"=": 3}
    assert set(lines_of(tmp_path / "all")) == {"in/a", "inb", "in"}, "the key of the source, as the ledger has it"


# -- keys that are no text, and keys that cannot be moved -------------------------------------------------------


@pytest.mark.parametrize("key", ["caf\udce9", "\udcff\udcfe", "x" * 1025, "\udcff" * 1200, "x" * 5000])
@pytest.mark.parametrize("in_order", [True, False])
def test_an_object_that_cannot_be_moved_is_missing_for_that_reason(tmp_path: Path, key: str, in_order: bool) -> None:
    job = make_job(tmp_path, source={"sorted": in_order}, destination={"sorted": in_order})
    source, destination = Shelf({"a": b"1", key: b"2", "z": b"3"}), Shelf({"a": b"1", "z": b"3"})
    result = compare(job, source, destination, combined=tmp_path / "all")
    assert objects(result) == {"=": 2, "+": 1}
    assert not result.agrees()
    (finding,) = result.findings
    assert finding.reason.startswith("it cannot be moved: its key ")
    assert result.disagreements == {}, "it is not that the job has not seen it"
    text = render(result)
    assert "it cannot be moved" in text
    (tmp_path / "text").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("key", ["caf\udce9", "\udcff" * 1200, "x" * 5000])
def test_what_others_brought_over_is_compared_whatever_its_key(job: Job, tmp_path: Path, key: str) -> None:
    source, destination = Shelf({key: b"1", "a": b"1"}), Shelf({key: b"1", "a": b"1"})
    result = compare(job, source, destination, combined=tmp_path / "all", read_all=True)
    assert objects(result) == {"=": 2}
    assert set(source.reads) == {key, "a"}, "asked for under its own name"
    destination.content[key] = b"2"
    assert objects(compare(job, source, destination)) == {"=": 1, "*": 1}
    del source.content[key]
    assert objects(compare(job, source, destination)) == {"=": 1, "-": 1}


def test_what_was_not_asked_for_is_told_and_ends_no_comparison(tmp_path: Path) -> None:
    job = make_job(tmp_path, source={"prefix": "in/"}, destination={"prefix": "out/"})
    source = Shelf({"a": b"1", "in/1": b"1", "in/\udcff": b"2", "\udcff": b"3"})
    result = compare(job, source, Shelf({"out/1": b"1"}), combined=tmp_path / "all")
    assert objects(result) == {"=": 1, "+": 1, "!": 2}
    assert {finding.key: finding.symbol for finding in result.findings} == {
        "a": "!", "in/\udcff": "+", "\udcff": "!",
    }  # fmt: skip
    assert len((tmp_path / "all").read_text(encoding="utf-8").splitlines()) == 4


def test_the_document_is_json_for_every_reader(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    from snowsync.cli.common import print_json

    source = Shelf({"caf\udce9": b"1", "\U0001f98a\\udce9": b"2"})
    print_json(compare(job, source, Shelf({})).record())
    said = capsys.readouterr().out
    named = {finding["key"] for finding in json.loads(said)["findings"]}
    assert said.isascii()
    assert named == {r"caf\xe9", "\U0001f98a\\udce9"}
    "".join(named).encode()


def test_empty_stores_agree(job: Job) -> None:
    result = compare(job, Shelf({}), Shelf({}))
    assert result.agrees(exact=True)
    assert objects(result) == {}


@pytest.mark.parametrize("side", ["source", "destination"])
@pytest.mark.parametrize("said", [True, False], ids=["said to be sorted", "said to be unsorted"])
def test_a_store_that_lists_in_any_order(tmp_path: Path, side: str, said: bool) -> None:
    job = make_job(tmp_path, **{side: {"sorted": said, **({} if said else {"list_version": "v1"})}})
    content = {f"{number:03}": bytes(number) for number in range(100)}
    shelves = {"source": Shelf(dict(content)), "destination": Shelf(dict(content))}
    del shelves["destination"].content["050"]
    shelves[side].order = lambda keys: random.Random(1).sample(keys, len(keys))
    result = compare(job, shelves["source"], shelves["destination"], combined=tmp_path / "all")
    assert objects(result) == {"=": 99, "+": 1}
    assert len(lines_of(tmp_path / "all")) == 100, "nothing is left of the first attempt"
    assert [path.name for path in job.state_path.iterdir()] == []
    assert shelves[side].listings == (2 if said else 1)


def test_a_key_that_is_listed_twice_counts_once(job: Job) -> None:
    source = Shelf({"a": b"1", "b": b"2"})
    source.order = lambda keys: ["a", "a", "b"]
    assert objects(compare(job, source, Shelf({"a": b"1", "b": b"2"}))) == {"=": 2}


# -- with a ledger ----------------------------------------------------------------------------------------------


def store_like(ledger: Ledger, *keys: str) -> Shelf:
    """What the rows of these keys were listed from: 10 bytes with the usual digest."""
    shelf = Shelf({key: bytes(10) for key in keys})
    shelf.etags = {key: row_of(ledger, key).etag for key in keys}
    return shelf


def test_what_is_in_flight_is_named_apart(job: Job) -> None:
    ledger = Ledger(job.ledger_path)
    volume = ledger.volumes.volume_id("one", "uuid-1", "/one")
    for state in State:
        bring_to(ledger, state.label, state, volume)
        ledger.database.connection.execute("UPDATE objects SET modified_ms = 1")
    names = [state.label for state in State]
    result = compare(job, store_like(ledger, *names), store_like(ledger, "delivered", "released"))
    assert objects(result) == {"=": 2, "+": 4}
    assert result.in_flight == {"pending": Tally(1, 10), "staged": Tally(1, 10)}
    assert result.missing == {"failed": 1, "pending": 1, "quarantined": 1, "staged": 1}
    assert result.disagreements == {}
    text = render(result)
    assert "in flight according to the ledger: 1 pending (10 B), 1 staged (10 B)" in text
    assert "+ staged: staged on volume one" in text
    assert "+ failed: failed: mismatch: not what was promised" in text
    ledger.close()


def test_where_the_ledger_and_the_stores_disagree_is_counted_and_named(job: Job) -> None:
    ledger = Ledger(job.ledger_path)
    volume = ledger.volumes.volume_id("one", "uuid-1", "/one")
    for number in range(25):
        bring_to(ledger, f"lost{number:02}", State.RELEASED, volume)
    bring_to(ledger, "outdated", State.STAGED, volume)
    bring_to(ledger, "gone", State.PENDING, volume)
    ledger.database.connection.execute("UPDATE objects SET modified_ms = 1")
    source = store_like(ledger, *(f"lost{number:02}" for number in range(25)), "outdated")
    source.content |= {"outdated": b"changed", "unlisted": b""}
    del source.etags["outdated"]
    result = compare(job, source, Shelf({}))
    found = {kind: (found.count, len(found.keys)) for kind, found in result.disagreements.items()}
    assert found == {"lost": (25, 20), "outdated": (1, 1), "gone": (1, 1), "unlisted": (1, 1)}
    assert objects(result) == {"+": 27, "!": 1}
    text = render(result)
    assert "25 delivered according to the ledger, but missing at the destination:\n  lost00" in text
    assert "... and 5 more" in text
    record = json.loads(json.dumps(result.record()))
    assert record["disagreements"]["lost"]["objects"] == 25
    assert record["disagreements"]["outdated"]["keys"] == ["outdated"]
    ledger.close()


def test_objects_from_drop_folders_are_held_against_the_ledger(tmp_path: Path) -> None:
    job = make_job(tmp_path, destination={"prefix": "out/"})
    ledger = Ledger(job.ledger_path)
    volume = ledger.volumes.volume_id("one", "uuid-1", "/one")
    digest = hashlib.md5(b"dropped").hexdigest()
    for key in ("arrived", "waiting", "wrong"):
        assert stage_dropped(ledger, listed(key, 7, digest), volume, 0, "", 0) == ""
    for key in ("arrived", "wrong"):
        row = row_of(ledger, key)
        ledger.deliveries.commit_delivered([Delivered(row, digest, Evidence.STORE_DIGEST, "t")], [], 0)
    result = compare(job, Shelf({}), Shelf({"out/arrived": b"dropped", "out/wrong": b"DROPPED"}))
    assert objects(result) == {"=": 1, "+": 1, "*": 1}
    assert result.disagreements["replaced"].keys == ["wrong"]
    ledger.close()


def test_a_job_without_a_source_compares_drop_folder_and_destination(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    job = parse_job(
        {
            "job": "drops",
            "state_dir": str(tmp_path / "state"),
            "source": None,
            "destination": {"bucket": "archive", "endpoints": ["http://127.0.0.1:9"]},
            "volumes": [{"name": "one", "path": str(tmp_path / "one"), "drop_folder": "in"}],
        },
        "test",
    )
    ledger = Ledger(job.ledger_path)
    stage_dropped(ledger, listed("k", 3), ledger.volumes.volume_id("one", "u", "/one"), 0, "", 0)
    destination = Shelf({"other": b"x"})
    result = verify_job(job, open_side=lambda _job, side: {"destination": destination}[side])
    assert objects(result) == {"+": 1, "-": 1}
    ledger.close()


def test_rows_of_another_prefix_are_left_out(tmp_path: Path) -> None:
    job = make_job(tmp_path, source={"prefix": "in/"})
    ledger = Ledger(job.ledger_path)
    ledger.listing.observe([listed("in/a"), listed("elsewhere"), listed("in0")])
    result = compare(job, Shelf({}), Shelf({}))
    assert result.disagreements["gone"].keys == ["in/a"]
    assert sum(objects(result).values()) == 1
    ledger.close()


# -- reading back -----------------------------------------------------------------------------------------------


@pytest.fixture
def pair() -> tuple[Shelf, Shelf]:
    """Multipart at the source, single at the destination: ETags cannot be compared."""
    source = Shelf({"equal": b"some bytes", "other": b"some bytes", "plain": b"1"})
    source.cut("equal", 7, 3)
    source.cut("other", 7, 3)
    return source, Shelf({"equal": b"some bytes", "other": b"same bytes", "plain": b"1"})


def test_what_cannot_be_compared_is_unproven(job: Job, pair: tuple[Shelf, Shelf]) -> None:
    result = compare(job, *pair)
    assert objects(result) == {"=": 1, "!": 2}
    assert "ETags of different kinds" in result.findings[0].reason
    assert pair[0].reads == pair[1].reads == []


def test_reading_back_decides(job: Job, pair: tuple[Shelf, Shelf]) -> None:
    result = compare(job, *pair, read_back=True)
    assert objects(result) == {"=": 2, "*": 1}
    assert result.read_back == 2
    assert pair[0].reads == pair[1].reads == ["equal", "other"], "what has comparable ETags is not read"
    assert hashlib.md5(b"same bytes").hexdigest() in result.findings[0].reason
    assert "2 objects read back" in render(result)


def test_reading_all_finds_what_etags_hide(job: Job) -> None:
    source, destination = Shelf({"k": b"right"}), Shelf({"k": b"wrong"})
    destination.etags = {"k": source.etag("k")}
    assert objects(compare(job, source, destination, read_back=True)) == {"=": 1}
    assert objects(compare(job, source, destination, read_all=True)) == {"*": 1}


@pytest.mark.parametrize("side", [0, 1])
def test_what_cannot_be_read_back_stays_unproven_with_the_reason(
    job: Job, pair: tuple[Shelf, Shelf], side: int
) -> None:
    pair[side].unreadable = {"equal"}
    result = compare(job, *pair, read_back=True)
    assert objects(result) == {"=": 1, "*": 1, "!": 1}
    (finding,) = [finding for finding in result.findings if finding.symbol == "!"]
    assert "the connection broke" in finding.reason


def test_a_dropped_file_is_read_back_against_its_digest_in_parts(job: Job) -> None:
    ledger = Ledger(job.ledger_path)
    parts = hashlib.md5(hashlib.md5(b"0123").digest() + hashlib.md5(b"45").digest()).hexdigest() + "-2"
    volume = ledger.volumes.volume_id("one", "u", "/one")
    for key in ("good", "bad"):
        stage_dropped(ledger, listed(key, 6, parts), volume, 4, "", 0)
        ledger.deliveries.commit_delivered([Delivered(row_of(ledger, key), "", Evidence.READ_BACK, "t")], [], 0)
    destination = Shelf({"good": b"012345", "bad": b"012344"})
    destination.etags = {"good": "opaque", "bad": "opaque"}
    assert objects(compare(job, Shelf({}), destination)) == {"!": 2}
    assert objects(compare(job, Shelf({}), destination, read_back=True)) == {"=": 1, "*": 1}
    ledger.close()


@given(st.binary(max_size=40), st.integers(1, 12), st.integers(1, 9))
def test_a_stream_has_the_etag_of_its_parts_however_it_comes(content: bytes, part_size: int, chunk: int) -> None:
    streamed = PartDigests(part_size)
    for begin in range(0, len(content), chunk):
        streamed.update(content[begin : begin + chunk])
    parts = [content[begin : begin + part_size] for begin in range(0, len(content), part_size)] or [b""]
    digests = b"".join(hashlib.md5(part).digest() for part in parts)
    assert streamed.etag() == f"{hashlib.md5(digests).hexdigest()}-{len(parts)}"


PARTS = [(), (10,), (5, 5), (7, 3), (3, 5, 2), (6, 1, 3), (4, 2, 4)]


@pytest.mark.parametrize("sizes", PARTS)
@pytest.mark.parametrize("is_rotten", [False, True])
def test_a_source_that_rotted_is_told_although_both_sides_are_equal(
    job: Job, sizes: tuple[int, ...], is_rotten: bool
) -> None:
    """Single PUT, one part, equal parts, parts of any sizes."""
    source = Shelf({"k": b"some bytes"})
    if sizes:
        source.cut("k", *sizes)
    if is_rotten:
        source.rot("k")
    destination = Shelf(dict(source.content))
    destination.etags = {"k": source.etag("k")}
    assert objects(compare(job, source, destination)) == {"=": 1}, "no listing shows it"
    result = compare(job, source, destination, read_all=True)
    assert objects(result) == ({"*": 1} if is_rotten else {"=": 1})
    if is_rotten:
        assert source.etag("k") in result.findings[0].reason
        assert hashlib.md5(source.content["k"]).hexdigest() in result.findings[0].reason
        assert not result.agrees()


def test_a_store_that_tells_the_first_part_only_is_enough_for_equal_parts(job: Job) -> None:
    source, destination = Shelf({"k": b"some bytes"}), Shelf({"k": b"some bytes"})
    source.cut("k", 7, 3)
    source.parts["k"] = (7, 10)
    assert objects(compare(job, source, destination, read_all=True, read_back=True)) == {"=": 1}
    source.rot("k")
    destination.content["k"] = source.content["k"]
    assert objects(compare(job, source, destination, read_all=True)) == {"*": 1}


def test_equal_bytes_under_an_etag_that_fits_nothing_are_not_proven(job: Job) -> None:
    source = Shelf({"k": b"some bytes"})
    source.cut("k", 6, 1, 3)
    source.parts.clear()  # the store tells nothing of parts
    destination = Shelf(dict(source.content))
    for policy in ("auto", "hold", "accept"):
        result = compare(replace(job, unproven=policy), source, destination, read_back=True)
        assert objects(result) == {"!": 1}
        assert result.agrees() is (policy == "accept")
        assert result.record()["not_proven"]["objects"] == 1


def test_an_opaque_etag_refutes_nothing(tmp_path: Path) -> None:
    for source_side, encryption in (({"etag": "opaque"}, ""), ({}, "aws:kms")):
        job = make_job(tmp_path, source=source_side)
        source, destination = Shelf({"k": b"some bytes"}), Shelf({"k": b"some bytes"})
        source.etags, source.encryption = {"k": f"{A}-2"}, encryption
        assert objects(compare(job, source, destination, read_back=True)) == {"=": 1}
        destination.content["k"] = b"same bytes"
        assert objects(compare(job, source, destination, read_back=True)) == {"*": 1}


def test_an_object_that_is_overwritten_meanwhile_refutes_nothing(job: Job) -> None:
    source, destination = Shelf({"k": b"some bytes"}), Shelf({"k": b"some bytes"})
    source.etags = destination.etags = {"k": A}
    source.head = lambda key, **_more: Head(200, 10, "b" * 32, 0, Headers())  # type: ignore[method-assign]
    result = compare(job, source, destination, read_all=True)
    assert objects(result) == {"!": 1}
    assert "it was overwritten after it was listed" in result.findings[0].reason
    assert result.held.count == 0


# -- what is not proven -----------------------------------------------------------------------------------------


def moved_unproven(job: Job, count: int, etag: str, evidence: Evidence = Evidence.NOT_PROVEN) -> tuple[Shelf, Shelf]:
    """Objects that came from the source by two reads that agree, as the source and the destination have them now."""
    source, destination = Shelf({}), Shelf({})
    ledger = Ledger(job.ledger_path)
    volume = ledger.volumes.volume_id("one", "u", "/one")
    for number in range(count):
        key, content = f"key{number:02}", f"content {number:02}".encode()
        md5 = hashlib.md5(content).hexdigest()
        source.content[key] = destination.content[key] = content
        source.etags[key] = etag or md5
        ledger.listing.observe([ListedObject(key, len(content), source.etags[key], 1)])
        ledger.staging.commit_staged([Staged(row_of(ledger, key), 0, md5, "", evidence, "t")], volume, 0)
        ledger.deliveries.commit_delivered([Delivered(row_of(ledger, key), md5, Evidence.STORE_DIGEST, "t")], [], 0)
    ledger.close()
    return source, destination


NOT_PROVEN = {
    # ETag at the source, whether the object lies under a key, what the job says of that store, what accepts it
    "no digest by its shape": ("v1.opaque", "", {}, ("auto", "accept")),
    "opaque by configuration": (f"{A}-2", "", {"etag": "opaque"}, ("auto", "accept")),
    "MD5's shape, under a key": (A, "aws:kms", {}, ("auto", "accept")),
    "equal by chance, under a key": ("", "aws:kms", {}, ("auto", "accept")),
    "parts, under a key": (f"{A}-2", "aws:kms", {}, ("auto", "accept")),
    "parts that fit nothing": (f"{A}-2", "", {}, ("accept",)),
}


@pytest.mark.parametrize("name", NOT_PROVEN)
@pytest.mark.parametrize("policy", ["auto", "hold", "accept"])
def test_what_is_not_proven_is_never_called_identical(tmp_path: Path, name: str, policy: str) -> None:
    etag, encryption, source_side, accepting = NOT_PROVEN[name]
    job = replace(make_job(tmp_path, source=source_side), unproven=policy)
    source, destination = moved_unproven(job, 1, etag)
    source.encryption = encryption
    result = compare(job, source, destination, combined=tmp_path / "all")
    assert objects(result) == {"!": 1}
    assert lines_of(tmp_path / "all") == {"key00": "!"}
    assert result.agrees() is (policy in accepting)
    accepted = int(policy in accepting)
    assert result.record()["not_proven"] == {"objects": 1, "accepted": accepted, "keys": ["key00"]}
    text = render(result)
    assert "1 not proven at the source" in text
    assert ("which the job accepts (`unproven`):\n  ! key00" in text) is bool(accepted)


def test_what_older_versions_called_read_back_at_the_source_is_not_proven(job: Job) -> None:
    assert objects(compare(job, *moved_unproven(job, 1, f"{A}-2", Evidence.READ_BACK))) == {"!": 1}


def test_what_is_accepted_hides_no_object_that_fails(tmp_path: Path) -> None:
    job = make_job(tmp_path, source={"etag": "opaque"})
    source, destination = moved_unproven(job, 25, "v1")
    source.content["unknown"] = destination.content["unknown"] = b"x"
    result = compare(job, source, destination)
    assert objects(result) == {"!": 26}
    assert not result.agrees()
    assert [finding.key for finding in result.findings] == ["unknown"]
    text = render(result)
    assert "25 not proven at the source, which the job accepts" in text
    assert "... and 5 more" in text
    del source.content["unknown"]
    assert compare(job, source, destination).agrees()


def test_reading_back_settles_what_is_not_proven(tmp_path: Path) -> None:
    """Both stores give the same bytes now, which is what is asked; the source's ETag has nothing to say."""
    job = make_job(tmp_path, source={"etag": "opaque"})
    result = compare(job, *moved_unproven(job, 1, "v1"), read_back=True)
    assert objects(result) == {"=": 1}
    assert result.agrees()


# -- the combined file ------------------------------------------------------------------------------------------


def test_a_comparison_that_fails_leaves_the_old_file(job: Job, tmp_path: Path) -> None:
    (tmp_path / "all").write_text("from yesterday\n")

    class Breaks(Shelf):
        def pages(self) -> Iterator[Sequence[ListedObject]]:
            yield [ListedObject("a", 1, A, 1)]
            raise StoreError(Trouble.DENIED, "list", "not allowed")

    with pytest.raises(StoreError):
        compare(job, Breaks({}), Shelf({}), combined=tmp_path / "all")
    assert (tmp_path / "all").read_text() == "from yesterday\n"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_pipe_gets_the_lines_and_stays_a_pipe(job: Job, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    received: list[str] = []
    reader = threading.Thread(target=lambda: received.append((tmp_path / "pipe").read_text()))
    reader.start()
    compare(job, Shelf({"a": b""}), Shelf({"a": b""}), combined=tmp_path / "pipe")
    reader.join(timeout=30)
    assert received == ["= a\n"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_file_that_cannot_be_written_is_named(job: Job, tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="nowhere/all"):
        compare(job, Shelf({}), Shelf({}), combined=tmp_path / "nowhere" / "all")


def test_only_the_first_objects_are_named(job: Job) -> None:
    result = compare(job, Shelf({f"{number:03}": b"" for number in range(50)}), Shelf({}))
    assert len(result.findings) == 20
    assert "... and 30 more" in render(result)
