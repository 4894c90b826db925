# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The width of a lane that works: told by one thread, followed by another."""

from __future__ import annotations

from snowsync.movers.native.lane_width import LaneWidth


class Lane:
    def __init__(self, width: int) -> None:
        self.width = LaneWidth(width)
        self.fits: list[int] = []

    def set(self, width: int) -> None:
        self.width.set(width, lambda: self.fits.append(width))


def test_a_lane_without_connections_fits_at_once() -> None:
    lane = Lane(8)
    lane.set(2)
    assert lane.fits == [2]
    assert lane.width.take() == 2


def test_more_fits_at_once() -> None:
    lane = Lane(8)
    lane.width.take()
    lane.set(9)
    assert lane.fits == [9]


def test_less_fits_once_the_lane_says_so() -> None:
    lane = Lane(8)
    lane.width.take()
    lane.set(3)
    for connections in (8, 5, 4):
        lane.width.has(connections)
    assert lane.width.take() == 3, "which changes nothing about those that there are"
    assert lane.fits == []
    lane.width.has(3)
    lane.width.has(3)
    lane.width.has(0)
    assert lane.fits == [3]


def test_only_the_last_number_counts() -> None:
    lane = Lane(8)
    lane.width.take()
    lane.set(3)
    lane.set(5)
    lane.width.has(3)
    assert lane.fits == [5]


def test_what_was_taken_meanwhile_does_not_fit() -> None:
    lane = Lane(4)
    lane.width.take()
    lane.set(8)
    lane.width.take()  # the lane may open 8 from here on, before it has said anything
    lane.set(4)
    assert lane.fits == [8]
    lane.width.has(4)
    assert lane.fits == [8, 4]
