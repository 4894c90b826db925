# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Decides the cause of a failed request. An endpoint is blamed only if a probe confirms it. No side effects.

The response alone is not enough: a proxy's page, a 503 or a broken connection may concern one object or all of them. So
the endpoint is probed with a cheap request right after, and it matters whether it serves other objects.
"""

from __future__ import annotations

import enum
import threading
from typing import NamedTuple

from .errors import Trouble

MANY = 5  # different objects that failed at an endpoint, none served in between: blame it, whatever it answers
TRIED_AT_ONCE = 3  # objects sent to such an endpoint at once, until it serves one
_LEAST_TRIALS = 8  # with pauses of 1, 2, 4 ... 60 s: two minutes
_REMEMBERED = 10_000  # objects whose first failure is remembered


class Blame(enum.Enum):
    """The cause of a failure, which decides what happens next."""

    JOB = "job"  # the store rejects the credential or the bucket: the unit stops
    ENDPOINT = "endpoint"  # a probe confirms it: paused until a probe succeeds; no attempt is counted
    SERVICE = "service"  # it answers probes but serves no object: growing pauses, then only a few objects at a time
    VOLUME = "volume"  # checked, and taken out of use if it has failed
    OBJECT = "object"  # counts as one of its attempts; the endpoint continues with the others
    NOBODY = "nobody"  # retried


class Probe(enum.Enum):
    """The result of probing an endpoint with a cheap request."""

    WELL = "well"
    DOWN = "down"
    REFUSES = "refuses"  # the credential, or the bucket


class Signs(NamedTuple):
    """What is known about a failure.

    `failing`: the number of different objects that failed at the endpoint since it last served one. `others_served`: it
    served others since this one first failed there, or does so now. `progressed`: a part of this object was fetched or
    sent since its last failure.
    """

    trouble: Trouble
    probe: Probe = Probe.WELL
    failing: int = 1
    others_served: bool = False
    progressed: bool = False


def needs_probe(trouble: Trouble) -> bool:
    """Whether such a failure may concern more than one object."""
    return trouble.is_transient or trouble.stops_job


def blame(signs: Signs) -> Blame:
    """Decide the cause of a failure."""
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
    """Whether a run gives up on a store that answers but serves nothing, after so many failed `trials`."""
    return trials >= max(_LEAST_TRIALS, 2 * attempts)


class Standing:
    """Which objects recently failed at an endpoint, and whether it served any. Thread-safe.

    `trials` counts its pauses since it was found to serve nothing.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.trials = 0
        self._served = 0
        self._failing: set[int] = set()  # since it last served one
        self._served_before: dict[int, int] = {}  # by object: how many it had served when this one first failed

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
