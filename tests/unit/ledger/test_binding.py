# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which stores a ledger speaks of: what is the same store, what is refused, and that a refusal touches nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_stores import DESTINATION_URL, FakeMover, Rig
from job_mapping import mapping_of
from ledger_rows import make_job, select

from snowsync.core.errors import ConfigError
from snowsync.inspection.verify import verify_job
from snowsync.ledger.binding import Binding, End, Naming, changes, end_of, naming, newest, problems
from snowsync.ledger.ledger import Ledger
from snowsync.running.run import plan_job

RECORDED = End("archive", "photos/", ("a:443", "b:443"))


# -- the decision -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("current", "changed"),
    [
        (RECORDED, []),
        (End("archive", "photos/", ("a:443",)), []),
        (End("archive", "photos/", ("b:443", "c:443")), []),
        (End("archive", "photos/", ("c:443", "d:443")), ["endpoints"]),
        (End("archive", "photos/", ("a:80",)), ["endpoints"]),
        (End("archive", "photos/", ("aws",)), ["endpoints"]),
        (End("archive-2", "photos/", ("a:443", "b:443")), ["bucket"]),
        (End("archive", "photos", ("a:443", "b:443")), ["prefix"]),
        (End("archive", "", ("a:443", "b:443")), ["prefix"]),
        (End("ARCHIVE", "Photos/", ("c:443",)), ["bucket", "prefix", "endpoints"]),
        (End(), ["bucket", "prefix", "endpoints"]),
    ],
)
def test_one_address_in_common_makes_the_same_store(current: End, changed: list[str]) -> None:
    assert [change.name for change in changes(RECORDED, current)] == changed
    assert [change.name for change in changes(current, RECORDED)] == changed, "whichever was first"


def test_no_source_is_the_same_as_no_source() -> None:
    assert changes(End(), End()) == []


@pytest.mark.parametrize(
    ("endpoints", "addresses"),
    [
        ([], ("aws",)),
        (["https://s3.eu-central-1.amazonaws.com", "https://bucket.s3.amazonaws.com:443"], ("aws",)),
        (["https://Store.example.COM"], ("store.example.com:443",)),
        (
            ["http://store.example.com", "https://store.example.com:9000"],
            ("store.example.com:80", "store.example.com:9000"),
        ),
        (["https://[2001:db8::1]:8443"], ("2001:db8::1:8443",)),
    ],
)
def test_addresses_are_compared_as_they_are_reached(
    tmp_path: Path, endpoints: list[str], addresses: tuple[str]
) -> None:
    assert end_of(make_job(tmp_path, destination={"endpoints": endpoints}).destination).addresses == addresses


def test_a_problem_names_both_values_and_both_ways_out(tmp_path: Path) -> None:
    job = make_job(tmp_path, source={"prefix": "2027/"})
    bindings = [
        Binding(1, "source", End("camera", "2025/", ("127.0.0.1:9",))),
        Binding(3, "source", End("camera", "2026/", ("127.0.0.1:9",))),
        Binding(2, "destination", end_of(job.destination)),
    ]
    assert newest(bindings)["source"].id == 3
    (line,) = problems(job, bindings)
    assert line.startswith("source.prefix: is '2027/', but the ledger was created with '2026/': nothing was changed;")
    assert "restore the old value" in line and line.endswith("snowsync rebind photos")


# -- keys of earlier prefixes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "relative"),
    [
        ("2027/a", "a"),
        ("2026/a", "a"),
        ("2026/07/a", "a"),  # the longest earlier one
        ("2026/08/a", "08/a"),
        ("2027/", ""),
    ],
)
def test_a_key_keeps_the_name_that_its_own_prefix_gave_it(tmp_path: Path, key: str, relative: str) -> None:
    job = make_job(tmp_path, source={"prefix": "2027/"}, destination={"prefix": "to/"})
    bindings = [Binding(n, "source", End("camera", prefix)) for n, prefix in enumerate(("2026/", "2026/07/", "2027/"))]
    assert naming(job, [*bindings, Binding(9, "destination", End("x", "20"))]).destination_key(key) == f"to/{relative}"


def test_a_key_under_no_prefix_has_no_name() -> None:
    names = Naming("2027/", ("2026/",), "to/")
    assert names.prefix_of("2025/a") is None
    with pytest.raises(ValueError, match="does not start with the prefix '2027/'"):
        names.destination_key("2025/a")


# -- in a run -------------------------------------------------------------------------------------------------------


def bindings(rig: Rig) -> list[Binding]:
    ledger = rig.ledger
    found = ledger.stores.bindings()
    ledger.close()
    return found


def staged(rig: Rig) -> list[str]:
    for number in range(4):
        rig.source.put(f"2026/object-{number}", bytes([number]) * 100)
    rig.changes = {"source": {"prefix": "2026/"}}
    rig.run(direction="source")
    rig.source.objects.clear()
    return rig.staged_files()


