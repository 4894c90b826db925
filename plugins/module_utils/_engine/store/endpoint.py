# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""One URL of a store: whether it is well, whether it serves anything, and the clients that talk to it."""

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
from .boto_client import Control
from .client import Wire
from .connections import Permits, Turns, shares
from .encodings import Packing
from .listing_walk import ListingWalk
from .timeouts import Patience

if TYPE_CHECKING:  # config/job_file.py brings pydantic
    from ..config.job_file import Store

_log = logging.getLogger("snowsync.endpoints")
_OF_EXAMPLES = 0  # no object has this number
_LONGEST_REST = 60.0  # seconds between two looks at an endpoint that is down


def lists_whole(store: Store) -> bool:
    """Whether this store answers a listing at once, in any order and size, as a Snowball's S3 adapter does."""
    return store.list_version == "v1" and not store.sorted


@dataclass(frozen=True, slots=True)
class Access:
    """What a client of an endpoint is made with. All of them share `packing`."""

    store: Store
    url: str
    keys: Keys
    packing: Packing = field(default_factory=Packing)


class Clients:
    """Who talks to an endpoint, made when first needed. Together they stay within the connections of the store."""

    def __init__(self, access: Access, patience: Patience) -> None:
        self._access = access
        self._patience = patience
        self._shares = shares(access.store.max_connections)
        self._making = threading.Lock()
        self._wire: Wire | None = None
        self._control: Control | None = None

    def wire(self) -> Wire:
        """For all threads of a unit: its connections are counted together."""
        with self._making:
            if self._wire is None:
                access, asking = self._access, self._shares.asking
                self._wire = Wire(
                    access.store,
                    access.url,
                    access.keys,
                    connections=min(16, asking),
                    patience=self._patience,
                    permits=Permits(asking),
                    packing=access.packing,
                )
            return self._wire

    def control(self) -> Control:
        with self._making:
            if self._control is None:
                access = self._access
                self._control = Control(access.store, access.url, access.keys, patience=self._patience)
                self._control.packing = access.packing
                self._control.turns = Turns(self._shares.boto3)
            return self._control


class Health:
    """Whether an endpoint answers; where it does not, when it is asked again. Any thread may tell and ask."""

    def __init__(self) -> None:
        self.is_up = True
        self.failed_probe = False  # the last thing it did was to fail a probe
        self.message = ""  # what it last failed with
        self.rests = 0  # consecutive times it was found down
        self.down_until = 0.0

    @property
    def is_due(self) -> bool:
        """Whether it is to be asked again."""
        return not self.is_up and time.monotonic() >= self.down_until

    def expect_answer(self, message: str) -> None:
        """It is asked for the first time, and does not count as well before it answers."""
        self.is_up, self.rests, self.message = False, 1, message

    def recovered(self) -> None:
        """It serves objects, or nothing says that it does not."""
        self.rests = 0
        self.answered()

    def answered(self) -> None:
        """It answered a probe; its next rest is longer than the last one all the same."""
        self.is_up, self.failed_probe = True, False

    def rest(self, message: str) -> float:
        """Take it out for a while (1, 2, 4 ... 60 s); returns how long. Reports of one outage count once."""
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
        """A probe failed: that begins another rest."""
        self.down_until = 0.0
        self.rest(message)
        self.failed_probe = True


class FailedRequest(NamedTuple):
    """A request about an object that failed. `progressed`: parts of the object moved since it failed last."""

    object_id: int
    trouble: Trouble
    message: str
    progressed: bool


class Endpoint:
    """One URL of a store. Any thread may tell and ask."""

    def __init__(self, url: str, store: Store, keys: Keys, patience: Patience) -> None:
        self.access = Access(store, url, keys)
        self.health = Health()
        self.may_list = True  # as its last probe said
        self._patience = patience
        self._standing = Standing()
        self._clients = Clients(self.access, patience)

    @property
    def url(self) -> str:
        return self.access.url

    @property
    def store(self) -> Store:
        return self.access.store

    def wire(self) -> Wire:
        return self._clients.wire()

    def control(self) -> Control:
        return self._clients.control()

    # -- health -----------------------------------------------------------------------------------------------

    @property
    def is_up(self) -> bool:
        return self.health.is_up

    @property
    def serves_nothing(self) -> bool:
        """Whether many objects failed here, and none was served in between."""
        return self._standing.serves_nothing

    @property
    def trials(self) -> int:
        """How often it was tried since then, in vain."""
        return self._standing.trials

    def served(self, object_id: int) -> None:
        """An object was moved from or to here, and proven."""
        self._standing.served(object_id)
        self.health.recovered()

    def failed(self, object_id: int) -> None:
        """A request about an object failed here."""
        self._standing.failed(object_id)

    def rest(self, message: str) -> float:
        """Take it out for a while; returns for how many seconds."""
        return self.health.rest(message)

    def answered(self) -> None:
        """It answered a probe. Where it serves no object all the same, its next rest is longer than the last one."""
        if self.serves_nothing:
            self.health.answered()
        else:
            self.health.recovered()

    def whose_fault(self, failed: FailedRequest, probe: Probe, examples: Callable[[], Sequence[str]]) -> Blame:
        """Who is to blame for what failed here, now that it answered a probe like this; it may rest then.

        `examples` names objects of which a store that serves anything serves one.
        """
        signs = self._standing.signs(failed.object_id, failed.trouble, probe, progressed=failed.progressed)
        whose = blame(signs)
        if whose is Blame.SERVICE and self._serves_any(examples()):
            whose = blame(signs._replace(others_served=True))
        if whose is Blame.SERVICE:
            self._rest_unserving(failed.message)
        return whose

    def _serves_any(self, object_keys: Sequence[str]) -> bool:
        """Whether it gives the first byte of one of these objects now."""
        if not any(self.wire().serves(object_key) for object_key in object_keys):
            return False
        self._standing.served(_OF_EXAMPLES)
        return True

    def _rest_unserving(self, message: str) -> None:
        if not self.is_up:
            return  # the others of one trial
        if not self.trials:
            _log.error("%s answers, and serves no object; it is tried ever more rarely: %s", self.url, message)
        self._standing.trials += 1
        self.rest(message)

    # -- what it is asked itself ------------------------------------------------------------------------------

    def pages(self) -> Iterator[Page]:
        """The whole listing of this store, without patience: StoreError for the first thing that fails."""
        wire, prefix = self.wire(), self.store.prefix
        if lists_whole(self.store):
            yield from wire.list_whole(prefix=prefix)
            return
        walk = ListingWalk(self.store)
        while not walk.is_over:
            page = wire.list_page(walk.token, prefix=prefix, start_after=walk.start_after)
            walk.take(page)
            yield page

    def probe(self) -> None:
        """One cheap request. Raises StoreError; JobStopped when the store refuses the credential or the bucket.

        A credential that was renewed since is tried before that.
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
            # Some destinations may be written and not listed: they answer, and that is what was asked.
            if error.trouble is not Trouble.DENIED:
                raise
            self.may_list = False
        else:
            self.may_list = True

    def _is_readdressed(self, refusal: StoreError) -> bool:
        """Whether the store wants the bucket's name elsewhere, and is asked so from now on."""
        store = readdressed(self.store, refusal.code)
        if store is None:
            return False
        self.access = replace(self.access, store=store)
        self._clients = Clients(self.access, self._patience)
        return True

    def _ask(self) -> None:
        if lists_whole(self.store):
            # One key cannot be asked for: the answer would be the whole bucket.
            self.control().check()
        else:
            self.wire().probe(self.store.prefix)
