# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Commands that correct what the ledger records about the stores: rebind, resend."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from ..core.errors import ConfigError, ObjectsFailed
from ..core.text import counted_text
from .common import become_owner, load_named_job, print_json


def _rebind(parsed: argparse.Namespace) -> int:
    from ..upkeep import rebinding

    job = load_named_job(parsed)
    if parsed.confirm is None:
        found = rebinding.survey(job, parsed.side)
    elif parsed.meaning is None:
        raise ConfigError("--as", ["is missing: use `same` or `new`; without --confirm the effect of each is shown"])
    else:
        become_owner(job)
        found = rebinding.rebind(job, parsed.meaning, parsed.confirm, parsed.side)
    if parsed.json:
        print_json(found.record())
    else:
        print(rebinding.render(found))
    return 0


def _resend(parsed: argparse.Namespace) -> int:
    from ..upkeep import resending

    job = load_named_job(parsed)
    if bool(parsed.keys) == parsed.lost:
        raise ConfigError("KEY", ["give either the keys of the objects to resend or --lost, not both"])
    become_owner(job)
    if parsed.lost:
        found = resending.resend_lost(job, dry_run=parsed.dry_run)
    else:
        found = resending.resend(job, parsed.keys, dry_run=parsed.dry_run)
    if parsed.json:
        print_json(found.record())
    else:
        print(resending.render(found))
    if found.failed:
        sys.stdout.flush()
        raise ObjectsFailed(f"{counted_text(found.failed, 'object')} of job {job.job} cannot be resent")
    return 0


ACTIONS: dict[str, Callable[[argparse.Namespace], int]] = {"rebind": _rebind, "resend": _resend}
