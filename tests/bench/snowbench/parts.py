# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured on a machine with many cores, and in which order. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .figures import OURS

PEERS = ("rclone", "rclone-tuned", "s5cmd")
FEWEST_SECONDS = 5.0  # nothing is begun for less
SMALL_HOST = 2


@dataclass(frozen=True)
class Part:
    """One call of the bench; `scale` is that of its sets, `options` what else the bench is told."""

    label: str
    sets: tuple[str, ...]
    tools: tuple[str, ...]
    options: tuple[str, ...] = ()
    scale: float = 1.0

    @property
    def name(self) -> str:
        """For people and folders."""
        return "-".join([self.label.replace(" ", "-"), *self.sets])


@dataclass(frozen=True)
class Done:
    """A part that was run; it is not tried again if it `failed`."""

    part: Part
    seconds: float
    failed: str = ""


_SMALL, _LARGE = ("4KiB", "1MiB"), ("512MiB",)
# The most wanted first: time may end before the last.
PARTS = (
    Part("all cores", _SMALL, (OURS, *PEERS)),
    Part("all cores", _LARGE, (OURS, *PEERS, "dd")),
    Part("25 ms", ("4KiB",), (OURS, "rclone-64"), ("--delay", "25"), 0.15),
    Part("200 ms", ("4KiB",), (OURS, "rclone-64"), ("--delay", "200"), 0.075),
    Part("2 cores", _SMALL, (OURS, *PEERS), ("--cores", f"{SMALL_HOST}")),
    Part("2 cores", _LARGE, (OURS, *PEERS, "dd"), ("--cores", f"{SMALL_HOST}")),
)


def parts_for(cores: int) -> list[Part]:
    """Two cores of two are all cores."""
    return [part for part in PARTS if cores > SMALL_HOST or "--cores" not in part.options]


def shortcomings(parts: Sequence[Part], done: Sequence[Done]) -> list[str]:
    """What was not measured, and why."""
    failed = [f"failed: {each.part.name}: {each.failed}" for each in done if each.failed]
    tried = [each.part for each in done]
    return [*failed, *(f"left out: {part.name}" for part in parts if part not in tried)]


def next_part(parts: Sequence[Part], done: Sequence[Done], seconds_left: float, rounds: int) -> Part | None:
    """Each part once, in order; then those with the fewest rounds, if another one is expected to fit. None: the end."""
    if seconds_left < FEWEST_SECONDS:
        return None
    runs = {part: [each for each in done if each.part == part] for part in parts}
    for part in sorted(parts, key=lambda each: len(runs[each])):
        before = runs[part]
        if not before:
            return part
        if len(before) < rounds and not before[-1].failed and before[-1].seconds <= seconds_left:
            return part
    return None
