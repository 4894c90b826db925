# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""A run of both units in two processes: the source unit in this one, the destination unit in a fork of it."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable

from ..config.job_file import Job
from ..hops.destination.destination_unit import DestinationUnit
from ..hops.source.source_unit import SourceUnit
from ..hops.switches import Switches
from ..ledger.ledger import Ledger
from ..ledger.locks import UNITS, locked
from ..store.curl import libcurl
from . import relays
from .child_process import forked
from .destination_process import run_destination
from .link import Link
from .main_thread import Attendant, UnitThread, attend
from .partner import Partner
from .run import prepare
from .service import held_signals
from .summary import Start, Summary, end_of, summarise


def run_pair(
    job: Job, *, until: str = "drained", timeout: float | None = None, attendant: Attendant | None = None
) -> Summary:
    """As `run_job` for both directions. The calling process must have no other thread, and no open database.

    Raises the error that stopped a unit, SnowsyncError if the process of the destination unit was killed.
    """
    start = Start.now()
    attendant = attendant or Attendant()
    with contextlib.ExitStack() as opened:
        with contextlib.ExitStack() as held:
            source_lock = _prepare(job, until, held, attendant.beat)
            with held_signals():
                partner, switches = _fork(job, until, source_lock)
                held.callback(partner.finish)
                ledger = Ledger(job.ledger_path)
                opened.callback(ledger.close)
                unit = SourceUnit(job, ledger, switches, until=until, alone=False)
                attendant.beside(partner)
                attendant.start([unit], switches)
            partner.begin()
            attend([UnitThread(unit, switches), partner], switches, timeout, attendant)
        return summarise(job, ledger, [end_of(unit), partner.end], start)


def _prepare(job: Job, until: str, held: contextlib.ExitStack, beat: Callable[[str], None]) -> int:
    """Take both locks and prepare the ledger. Returns the descriptor of the source unit's lock.

    The ledger is closed again: a connection of SQLite must not cross a fork. So what is wrong with a unit is found
    before anything is changed, both are made once here.
    """
    ledger = Ledger(job.ledger_path, beat=beat)
    try:
        SourceUnit(job, ledger, Switches(), until=until, alone=False)
        DestinationUnit(job, ledger, Switches(), until=until)
        # First, so that a run that is refused does not change the ledger of the running one.
        source_lock, _destination_lock = [held.enter_context(locked(job, name)) for name in UNITS]
        prepare(job, ledger, "both", beat)
    finally:
        ledger.close()
    return source_lock


def _fork(job: Job, until: str, source_lock: int) -> tuple[Partner, Switches]:
    def work(channel: socket.socket) -> None:
        os.close(source_lock)  # the lock of the destination unit is held by both processes
        run_destination(job, until, channel)

    libcurl()  # both units use it: imported before the fork, its memory is shared
    child, channel = forked(work, f"the destination unit of job {job.job}")
    link = Link(channel)
    switches = relays.of_the_source(link.post)
    return Partner(job, child, link, switches), switches
