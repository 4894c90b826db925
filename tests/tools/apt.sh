#!/usr/bin/env bash
# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# apt.sh PACKAGE ...: installs those of the packages that are missing, as root; apt is asked only when one is.
set -euo pipefail
missing=()
for package in "$@"; do
    [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" != 0 ]; then
    echo "Missing, and only root can install it: apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
# An index of some third party that is down must not stop what the distribution itself can deliver.
apt-get update -qq || true
apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null
