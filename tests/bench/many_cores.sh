#!/usr/bin/env bash
# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# many_cores.sh pack FOLDER    makes FOLDER and a tar of it: all that the bench needs on a machine without network
# many_cores.sh run [FOLDER]   measures there for 8 minutes at most, and ends with one table
#
# README.md beside this file tells the rest, `many_cores.sh run --help` the options. PYTHON=python3.12 names another one.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

stop() { printf 'many_cores.sh: %s\n' "$@" >&2; exit 2; }

if [ "${1:-}" = run ] && [ $# -gt 1 ] && [[ $2 != -* ]]; then
    there=$(cd "$2" 2>/dev/null && pwd)/tests/bench/many_cores.sh || true
    [ -x "$there" ] || stop "$2 was not made by \`many_cores.sh pack\`"
    shift 2
    exec "$there" run "$@"
fi

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

python=
candidates=("$here/../../.venv/bin/python" python3 python3.14 python3.13 python3.12 python3.11)
[ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
for candidate in "${candidates[@]}"; do
    if is_new_enough "$candidate"; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || stop "no Python 3.11 or newer, looked for ${PYTHON:-python3}: name one, PYTHON=..."

# An ordinary PATH may lack what makes and mounts the volumes' filesystem.
PATH=$PATH:/usr/sbin:/sbin PYTHONPATH=$here:$here/.. exec "$python" -m snowbench.many_cores "$@"
