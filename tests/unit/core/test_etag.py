# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ETags: their shapes, the part sizes that can be behind them, and the proof of a file in one read."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snowsync.core import etag

MIB = 1024 * 1024
EMPTY_MD5 = "d41d8cd98f00b204e9800998ecf8427e"

MakeFile = Callable[[bytes], Path]


@pytest.fixture
def make_file(tmp_path: Path) -> MakeFile:
    def make(content: bytes) -> Path:
        path = tmp_path / "object"
        path.write_bytes(content)
        return path

    return make


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def multipart_etag(content: bytes, part_size: int) -> str:
    """As a store computes it, part by part."""
    parts = [content[start : start + part_size] for start in range(0, max(len(content), 1), part_size)]
    return f"{md5(b''.join(bytes.fromhex(md5(part)) for part in parts))}-{len(parts)}"


def some_bytes(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


# --- parse ---


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        (EMPTY_MD5, (EMPTY_MD5, 0)),
        (f'"{EMPTY_MD5}"', (EMPTY_MD5, 0)),
        (EMPTY_MD5.upper(), (EMPTY_MD5, 0)),
        (f'"{EMPTY_MD5.upper()}-3"', (EMPTY_MD5, 3)),
        (f"{EMPTY_MD5}-1", (EMPTY_MD5, 1)),
        (f"{EMPTY_MD5}-10000", (EMPTY_MD5, 10_000)),
    ],
)
def test_parse_reads_the_shapes_of_md5(text: str, parsed: tuple[str, int]) -> None:
    assert etag.parse(text) == parsed


@pytest.mark.parametrize(
    "text",
    [
        "",
        '""',
        "65a1b2c3-1f",
        EMPTY_MD5[:-1],
        EMPTY_MD5 + "0",
        "g" * 32,
        f"{EMPTY_MD5}-",
        f"{EMPTY_MD5}-0",
        f"{EMPTY_MD5}-01",
        f"{EMPTY_MD5}--1",
        f"{EMPTY_MD5}-1-1",
        f"{EMPTY_MD5}-1f",
        f"{EMPTY_MD5}\n",
        f" {EMPTY_MD5}",
        f'W/"{EMPTY_MD5}"',
        f"{EMPTY_MD5}-123456",
        "\u0661" * 32,
        f"{EMPTY_MD5}-\u0661",
    ],
)
def test_parse_leaves_opaque_etags_alone(text: str) -> None:
    assert etag.parse(text) is None


# --- candidate_part_sizes ---


