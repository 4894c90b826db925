# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""One URL of a store: its health, whether it serves objects, and its clients."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from ..config.credentials import Keys, renewed_since
from ..core.blame import Blame, Probe, Standing, blame
from ..core.errors import StoreError, Trouble, stop_if_refused
from ..core.model import Page
from .address import readdressed
from .client import StoreClient
from .connections import Permits, Turns, shares
from .encodings import Packing
from .listing_walk import ListingWalk
from .timeouts import Patience
from .width import Width

if TYPE_CHECKING:
    from ..config.job_file import Store
    from .boto_client import Control

_log = logging.getLogger("snowsync.endpoints")
USUAL_WIDTH = 16  # requests in flight, where nobody knows better
_OF_EXAMPLES = 0  # no object has this number
_LONGEST_REST = 60.0  # maximum backoff in seconds between two probes of an endpoint that is down


def lists_whole(store: Store) -> bool:
    """Whether this store returns a whole listing in one response, in any order and size, like a Snowball's adapter."""
    return store.list_version == "v1" and not store.sorted


@dataclass(frozen=True, slots=True)
class Access:
    """The parameters of an endpoint's clients. All of them share `packing` and `width`."""

    store: Store
    url: str
    keys: Keys
    packing: Packing = field(default_factory=Packing)
    width: Width = field(default_factory=lambda: Width(USUAL_WIDTH, USUAL_WIDTH))


