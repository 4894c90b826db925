# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fragile disks themselves, as block devices and under real filesystems: each weakness is really there."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from disks import Disk, Rack, evict, make_filesystem, mount, unmount
from disks.filesystems import SMALLEST

BLOCK = 4096
OLD, NEW = b"o" * BLOCK, b"n" * BLOCK


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with Rack(tmp_path / "rack", {"disk": 16 << 20}) as rack:
        yield rack["disk"]


@pytest.fixture
def rack(tmp_path: Path) -> Iterator[Rack]:
    with Rack(tmp_path / "rack", {"first": 16 << 20, "second": 16 << 20}) as rack:
        yield rack


def write_block(disk: Disk, number: int, data: bytes, *, sync: bool) -> None:
    """Past the page cache of the device; `sync` sends a FLUSH."""
    descriptor = os.open(disk.device, os.O_WRONLY | os.O_DIRECT)
    try:
        os.pwritev(descriptor, [_aligned(data)], number * BLOCK)
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_block(disk: Disk, number: int) -> bytes:
    buffer = _aligned(bytes(BLOCK))
    descriptor = os.open(disk.device, os.O_RDONLY | os.O_DIRECT)
    try:
        os.preadv(descriptor, [buffer], number * BLOCK)
    finally:
        os.close(descriptor)
    return bytes(buffer)


def _aligned(data: bytes) -> memoryview:
    memory = mmap.mmap(-1, len(data))
    memory.write(data)
    return memoryview(memory)


def fails_with_eio(action: object) -> bool:
    assert callable(action)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        action()
    return True


def test_a_synced_block_survives_a_power_cut_and_an_unsynced_one_does_not(rack: Rack) -> None:
    for disk in rack.disks.values():
        write_block(disk, 0, OLD, sync=True)
        write_block(disk, 1, OLD, sync=True)
        write_block(disk, 1, NEW, sync=False)
        assert read_block(disk, 1) == NEW
    rack.cut_power()
    rack.switch_on()
    for disk in rack.disks.values():
        assert read_block(disk, 0) == OLD
        assert read_block(disk, 1) == OLD, "the unsynced block survived"


def test_without_power_nothing_can_be_read_or_written(rack: Rack) -> None:
    rack.cut_power()
    for disk in rack.disks.values():
        assert fails_with_eio(lambda disk=disk: read_block(disk, 0))
        assert fails_with_eio(lambda disk=disk: write_block(disk, 0, NEW, sync=False))


def test_what_the_kernel_had_cached_of_a_disk_is_gone_after_a_power_cut(rack: Rack) -> None:
    disk = rack["first"]
    with disk.device.open("r+b") as stream:
        stream.write(NEW)  # into the page cache of the device
        stream.flush()
        rack.cut_power()
    rack.switch_on()
    assert disk.device.open("rb").read(BLOCK) == bytes(BLOCK)


def test_reads_and_writes_fail_apart_and_heal(disk: Disk) -> None:
    write_block(disk, 0, OLD, sync=True)
    disk.fail(reads=True)
    assert fails_with_eio(lambda: read_block(disk, 0))
    write_block(disk, 0, NEW, sync=True)
    disk.fail(writes=True)
    assert fails_with_eio(lambda: write_block(disk, 0, OLD, sync=False))
    assert read_block(disk, 0) == NEW
    disk.heal()
    write_block(disk, 0, OLD, sync=True)
    assert read_block(disk, 0) == OLD


def test_a_read_only_disk_can_be_read(disk: Disk) -> None:
    write_block(disk, 0, OLD, sync=True)
    disk.make_read_only()
    assert read_block(disk, 0) == OLD
    with pytest.raises(OSError, match=f"{os.strerror(errno.EPERM)}|{os.strerror(errno.EIO)}|Permission"):
        write_block(disk, 0, NEW, sync=True)
    disk.heal()
    write_block(disk, 0, NEW, sync=True)


def test_a_throttled_disk_moves_no_more_than_it_may(disk: Disk) -> None:
    """Not timed: the rate is so low that the reads cannot end before they are stopped."""
    disk.throttle(64 * 1024)
    command = ["dd", f"if={disk.device}", "of=/dev/null", "bs=64k", "iflag=direct"]
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(command, timeout=2, capture_output=True, check=False)
    disk.throttle(None)
    assert disk.traffic().read < 4 << 20
    subprocess.run(command, timeout=60, capture_output=True, check=True)


def test_a_rack_that_is_gone_leaves_no_device_and_no_mount(tmp_path: Path) -> None:
    with Rack(tmp_path / "rack", {"disk": 16 << 20}) as rack:
        backing = Path("/sys/block", rack["disk"].device.name, "loop/backing_file")
        ours = backing.read_text(encoding="utf-8")
        assert os.path.ismount(tmp_path / "rack")
    assert not os.path.ismount(tmp_path / "rack")
    with contextlib.suppress(OSError):  # a test beside this one may have the device by now
        assert backing.read_text(encoding="utf-8") != ours


# -- under filesystems --------------------------------------------------------------------------------------------


def make_durable(path: Path) -> None:
    for place in (path, path.parent):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@pytest.mark.parametrize("keep", [0.0, 0.5])
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_a_synced_file_survives_a_power_cut_and_an_unsynced_one_does_not(
    tmp_path: Path, kind: str, keep: float
) -> None:
    mounted = tmp_path / "mounted"
    with Rack(tmp_path / "rack", {"disk": SMALLEST[kind]}) as rack:
        make_filesystem(rack["disk"].device, kind)
        mount(rack["disk"].device, mounted)
        try:
            (mounted / "synced").write_bytes(os.urandom(1_000_000))
            make_durable(mounted / "synced")
            wanted = (mounted / "synced").read_bytes()
            (mounted / "unsynced").write_bytes(os.urandom(1_000_000))
            rack.cut_power(keep=keep, seed=1)
            unmount(mounted)
            rack.switch_on()
            mount(rack["disk"].device, mounted)  # replays its journal
            assert (mounted / "synced").read_bytes() == wanted
            assert not (mounted / "unsynced").exists()
        finally:
            unmount(mounted)


def test_a_bad_spot_makes_one_file_unreadable(tmp_path: Path, disk: Disk) -> None:
    mounted = tmp_path / "mounted"
    make_filesystem(disk.device, "ext4")
    mount(disk.device, mounted)
    try:
        (mounted / "good").write_bytes(OLD)
        (mounted / "bad").write_bytes(NEW)
        evict(mounted)
        disk.fail(reads=True, where=NEW[:64])
        assert (mounted / "good").read_bytes() == OLD
        assert fails_with_eio((mounted / "bad").read_bytes)
    finally:
        unmount(mounted)


def error_of_creating(path: Path) -> int:
    """An empty file: what fails to be written is the journal, not data, which ext4 would forgive."""
    try:
        path.touch()
        make_durable(path)
    except OSError as error:
        return error.errno or 0
    return 0


def test_ext4_turns_read_only_when_the_disk_refuses_writes(tmp_path: Path, disk: Disk) -> None:
    mounted = tmp_path / "mounted"
    make_filesystem(disk.device, "ext4")
    mount(disk.device, mounted)
    try:
        (mounted / "before").write_bytes(OLD)
        make_durable(mounted / "before")
        disk.fail(writes=True)
        assert error_of_creating(mounted / "first") == errno.EIO
        assert error_of_creating(mounted / "second") == errno.EROFS
        assert (mounted / "before").read_bytes() == OLD
    finally:
        unmount(mounted)
