# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""fstab is edited one line at a time, and every other line stays as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_module import backend

PATH = "/srv/snowsync/volume-01"
LINE = f"UUID=1234 {PATH} ext4 noatime,nofail 0 2"
OTHERS = "# a comment\n\nUUID=ab / ext4 errors=remount-ro 0 1\n\t/dev/sdb1\t/mnt/my\\040disk ext4 defaults\nnonsense\n"
lines = st.lists(
    st.one_of(
        st.sampled_from([*OTHERS.splitlines(), f"/dev/sdz {PATH} xfs defaults 0 0", f"#UUID=1 {PATH} ext4"]),
        st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="\x85"), max_size=30),
    )
)


@pytest.fixture(scope="module")
def fstab() -> Any:
    return backend("_volume.fstab")


def is_ours(line: str) -> bool:
    words = line.split()
    return len(words) >= 3 and not line.lstrip().startswith("#") and words[1].rstrip("/") == PATH


@given(lines, st.booleans())
def test_all_other_lines_stay(fstab: Any, others: list[str], ends: bool) -> None:
    text = "\n".join(others) + "\n" * ends
    kept = [line for line in text.splitlines() if not is_ours(line)]
    written = fstab.with_line(text, PATH, LINE)
    assert [line for line in written.splitlines() if line != LINE] == [line for line in kept if line != LINE]
    assert [mount.line for mount in fstab.parse(written) if mount.path == PATH] == [LINE]
    assert fstab.with_line(written, PATH, LINE) == written
    assert fstab.without(written, PATH, "UUID=1234").splitlines() == kept
    assert fstab.without(written, PATH, "UUID=5678") == written


def test_a_line_keeps_its_place(fstab: Any) -> None:
    text = f"first a b\n/dev/old {PATH}/ xfs defaults 0 0\nlast a b"
    assert fstab.with_line(text, PATH, LINE) == f"first a b\n{LINE}\nlast a b"


def test_a_file_without_an_end_of_line_gets_one_before_ours(fstab: Any) -> None:
    assert fstab.with_line("last a b", PATH, LINE) == f"last a b\n{LINE}\n"
    assert fstab.with_line("", PATH, LINE) == f"{LINE}\n"


def test_white_space_in_a_path_is_escaped_as_getmntent_reads_it(fstab: Any) -> None:
    line = fstab.line_of("1234", "/srv/my disks/volume-01", "xfs", ("noatime",), 10)
    assert line == "UUID=1234 /srv/my\\040disks/volume-01 xfs noatime,nofail,x-systemd.device-timeout=10s 0 0"
    assert [mount.path for mount in fstab.parse(line)] == ["/srv/my disks/volume-01"]


def test_options_stand_once(fstab: Any) -> None:
    line = fstab.line_of("1", PATH, "ext4", ("noatime", "nofail", "noatime"), 5)
    assert line.split()[3] == "noatime,nofail,x-systemd.device-timeout=5s"


def test_mount_reads_what_is_written(fstab: Any, tmp_path: Path) -> None:
    """findmnt is the judge of what a line means."""
    import subprocess

    file = tmp_path / "fstab"
    file.write_text(
        fstab.with_line(OTHERS.replace("nonsense\n", ""), "/srv/a b", fstab.line_of("1", "/srv/a b", "ext4", (), 9))
    )
    found = subprocess.run(
        ["findmnt", "--tab-file", str(file), "--noheadings", "--output", "OPTIONS", "--target", "/srv/a b"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.split() == ["nofail,x-systemd.device-timeout=9s"]
