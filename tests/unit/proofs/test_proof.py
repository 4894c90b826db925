# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proofs of the two hops, on files and a fake store."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from fake_stores import DESTINATION_URL, FakeClient, FakeStore, Rig, etag_of, refuse
from hypothesis import given
from hypothesis import strategies as st

from snowsync.config.job_file import Job, MoverSettings, Store
from snowsync.core import etag as etag_module
from snowsync.core.errors import StoreError, Trouble
from snowsync.core.etag import PartDigests
from snowsync.core.model import MIB, UNTOLD, Evidence, Head, Headers, Received
from snowsync.core.part_md5s import split
from snowsync.core.s3_limits import can_be_sent
from snowsync.proofs import proof
from snowsync.proofs.proof import Proven, Refuted, Sent, Unproven, prove_arrival, prove_by_answer, prove_delivery

GIB = 1024 * MIB
SETTINGS = MoverSettings()
POLICIES = ("auto", "hold", "accept")


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def client(store: FakeStore) -> FakeClient:
    return FakeClient(store, DESTINATION_URL)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Rig(tmp_path).job


def side(**changes: object) -> Store:
    return Store(bucket="bucket-a", **changes)


def arrive(
    folder: Path,
    client: FakeClient,
    data: bytes,
    *,
    settings: MoverSettings = SETTINGS,
    unproven: str = "auto",
    **changes: object,
) -> Proven | Refuted | Unproven:
    path = folder / "arrived"
    path.write_bytes(data)
    store = side(**changes)
    return prove_arrival(str(path), "k", client.head("k"), store, client, settings, unproven=unproven)  # type: ignore[arg-type]  # a fake


# -- what arrived -------------------------------------------------------------------------------------------------


def test_an_md5_proves_and_refutes(tmp_path: Path, store: FakeStore, client: FakeClient) -> None:
    store.put("k", b"data")
    assert arrive(tmp_path, client, b"data") == Proven(etag_of(b"data"), 0, Evidence.STORE_DIGEST)
    refuted = arrive(tmp_path, client, b"dada")
    assert isinstance(refuted, Refuted)
    assert (refuted.expected, refuted.found) == (etag_of(b"data"), etag_of(b"dada"))


