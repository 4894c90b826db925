# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Whose fault is a request that failed? An endpoint's only where a probe confirms it. No effects here.

An answer alone does not tell: a proxy's page, a 503 or a connection that breaks may be about one object or about
everything. So the endpoint is asked something cheap right after, and it counts whether it serves other objects.
"""

from __future__ import annotations

import enum
import threading
from typing import NamedTuple

from .errors import Trouble

MANY = 5  # different objects that failed at an endpoint, and none was served in between: its fault, whatever it answers
TRIED_AT_ONCE = 3  # objects that such an endpoint is given together, until it serves one
_LEAST_TRIALS = 8  # with pauses of 1, 2, 4 ... 60 s: two minutes
_REMEMBERED = 10_000  # objects whose first failure is known


class Blame(enum.Enum):
    """Who is to blame, and so what happens."""

    JOB = "job"  # the store refuses credential or bucket: the unit stops
    ENDPOINT = "endpoint"  # a probe confirms it: it rests until one succeeds, and nothing is counted
    SERVICE = "service"  # it answers probes and serves no object: it rests ever longer, and is given few objects then
    VOLUME = "volume"  # looked at, and taken out of use where it is not well
    OBJECT = "object"  # counts as one of its attempts; the endpoint goes on with the others
    NOBODY = "nobody"  # tried again


class Probe(enum.Enum):
    """What an endpoint answered when it was asked something cheap."""

    WELL = "well"
    DOWN = "down"
    REFUSES = "refuses"  # the credential, or the bucket


class Signs(NamedTuple):
    """What is known of a failure.

    `failing`: how many different objects failed at the endpoint since it last served one. `others_served`: it served
    others since this one failed there first, or does so now. `progressed`: a part of this object came, or went, since
    its last failure.
    """

    trouble: Trouble
    probe: Probe = Probe.WELL
    failing: int = 1
    others_served: bool = False
    progressed: bool = False


def needs_probe(trouble: Trouble) -> bool:
    """Whether such a failure may be about more than one object."""
    return trouble.is_transient or trouble.stops_job


def blame(signs: Signs) -> Blame:
    """Who is to blame for a failure."""
    trouble = signs.trouble
    if trouble.is_local:
        return Blame.VOLUME
    if trouble is Trouble.UNKNOWN:
        return Blame.NOBODY
    if not needs_probe(trouble):
        return Blame.OBJECT
    if signs.probe is not Probe.WELL:
        return Blame.JOB if signs.probe is Probe.REFUSES else Blame.ENDPOINT
    if signs.progressed:
        return Blame.NOBODY
    if trouble.is_transient and signs.failing >= MANY and not signs.others_served:
        return Blame.SERVICE
    return Blame.OBJECT


def is_hopeless(trials: int, attempts: int) -> bool:
    """Whether a run ends without a store that answers and serves nothing: so many `trials` have failed."""
    return trials >= max(_LEAST_TRIALS, 2 * attempts)


class Standing:
    """Which objects failed at an endpoint lately, and whether it served any. Any thread may tell and ask.

    `trials` counts its rests since it was found to serve nothing.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.trials = 0
        self._served = 0
        self._failing: set[int] = set()  # since it last served one
        self._served_before: dict[int, int] = {}  # by object: how many it had served when this one failed first

    def served(self, object_id: int) -> None:
        with self._lock:
            self._served += 1
            self.trials = 0
            self._failing.clear()
            self._served_before.pop(object_id, None)

    def failed(self, object_id: int) -> None:
        with self._lock:
            self._failing.add(object_id)
            self._served_before.setdefault(object_id, self._served)
            if len(self._served_before) > _REMEMBERED:
                del self._served_before[next(iter(self._served_before))]

    @property
    def serves_nothing(self) -> bool:
        return len(self._failing) >= MANY

    def signs(self, object_id: int, trouble: Trouble, probe: Probe, *, progressed: bool) -> Signs:
        with self._lock:
            others_served = self._served > self._served_before.get(object_id, self._served)
            return Signs(trouble, probe, len(self._failing), others_served, progressed)
