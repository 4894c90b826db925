# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What the source unit expects of the destination unit of the same run, if there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...core.model import State
from ...ledger.source_ports import SourceLedger
from ..switches import Switches

if TYPE_CHECKING:
    from ...config.job_file import Job


class NextHop:
    """The hop to the destination. `is_alone`: this run does not make it, so staged objects are not its concern."""

    def __init__(self, job: Job, ledger: SourceLedger, switches: Switches, *, is_alone: bool) -> None:
        self.is_alone = is_alone
        self._job = job
        self._ledger = ledger
        self._switches = switches

    @property
    def has_refused(self) -> bool:
        """Whether the destination accepts nothing, so that no space will be freed in this run."""
        return self._switches.refused.is_set()

    @property
    def has_put_back(self) -> bool:
        """Whether files set aside for deletion that turned out to be others are back in the drop folders."""
        return self.is_alone or self._switches.put_back.is_set()

    def has_ended(self) -> bool:
        """Whether the destination unit has nothing left to try in this run."""
        if self.has_refused:
            return True
        is_to_be_asked = self._ledger.listing.touched(limit=1, delivered_too=self._job.keep_staged)
        return not is_to_be_asked and not self._ledger.objects.is_to_be_sent(self._job.attempts)

    def is_releasing(self) -> bool:
        """Whether delivered files are about to be deleted."""
        return not self._job.keep_staged and self._ledger.objects.waiting(State.DELIVERED)

    def release(self) -> None:
        """Let the destination unit end: nothing more will be staged."""
        self._switches.source_done.set()
        self._switches.staged.set()
