# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a hand and its parent say to each other comes out as it went in."""

from __future__ import annotations

import marshal

import pytest

from snowsync.core.errors import Trouble
from snowsync.core.model import Arrived, Fetch, Head, Headers, Outcome, Received, Send
from snowsync.core.workers import Doing, Look
from snowsync.movers.hands.channel import Message
from snowsync.movers.hands.messages import (
    OUTCOMES,
    folder_of,
    read_looks,
    read_outcome,
    read_work,
    relocated,
    say_looks,
    say_outcome,
    say_work,
)

HEAD = Head(
    200,
    4,
    "etag",
    1000,
    Headers(content_type="a/b", metadata={"who": "me"}, tags={"a": "b"}),
    tag_count=1,
    parts_count=2,
    encryption="AES256",
    checksums={"crc32": "AAAA"},
    server_time_ms=5,
)


def passed_on(message: Message) -> Message:
    passed: Message = marshal.loads(marshal.dumps(message))
    return passed


@pytest.mark.parametrize(
    "work",
    [
        Fetch(7, "k\u00e9y\n", 10, "/proc/self/fd/5/7", "etag", 2, 1),
        Send(7, "k\u00e9y", 10, "/proc/self/fd/5/dir/\udcff x", 0, '{"content_type":"a"}', "md5", "digest", 2, 1),
    ],
)
def test_work_finds_its_file_by_the_descriptor_of_the_other_process(work: Fetch | Send) -> None:
    there = read_work(passed_on(say_work(work)), {5: 9})
    assert there == work._replace(path=work.path.replace("/5/", "/9/"))


@pytest.mark.parametrize("path", ["/mnt/volume/7", "/proc/self/fd/x/7", "/x/proc/self/fd/5/7", "/proc/self/fd/5"])
def test_other_paths_stay_as_they_are(path: str) -> None:
    assert folder_of(path) is None
    assert relocated(path, {5: 9}) == path


def test_a_path_without_its_folder_leads_nowhere() -> None:
    assert folder_of("/proc/self/fd/5/a/b") == 5
    with pytest.raises(KeyError):
        relocated("/proc/self/fd/5/a/b", {6: 9})


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(7, arrived=Arrived("md5", '{"content_type":"a"}')),
        Outcome(7, received=Received(HEAD, "md5", 0)),
        Outcome(7, answered=HEAD),
        Outcome(7),
        *(Outcome(7, trouble, "why \u2028") for trouble in Trouble),
    ],
)
def test_an_outcome_comes_out_as_it_went_in(outcome: Outcome) -> None:
    message = passed_on(say_outcome(outcome))
    assert message[0] in OUTCOMES
    assert read_outcome(message) == outcome


def test_looks_come_out_as_they_went_in() -> None:
    looks = [Look("native-fetch-0", doing, 1.5, 3) for doing in Doing]
    assert read_looks(say_looks(looks)) == looks
