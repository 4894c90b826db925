# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for the get-pip.py that ansible-test downloads into each of its virtualenvs.

ansible-test fetches that script from its vendor's own host, the only thing the sanity tests need that is neither in
PyPI nor in the distribution. Python carries a pip itself (ensurepip), and that one can install the version asked for.
"""

from __future__ import annotations

import subprocess
import sys

# Options of get-pip.py that pip does not know; here nothing installs setuptools or wheel uninvited.
NOT_FOR_PIP = {"--no-setuptools", "--no-wheel"}


def main() -> int:
    # A process of its own: ensurepip switches pip's configuration off for the process that it runs in.
    subprocess.run([sys.executable, "-m", "ensurepip", "--default-pip"], check=True, stdout=subprocess.DEVNULL)
    wanted = [argument for argument in sys.argv[1:] if argument not in NOT_FOR_PIP]
    return subprocess.call([sys.executable, "-m", "pip", "install", *wanted])


if __name__ == "__main__":
    sys.exit(main())
