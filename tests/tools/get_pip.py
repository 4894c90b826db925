# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for the get-pip.py that ansible-test downloads into each of its virtualenvs.

ansible-test fetches that script from its vendor's own host, the only thing the sanity tests need that is neither in
PyPI nor in the distribution. The pip that it asks for lies beside this script (stages.py has put it there) and is
copied: a tenth of the time that installing it takes, for each virtualenv.
"""

from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path


def main() -> None:
    version = next(word.removeprefix("pip==") for word in sys.argv[1:] if word.startswith("pip=="))
    shutil.copytree(Path(__file__).with_name(f"pip-{version}"), sysconfig.get_path("purelib"), dirs_exist_ok=True)


if __name__ == "__main__":
    main()