@pytest.mark.parametrize(
    ("size", "part_size"),
    [
        *((200 * MIB, size * MIB) for size in (5, 8, 10, 15, 16, 20, 25, 32, 50, 64, 100, 128)),
        *((3000 * MIB + 7, size * MIB) for size in (250, 256, 500, 512, 1024)),
        *(
            (3000 * MIB + 7, size * 10**6)
            for size in (5, 8, 10, 15, 16, 25, 50, 64, 100, 128, 250, 256, 500, 512, 1000)
        ),
        (600_000_000_123, 600_000_000_123 // 10_000 + 1),  # s5cmd and the Go SDK, above 10,000 of their parts
        (600_000_000_000, 60_000_001),
        (600_000_000_000, 60_000_000),  # the Java SDK: size / 10,000, rounded up
        (9_000_000 * MIB // 10, 91 * MIB),  # rclone: the next MiB that needs no more than 10,000 parts
        (11, 3),
        (5, 1),
    ],
)
def test_part_sizes_that_tools_use_are_candidates(size: int, part_size: int) -> None:
    assert part_size in etag.candidate_part_sizes(size, -(-size // part_size))


@given(st.integers(0, 6 * 1024 * 1024 * MIB), st.integers(2, 10_000))
def test_candidates_lie_within_the_bounds(size: int, parts: int) -> None:
    candidates = etag.candidate_part_sizes(size, parts)
    assert len(candidates) == len(set(candidates)) <= 40
    for part_size in candidates:
        assert -(-size // parts) <= part_size <= (size - 1) // (parts - 1)
        assert -(-size // part_size) == parts


@given(st.sampled_from(etag.USUAL_PART_SIZES), st.integers(2, 10_000), st.data())
def test_usual_part_size_is_always_found(part_size: int, parts: int, data: st.DataObject) -> None:
    size = data.draw(st.integers((parts - 1) * part_size + 1, parts * part_size))
    assert part_size in etag.candidate_part_sizes(size, parts)


def test_most_usual_comes_first() -> None:
    assert etag.candidate_part_sizes(100 * MIB, 2)[0] == 64 * MIB
    assert etag.candidate_part_sizes(16 * MIB, 2)[0] == 8 * MIB
    assert etag.candidate_part_sizes(512 * MIB, 11) == [50 * MIB, 50 * 10**6, 47 * MIB]
    assert etag.candidate_part_sizes(200 * MIB, 25) == [8 * MIB]


@pytest.mark.parametrize(("size", "parts"), [(0, 2), (1, 2), (9, 10), (100, -1), (100, 0), (0, 0)])
def test_what_cannot_be_has_no_candidates(size: int, parts: int) -> None:
    assert etag.candidate_part_sizes(size, parts) == []


@pytest.mark.parametrize("size", [0, 1, 8 * MIB, 8 * MIB + 1, 5 * 1024 * MIB])
def test_one_part_needs_one_size_that_holds_it(size: int) -> None:
    (part_size,) = etag.candidate_part_sizes(size, 1)
    assert part_size >= max(size, 1)


# --- file_etag and prove_file ---


@pytest.mark.parametrize("size", [0, 1, 4096, MIB - 1, MIB, MIB + 1, 3 * MIB + 17])
def test_single_upload_is_proven_by_md5(make_file: MakeFile, size: int) -> None:
    content = some_bytes(size)
    proof = etag.prove_file(make_file(content), f'"{md5(content).upper()}"')
    assert proof == etag.Proof(True, md5(content), 0, md5(content), size)


@pytest.mark.parametrize("size", [0, 1, MIB, 2 * MIB + 1])
@pytest.mark.parametrize("part_size", [1, MIB - 1, MIB, MIB + 1, 5 * MIB])
def test_file_etag_is_the_stores(make_file: MakeFile, size: int, part_size: int) -> None:
    content = some_bytes(size)[: 5000 if part_size == 1 else None]
    assert etag.file_etag(make_file(content), part_size) == multipart_etag(content, part_size)
    assert etag.file_etag(make_file(content), 0) == md5(content)


@pytest.mark.parametrize("size", [0, 1, 2 * MIB + 1])
def test_one_part_is_proven_whatever_its_size(make_file: MakeFile, size: int) -> None:
    content = some_bytes(size)
    wanted = multipart_etag(content, max(size, 1))
    proof = etag.prove_file(make_file(content), wanted)
    assert (proof.matched, proof.etag, proof.md5, proof.size) == (True, wanted, md5(content), size)
    assert proof.part_size >= max(size, 1)


@pytest.mark.parametrize("part_size", [5 * MIB, 5 * 10**6, 8 * MIB, 8 * 10**6, 10 * MIB, 10 * 10**6, 6 * MIB])
@pytest.mark.parametrize("size", [12 * MIB, 11 * MIB + 1])
def test_unknown_part_size_is_found(make_file: MakeFile, size: int, part_size: int) -> None:
    content = some_bytes(size)
    wanted = multipart_etag(content, part_size)
    proof = etag.prove_file(make_file(content), wanted)
    assert (proof.matched, proof.etag, proof.size) == (True, wanted, size)
    assert etag.file_etag(make_file(content), proof.part_size) == wanted


@given(st.binary(min_size=1, max_size=64), st.lists(st.integers(1, 70), min_size=1, max_size=6), st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_given_part_sizes_are_told_apart_in_one_read(
    make_file: MakeFile, content: bytes, part_sizes: list[int], data: st.DataObject
) -> None:
    """Parts that begin together and end apart share their MD5: any mixture of sizes must come out as computed alone."""
    part_size = data.draw(st.sampled_from(part_sizes))
    wanted = multipart_etag(content, part_size)
    proof = etag.prove_file(make_file(content), wanted, part_sizes=part_sizes, whole_md5=True)
    assert (proof.matched, proof.etag, proof.md5, proof.size) == (True, wanted, md5(content), len(content))
    assert multipart_etag(content, proof.part_size) == wanted


def test_blocks_and_parts_do_not_line_up(make_file: MakeFile) -> None:
    content = some_bytes(3 * MIB + 5)
    for part_size in (MIB + 1, MIB - 1, 700_001, 2 * MIB):
        wanted = multipart_etag(content, part_size)
        sizes = [700_001, MIB - 1, MIB, MIB + 1, 2 * MIB]
        proof = etag.prove_file(make_file(content), wanted, part_sizes=sizes)
        assert (proof.matched, proof.part_size) == (True, part_size)


def _flipped(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


@pytest.mark.parametrize("position", [0, 5 * MIB - 1, 5 * MIB, -1])
def test_one_wrong_bit_is_seen(make_file: MakeFile, position: int) -> None:
    content = some_bytes(11 * MIB)
    damaged = _flipped(content, position % len(content))
    for wanted in (md5(content), multipart_etag(content, 5 * MIB), multipart_etag(content, len(content))):
        proof = etag.prove_file(make_file(damaged), wanted)
        assert (proof.matched, proof.part_size, proof.size) == (False, 0, len(content))
        assert proof.etag != wanted
        assert etag.parse(proof.etag) is not None


def test_wrong_bytes_are_named_in_the_form_asked_for(make_file: MakeFile) -> None:
    content = some_bytes(11 * MIB)
    assert etag.prove_file(make_file(content), "0" * 32).etag == md5(content)
    assert etag.prove_file(make_file(content), "0" * 32 + "-3").etag == multipart_etag(content, 5 * MIB)
    assert etag.prove_file(make_file(content), "0" * 32 + "-1").etag == multipart_etag(content, 11 * MIB)


@pytest.mark.parametrize("damage", [bytes(11 * MIB), some_bytes(11 * MIB - 1), b"", some_bytes(11 * MIB) + b"\0"])
def test_zeroed_truncated_and_grown_files_are_seen(make_file: MakeFile, damage: bytes) -> None:
    content = some_bytes(11 * MIB)
    for wanted in (md5(content), multipart_etag(content, 5 * MIB), multipart_etag(content, 8 * MIB)):
        proof = etag.prove_file(make_file(damage), wanted)
        assert (proof.matched, proof.size) == (False, len(damage))


def test_parts_in_another_order_are_seen(make_file: MakeFile) -> None:
    content = some_bytes(10 * MIB)
    swapped = content[5 * MIB :] + content[: 5 * MIB]
    assert not etag.prove_file(make_file(swapped), multipart_etag(content, 5 * MIB)).matched


@pytest.mark.parametrize("text", ["", "65a1b2c3-1f", '"opaque"', f"{EMPTY_MD5}-0"])
@pytest.mark.parametrize("size", [0, 4096])
def test_opaque_etag_proves_nothing_but_md5_is_told(make_file: MakeFile, text: str, size: int) -> None:
    content = some_bytes(size)
    assert etag.prove_file(make_file(content), text) == etag.Proof(False, "", 0, md5(content), size)


def test_md5_of_all_bytes_is_told_when_asked_for(make_file: MakeFile) -> None:
    content = some_bytes(11 * MIB)
    path = make_file(content)
    wanted = multipart_etag(content, 5 * MIB)
    assert etag.prove_file(path, wanted).md5 == ""
    assert etag.prove_file(path, wanted, whole_md5=True).md5 == md5(content)
    assert etag.prove_file(path, "0" * 32 + "-3", whole_md5=True).md5 == md5(content)
    assert etag.prove_file(path, "0" * 32 + "-9999", whole_md5=True) == (False, "", 0, md5(content), 11 * MIB, b"")


def test_the_MD5s_of_the_parts_that_matched_are_told(make_file: MakeFile) -> None:
    content = some_bytes(11 * MIB)
    path = make_file(content)
    for part_size in (5 * MIB, 5 * 10**6, 8 * MIB, 11 * MIB):  # found in the first read, or in the second one
        md5s = b"".join(
            hashlib.md5(content[start : start + part_size]).digest() for start in range(0, len(content), part_size)
        )
        proof = etag.prove_file(path, multipart_etag(content, part_size))
        assert (proof.matched, proof.part_md5s) == (True, md5s)
        assert etag.file_digests(path, part_size) == (multipart_etag(content, part_size), md5s)
    assert etag.prove_file(path, "0" * 32 + "-3").part_md5s == b""
    assert etag.file_digests(path, 0) == (md5(content), b"")


def test_part_sizes_that_give_another_count_are_passed_over(make_file: MakeFile) -> None:
    content = some_bytes(100)
    proof = etag.prove_file(make_file(content), multipart_etag(content, 30), part_sizes=[0, -1, 10, 99, 200])
    assert proof == etag.Proof(False, "", 0, "", 100)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(parts=st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=6), chunk=st.integers(1, 50))
def test_parts_of_any_sizes_are_digested_alike_from_a_file_and_a_stream(
    make_file: MakeFile, parts: list[bytes], chunk: int
) -> None:
    content, sizes = b"".join(parts), [len(part) for part in parts]
    expected = f"{md5(b''.join(hashlib.md5(part).digest() for part in parts))}-{len(parts)}"
    assert etag.file_layout_etag(make_file(content), sizes) == expected
    streamed = etag.LayoutDigests(sizes)
    for begin in range(0, len(content), chunk):
        streamed.update(content[begin : begin + chunk])
    assert streamed.etag() == expected


def md5s(data: bytes, part_size: int) -> tuple[bytes, ...]:
    part_size = part_size or max(1, len(data))
    return tuple(hashlib.md5(data[at : at + part_size]).digest() for at in range(0, max(1, len(data)), part_size))


def fed(data: bytes, part_size: int, seed: int = 0) -> etag.PartDigests:
    dice, found, at = random.Random(seed), etag.PartDigests(part_size), 0
    while at < len(data):
        step = dice.randrange(1, 30)
        found.update(data[at : at + step])
        at += step
    return found


@pytest.mark.parametrize("part_size", [0, 1, 7, 10, 100])
@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 95, 100])
def test_digests_are_those_of_the_parts_however_the_bytes_come(size: int, part_size: int) -> None:
    data = random.Random(size).randbytes(size)
    found = fed(data, part_size)
    assert found.digests() == md5s(data, part_size)
    assert found.fed == size
    assert found.at_boundary == (size % part_size == 0 if part_size else size == 0)


@pytest.mark.parametrize("known", [0, 10, 20, 25])
def test_digests_go_on_behind_what_is_known(known: int) -> None:
    data = random.Random(1).randbytes(48)
    found = etag.PartDigests(10)
    found.adopt(fed(data[:known], 10))
    found.update(data[known:])
    assert found.digests() == md5s(data, 10)
    taken = etag.PartDigests(10)
    complete = known // 10 * 10
    taken.take(md5s(data[:complete], 10) if complete else (), complete)
    taken.update(data[complete:])
    assert (taken.digests(), taken.fed) == (md5s(data, 10), 48)


def test_bytes_beyond_a_layout_are_seen(make_file: MakeFile) -> None:
    assert etag.file_layout_etag(make_file(b"abcd"), [1, 2]).endswith("-3")
    assert etag.file_layout_etag(make_file(b"ab"), [1, 2]) != etag.file_layout_etag(make_file(b"abc"), [1, 2])


@pytest.mark.parametrize(
    ("one", "other", "agrees"),
    [
        (EMPTY_MD5, EMPTY_MD5, True),
        (EMPTY_MD5, EMPTY_MD5.upper(), True),
        (f"{EMPTY_MD5}-2", f"{EMPTY_MD5.upper()}-2", True),
        (EMPTY_MD5, f"{EMPTY_MD5}-2", False),
        (EMPTY_MD5, f"{EMPTY_MD5}-gzip", False),
        ("opaque", "OPAQUE", False),
        ("opaque", "opaque", True),
        ("", EMPTY_MD5, True),
        (EMPTY_MD5, "", True),
    ],
)
def test_etags_that_may_be_of_one_object(one: str, other: str, agrees: bool) -> None:
    assert etag.agree(one, other) is agrees


def test_missing_file_is_the_callers_matter(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        etag.prove_file(tmp_path / "absent", EMPTY_MD5)


def test_descriptors_are_given_back(make_file: MakeFile) -> None:
    path = make_file(b"x" * 100)
    before = len(os.listdir("/proc/self/fd"))
    for wanted in ("opaque", EMPTY_MD5, f"{EMPTY_MD5}-2", f"{EMPTY_MD5}-1"):
        etag.prove_file(path, wanted)
    etag.file_etag(path, 7)
    etag.file_checksum(path, "sha256")
    assert len(os.listdir("/proc/self/fd")) == before


# --- file_checksum ---


@pytest.mark.parametrize("size", [0, 4096, MIB, 2 * MIB + 3])
def test_checksums_are_those_of_the_headers(make_file: MakeFile, size: int) -> None:
    content = some_bytes(size)
    path = make_file(content)
    for algorithm in ("sha256", "sha1"):
        assert base64.b64decode(etag.file_checksum(path, algorithm)) == hashlib.new(algorithm, content).digest()
    assert base64.b64decode(etag.file_checksum(path, "crc32")) == zlib.crc32(content).to_bytes(4, "big")


def test_checksums_known_from_elsewhere(make_file: MakeFile) -> None:
    path = make_file(b"123456789")
    assert etag.file_checksum(path, "crc32") == "y/Q5Jg=="  # the check value of CRC-32, cbf43926
    assert etag.file_checksum(path, "sha1") == "98O8HYCOBHMq32eZZczDTKeuNEE="


@pytest.mark.parametrize("algorithm", ["md5", "crc32c", "crc64nvme", "SHA256", ""])
def test_checksum_that_is_not_there_is_refused(make_file: MakeFile, algorithm: str) -> None:
    with pytest.raises(ValueError, match="unknown checksum"):
        etag.file_checksum(make_file(b""), algorithm)
