# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A virtualenv from a folder of wheels, for a machine without pip, ensurepip and network.

`any` holds the wheels for every version of Python, `3.12` those for that one.
"""

from __future__ import annotations

import compileall
import os
import shutil
import sys
import zipfile
from pathlib import Path

from .stores import BenchError

FOR_ALL = "any"


def this_python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def virtualenv(wheels: Path, folder: Path) -> Path:
    """Its interpreter, the one that runs this. One that is there is kept. Raises BenchError."""
    python = folder / "bin" / "python"
    if python.exists():
        return python
    if not (wheels / this_python()).is_dir():
        packed = ", ".join(sorted(each.name for each in wheels.glob("3.*"))) or "none"
        raise BenchError(f"there are no wheels for Python {this_python()} (but for: {packed}); name another by PYTHON=")
    building = folder.with_name(folder.name + ".new")
    shutil.rmtree(building, ignore_errors=True)
    site = building / "lib" / f"python{this_python()}" / "site-packages"
    site.mkdir(parents=True)
    (building / "bin").mkdir()
    base = Path(getattr(sys, "_base_executable", sys.executable))
    (building / "bin" / "python").symlink_to(base)
    (building / "pyvenv.cfg").write_text(f"home = {base.parent}\ninclude-system-site-packages = false\n")
    for kind in (FOR_ALL, this_python()):
        for wheel in sorted((wheels / kind).glob("*.whl")):
            unpack(wheel, site, building / "bin")
    compile_all(site)
    building.rename(folder)
    return python


def compile_all(folder: Path) -> None:
    """As an installation does: otherwise the first pass would pay for it."""
    compileall.compile_dir(folder, quiet=2, workers=0)


def unpack(wheel: Path, site: Path, programs: Path) -> None:
    """Packages into `site`, scripts as they are into `programs`."""
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            if entry.is_dir():
                continue
            target = _target(entry.filename, site, programs)
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file, 1024 * 1024)
            if target.parent == programs or entry.external_attr >> 16 & 0o100:
                target.chmod(0o755)


def _target(name: str, site: Path, programs: Path) -> Path:
    """Of an entry NAME-VERSION.data/KIND/PATH, or else PATH."""
    parts = name.split("/")
    is_data = parts[0].endswith(".data")
    path = "/".join(parts[2:]) if is_data else name
    if ".." in parts or os.path.isabs(path):
        raise BenchError(f"a wheel with an entry outside of itself: {name}")
    return (programs if is_data and parts[1] == "scripts" else site) / path


def without_compression(wheel: Path) -> None:
    """The same wheel, its content stored as it is: what is packed later packs better."""
    new = wheel.with_name(wheel.name + ".new")
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(new, "w") as stored:
        for entry in old.infolist():
            content = old.read(entry)
            entry.compress_type = zipfile.ZIP_STORED
            stored.writestr(entry, content)
    new.replace(wheel)
