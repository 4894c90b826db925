# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""All endpoints of one store: which of them are healthy, and which one gets the next piece of work."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Sequence
from dataclasses import replace

from ..config.credentials import Keys
from ..config.job_file import MoverSettings, Store
from ..core.blame import TRIED_AT_ONCE, Blame
from ..core.errors import Trouble
from ..core.model import Outcome
from ..core.open_files import requests_within_open_files
from ..core.parts import NoMemory, PartMemory
from ..core.text import counted_text
from ..ledger.ledger import Row
from ..movers.tools import MoverSetup
from ..store.address import endpoint_urls
from ..store.connections import Lanes, lanes_within, shares, streams_for, within
from ..store.endpoint import Endpoint, FailedRequest
from ..store.timeouts import patience_of
from ..store.width import Width
from .assignments import Assignments, Streams
from .endpoint_probes import Probes
from .transfers import Transfers


class EndpointPool:
    """All endpoints of one side of a job (none for a job without a source). `transfers` are what they move.

    Outcomes are passed to `on_outcomes`, called from the movers' threads, as is `on_part` when a part of a large object
    is in its file. `wake` is called when there is room again: a large object ended, or many small ones of a volume.
    `examples` names objects, at least one of which a working store serves. `volumes` is the number of volumes, `memory`
    remembers the parts of large objects. `refusal` is a permanent error that a probe found, or an error that ended a
    thread here, in which case outcomes are no longer delivered.
    """

    def __init__(
        self,
        store: Store | None,
        keys: Keys | None,
        settings: MoverSettings,
        *,
        direction: str,
        on_outcomes: Callable[[Sequence[Outcome]], None],
        wake: Callable[[], None] = lambda: None,
        on_part: Callable[[int], None] = lambda object_id: None,
        examples: Callable[[], Sequence[str]] = tuple,
        volumes: int = 1,
        memory: PartMemory | None = None,
    ) -> None:
        self.endpoints: list[Endpoint] = []
        lanes: Lanes | None = None
        if store and keys:
            patience = patience_of(settings)
            share = shares(store.max_connections).mover
            settings = within(_for_direction(settings, direction), share)
            lanes = lanes_within(settings, share, volumes)
            urls = endpoint_urls(store)
            most = requests_within_open_files(lanes.most * len(urls)) // len(urls)
            self.endpoints = [Endpoint(url, store, keys, patience, Width(sum(lanes.small), most)) for url in urls]
        self.refusal: BaseException | None = None
        self._settings = settings
        self._wake = wake
        self._examples = examples
        self._assigned = Assignments()
        self._probes = Probes(f"{direction}-probe", self._refuse)
        setup = MoverSetup(
            settings, direction, lanes, memory or NoMemory(), on_outcomes, on_part, wake, on_error=self._refuse
        )
        self.transfers = Transfers(setup, keys, self._assigned)

    # -- health -----------------------------------------------------------------------------------------------

    @property
    def any_up(self) -> bool:
        return any(endpoint.is_up for endpoint in self.endpoints)

    @property
    def none_answers(self) -> bool:
        """Whether every endpoint is down according to a probe, not merely because a request failed."""
        return all(endpoint.health.failed_probe for endpoint in self.endpoints)

    @property
    def serves_nothing(self) -> bool:
        """Whether every endpoint answers but has recently served no object, so that only a few objects are tried."""
        return bool(self.endpoints) and all(endpoint.serves_nothing for endpoint in self.endpoints)

    @property
    def trials(self) -> int:
        """How often every endpoint was tried without success since then."""
        return min((endpoint.trials for endpoint in self.endpoints), default=0)

    @property
    def width_text(self) -> str:
        """How many requests for small objects may be in flight, as the end of a status; "" if s5cmd decides."""
        count = sum(endpoint.access.width.now for endpoint in self.endpoints if endpoint.access.width.most > 1)
        return f", up to {counted_text(count, 'request')} at once" if count else ""

    def is_probed(self, endpoint: Endpoint) -> bool:
        """Whether the endpoint is being probed now."""
        return self._probes.is_asked(endpoint)

    def probe_due(self) -> None:
        """Probe endpoints whose rest is over."""
        for endpoint in self.endpoints:
            if endpoint.health.is_due and not self._probes.is_asked(endpoint):
                self._probes.ask(endpoint)

    def preflight(self, stopping: Callable[[], bool] = lambda: False) -> None:
        """Probe every endpoint; return when one is healthy, or all have failed. Raises JobStopped.

        Endpoints that are down rest; those that answer later are used later.
        """
        for endpoint in self.endpoints:
            endpoint.health.expect_answer(f"{endpoint.url} has not answered yet")
            self._probes.ask(endpoint)
        self._probes.wait(lambda: bool(self.refusal) or self.any_up or stopping())
        if self.refusal:
            raise self.refusal

    def find_out(
        self,
        endpoint: Endpoint,
        object_id: int,
        trouble: Trouble,
        message: str,
        told: Callable[[Blame], None],
        *,
        progressed: bool = False,
    ) -> None:
        """Find out what caused a failure at an endpoint: `told` is called from the thread of a probe when it has ended.

        At once if the endpoint is known to be down. `progressed`: parts of the object moved since its last failure.
        """
        endpoint.failed(object_id)
        if not endpoint.is_up:
            told(Blame.ENDPOINT)
            return
        failed = FailedRequest(object_id, trouble, message, progressed)
        self._probes.ask(endpoint, lambda probe: told(endpoint.whose_fault(failed, probe, self._examples)))

    def _refuse(self, error: BaseException) -> None:
        """A permanent error, or one that ended a thread, ends the unit."""
        self.refusal = self.refusal or error
        self._wake()

    def why_down(self) -> str:
        return "; ".join(endpoint.health.message for endpoint in self.endpoints if not endpoint.is_up)

    def messages(self) -> str:
        """The last failure of every endpoint."""
        return "; ".join(endpoint.health.message for endpoint in self.endpoints)

    # -- choice -----------------------------------------------------------------------------------------------

    def pick(self, avoid: str = "") -> Endpoint | None:
        """The healthy endpoint with the least in flight (not `avoid`, if another is healthy), or None: wait."""
        return self._least_busy([endpoint for endpoint in self.endpoints if self._is_free(endpoint)], avoid)

    def pick_for_large(
        self, volumes: Collection[int], avoid: str = "", *, held_up: Container[int] = ()
    ) -> Endpoint | None:
        """The same for a large object, whose file is on one of these volumes: one that has a stream for it.

        If all volumes share the streams, objects `held_up` by their disks use none. Without a volume, none is needed.
        """
        up = [endpoint for endpoint in self.endpoints if self._is_free(endpoint)]
        if self._volumes_share_streams:
            free = [each for each in up if self._assigned.streams(each.url, held_up) < self._streams]
        else:
            free = [each for each in up if not volumes or len(self.full_volumes(each, volumes)) < len(volumes)]
        return self._least_busy(free, avoid)

    def full_volumes(self, endpoint: Endpoint, volumes: Collection[int]) -> set[int]:
        """Those of these volumes for which an endpoint has no stream left. If they share the streams: none."""
        if self._volumes_share_streams:
            return set()
        return {each for each in volumes if self._assigned.streams_on(endpoint.url, each) >= self._streams}

    def _is_free(self, endpoint: Endpoint) -> bool:
        return endpoint.is_up and not self._is_busy(endpoint)

    def _least_busy(self, up: list[Endpoint], avoid: str) -> Endpoint | None:
        if len(up) < 2:
            return up[0] if up else None
        others = [endpoint for endpoint in up if endpoint.url != avoid]
        return min(others or up, key=self._load)

    def pick_to_ask(self) -> Endpoint | None:
        """The healthy endpoint with the least in flight for a metadata request, even if it serves no objects."""
        return min((endpoint for endpoint in self.endpoints if endpoint.is_up), key=self._load, default=None)

    def _load(self, endpoint: Endpoint) -> int:
        return self._assigned.count(endpoint.url)

    def _is_busy(self, endpoint: Endpoint) -> bool:
        """Whether it serves nothing and already has as many trial objects as allowed."""
        return endpoint.serves_nothing and self._load(endpoint) >= TRIED_AT_ONCE

    @property
    def _streams(self) -> int:
        """For large objects: of each volume, or of all together."""
        return self._settings.large_workers * self._settings.part_concurrency

    @property
    def _volumes_share_streams(self) -> bool:
        return self._settings.tool == "s5cmd"

    def expect_large(self, endpoint: Endpoint, row: Row) -> None:
        """A large object is about to be sent."""
        streams = Streams(streams_for(self._settings, row.size, row.part_size), row.volume or 0)
        self._assigned.expect_large(endpoint.url, row.id, streams)

    def expect_no_more(self, endpoint: Endpoint, object_id: int) -> None:
        """It is not handed over after all."""
        self._assigned.expect_no_more(endpoint.url, object_id)
        self._wake()


def _for_direction(settings: MoverSettings, direction: str) -> MoverSettings:
    """Fetch half as many large objects at once as are sent, so that they end one after another.

    Fetched all at once, they would end at the same time, and the second hop would be idle until then.
    """
    if direction != "fetch":
        return settings
    return replace(settings, large_workers=max(1, settings.large_workers // 2))
