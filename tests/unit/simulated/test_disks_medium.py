# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The medium of a fragile disk: what is lost, what survives, what fails, how long it takes."""

from __future__ import annotations

import errno
import os

import pytest
from disks.medium import BLOCK, Faults, Medium, Throttle

OLD, NEW = b"o" * BLOCK, b"n" * BLOCK


@pytest.fixture
def medium() -> Medium:
    return Medium(64 * BLOCK)


def fails_with_eio(action: object) -> bool:
    assert callable(action)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)) as caught:
        action()
    return caught.value.errno == errno.EIO


def test_what_was_synced_survives_and_what_was_not_is_as_before(medium: Medium) -> None:
    medium.write(0, OLD + OLD)
    medium.sync()
    medium.write(BLOCK, NEW)
    medium.write(5 * BLOCK, NEW)
    medium.cut()
    medium.switch_on()
    assert medium.read(0, 2 * BLOCK) == OLD + OLD
    assert medium.read(5 * BLOCK, BLOCK) == bytes(BLOCK)


def test_a_block_written_twice_goes_back_to_what_was_synced(medium: Medium) -> None:
    medium.write(0, OLD)
    medium.sync()
    medium.write(0, b"x" * BLOCK)
    medium.write(100, b"y" * 50)
    medium.cut()
    medium.switch_on()
    assert medium.read(0, BLOCK) == OLD


def test_without_power_everything_fails(medium: Medium) -> None:
    medium.cut()
    assert fails_with_eio(lambda: medium.read(0, BLOCK))
    assert fails_with_eio(lambda: medium.write(0, NEW))
    assert fails_with_eio(medium.sync)


def test_a_part_of_the_cache_may_survive_whole_blocks_by_chance(medium: Medium) -> None:
    medium.write(0, OLD * 64)
    medium.sync()
    medium.write(0, NEW * 64)
    medium.cut(keep=0.5, seed=3)
    medium.switch_on()
    blocks = [medium.read(number * BLOCK, BLOCK) for number in range(64)]
    assert set(blocks) == {OLD, NEW}
    assert 10 < blocks.count(NEW) < 54


def test_all_of_the_cache_may_survive(medium: Medium) -> None:
    medium.write(0, NEW)
    medium.cut(keep=1.0)
    medium.switch_on()
    assert medium.read(0, BLOCK) == NEW


def test_a_disk_that_keeps_nothing_cannot_be_cut() -> None:
    with pytest.raises(ValueError, match="nothing to go back to"):
        Medium(BLOCK, remembers=False).cut()


def test_reads_and_writes_fail_apart(medium: Medium) -> None:
    medium.write(0, OLD)
    medium.faults = Faults(reads=True)
    assert fails_with_eio(lambda: medium.read(0, BLOCK))
    medium.write(0, NEW)
    medium.faults = Faults(writes=True)
    assert medium.read(0, BLOCK) == NEW
    assert fails_with_eio(lambda: medium.write(0, OLD))
    assert fails_with_eio(medium.sync)


def test_a_bad_spot_fails_and_the_rest_does_not(medium: Medium) -> None:
    medium.write(0, OLD + NEW)
    medium.faults = Faults(reads=True, where=NEW)
    assert medium.read(0, BLOCK) == OLD
    assert fails_with_eio(lambda: medium.read(0, 2 * BLOCK))


def test_a_write_beyond_the_end_is_refused(medium: Medium) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        medium.write(63 * BLOCK, NEW + NEW)


def test_reads_and_writes_share_the_rate() -> None:
    throttle = Throttle(bytes_per_second=1000.0)
    throttle.wait(0, now=10.0)
    waits = [throttle.wait(500, now=10.0), throttle.wait(500, now=10.0)]
    assert waits == pytest.approx([0.48, 0.98])  # 20 ms of an idle disk's time are made up for


def test_an_idle_disk_saves_up_next_to_nothing() -> None:
    throttle = Throttle(bytes_per_second=1000.0)
    assert throttle.wait(1000, now=100.0) == pytest.approx(0.98)


def test_no_rate_no_wait() -> None:
    assert Throttle().wait(1 << 30, now=0.0) == 0.0
