# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Giving up a volume that will not come back: what was staged there is fetched again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..core.conditions import UNAVAILABLE
from ..core.errors import LedgerError
from ..core.text import bytes_text, count_text, key_text
from ..inspection.volume_status import VolumeStatus
from ..ledger.records import Tally
from . import draining

if TYPE_CHECKING:
    from ..config.job_file import Job

_NAMED = 20


@dataclass(slots=True)
class GivenUp:
    """What giving up a volume means, or meant: `lost` holds the keys of what nobody can fetch, once it is `done`."""

    status: VolumeStatus
    done: bool = False
    refetched: int = 0
    lost: list[str] = field(default_factory=list)
    to_fetch: Tally = field(default_factory=Tally)
    older: int = 0  # versions that the source has replaced, and that only this volume has


def give_up(job: Job, name: str, *, yes: bool) -> GivenUp:
    """Have what is staged on a volume fetched again; without `yes` only look what that would mean.

    Works beside running units. Raises LedgerError for a volume that is there: nothing of it need be fetched again.
    """
    ledger = draining.open_ledger(job)
    try:
        number = draining.number_of(ledger.volumes, job, name)
        found = GivenUp(
            draining.look(job, name),
            to_fetch=Tally(*ledger.losses.fetchable_on(number)),
            older=ledger.losses.older_on(number),
        )
        if found.status.state not in UNAVAILABLE:
            raise LedgerError(
                f"Volume {name} of job {job.job} is there ({found.status.words}):"
                f" move what it holds with `snowsync evacuate {job.job} {name}`, or unmount it first"
            )
        if yes:
            found.refetched, found.lost = ledger.losses.lose_volume(number, name)
            found.done = True
        return found
    finally:
        ledger.close()


def render(found: GivenUp) -> str:
    """What was done, or would be, as text."""
    status, fetch = found.status, found.to_fetch
    lines = [f"volume {status.name} at {status.path}: {status.words}"]
    if found.done:
        lines.append(f"{count_text(found.refetched)} objects are fetched again from the source")
    else:
        lines.append(f"{count_text(fetch.objects)} objects ({bytes_text(fetch.bytes)}) would be fetched again")
    if found.lost:
        lines.append(f"{count_text(len(found.lost))} dropped files and older versions are lost with it:")
        lines += [f"  {key_text(key)}" for key in found.lost[:_NAMED]]
        lines += ["  ... and more: see `snowsync report`"] if len(found.lost) > _NAMED else []
    elif not found.done and status.dropped.objects:
        lines.append(f"{count_text(status.dropped.objects)} dropped files would be lost with it: only it has them")
    if found.older and not found.done:
        lines.append(
            f"{count_text(found.older)} older versions, not delivered yet, would be lost: the source replaced them"
        )
    if not found.done:
        lines.append("nothing was changed; where the disk will not come back, add: --yes")
    return "\n".join(lines)
