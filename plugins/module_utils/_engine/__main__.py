# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""``python -m snowsync`` is the command ``snowsync``."""

from __future__ import annotations

import gc
import sys

from .core.imports import without_collections


def main() -> int:
    """The command, as a process: returns its exit code."""
    with without_collections():
        from .cli import command
    try:
        return command.main()
    finally:
        gc.freeze()  # the interpreter would look through everything for garbage once more before it ends


if __name__ == "__main__":
    sys.exit(main())