EDITS: list[dict[str, Any]] = [
    {"source": {"prefix": "2027/"}},
    {"source": {"prefix": ""}},
    {"source": {"prefix": "2026"}},
    {"source": {"bucket": "camera-2", "prefix": "2026/"}},
    {"source": {"endpoints": ["http://elsewhere.test:1"], "prefix": "2026/"}},
    {"source": None},
    {"source": {"prefix": "2026/"}, "destination": {"prefix": "p" * 1020}},
    {"source": {"prefix": "2026/"}, "destination": {"bucket": "archive-2"}},
    {"source": {"prefix": "2026/"}, "destination": {"endpoints": ["http://elsewhere.test:1"]}},
]


@pytest.mark.parametrize("edit", EDITS, ids=str)
@pytest.mark.parametrize("direction", ["both", "source", "destination"])
def test_an_edited_job_is_refused_before_anything_is_touched(rig: Rig, edit: dict[str, Any], direction: str) -> None:
    files = staged(rig)
    before, asked = rig.states(), (list(rig.source.requests), list(rig.destination.requests))
    rig.changes = edit if edit["source"] else {**edit, "volumes": with_drop_folder(rig)}
    with pytest.raises(ConfigError, match="snowsync rebind photos"):
        rig.run(direction=direction)
    with pytest.raises(ConfigError, match="the ledger was created with"):
        plan_job(rig.job)
    with pytest.raises(ConfigError, match="the ledger was created with"):
        verify_job(rig.job)
    assert (rig.staged_files(), rig.states()) == (files, before)
    assert (rig.source.requests, rig.destination.requests) == asked, "no store was asked"
    rig.changes = {"source": {"prefix": "2026/"}}
    rig.run()
    assert sorted(rig.destination.objects) == [f"object-{number}" for number in range(4)]


def with_drop_folder(rig: Rig) -> list[dict[str, Any]]:
    volumes = mapping_of(rig.job)["volumes"]
    return [volumes[0] | {"drop_folder": "drop"}, volumes[1]]


def test_endpoints_may_be_changed_one_after_the_other(rig: Rig) -> None:
    staged(rig)
    other = "http://second.test:1"
    FakeMover.stores[other] = rig.destination
    for endpoints in ([DESTINATION_URL, other], [other]):
        rig.changes = {"source": {"prefix": "2026/"}, "destination": {"endpoints": endpoints}}
        rig.run()
    (_source, destination, _job) = bindings(rig)
    assert (destination.id, destination.end.addresses) == (2, ("second.test:1",)), (
        "the same binding, brought up to date"
    )
    rig.changes = {"source": {"prefix": "2026/"}}
    with pytest.raises(ConfigError, match=r"destination\.endpoints: is destination\.test:1"):
        rig.run()


def test_a_ledger_from_before_is_bound_by_its_next_run(rig: Rig) -> None:
    staged(rig)
    ledger = rig.ledger
    with ledger.database.transaction() as db:
        db.execute("DELETE FROM bindings")
    ledger.close()
    rig.run()
    found = [(each.side, each.end.prefix) for each in bindings(rig)]
    assert found == [("source", "2026/"), ("destination", ""), ("job", "")]
    assert len(rig.destination.objects) == 4


def test_a_first_run_that_found_nothing_binds_nobody(rig: Rig) -> None:
    """A misspelt bucket is corrected in the job file, and that is all."""
    rig.run()
    rig.changes = {"source": {"bucket": "camera-2", "prefix": "x/"}, "destination": {"prefix": "y/"}}
    rig.run()
    assert [(each.id, each.end.bucket, each.end.prefix) for each in bindings(rig)] == [
        (1, "camera-2", "x/"),
        (2, "archive", "y/"),
        (3, "photos", ""),
    ]


def test_a_job_that_is_given_another_name_does_not_lose_its_files(rig: Rig) -> None:
    """They lie below the old one, where a job of the new name would not find them."""
    files = staged(rig)
    rig.changes = {"job": "films", "source": {"prefix": "2026/"}}
    for _ in range(2):
        with pytest.raises(ConfigError, match="job: is 'films', but the ledger was created with 'photos'"):
            rig.run()
    assert set(rig.states().values()) == {"staged"} and rig.staged_files() == files
    rig.changes = {"source": {"prefix": "2026/"}}
    rig.run()
    assert len(rig.destination.objects) == 4


def test_a_proof_names_the_destination_that_it_is_of(rig: Rig) -> None:
    rig.source.put("a", b"x")
    rig.run()
    ledger = rig.ledger
    assert select(ledger, "SELECT target FROM objects") == [(2,)]
    ledger.close()


def test_a_ledger_of_an_older_schema_has_no_bindings(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    ledger.database.connection.execute("DROP TABLE bindings")
    assert ledger.stores.bindings() == []
    ledger.close()
