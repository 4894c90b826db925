# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which tool moves an object."""

from __future__ import annotations

import pytest

from snowsync.config.job_file import MoverSettings
from snowsync.core.header_text import dump_headers
from snowsync.core.model import MIB, Fetch, Headers, Send
from snowsync.core.parts import NoMemory
from snowsync.movers import tool_choice
from snowsync.movers.tool_choice import ToolChoice


class Remembers(NoMemory):
    """Has parts of one object."""

    def remembers(self, work: Fetch | Send) -> bool:
        return work.id == 1


def choice(tool: str = "s5cmd", memory: NoMemory | None = None) -> ToolChoice:
    return ToolChoice(MoverSettings(tool=tool), memory or NoMemory())  # type: ignore[arg-type]  # one of its words


def fetch(number: int, size: int = 1, key: str = "") -> Fetch:
    return Fetch(number, key or f"object-{number}", size, f"/volume/{number}")


@pytest.mark.parametrize(
    ("tool", "work", "chosen"),
    [
        ("auto", fetch(1), "native"),
        ("native", fetch(1), "native"),
        ("s5cmd", fetch(1), "s5cmd"),
        ("native", fetch(1, key="\udcff"), "boto3"),
        ("s5cmd", fetch(1, key="a\nb"), "boto3"),
        ("s5cmd", fetch(1, size=0), "boto3"),
        ("native", Send(1, "key", 6 * 1024**3, "/volume/1", 0, ""), "boto3"),
        ("s5cmd", Send(1, "key", 1, "/volume/1", 0, dump_headers(Headers(tags={"a": "b"}))), "boto3"),
        ("native", Send(1, "key", 1, "/volume/1", 0, dump_headers(Headers(tags={"a": "b"}))), "native"),
    ],
)
def test_boto3_moves_what_the_tool_of_the_job_cannot_express(tool: str, work: Fetch | Send, chosen: str) -> None:
    assert choice(tool).choose(work) == chosen


def test_a_large_object_that_s5cmd_did_not_bring_to_its_end_goes_to_the_native_mover(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tool_choice, "_REMEMBERED", 1)
    tools = choice()
    large, other, small = fetch(1, 64 * MIB), fetch(2, 64 * MIB), fetch(3)
    assert [tools.choose(work) for work in (large, large, large)] == ["s5cmd", "native", "native"]
    assert [tools.choose(work) for work in (small, small)] == ["s5cmd", "s5cmd"]
    assert [tools.choose(work) for work in (other, other)] == ["s5cmd", "native"]
    assert tools.choose(large) == "s5cmd", "what is remembered is bounded"


def test_what_an_earlier_run_has_of_a_large_object_is_not_moved_again_by_s5cmd() -> None:
    tools = choice(memory=Remembers())
    assert [tools.choose(fetch(number, 64 * MIB)) for number in (1, 2)] == ["native", "s5cmd"]
    assert tools.choose(fetch(1)) == "s5cmd", "a small one has no parts"