class Clients:
    """The clients of an endpoint, created when first needed. Together they stay within the store's connections."""

    def __init__(self, access: Access, patience: Patience) -> None:
        self._access = access
        self._patience = patience
        self._shares = shares(access.store.max_connections)
        self._making = threading.Lock()
        self._client: StoreClient | None = None
        self._control: Control | None = None

    def client(self) -> StoreClient:
        """The client shared by all threads of a unit: its connections are counted together."""
        with self._making:
            if self._client is None:
                access, asking = self._access, self._shares.asking
                self._client = StoreClient(
                    access.store,
                    access.url,
                    access.keys,
                    connections=self._heads_at_once,
                    patience=self._patience,
                    permits=Permits(asking),
                    packing=access.packing,
                )
            return self._client

    def _heads_at_once(self) -> int:
        """As many as small objects may be in flight, but not all connections: others ask too."""
        asking = self._shares.asking
        return min(asking, max(USUAL_WIDTH, min(self._access.width.now, asking // 2)))

    def control(self) -> Control:
        with self._making:
            if self._control is None:
                from .boto_client import Control  # most runs need no boto3

                access = self._access
                self._control = Control(
                    access.store,
                    access.url,
                    access.keys,
                    patience=self._patience,
                    turns=Turns(self._shares.boto3),
                    packing=access.packing,
                )
            return self._control


class Health:
    """Whether an endpoint responds; if not, when it is probed again. Thread-safe."""

    def __init__(self) -> None:
        self.is_up = True
        self.failed_probe = False  # its last probe failed
        self.message = ""  # its last error
        self.rests = 0  # consecutive times it was found down
        self.down_until = 0.0

    @property
    def is_due(self) -> bool:
        """Whether it is time to probe it again."""
        return not self.is_up and time.monotonic() >= self.down_until

    def expect_answer(self, message: str) -> None:
        """It is probed for the first time, and counts as down until it responds."""
        self.is_up, self.rests, self.message = False, 1, message

    def recovered(self) -> None:
        """It serves objects, or there is no sign that it does not."""
        self.rests = 0
        self.answered()

    def answered(self) -> None:
        """It answered a probe; its next pause is still longer than the last one."""
        self.is_up, self.failed_probe = True, False

    def rest(self, message: str) -> float:
        """Pause it with backoff (1, 2, 4 ... 60 s); returns how long. Repeated reports of one outage count once."""
        now = time.monotonic()
        if now < self.down_until and not self.is_up:
            return self.down_until - now
        pause = min(_LONGEST_REST, 2.0 ** min(self.rests, 10))
        self.rests += 1
        self.is_up = False
        self.down_until = now + pause
        self.message = message
        return pause

    def failed_to_answer(self, message: str) -> None:
        """A probe failed: start another pause."""
        self.down_until = 0.0
        self.rest(message)
        self.failed_probe = True


class FailedRequest(NamedTuple):
    """A failed request about an object. `progressed`: parts of the object moved since its last failure."""

    object_id: int
    trouble: Trouble
    message: str
    progressed: bool


class Endpoint:
    """One URL of a store. Thread-safe."""

    def __init__(self, url: str, store: Store, keys: Keys, patience: Patience, width: Width | None = None) -> None:
        self.access = Access(store, url, keys)
        if width:
            self.access = replace(self.access, width=width)
        self.health = Health()
        self.may_list = True  # according to its last probe
        self._patience = patience
        self._standing = Standing()
        self._clients = Clients(self.access, patience)

    @property
    def url(self) -> str:
        return self.access.url

    @property
    def store(self) -> Store:
        return self.access.store

    def client(self) -> StoreClient:
        return self._clients.client()

    def control(self) -> Control:
        return self._clients.control()

    # -- health -----------------------------------------------------------------------------------------------

    @property
    def is_up(self) -> bool:
        return self.health.is_up

    @property
    def serves_nothing(self) -> bool:
        """Whether many objects failed here with none served in between."""
        return self._standing.serves_nothing

    @property
    def trials(self) -> int:
        """The number of failed attempts since then."""
        return self._standing.trials

    def served(self, object_id: int) -> None:
        """An object was moved from or to here, and proven."""
        self._standing.served(object_id)
        self.health.recovered()

    def failed(self, object_id: int) -> None:
        """A request about an object failed here."""
        self._standing.failed(object_id)

    def rest(self, message: str) -> float:
        """Pause it; returns for how many seconds."""
        return self.health.rest(message)

    def answered(self) -> None:
        """It answered a probe. If it still serves no object, its next pause is longer than the last one."""
        if self.serves_nothing:
            self.health.answered()
        else:
            self.health.recovered()

    def whose_fault(self, failed: FailedRequest, probe: Probe, examples: Callable[[], Sequence[str]]) -> Blame:
        """Decide the cause of a failure here from the result of a probe; may pause the endpoint.

        `examples` returns keys of objects; a store that serves anything serves at least one of them.
        """
        signs = self._standing.signs(failed.object_id, failed.trouble, probe, progressed=failed.progressed)
        whose = blame(signs)
        if whose is Blame.SERVICE and self._serves_any(examples()):
            whose = blame(signs._replace(others_served=True))
        if whose is Blame.SERVICE:
            self._rest_unserving(failed.message)
        return whose

    def _serves_any(self, object_keys: Sequence[str]) -> bool:
        """Whether it serves the first byte of one of these objects now."""
        if not any(self.client().serves(object_key) for object_key in object_keys):
            return False
        self._standing.served(_OF_EXAMPLES)
        return True

    def _rest_unserving(self, message: str) -> None:
        if not self.is_up:
            return  # other objects of the same attempt
        if not self.trials:
            _log.error("%s answers, and serves no object; it is retried with growing pauses: %s", self.url, message)
        self._standing.trials += 1
        self.rest(message)

    # -- requests to the endpoint itself ----------------------------------------------------------------------

    def pages(self) -> Iterator[Page]:
        """The whole listing of this store, without retries: StoreError for the first failure."""
        client, prefix = self.client(), self.store.prefix
        if lists_whole(self.store):
            yield from client.list_whole(prefix=prefix)
            return
        walk = ListingWalk(self.store)
        while not walk.is_over:
            page = client.list_page(walk.token, prefix=prefix, start_after=walk.start_after)
            walk.take(page)
            yield page

    def probe(self) -> None:
        """One cheap request. Raises StoreError; JobStopped if the store rejects the credential or the bucket.

        If the credential was renewed since, the new one is tried first.
        """
        try:
            before = self.access.keys.current()
            try:
                self._ask()
            except StoreError as error:
                is_renewed = error.trouble is Trouble.CREDENTIAL and renewed_since(self.access.keys, before)
                if not is_renewed and not self._is_readdressed(error):
                    raise
                self._ask()
        except StoreError as error:
            stop_if_refused(error)
            # Some destinations allow writing but not listing: they respond, and that is enough for a probe.
            if error.trouble is not Trouble.DENIED:
                raise
            self.may_list = False
        else:
            self.may_list = True

    def _is_readdressed(self, refusal: StoreError) -> bool:
        """Whether the store requires other addressing, which is used from now on."""
        store = readdressed(self.store, refusal.code)
        if store is None:
            return False
        self.access = replace(self.access, store=store)
        self._clients = Clients(self.access, self._patience)
        return True

    def _ask(self) -> None:
        if lists_whole(self.store):
            # A single key cannot be listed: the response would be the whole bucket.
            self.control().check()
        else:
            self.client().probe(self.store.prefix)
