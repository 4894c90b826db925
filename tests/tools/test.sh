#!/usr/bin/env bash
# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# All of `make test`: what a fresh machine lacks, then every stage. The log of the first part is .build/logs/setup.log.
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p .build/logs
log=.build/logs/setup.log
began=$SECONDS
if ! {
    mapfile -t packages < <(sed -e 's/#.*//' -e 's/[[:space:]]*$//' -e '/^$/d' tests/requirements/apt.txt)
    # Without root the stages say what they lack.
    tests/tools/apt.sh "${packages[@]}" || [ "$(id -u)" != 0 ]
    make --no-print-directory venv
} >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    printf '%-12s FAILED  %s\n0 passed, 1 failed\n' setup "see $log"
    exit 1
fi
printf '%-12s passed  %-32s %5d s\n' setup 'packages and .venv' $((SECONDS - began))
exec .venv/bin/python tests/tools/stages.py --all
