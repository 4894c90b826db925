#!/usr/bin/env bash
# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Renews every pinned requirements file from its .in file; the engine's pins come first and hold for all others.
set -euo pipefail
cd "$(dirname "$0")/../.."
uv=$PWD/.build/uv
[ -x "$uv/bin/uv" ] || { python3 -m venv "$uv" && "$uv/bin/python" -m pip install --quiet uv 2>/dev/null; }
export UV_CUSTOM_COMPILE_COMMAND="make pins"
compile() { "$uv/bin/uv" pip compile --quiet --universal --fork-strategy fewest --no-annotate --upgrade "$@"; }

engine=roles/engine/files/requirements
compile --python-version 3.10 --generate-hashes --output-file "$engine.txt" "$engine.in"
cd tests/requirements
compile --python-version 3.11 --constraints "../../$engine.txt" --output-file test.txt test.in
compile --python-version 3.11 --constraints test.txt --output-file demo.txt demo.in
compile --python-version 3.11 --output-file swift.txt swift.in
compile --python-version 3.11 --output-file bench.txt bench.in
