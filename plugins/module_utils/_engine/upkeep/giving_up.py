# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Gives up a volume that will not come back: what was staged there is fetched again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..core.conditions import UNAVAILABLE
from ..core.errors import LedgerError
from ..core.text import bytes_text, counted_text, key_text
from ..inspection.volume_status import VolumeStatus
from ..ledger.records import Tally
from . import draining

if TYPE_CHECKING:
    from ..config.job_file import Job

_NAMED = 20


@dataclass(slots=True)
class GivenUp:
    """The effect of giving up a volume, planned or `done`: `lost` then holds the keys of what cannot be fetched."""

    status: VolumeStatus
    done: bool = False
    refetched: int = 0
    lost: list[str] = field(default_factory=list)
    to_fetch: Tally = field(default_factory=Tally)
    older: int = 0  # versions that were replaced at the source and exist only on this volume


def give_up(job: Job, name: str, *, yes: bool) -> GivenUp:
    """Fetch what is staged on a volume again; without `yes` only determine the effect.

    Works while units run. Raises LedgerError for a volume that is available: nothing on it needs to be fetched again.
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
                f"Volume {name} of job {job.job} is available ({found.status.words}):"
                f" move its contents with `snowsync evacuate {job.job} {name}`, or unmount it first"
            )
        if yes:
            found.refetched, found.lost = ledger.losses.lose_volume(number, name)
            found.done = True
        return found
    finally:
        ledger.close()


def render(found: GivenUp) -> str:
    """What was done, or would be done, as text."""
    status, fetch = found.status, found.to_fetch
    lines = [f"volume {status.name} at {status.path}: {status.words}"]
    if found.done:
        lines.append(f"{counted_text(found.refetched, 'object')} will be fetched again from the source")
    else:
        size = bytes_text(fetch.bytes)
        lines.append(f"{counted_text(fetch.objects, 'object')} ({size}) would be fetched again from the source")
    if found.lost:
        lines.append(
            f"lost with the volume, as dropped files or older versions: {counted_text(len(found.lost), 'object')}"
        )
        lines += [f"  {key_text(key)}" for key in found.lost[:_NAMED]]
        lines += ["  ... and more: see `snowsync report`"] if len(found.lost) > _NAMED else []
    elif not found.done and status.dropped.objects:
        dropped = counted_text(status.dropped.objects, "dropped file")
        lines.append(f"{dropped} would be lost: there is no other copy")
    if found.older and not found.done:
        older = counted_text(found.older, "older version")
        lines.append(f"{older}, not delivered yet, would be lost: replaced at the source since")
    if not found.done:
        lines.append("nothing was changed; if the disk will not come back, add: --yes")
    return "\n".join(lines)
