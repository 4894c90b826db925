# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""How the two units of one run wake and stop each other."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from ..core import workers


@dataclass(slots=True)
class Switches:
    """Shared by the units of one process; running/relays.py connects those of two processes."""

    stop: workers.Stop = field(default_factory=workers.Stop)
    staged: threading.Event = field(default_factory=threading.Event)  # something became staged
    space: threading.Event = field(default_factory=threading.Event)  # something was released
    # On all volumes that came: files set aside for deletion that turned out to be others are back in drop folders.
    put_back: threading.Event = field(default_factory=threading.Event)
    source_done: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)  # a unit is about to end: check whether it did
    # The destination accepts nothing, so no space will be freed.
    refused: threading.Event = field(default_factory=threading.Event)
