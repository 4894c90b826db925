# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The endpoints of one store: which one takes the next piece of work, which one rests, and when it is tried again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from .config import MoverSettings, Store
from .credentials import Credentials
from .errors import JobStopped, StoreError, Trouble
from .model import Fetch, Outcome, Page, Send
from .reach import endpoint_urls
from .s3 import Control
from .s5cmd import S5cmdMover
from .wire import Wire

_LONGEST_REST = 60.0  # seconds between two looks at an endpoint that is down
_CONTROL_WORKERS = 2


def lists_whole(store: Store) -> bool:
    """Whether this store answers a listing at once, in any order and size, as a Snowball's S3 adapter does."""
    return store.list_version == "v1" and not store.sorted


class Endpoint:
    """One URL of a store, with its health and its clients. Wires are per thread: a curl handle belongs to one."""

    def __init__(self, url: str, store: Store, credentials: Credentials) -> None:
        self.url = url
        self.store = store
        self.credentials = credentials
        self.in_flight = 0
        self.successes = 0
        self.rests = 0  # consecutive times it was found down
        self.down_until = 0.0
        self.message = ""
        self._local = threading.local()

    def wire(self) -> Wire:
        wire: Wire | None = getattr(self._local, "wire", None)
        if wire is None:
            # An eighth of the cap per thread (the lister, two finishers): the movers take the rest.
            connections = max(1, min(16, self.store.max_connections // 8))
            wire = self._local.wire = Wire(self.store, self.url, self.credentials, connections=connections)
        return wire

    @property
    def is_up(self) -> bool:
        return self.rests == 0

    def ok(self) -> None:
        self.successes += 1
        self.rests = 0

    def rest(self, message: str) -> float:
        """Take it out for a while (1, 2, 4 ... 60 s); returns how long. Reports of one outage count once."""
        now = time.monotonic()
        if now < self.down_until and self.rests:
            return self.down_until - now
        pause = min(_LONGEST_REST, 2.0**self.rests)
        self.rests += 1
        self.down_until = now + pause
        self.message = message
        return pause

    def pages(self) -> Iterator[Page]:
        """The whole listing of this store, without patience: StoreError for the first thing that fails."""
        wire, prefix = self.wire(), self.store.prefix
        if lists_whole(self.store):
            yield from wire.list_whole(prefix=prefix)
            return
        token: str | None = None
        while True:
            page = wire.list_page(token, prefix=prefix)
            yield page
            token = page.next_token
            if token is None:
                return

    def probe(self) -> None:
        """One cheap request. Raises StoreError; JobStopped when the store refuses the credential or the bucket."""
        try:
            if lists_whole(self.store):
                # One key cannot be asked for: the answer would be the whole bucket.
                Control(self.store, self.url, self.credentials).check()
            else:
                self.wire().list_page(None, prefix=self.store.prefix, max_keys=1)
        except StoreError as error:
            if error.trouble.stops_job:
                raise JobStopped(
                    error.trouble, error.action, error.detail, code=error.code, status=error.status
                ) from error
            # Some destinations may be written and not listed: they answer, and that is what was asked.
            if error.trouble is not Trouble.DENIED:
                raise


class EndpointPool:
    """All endpoints of one side of a job (none for a job without a source), with a mover each.

    Outcomes arrive on `on_outcome`, called from the movers' threads.
    """

    def __init__(
        self,
        store: Store | None,
        credentials: Credentials | None,
        settings: MoverSettings,
        *,
        direction: str,
        on_outcome: Callable[[Outcome], None],
    ) -> None:
        self.endpoints: list[Endpoint] = []
        if store and credentials:
            self.endpoints = [Endpoint(url, store, credentials) for url in endpoint_urls(store)]
            settings = _within_cap(settings, store.max_connections)
        self._settings = settings
        self._direction = direction
        self._on_outcome = on_outcome
        self._descriptors: tuple[int, ...] = ()
        self._movers: dict[str, S5cmdMover] = {}
        self._controls: dict[str, Control] = {}
        self._control_pool = ThreadPoolExecutor(_CONTROL_WORKERS, thread_name_prefix=f"{direction}-control")

    def pick(self, avoid: str = "") -> Endpoint | None:
        """The healthy endpoint with the least in flight (not `avoid`, if another is healthy), or None: wait."""
        up = [endpoint for endpoint in self.endpoints if endpoint.is_up]
        others = [endpoint for endpoint in up if endpoint.url != avoid]
        return min(others or up, key=lambda endpoint: endpoint.in_flight, default=None)

    def probe_due(self) -> None:
        """Look again at endpoints whose rest is over. Raises JobStopped for what waiting cannot mend."""
        now = time.monotonic()
        for endpoint in self.endpoints:
            if not endpoint.is_up and now >= endpoint.down_until:
                try:
                    endpoint.probe()
                    endpoint.ok()
                except JobStopped:
                    raise
                except StoreError as error:
                    endpoint.rest(str(error))

    def preflight(self) -> None:
        """Probe every endpoint once. Raises JobStopped; one that is down merely rests."""
        for endpoint in self.endpoints:
            try:
                endpoint.probe()
            except JobStopped:
                raise
            except StoreError as error:
                endpoint.rest(str(error))

    def why_down(self) -> str:
        return "; ".join(endpoint.message for endpoint in self.endpoints if not endpoint.is_up)

    def set_descriptors(self, descriptors: Sequence[int]) -> None:
        """The folders movers may reach. A change ends the running movers: a child has the descriptors of its birth."""
        if tuple(descriptors) != self._descriptors:
            self._descriptors = tuple(descriptors)
            self._close_movers()

    def submit(self, endpoint: Endpoint, work: Fetch | Send) -> None:
        """Hand over work. Blocks while the mover's lane is full."""
        endpoint.in_flight += 1
        if self.tool(work) == "s5cmd":
            self._mover(endpoint).submit(work)
        else:
            self._control_pool.submit(self._by_control, endpoint, work)

    @staticmethod
    def tool(work: Fetch | Send) -> str:
        """Which mover takes this work: s5cmd, or boto3 for what s5cmd cannot express."""
        able = S5cmdMover.can_fetch(work) if isinstance(work, Fetch) else S5cmdMover.can_send(work)
        return "s5cmd" if able else "boto3"

    def _by_control(self, endpoint: Endpoint, work: Fetch | Send) -> None:
        try:
            control = self.control(endpoint)
            outcome = control.fetch(work) if isinstance(work, Fetch) else control.send(work)
        except StoreError as error:
            outcome = Outcome(work.id, error.trouble, str(error))
        except Exception as error:  # whatever it is, the work must get its outcome
            outcome = Outcome(work.id, Trouble.OTHER, f"{type(error).__name__}: {error}")
        self._on_outcome(outcome)

    def control(self, endpoint: Endpoint) -> Control:
        if endpoint.url not in self._controls:
            self._controls[endpoint.url] = Control(endpoint.store, endpoint.url, endpoint.credentials)
        return self._controls[endpoint.url]

    def _mover(self, endpoint: Endpoint) -> S5cmdMover:
        mover = self._movers.get(endpoint.url)
        if mover is None:
            mover = self._movers[endpoint.url] = S5cmdMover(
                endpoint.store,
                endpoint.url,
                endpoint.credentials,
                self._settings,
                direction=self._direction,
                pass_fds=self._descriptors,
                on_outcome=self._on_outcome,
            )
        return mover

    def _close_movers(self) -> None:
        movers, self._movers = list(self._movers.values()), {}
        for mover in movers:
            mover.close()

    def close(self) -> None:
        self._close_movers()
        self._control_pool.shutdown(wait=True, cancel_futures=True)


def _within_cap(settings: MoverSettings, cap: int) -> MoverSettings:
    """Fewer workers where the endpoint's cap asks for it: s5cmd opens up to two connections a worker."""
    available = max(4, cap * 3 // 4)
    large = max(1, min(settings.large_workers, available // 4))
    small = max(2, min(settings.workers, (available - 2 * large) // 2))
    return settings.model_copy(update={"workers": small, "large_workers": large})
