# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Where the source unit's objects come from: the listing of the source, and the drop folders."""

from __future__ import annotations

from ..counters import Counters
from ..crew import Crew
from ..switches import Switches
from .drops.drop_scanner import DropScanner
from .listing.lister import Lister


class Discovery:
    """The lister and the scanner, each in a thread of its own: a pass counts once both have finished it."""

    def __init__(self, lister: Lister, scanner: DropScanner, counters: Counters, switches: Switches) -> None:
        self.lister = lister
        self.scanner = scanner
        self._counters = counters
        self._switches = switches

    def start(self, crew: Crew) -> None:
        crew.spawn(self.lister.run, "lister")
        if self.scanner.has_folders:
            crew.spawn(self.scanner.run, "scanner")

    @property
    def has_seen_all(self) -> bool:
        """Whether the source was listed completely, and everything that was dropped until then is staged."""
        return self.lister.has_listed and self.scanner.first_pass.is_over

    def pass_ended(self) -> None:
        """The lister, or for the first time the scanner, has finished. Called from their threads."""
        if self.has_seen_all:
            self._counters.listed.passes += 1
            self._switches.space.set()  # the feeder may be waiting only for this
