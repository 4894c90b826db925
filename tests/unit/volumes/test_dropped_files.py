# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The drop folder of a volume: files held open, and deleted only when they are what was delivered."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dropping import append, refuse_leases, replace_with, write_and_set_back

from snowsync.core import removal
from snowsync.core.model import Origin, State
from snowsync.core.removal import AtDestination, LiesElsewhere, NotEntitled
from snowsync.ledger.ledger import Row
from snowsync.volumes import dropped_files, outgoing_files
from snowsync.volumes.dropped_files import DroppedFiles
from snowsync.volumes.file_identity import Identity

NAME = "it's; a `file`"
DATA = b"people's data"


class Folder:
    """A volume with a drop folder and one file in it, which was delivered as object 7."""

    def __init__(self, top: Path) -> None:
        self.outgoing = top / ".snowsync/outgoing"
        self.outgoing.mkdir(parents=True)
        self.path = top / "drop/deep" / NAME
        self.path.parent.mkdir(parents=True)
        self.path.write_bytes(DATA)
        self.descriptors = [os.open(folder, os.O_RDONLY) for folder in (top / ".snowsync", self.outgoing)]
        self.files = DroppedFiles(top, "drop", *self.descriptors)
        self.relative = f"deep/{NAME}"
        self.row = self.taken()

    def taken(self) -> Row:
        """The row of the file as it is now."""
        found = Identity.of(self.path.stat())
        digest = hashlib.md5(self.path.read_bytes(), usedforsecurity=False).hexdigest()
        values = (7, f"deep/{NAME}", found.size, digest, found.modified_ms, 1, Origin.DROP, State.DELIVERED, 1, 0)
        return Row(*values, digest, "", 0, 0, 0, destination_etag=digest, file_id=found.text)

    def discard(self, row: Row | None = None) -> bool:
        row = row or self.row
        return self.files.discard(row, self.relative, outgoing_files.permit_of(row))

    def left(self) -> list[str]:
        return sorted(path.name for path in self.path.parent.iterdir())


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder(tmp_path)
    yield folder
    folder.files.close()
    for descriptor in folder.descriptors:
        os.close(descriptor)


# -- held -------------------------------------------------------------------------------------------------------------


def test_what_is_sent_is_the_file_that_was_opened(folder: Folder) -> None:
    path = folder.files.hold(7, folder.relative)
    replace_with(folder.path, b"another one!!")
    assert Path(path).read_bytes() == DATA
    folder.files.let_go(7)
    assert not os.path.lexists(path)


def test_a_path_of_a_held_file_is_good_for_child_processes(folder: Folder) -> None:
    path = folder.files.hold(7, folder.relative)
    folder.path.unlink()
    assert subprocess.run(["cat", path], capture_output=True, check=True).stdout == DATA


def test_what_is_behind_a_link_is_not_held(folder: Folder, tmp_path: Path) -> None:
    os.rename(folder.path.parent, tmp_path / "elsewhere")
    folder.path.parent.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError):
        folder.files.hold(7, folder.relative)


def test_a_drop_folder_that_became_a_link_is_not_followed(folder: Folder, tmp_path: Path) -> None:
    os.rename(tmp_path / "drop", tmp_path / "elsewhere")
    (tmp_path / "drop").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError):
        folder.files.hold(7, folder.relative)
    assert folder.discard(), "it is withdrawn"
    assert (tmp_path / "elsewhere/deep" / NAME).exists()


def test_a_volume_that_went_is_no_file_that_went(folder: Folder, tmp_path: Path) -> None:
    os.rename(tmp_path / ".snowsync", tmp_path / "elsewhere")
    for step in (lambda: folder.files.hold(7, folder.relative), folder.discard):
        with pytest.raises(OSError, match="volume") as caught:
            step()
        assert caught.value.errno == errno.ENODEV


def test_few_files_are_open_at_once(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dropped_files, "most_held", lambda: 2)
    for number in (7, 8):
        assert folder.files.has_room
        folder.files.hold(number, folder.relative)
    assert not folder.files.has_room
    folder.files.let_go(7)
    assert folder.files.has_room


# -- deleted ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_held", [True, False])
@pytest.mark.parametrize("has_leases", [True, False])
def test_the_delivered_file_is_deleted(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, is_held: bool, has_leases: bool
) -> None:
    if not has_leases:
        refuse_leases(monkeypatch, errno.EACCES)
    if is_held:
        folder.files.hold(7, folder.relative)
    assert folder.discard()
    assert (folder.left(), os.listdir(folder.outgoing)) == ([], [])
    assert folder.discard(), "what is gone already needs no deleting"


@pytest.mark.parametrize("is_held", [True, False])
@pytest.mark.parametrize("has_leases", [True, False])
@pytest.mark.parametrize(
    "change", [append, write_and_set_back, lambda path: replace_with(path, DATA[::-1]), lambda path: path.chmod(0o600)]
)
def test_a_file_that_was_changed_or_replaced_stays(
    folder: Folder,
    monkeypatch: pytest.MonkeyPatch,
    is_held: bool,
    has_leases: bool,
    change: Callable[[Path], None],
) -> None:
    if not has_leases:
        refuse_leases(monkeypatch, errno.EACCES)
    if is_held:
        folder.files.hold(7, folder.relative)
    change(folder.path)
    changed = folder.path.read_bytes()
    assert not folder.discard()
    assert (folder.path.read_bytes(), folder.left(), os.listdir(folder.outgoing)) == (changed, [NAME], [])