def test_another_size_is_refuted_without_reading(
    tmp_path: Path, store: FakeStore, client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("k", b"data")
    monkeypatch.setattr(etag_module, "prove_file", None)
    refuted = arrive(tmp_path, client, b"dat")
    assert isinstance(refuted, Refuted)
    assert (refuted.expected, refuted.found) == ("4 bytes", "3 bytes")


def test_one_part_is_sent_in_one_put_and_read_only_once(
    tmp_path: Path, store: FakeStore, client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"d" * 1000
    store.put("k", data, part_size=8 * MIB)
    assert store.objects["k"].etag.endswith("-1")
    monkeypatch.setattr(etag_module, "file_etag", None)
    assert arrive(tmp_path, client, data) == Proven(hashlib.md5(data).hexdigest(), 0, Evidence.STORE_DIGEST)


def test_the_part_size_of_the_source_is_kept(tmp_path: Path, store: FakeStore, client: FakeClient) -> None:
    data = bytes(range(256)) * (44 * MIB // 1024)
    store.put("k", data, part_size=5 * MIB)
    assert arrive(tmp_path, client, data) == Proven(etag_of(data, 5 * MIB), 5 * MIB, Evidence.STORE_DIGEST)
    assert store.requests == [("head", "k")]


@pytest.mark.parametrize("part_size", [5 * MIB + 1, 7_000_001])
def test_an_unusual_part_size_is_asked_for(
    tmp_path: Path, store: FakeStore, client: FakeClient, part_size: int
) -> None:
    data = bytes(range(256)) * (11 * MIB // 256)
    store.put("k", data, part_size=part_size)
    assert arrive(tmp_path, client, data) == Proven(etag_of(data, part_size), part_size, Evidence.STORE_DIGEST)
    assert ("head1", "k") in store.requests


def uneven(data: bytes, *sizes: int) -> str:
    """The ETag of parts of these sizes."""
    digests = []
    for size in sizes:
        digests.append(hashlib.md5(data[:size]).digest())
        data = data[size:]
    return f"{hashlib.md5(b''.join(digests)).hexdigest()}-{len(sizes)}"


@pytest.mark.parametrize("sizes", [(5 * MIB, 2 * MIB, 4 * MIB), (4 * MIB, 3 * MIB, 4 * MIB), (7 * MIB, 4 * MIB - 1, 1)])
def test_parts_of_different_sizes_are_asked_for(
    tmp_path: Path, store: FakeStore, client: FakeClient, sizes: tuple[int, ...]
) -> None:
    """Also where the first one's size would give as many parts, all equal."""
    data = bytes(range(256)) * (11 * MIB // 256)
    store.put("k", data, etag=uneven(data, *sizes), parts=sizes)
    assert arrive(tmp_path, client, data) == Proven(etag_of(data), 0, Evidence.STORE_DIGEST)
    assert [operation for operation, _ in store.requests] == ["head", "head1", "head2", "head3"]
    assert_refuted(store, arrive(tmp_path, client, data[:-1] + b"x"))
    assert store.count("get") == 0


def assert_refuted(store: FakeStore, proof: object) -> None:
    assert isinstance(proof, Refuted)
    assert proof.expected == store.objects["k"].etag
    assert proof.found not in ("", proof.expected)
    assert "-" in proof.found, "of the same kind, so that both can be compared"


@pytest.mark.parametrize("part_size", [8 * MIB, 5 * MIB, 7_000_001, 6 * MIB + 4096])
def test_rot_in_parts_that_the_store_tells_is_refuted_and_not_read_again(
    tmp_path: Path, store: FakeStore, client: FakeClient, part_size: int
) -> None:
    data = bytes(range(256)) * (11 * MIB // 256)
    rotten = data[: 6 * MIB] + b"x" + data[6 * MIB + 1 :]
    store.put("k", rotten, etag=etag_of(data, part_size), part_size=part_size)
    for policy in POLICIES:
        assert_refuted(store, arrive(tmp_path, client, rotten, unproven=policy))
    assert store.count("get") == 0


@pytest.mark.parametrize("data", [b"data" * 1000, b""])
def test_rot_in_the_only_part_is_refuted(tmp_path: Path, store: FakeStore, client: FakeClient, data: bytes) -> None:
    """One part is all bytes, whatever its size was: nothing has to be told."""
    store.put("k", data, etag=etag_of(data + b"x", 8 * MIB), part_size=8 * MIB)
    for policy in POLICIES:
        assert_refuted(store, arrive(tmp_path, client, data, unproven=policy))
    assert [operation for operation, _ in store.requests] == ["head"] * len(POLICIES)


@pytest.mark.parametrize("policy", POLICIES)
def test_an_md5_that_differs_is_refuted_whatever_the_job_accepts(
    tmp_path: Path, store: FakeStore, client: FakeClient, policy: str
) -> None:
    store.put("k", b"rotten", etag=etag_of(b"sound!"))
    refuted = arrive(tmp_path, client, b"rotten", unproven=policy)
    assert isinstance(refuted, Refuted)
    assert (refuted.expected, refuted.found) == (etag_of(b"sound!"), etag_of(b"rotten"))
    assert store.count("get") == 0


def silent(store: FakeStore, kind: object) -> None:
    """Make the store tell nothing of parts: it refuses to, ignores the question, or answers of something else."""
    if isinstance(kind, Trouble):
        store.before = refuse(kind, operation="head1")
    elif kind == "ignores":
        store.objects["k"].part_size = 0
    elif kind == "fewer":
        store.objects["k"].parts_count = 1
    else:
        store.objects["k"].parts = (1 * MIB, 11 * MIB)  # not the object's size


SILENT = [Trouble.UNSUPPORTED, Trouble.CHANGED, Trouble.OTHER, Trouble.DENIED, "ignores", "fewer", "nonsense"]


@pytest.mark.parametrize("kind", SILENT)
@pytest.mark.parametrize("is_rotten", [False, True])
def test_a_digest_that_fits_no_known_layout_is_not_proven(
    tmp_path: Path, store: FakeStore, client: FakeClient, kind: object, is_rotten: bool
) -> None:
    data = bytes(range(256)) * (11 * MIB // 256)
    stored = b"x" + data[1:] if is_rotten else data
    store.put("k", stored, etag=etag_of(data, 7_000_001), part_size=7_000_001)
    silent(store, kind)
    for policy in ("auto", "hold"):
        held = arrive(tmp_path, client, stored, unproven=policy)
        assert isinstance(held, Unproven)
        assert (held.expected, held.found) == (store.objects["k"].etag, f"md5:{etag_of(stored)}")
        assert etag_of(stored) in held.message and held.expected in held.message
        assert "set `unproven: accept` if you trust this source, or its `etag: opaque`" in held.message
    accepted = arrive(tmp_path, client, stored, unproven="accept")
    assert accepted == Proven(etag_of(stored), 0, Evidence.NOT_PROVEN)
    assert store.count("get") == 3, "read once more, each time"


def test_a_number_of_parts_that_no_size_gives_is_not_proven(
    tmp_path: Path, store: FakeStore, client: FakeClient
) -> None:
    store.put("k", b"data", etag=f"{'1' * 32}-7")
    assert isinstance(arrive(tmp_path, client, b"data"), Unproven)


def test_two_reads_that_differ_are_refuted_whatever_the_job_accepts(
    tmp_path: Path, store: FakeStore, client: FakeClient
) -> None:
    store.put("k", b"data", etag="opaque")
    for policy in POLICIES:
        assert isinstance(arrive(tmp_path, client, b"dada", unproven=policy), Refuted)


def test_a_checksum_proves_what_fits_no_layout(tmp_path: Path, client: FakeClient) -> None:
    path = tmp_path / "arrived"
    path.write_bytes(b"data")
    digest = base64.b64encode(hashlib.sha256(b"data").digest()).decode()
    head = Head(200, 4, f"{'1' * 32}-3", 0, Headers(), checksums={"sha256": digest})
    client.fake.put("k", b"data", etag=head.etag)
    proven = prove_arrival(str(path), "k", head, side(), client, SETTINGS)  # type: ignore[arg-type]  # a fake
    assert proven == Proven(etag_of(b"data"), 0, Evidence.STORE_DIGEST)


@pytest.mark.parametrize("trouble", [Trouble.SERVER, Trouble.NOT_FOUND, Trouble.CREDENTIAL])
def test_a_transient_error_while_asking_is_transient(
    tmp_path: Path, store: FakeStore, client: FakeClient, trouble: Trouble
) -> None:
    data = bytes(11 * MIB)
    store.put("k", data, part_size=7_000_001)
    store.before = refuse(trouble, operation="head1")
    with pytest.raises(StoreError) as caught:
        arrive(tmp_path, client, data)
    assert caught.value.trouble is trouble


def test_parts_too_small_for_aws_are_proven_and_sent_in_other_parts(
    tmp_path: Path, store: FakeStore, client: FakeClient
) -> None:
    """Else the destination would refuse the upload (EntityTooSmall) at every attempt."""
    data = bytes(range(256)) * (12 * MIB // 256)
    store.put("k", data, part_size=3 * MIB)
    settings = MoverSettings(part_size=5 * MIB)
    assert arrive(tmp_path, client, data, settings=settings) == Proven(
        etag_of(data, 5 * MIB), 5 * MIB, Evidence.STORE_DIGEST
    )
    assert arrive(tmp_path, client, data) == Proven(etag_of(data), 0, Evidence.STORE_DIGEST)


@pytest.mark.parametrize(
    ("how", "part_size"),
    [
        ("usual parts", 5 * MIB),
        ("unusual parts", 7_000_001),
        ("parts of different sizes", 5 * MIB),
        ("parts too small to be sent", 5 * MIB),
        ("a checksum", 5 * MIB),
        ("read twice", 5 * MIB),
        ("a whole MD5", 0),
        ("one part", 0),
    ],
)
def test_the_MD5s_of_the_parts_are_told_however_the_bytes_were_proven(
    tmp_path: Path, store: FakeStore, client: FakeClient, how: str, part_size: int
) -> None:
    data = bytes(range(256)) * (12 * MIB // 256)
    sizes = (5 * MIB, 2 * MIB, 5 * MIB)
    if how == "parts of different sizes":
        store.put("k", data, etag=uneven(data, *sizes), parts=sizes)
    elif how in ("a checksum", "read twice"):
        store.put("k", data, etag="opaque")
    else:
        stored_size = {"parts too small to be sent": 3 * MIB, "one part": 12 * MIB}.get(how, part_size)
        store.put("k", data, part_size=stored_size)
    head = client.head("k")
    if how == "a checksum":
        head = head._replace(checksums={"sha256": base64.b64encode(hashlib.sha256(data).digest()).decode()})
    path = tmp_path / "arrived"
    path.write_bytes(data)
    settings = MoverSettings(part_size=5 * MIB)
    proven = prove_arrival(str(path), "k", head, side(), client, settings)  # type: ignore[arg-type]  # a fake
    assert isinstance(proven, Proven)
    assert (proven.digest, proven.part_size) == (etag_of(data, part_size), part_size)
    assert split(proven.part_md5s, proven.digest) == [
        etag_of(data[start : start + part_size]) for start in range(0, len(data) if part_size else 0, part_size or 1)
    ]


@pytest.mark.parametrize("part_size", [5 * MIB, 3 * MIB])
def test_the_MD5s_that_the_mover_saw_are_told_if_its_parts_are_sent(
    tmp_path: Path, store: FakeStore, client: FakeClient, part_size: int
) -> None:
    data = bytes(12 * MIB)
    store.put("k", data, part_size=part_size)
    head = client.head("k")
    path = tmp_path / "arrived"
    path.write_bytes(data)
    received = Received(head, head.etag, part_size, b"as received")
    settings = MoverSettings(part_size=5 * MIB)
    proven = prove_arrival(str(path), "k", head, side(), client, settings, received)  # type: ignore[arg-type]  # a fake
    assert isinstance(proven, Proven)
    own = [etag_of(data[start : start + 5 * MIB]) for start in range(0, 12 * MIB, 5 * MIB)]
    assert proven.part_md5s == (b"as received" if part_size == 5 * MIB else bytes.fromhex("".join(own)))


OPAQUE = ["no shape", "no ETag", "aws:kms", "aws:kms:dsse", "customer", "by configuration"]


def put_opaque(store: FakeStore, data: bytes, how: str, etag: str) -> dict[str, str]:
    """What the job says of that store."""
    etag = {"no shape": "v1.opaque", "no ETag": ""}.get(how, etag)
    store.put("k", data, encryption=how if how.startswith(("aws:", "customer")) else "")
    store.objects["k"].etag = etag
    return {"etag": "opaque"} if how == "by configuration" else {}


@pytest.mark.parametrize("how", OPAQUE)
@pytest.mark.parametrize("etag", ["0" * 32, f"{'0' * 32}-2", etag_of(b"data")])
def test_an_opaque_etag_is_replaced_by_a_second_read(
    tmp_path: Path, store: FakeStore, client: FakeClient, how: str, etag: str
) -> None:
    """Also one that happens to be equal, which says as little."""
    changes = put_opaque(store, b"data", how, etag)
    for policy in ("auto", "accept"):
        proven = arrive(tmp_path, client, b"data", unproven=policy, **changes)
        assert proven == Proven(etag_of(b"data"), 0, Evidence.NOT_PROVEN)
    held = arrive(tmp_path, client, b"data", unproven="hold", **changes)
    assert isinstance(held, Unproven)
    assert "`unproven: hold`; set `unproven: auto`" in held.message
    assert store.count("get") == 3
    assert isinstance(arrive(tmp_path, client, b"dada", **changes), Refuted)


@pytest.mark.parametrize("how", OPAQUE)
def test_an_opaque_etag_that_the_mover_saw_too_is_no_proof(
    tmp_path: Path, store: FakeStore, client: FakeClient, how: str
) -> None:
    changes = put_opaque(store, b"data", how, etag_of(b"data"))
    path = tmp_path / "arrived"
    path.write_bytes(b"data")
    head = client.head("k")
    received = Received(head, head.etag, 0)
    proven = prove_arrival(str(path), "k", head, side(**changes), client, SETTINGS, received)  # type: ignore[arg-type]  # a fake
    assert proven == Proven(etag_of(b"data"), 0, Evidence.NOT_PROVEN)


def test_an_object_that_changes_between_the_two_reads_is_no_mismatch(
    tmp_path: Path, store: FakeStore, client: FakeClient
) -> None:
    store.put("k", b"data", etag="opaque-1")
    store.before = lambda operation, key: store.put("k", b"DATA", etag="opaque-2") if operation == "get" else None
    with pytest.raises(StoreError) as caught:
        arrive(tmp_path, client, b"data")
    assert caught.value.trouble is Trouble.CHANGED


def test_a_checksum_spares_the_second_read(tmp_path: Path, client: FakeClient) -> None:
    path = tmp_path / "arrived"
    path.write_bytes(b"data")
    digest = base64.b64encode(hashlib.sha256(b"data").digest()).decode()
    head = Head(200, 4, "opaque", 0, Headers(), checksums={"sha256": digest})
    proven = prove_arrival(str(path), "k", head, side(), client, SETTINGS)  # type: ignore[arg-type]  # a fake
    assert proven == Proven(etag_of(b"data"), 0, Evidence.STORE_DIGEST)
    path.write_bytes(b"dada")
    assert isinstance(prove_arrival(str(path), "k", head, side(), client, SETTINGS), Refuted)  # type: ignore[arg-type]  # a fake
    assert client.fake.requests == []


# -- limits of an upload ------------------------------------------------------------------------------------------


@given(size=st.integers(0, 5 * 1024 * GIB), part_size=st.integers(5 * MIB, 5 * GIB))
def test_the_part_size_of_our_own_is_always_possible_and_whole(size: int, part_size: int) -> None:
    chosen = proof.upload_part_size(size, MoverSettings(part_size=part_size))
    assert can_be_sent(size, chosen)
    assert chosen % MIB == 0


def test_a_single_put_too_large_for_aws_becomes_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "arrived"
    path.write_bytes(b"")
    size = 6 * GIB
    monkeypatch.setattr(
        etag_module, "file_digests", lambda path, part_size: (f"of parts of {part_size}", b"their MD5s")
    )
    single = etag_module.Proof(True, "0" * 32, 0, "0" * 32, size)
    assert proof._for_upload(str(path), single, SETTINGS) == (f"of parts of {64 * MIB}", 64 * MIB, b"their MD5s")
    one_part = etag_module.Proof(True, "0" * 32 + "-1", size, "0" * 32, size, b"1" * 16)
    assert proof._for_upload(str(path), one_part, SETTINGS) == ("0" * 32 + "-1", size, b"1" * 16)


# -- what was delivered -------------------------------------------------------------------------------------------


def deliver(
    client: FakeClient, sent: Sent, *, wanted: Evidence = Evidence.STORE_DIGEST, **changes: object
) -> Proven | Refuted:
    return prove_delivery(sent, client.head("k"), side(**changes), client, wanted=wanted)  # type: ignore[arg-type]  # a fake


def sent_as(data: bytes, part_size: int = 0) -> Sent:
    return Sent("k", len(data), etag_of(data, part_size), part_size)


def test_the_same_etag_proves_without_another_request(store: FakeStore, client: FakeClient) -> None:
    store.put("k", b"data")
    assert deliver(client, sent_as(b"data")) == Proven(etag_of(b"data"), 0, Evidence.STORE_DIGEST)
    assert store.requests == [("head", "k")]


@pytest.mark.parametrize(("held", "is_proven"), [(b"bytes", True), (b"other", False)])
def test_where_no_size_is_told_equal_digests_say_as_much(
    store: FakeStore, client: FakeClient, held: bytes, is_proven: bool
) -> None:
    store.put("k", held)
    sent = Sent("k", 5, etag_of(b"bytes"), 0)
    found = client.head("k")._replace(size=UNTOLD)
    proof = prove_delivery(sent, found, side(), client, wanted=Evidence.STORE_DIGEST)  # type: ignore[arg-type]  # a fake
    assert isinstance(proof, Proven) is is_proven


def test_an_etag_in_capitals_is_the_same(store: FakeStore, client: FakeClient) -> None:
    store.put("k", b"data", etag=etag_of(b"data").upper())
    assert isinstance(deliver(client, sent_as(b"data")), Proven)


@pytest.mark.parametrize("held", [b"dada", b"dat"])
def test_other_bytes_are_refuted_without_reading_them(store: FakeStore, client: FakeClient, held: bytes) -> None:
    store.put("k", held)
    assert isinstance(deliver(client, sent_as(b"data")), Refuted)
    assert store.requests == [("head", "k")]


@pytest.mark.parametrize("wanted", [Evidence.READ_BACK, Evidence.MEDIUM])
@pytest.mark.parametrize("part_size", [0, 700, 1000, 5000])
def test_a_read_back_is_compared_with_the_digest_and_says_what_it_is(
    store: FakeStore, client: FakeClient, wanted: Evidence, part_size: int
) -> None:
    """Never more than was reached: a level that no client can reach must not be claimed."""
    data = bytes(range(250)) * 10
    store.put("k", data, part_size=part_size)
    proven = deliver(client, sent_as(data, part_size), wanted=wanted)
    assert proven == Proven(store.objects["k"].etag, 0, Evidence.READ_BACK)
    store.objects["k"].data = b"x" + data[1:]  # the store lies about its ETag
    refuted = deliver(client, sent_as(data, part_size), wanted=wanted)
    assert isinstance(refuted, Refuted)
    assert refuted.expected == etag_of(data, part_size)
    assert refuted.found == etag_of(b"x" + data[1:], part_size)


@pytest.mark.parametrize(("etag", "encryption"), [("opaque", ""), ("1" * 32, "aws:kms"), ("1" * 32 + "-7", "")])
def test_an_etag_that_cannot_be_compared_is_read_back(
    store: FakeStore, client: FakeClient, etag: str, encryption: str
) -> None:
    store.put("k", b"data", etag=etag, encryption=encryption)
    assert deliver(client, sent_as(b"data")) == Proven(etag, 0, Evidence.READ_BACK)


def test_etags_that_only_look_like_digests_are_read_back_where_the_job_says_so(
    store: FakeStore, client: FakeClient
) -> None:
    store.put("k", b"data", etag="1" * 32)
    assert isinstance(deliver(client, sent_as(b"data")), Refuted)
    assert deliver(client, sent_as(b"data"), etag="opaque") == Proven("1" * 32, 0, Evidence.READ_BACK)


@pytest.mark.parametrize("how", OPAQUE)
def test_an_equal_etag_that_is_no_digest_is_read_back(store: FakeStore, client: FakeClient, how: str) -> None:
    """Such as a store that gives back what it was sent as Content-MD5, whatever it keeps."""
    changes = put_opaque(store, b"data", how, etag_of(b"data"))
    assert deliver(client, sent_as(b"data"), **changes) == Proven(store.objects["k"].etag, 0, Evidence.READ_BACK)
    store.objects["k"].data = b"dada"
    refuted = deliver(client, sent_as(b"data"), **changes)
    assert isinstance(refuted, Refuted)
    assert (refuted.expected, refuted.found) == (etag_of(b"data"), etag_of(b"dada"))


def test_rot_before_the_upload_is_seen_behind_an_opaque_etag(store: FakeStore, client: FakeClient) -> None:
    """What is read back must be what was staged, not what the staged file has become."""
    store.put("k", b"rotten", etag="opaque")
    assert isinstance(deliver(client, Sent("k", 6, etag_of(b"sound!"), 0)), Refuted)


def test_a_failed_read_back_is_the_stores_trouble(store: FakeStore, client: FakeClient) -> None:
    store.put("k", b"data")
    store.before = refuse(Trouble.SERVER, operation="get")
    with pytest.raises(StoreError):
        deliver(client, sent_as(b"data"), wanted=Evidence.READ_BACK)


@given(data=st.binary(max_size=300), part_size=st.integers(0, 40), cuts=st.lists(st.integers(1, 60), max_size=20))
def test_an_etag_of_a_stream_does_not_depend_on_its_chunks(data: bytes, part_size: int, cuts: list[int]) -> None:
    reader = PartDigests(part_size)
    position = 0
    for cut in [*cuts, len(data)]:
        reader.update(data[position : position + cut])
        position += cut
    assert reader.etag() == etag_of(data, part_size)


def test_a_local_file_is_sound_by_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "staged"
    path.write_bytes(b"data")
    assert proof.local_file_is_sound(str(path), etag_of(b"data").upper(), 0) == (True, etag_of(b"data"))
    assert proof.local_file_is_sound(str(path), etag_of(b"dada"), 0) == (False, etag_of(b"data"))


def test_evidence_beyond_reach_stops_and_releases_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.source.put("a", b"data")
    job = replace(rig.job, evidence=Evidence.MEDIUM)
    monkeypatch.setattr(Rig, "job", property(lambda self: job))
    with pytest.raises(StoreError, match="only read_back is possible here; lower `evidence` of job photos"):
        rig.run()
    assert rig.states() == {"a": "staged"}
    assert len(rig.staged_files()) == 1


# -- the answer to an upload ----------------------------------------------------------------------------------------

MD5 = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("answer", "wanted", "changes", "is_proof"),
    [
        (Head(200, 0, MD5, 0, Headers()), Evidence.STORE_DIGEST, {}, True),
        (Head(200, 0, MD5.upper(), 0, Headers()), Evidence.STORE_DIGEST, {}, True),
        (Head(200, 0, MD5, 0, Headers()), Evidence.READ_BACK, {}, False),
        (Head(200, 0, MD5, 0, Headers()), Evidence.STORE_DIGEST, {"etag": "opaque"}, False),
        (Head(200, 0, MD5, 0, Headers(), encryption="aws:kms"), Evidence.STORE_DIGEST, {}, False),
        (Head(200, 0, MD5[::-1], 0, Headers()), Evidence.STORE_DIGEST, {}, False),
        (Head(200, 0, "", 0, Headers()), Evidence.STORE_DIGEST, {}, False),
    ],
)
def test_an_answer_proves_as_much_as_its_digest(
    answer: Head, wanted: Evidence, changes: dict[str, object], is_proof: bool
) -> None:
    proven = prove_by_answer(Sent("k", 4, MD5, 0), answer, side(**changes), wanted=wanted)
    assert proven == (Proven(answer.etag, 0, Evidence.STORE_DIGEST) if is_proof else None)


@pytest.mark.parametrize(
    ("trouble", "is_raised"),
    [
        (Trouble.DENIED, False),
        (Trouble.UNSUPPORTED, False),
        (Trouble.SERVER, False),
        (Trouble.TIMEOUT, True),
        (Trouble.NOT_FOUND, True),
    ],
)
def test_a_refused_question_for_checksums_costs_a_second_read(
    tmp_path: Path,
    store: FakeStore,
    client: FakeClient,
    monkeypatch: pytest.MonkeyPatch,
    trouble: Trouble,
    is_raised: bool,
) -> None:
    def refused(_key: str) -> Head:
        raise StoreError(trouble, "look", "refused")

    store.put("k", b"data")
    monkeypatch.setattr(client, "head_with_checksums", refused)
    if is_raised:
        with pytest.raises(StoreError):
            arrive(tmp_path, client, b"data", etag="opaque")
    else:
        proof = arrive(tmp_path, client, b"data", etag="opaque")
        assert isinstance(proof, Proven) and proof.evidence is Evidence.NOT_PROVEN
