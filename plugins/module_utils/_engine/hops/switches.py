# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""How the two units of one process wake and stop each other."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from ..core import workers


@dataclass(slots=True)
class Switches:
    """How the two units of one process wake and stop each other."""

    stop: workers.Stop = field(default_factory=workers.Stop)
    staged: threading.Event = field(default_factory=threading.Event)  # something became staged
    space: threading.Event = field(default_factory=threading.Event)  # something was released
    # What lay aside to be deleted, and was another file, is back in its drop folder, on all volumes that came.
    put_back: threading.Event = field(default_factory=threading.Event)
    source_done: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)  # a unit is about to end: look whether it did
    refused: threading.Event = field(
        default_factory=threading.Event
    )  # the destination takes nothing: nobody makes room