def test_a_file_that_is_open_for_writing_waits(folder: Folder) -> None:
    folder.files.hold(7, folder.relative)
    with folder.path.open("ab"), pytest.raises(BlockingIOError):
        folder.discard()
    assert folder.left() == [NAME]
    assert folder.path.stat().st_ctime_ns == int(folder.row.file_id.split(":")[2]), "it was not touched"
    assert folder.discard()
    assert folder.left() == []


@pytest.mark.parametrize("has_hard_links", [True, False])
@pytest.mark.parametrize("again", [b"", b"the newest"])
@pytest.mark.parametrize("error", [0, errno.EXDEV])
def test_a_file_replaced_at_the_last_moment_is_given_back(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, has_hard_links: bool, again: bytes, error: int
) -> None:
    rename = os.rename

    def rename_a_newer_one(source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        is_first = source == NAME
        if is_first and error and dst_dir_fd == folder.descriptors[1]:
            raise OSError(error, "another filesystem")
        if is_first:
            replace_with(folder.path, b"a newer version")
        rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        if again and is_first:
            folder.path.write_bytes(again)

    def refuse(*_arguments: object, **_more: object) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "rename", rename_a_newer_one)
    if not has_hard_links:
        monkeypatch.setattr(os, "link", refuse)
    assert not folder.discard()
    assert folder.path.read_bytes() == (again or b"a newer version")
    if again:
        returned = folder.path.with_name(f"{NAME}.returned-1")
        assert returned.read_bytes() == b"a newer version", "nobody has delivered it"
    assert os.listdir(folder.outgoing) == []


def test_without_a_lease_a_write_at_the_last_moment_is_found_by_the_digest(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_leases(monkeypatch, errno.EACCES)
    monkeypatch.setattr(DroppedFiles, "_link", lambda *_unused: write_and_set_back(folder.path))
    assert not folder.discard()
    assert folder.path.read_bytes() == DATA[::-1]


@pytest.mark.parametrize("has_digest", [True, False])
@pytest.mark.parametrize("doubt", ["older engine", "another device"])
def test_in_doubt_the_digest_decides(folder: Folder, doubt: str, has_digest: bool) -> None:
    """Numbers of devices change with a boot, and an older engine recorded none."""
    file_id = "" if doubt == "older engine" else folder.row.file_id.replace(":", "0:", 1)
    row = folder.row._replace(file_id=file_id, digest=folder.row.digest if has_digest else "0" * 32)
    assert folder.discard(row) is has_digest
    assert folder.left() == ([] if has_digest else [NAME])


def refuse_to_leave_the_filesystem(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = os.rename

    def refused(source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        if dst_dir_fd == folder.descriptors[1]:
            raise OSError(errno.EXDEV, "another filesystem")
        rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "rename", refused)


def test_a_drop_folder_on_another_filesystem_is_emptied_too(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_to_leave_the_filesystem(folder, monkeypatch)
    assert folder.discard()
    assert (folder.left(), os.listdir(folder.outgoing)) == ([], [])


def test_a_file_that_cannot_be_locked_is_not_hidden(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan that finds a hidden file would put it back, were it not locked."""
    refuse_to_leave_the_filesystem(folder, monkeypatch)
    with folder.path.open("rb") as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError):
            folder.discard()
    assert folder.left() == [NAME]


class Crash(BaseException):
    """The power was cut."""


def test_what_a_crash_leaves_hidden_in_a_drop_folder_is_put_back(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    refuse_to_leave_the_filesystem(folder, monkeypatch)

    def cut_off(*_unused: object) -> bool:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(outgoing_files, "is_untouched", cut_off)
        with pytest.raises(Crash):
            folder.discard()
    (hidden,) = folder.left()
    assert hidden == f".snowsync-7-{NAME}"
    top = os.open(tmp_path / "drop", os.O_RDONLY)

    def look(row: Row | None) -> bool:
        return outgoing_files.returned_hidden(top, "deep", hidden, lambda _number: row, lambda row: row.key)

    assert not look(None), "without a row it is people's own"
    assert not look(folder.row._replace(key=f"elsewhere/{NAME}"))
    assert not look(folder.row._replace(origin=Origin.SOURCE))
    with (folder.path.parent / hidden).open("rb") as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)
        assert look(folder.row)
        assert folder.left() == [hidden], "it is being deleted this moment"
    assert look(folder.row)
    assert folder.left() == [NAME]
    assert folder.path.read_bytes() == DATA
    os.close(top)


def test_a_long_name_can_be_hidden_and_returned() -> None:
    name = "ä" * 127 + "x"
    for made in (outgoing_files.hidden_name(7, name), outgoing_files._shortened(name, ".returned-1")):
        assert len(os.fsencode(made)) <= 255
        made.encode()


def test_nothing_is_moved_without_a_permit(folder: Folder) -> None:
    with pytest.raises(NotEntitled):
        folder.files.discard(folder.row, folder.relative, LiesElsewhere(folder.row.key, 1, 1, 2))
    assert folder.left() == [NAME]


def test_the_file_goes_through_the_gate(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []
    remove = removal.remove

    def seen(place: removal.Place, descriptor: int, name: str, permit: removal.Permit) -> None:
        shown.append((place, name, permit))
        remove(place, descriptor, name, permit)

    monkeypatch.setattr(removal, "remove", seen)
    folder.discard()
    row = folder.row
    permit = AtDestination(row.id, row.key, row.generation, row.target, row.destination_etag)
    assert (removal.Place.DROP, "7.delivered", permit) in shown
