# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""unpack.py BUNDLE TARGET: makes the package TARGET/snowsync of the files in BUNDLE, a JSON object of path and text.

TARGET appears with one rename, complete and compiled, or not at all; then BUNDLE is removed.
"""

import compileall
import json
import os
import pathlib
import shutil
import sys

bundle, target = map(pathlib.Path, sys.argv[1:])
building = target.with_name(target.name + ".new")
shutil.rmtree(building, ignore_errors=True)
package = building / "snowsync"
os.umask(0o022)
package.mkdir(parents=True)
for name, text in json.loads(bundle.read_text("utf-8")).items():
    file = package / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")
if not compileall.compile_dir(package, quiet=1, stripdir=building, prependdir=target):
    sys.exit("the engine's files do not compile; they belong to another version of Python")
building.rename(target)
bundle.unlink()
