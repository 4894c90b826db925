#!/usr/bin/env bash
# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# virtualenv.sh REQUIREMENTS.txt: makes .venv, or installs into the one that is there; then the engine as the package
# and command `snowsync`, straight from the checkout.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}

stop() { printf '%s\n' "$@" >&2; exit 1; }

version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) ||
    stop "There is no $python here. Debian and Ubuntu: apt-get install python3 python3-venv"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    stop "$python is Python $version, the controller needs 3.11 or newer. Name another one: make PYTHON=python3.12 ..."

if ! .venv/bin/python -c 'import pip' 2>/dev/null; then
    if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
        [ "$(id -u)" = 0 ] ||
            stop "$python has no venv module. Debian and Ubuntu: sudo apt-get install python3-venv, then run make again."
        DEBIAN_FRONTEND=noninteractive tests/tools/apt.sh python3-venv
    fi
    "$python" -m venv --clear .venv
fi

# Compiling at install time costs more than it ever saves here: most files of `ansible` are never imported.
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --requirement "$1"

packages=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
ln -sfn "$PWD/plugins/module_utils/_engine" "$packages/snowsync"
command=.venv/bin/snowsync
printf '#!/bin/sh\nexec "%s" -m snowsync "$@"\n' "$PWD/.venv/bin/python" >"$command.new"
chmod +x "$command.new"
mv "$command.new" "$command"
