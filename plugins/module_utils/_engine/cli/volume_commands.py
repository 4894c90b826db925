# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Commands for volumes: volumes, drain, evacuate, refetch, reset."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..core.text import bytes_text, counted_text
from .common import EXIT_NOT_DRAINED, become_owner, load_named_job, print_json

if TYPE_CHECKING:
    from ..config.job_file import Job
    from ..inspection.volume_status import VolumeStatus
    from ..ledger.records import Tally

_log = logging.getLogger("snowsync")


def _volumes(parsed: argparse.Namespace) -> int:
    from ..inspection import volume_report

    if parsed.job is None:
        found = volume_report.gather_all(parsed.jobs_dir)
    else:
        found = [volume_report.gather(load_named_job(parsed))]
    if parsed.json:
        records = [one.record() for one in found]
        print_json(records if parsed.job is None else records[0])
    else:
        print("\n\n".join(volume_report.render(one) for one in found) or f"no jobs in {parsed.jobs_dir}")
    return max((one.error.exit_code for one in found if one.error), default=0)


def _drain(parsed: argparse.Namespace) -> int:
    from ..upkeep import draining

    job = load_named_job(parsed)
    become_owner(job)
    draining.set_draining(job, parsed.volume, not parsed.undo)
    if parsed.undo:
        print(f"volume {parsed.volume} of job {job.job} is no longer being drained")
        return 0
    print(_drain_text(job, draining.look(job, parsed.volume)), flush=True)
    if not parsed.wait:
        return 0
    if draining.wait_until_drained(job, parsed.volume, parsed.timeout):
        print(f"volume {parsed.volume} of job {job.job} is drained")
        return 0
    left = draining.look(job, parsed.volume)
    _log.error("volume %s is not drained: %s", parsed.volume, _left_text(left))
    return EXIT_NOT_DRAINED


def _drain_text(job: Job, status: VolumeStatus) -> str:
    if status.is_drained:
        return (
            f"volume {status.name} of job {job.job} is drained: nothing is left on it, and nothing will be placed there"
        )
    return f"volume {status.name} of job {job.job} is draining: {_left_text(status)}"


def _left_text(status: VolumeStatus) -> str:
    if not status.held.objects:
        return "waiting for objects that may still be written to it"
    left = f"{_tally_text(status.undelivered)} to deliver"
    done = status.held.objects - status.undelivered.objects
    return f"{left}, {counted_text(done, 'delivered object')} to delete" if done else left


def _evacuate(parsed: argparse.Namespace) -> int:
    from ..upkeep import evacuation

    job = load_named_job(parsed)
    become_owner(job)
    done = evacuation.evacuate(job, parsed.volume, lambda text: print(text, flush=True))
    print(f"volume {parsed.volume} of job {job.job}: moved {_tally_text(done.moved)} to other volumes")
    for tally, what in (
        (done.released, "already delivered: deleted from the volume"),
        (done.refetched, "unreadable or damaged: will be fetched again from the source"),
        (done.dropped, "in drop folders: not moved, will be delivered from there"),
    ):
        if tally.objects:
            print(f"{_tally_text(tally)} {what}")
    return 0


def _tally_text(tally: Tally) -> str:
    return f"{counted_text(tally.objects, 'object')} ({bytes_text(tally.bytes)})"


def _refetch(parsed: argparse.Namespace) -> int:
    from ..upkeep import giving_up

    job = load_named_job(parsed)
    become_owner(job)
    print(giving_up.render(giving_up.give_up(job, parsed.volume, yes=parsed.yes)))
    return 0


def _reset(parsed: argparse.Namespace) -> int:
    from ..upkeep import resetting

    job = load_named_job(parsed)
    if parsed.volume is not None:
        return _reset_volume(parsed, job)
    if parsed.confirm is None:
        found = resetting.survey(job)
    else:
        become_owner(job)
        found = resetting.reset(job, parsed.confirm)
    if parsed.json:
        print_json(found.record())
    else:
        print(resetting.render(found))
    return found.error.exit_code if found.error and not found.confirmed else 0


def _reset_volume(parsed: argparse.Namespace, job: Job) -> int:
    from ..upkeep import disowning

    if parsed.confirm is not None:
        become_owner(job)
    found = disowning.give_up(job, parsed.volume, parsed.confirm)
    if parsed.json:
        print_json(found.as_json())
    else:
        print(disowning.render(found))
    return 0


ACTIONS: dict[str, Callable[[argparse.Namespace], int]] = {
    "volumes": _volumes,
    "drain": _drain,
    "evacuate": _evacuate,
    "refetch": _refetch,
    "reset": _reset,
}
