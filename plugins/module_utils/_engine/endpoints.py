# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The endpoints of one store: which one takes the next piece of work, which one rests, and when it is tried again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Container, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

from . import etag, workers
from .blame import TRIED_AT_ONCE, Blame, Probe, Standing, blame
from .config import MoverSettings, Store
from .connections import RESUMING, Lanes, Permits, Turns, lanes_within, shares, within
from .control_lane import ControlLane
from .credentials import Keys, renewed_since
from .errors import JobStopped, StoreError, Trouble
from .listing_walk import ListingWalk
from .model import Fetch, Outcome, Page, Send
from .native import NativeMover
from .packing import Packing
from .parts import PartMemory
from .patience import Patience, patience_of
from .reach import endpoint_urls, readdressed
from .s3 import Control
from .s3_request import rotten
from .s5cmd import S5cmdMover
from .volumes import local_trouble
from .wire import Wire

if TYPE_CHECKING:
    _Mover: TypeAlias = "NativeMover | S5cmdMover"
    _Question: TypeAlias = "Callable[[Probe], None]"

_log = logging.getLogger("snowsync.endpoints")
_REMEMBERED = 10_000
_OF_EXAMPLES = 0  # no object has this number
_LONGEST_REST = 60.0  # seconds between two looks at an endpoint that is down


def lists_whole(store: Store) -> bool:
    """Whether this store answers a listing at once, in any order and size, as a Snowball's S3 adapter does."""
    return store.list_version == "v1" and not store.sorted


class Endpoint:
    """One URL of a store, with its health and its clients, which share the connections that the store allows."""

    def __init__(self, url: str, store: Store, keys: Keys, patience: Patience) -> None:
        self.url = url
        self.store = store
        self.keys = keys
        self._patience = patience
        self.in_flight = 0  # pieces of work without an outcome; the pool's lock guards both
        self.large: set[int] = set()  # objects that take part of what there is for large ones
        self.standing = Standing()
        self.packing = Packing()
        self.is_up = True
        self.rests = 0  # consecutive times it was found down
        self.down_until = 0.0
        self.is_probing = False
        self.questions: list[_Question] = []  # to be answered when a probe that has not begun has ended
        self.may_list = True  # as its last probe said
        self.failed_probe = False  # the last thing it did was to fail a probe
        self.message = ""
        self._shares = shares(store.max_connections)
        self._making = threading.Lock()
        self._wire: Wire | None = None
        self._control: Control | None = None

    def wire(self) -> Wire:
        """For all threads of a unit: its connections are counted together."""
        with self._making:
            if self._wire is None:
                asking = self._shares.asking
                self._wire = Wire(
                    self.store,
                    self.url,
                    self.keys,
                    connections=min(16, asking),
                    patience=self._patience,
                    permits=Permits(asking),
                    packing=self.packing,
                )
            return self._wire

    def control(self) -> Control:
        with self._making:
            if self._control is None:
                self._control = Control(self.store, self.url, self.keys, patience=self._patience)
                self._control.packing = self.packing
                self._control.turns = Turns(self._shares.boto3)
            return self._control

    def served(self, object_id: int) -> None:
        """An object was moved from or to here, and proven."""
        self.standing.served(object_id)
        self._is_well()

    def is_busy(self) -> bool:
        """Whether it serves nothing, and has as many objects as are tried with it."""
        return self.standing.serves_nothing and self.in_flight >= TRIED_AT_ONCE

    def serves_any(self, object_keys: Sequence[str]) -> bool:
        """Whether it gives the first byte of one of these objects now."""
        if not any(self.wire().serves(object_key) for object_key in object_keys):
            return False
        self.standing.served(_OF_EXAMPLES)
        return True

    def answered(self) -> None:
        """It answered a probe. Where it serves no object all the same, its next rest is longer than the last one."""
        if self.standing.serves_nothing:
            self.is_up, self.failed_probe = True, False
        else:
            self._is_well()

    def _is_well(self) -> None:
        self.rests = 0
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
            before = self.keys.current()
            try:
                self._ask()
            except StoreError as error:
                is_renewed = error.trouble is Trouble.CREDENTIAL and renewed_since(self.keys, before)
                if not is_renewed and not self._is_readdressed(error):
                    raise
                self._ask()
        except StoreError as error:
            if error.trouble.stops_job:
                raise JobStopped(
                    error.trouble, error.action, error.detail, code=error.code, status=error.status
                ) from error
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
        with self._making:
            self.store, self._wire, self._control = store, None, None
        return True

    def _ask(self) -> None:
        if lists_whole(self.store):
            # One key cannot be asked for: the answer would be the whole bucket.
            self.control().check()
        else:
            self.wire().probe(self.store.prefix)


class EndpointPool:
    """All endpoints of one side of a job (none for a job without a source), with a mover each.

    Outcomes arrive on `on_outcome`, called from the movers' threads, as is `on_part` when a part of a large object is
    in its file. `wake` is called when there is room again: a large object ended, or many small ones of a volume.
    `examples` names objects of which a store that serves anything serves one.
    `volumes` is their number, `memory` remembers the parts of large objects. `refusal` is what waiting cannot fix: a
    probe found it, or it ended a thread here, and whoever takes outcomes is lost with it.
    """

    def __init__(
        self,
        store: Store | None,
        keys: Keys | None,
        settings: MoverSettings,
        *,
        direction: str,
        on_outcome: Callable[[Outcome], None],
        wake: Callable[[], None] = lambda: None,
        on_part: Callable[[int], None] = lambda object_id: None,
        examples: Callable[[], Sequence[str]] = tuple,
        volumes: int = 1,
        memory: PartMemory | None = None,
    ) -> None:
        self.endpoints: list[Endpoint] = []
        self._lanes: Lanes | None = None
        if store and keys:
            patience = patience_of(settings)
            self.endpoints = [Endpoint(url, store, keys, patience) for url in endpoint_urls(store)]
            share = shares(store.max_connections).mover
            settings = within(_for_direction(settings, direction), share)
            self._lanes = lanes_within(settings, share, volumes)
        self.refusal: BaseException | None = None
        self._settings = settings
        self._direction = direction
        self._on_outcome = on_outcome
        self._wake = wake
        self._on_part = on_part
        self._examples = examples
        self._memory = memory
        self._is_closed = False
        self._lock = threading.Lock()
        self._making = threading.Lock()  # movers, which lanes make too
        self._owners: dict[int, tuple[Endpoint, bool]] = {}  # by id of the work: its endpoint, whether it is large
        self._probed = threading.Condition()
        self._descriptors: tuple[int, ...] = ()
        self._movers: dict[tuple[str, str], _Mover] = {}  # by endpoint and tool
        self._begun: dict[int, None] = {}  # large objects that s5cmd was given, the latest ones
        self._keys = keys
        self._credentials = keys.current() if keys else None  # what the running movers began with
        self._leaving: list[_Mover] = []  # they get no more work, and end with what they have
        # Apart, so that two objects of a terabyte do not hold up what is small.
        self._small_lane, self._large_lane = (
            ControlLane(f"{direction}-control{size}", self._in_lane, self._failed, self._refuse)
            for size in ("", "-large")
        )

    # -- health -----------------------------------------------------------------------------------------------

    @property
    def any_up(self) -> bool:
        return any(endpoint.is_up for endpoint in self.endpoints)

    @property
    def none_answers(self) -> bool:
        """Whether every endpoint is down, and a probe said so: not merely one request that failed."""
        return all(endpoint.failed_probe for endpoint in self.endpoints)

    @property
    def serves_nothing(self) -> bool:
        """Whether every endpoint answers, and has served no object lately, so that only some are tried."""
        return bool(self.endpoints) and all(endpoint.standing.serves_nothing for endpoint in self.endpoints)

    @property
    def trials(self) -> int:
        """How often every endpoint was tried since then, in vain."""
        return min((endpoint.standing.trials for endpoint in self.endpoints), default=0)

    def pick(self, avoid: str = "", *, large: bool = False, held_up: Container[int] = ()) -> Endpoint | None:
        """The healthy endpoint with the least in flight (not `avoid`, if another is healthy), or None: wait.

        With `large` only one that takes another large object at once: those `held_up` by their disks do not count.
        """
        up = [endpoint for endpoint in self.endpoints if endpoint.is_up and not endpoint.is_busy()]
        if large:
            up = [endpoint for endpoint in up if self._takes_large(endpoint, held_up)]
        if len(up) < 2:
            return up[0] if up else None
        others = [endpoint for endpoint in up if endpoint.url != avoid]
        return min(others or up, key=lambda endpoint: endpoint.in_flight)

    def pick_to_ask(self) -> Endpoint | None:
        """The healthy endpoint with the least in flight, for a question: one that serves no object may answer it."""
        return min(
            (endpoint for endpoint in self.endpoints if endpoint.is_up),
            key=lambda endpoint: endpoint.in_flight,
            default=None,
        )

    def _takes_large(self, endpoint: Endpoint, held_up: Container[int]) -> bool:
        with self._lock:
            return sum(number not in held_up for number in endpoint.large) < self._settings.large_workers

    def expect_large(self, endpoint: Endpoint, object_id: int) -> None:
        """A large object is about to be handed over."""
        with self._lock:
            endpoint.large.add(object_id)

    def expect_no_more(self, endpoint: Endpoint, object_id: int) -> None:
        """It is not, after all."""
        with self._lock:
            endpoint.large.discard(object_id)
        self._wake()

    def probe_due(self) -> None:
        """Look again at endpoints whose rest is over, each in its own thread: one that says nothing holds up nobody."""
        now = time.monotonic()
        for endpoint in self.endpoints:
            if not endpoint.is_up and not endpoint.is_probing and now >= endpoint.down_until:
                self._ask(endpoint)

    def preflight(self, stopping: Callable[[], bool] = lambda: False) -> None:
        """Probe every endpoint; return when one is well, or none is. Raises JobStopped; one that is down merely rests.

        What answers later joins in later.
        """
        for endpoint in self.endpoints:
            endpoint.is_up, endpoint.rests, endpoint.message = False, 1, f"{endpoint.url} has not answered yet"
            self._ask(endpoint)
        with self._probed:
            while not (self.refusal or self.any_up or stopping()):
                if not any(endpoint.is_probing for endpoint in self.endpoints):
                    break
                self._probed.wait(0.1)
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
        """Whose fault a failure at an endpoint was: `told` is called once a probe has ended, from its thread.

        At once where the endpoint is known to be down. `progressed`: parts of the object moved since it failed last.
        """
        endpoint.standing.failed(object_id)
        if not endpoint.is_up:
            told(Blame.ENDPOINT)
            return

        def decide(probe: Probe) -> None:
            signs = endpoint.standing.signs(object_id, trouble, probe, progressed=progressed)
            whose = blame(signs)
            if whose is Blame.SERVICE and endpoint.serves_any(self._examples()):
                whose = blame(signs._replace(others_served=True))
            if whose is Blame.SERVICE:
                self._rest_unserving(endpoint, message)
            told(whose)

        self._ask(endpoint, decide)

    @staticmethod
    def _rest_unserving(endpoint: Endpoint, message: str) -> None:
        if not endpoint.is_up:
            return  # the others of one trial
        if not endpoint.standing.trials:
            _log.error("%s answers, and serves no object; it is tried ever more rarely: %s", endpoint.url, message)
        endpoint.standing.trials += 1
        endpoint.rest(message)

    def _ask(self, endpoint: Endpoint, question: _Question | None = None) -> None:
        """Probe an endpoint; `question` is answered by a probe that began after it was put."""
        with self._probed:
            if question:
                endpoint.questions.append(question)
            if endpoint.is_probing:
                return
            endpoint.is_probing = True
        workers.start(lambda: self._probe(endpoint), f"{self._direction}-probe", self._refuse)

    def _probe(self, endpoint: Endpoint) -> None:
        is_asked = True
        while is_asked:
            with self._probed:
                questions, endpoint.questions = endpoint.questions, []
            try:
                found = self._found_by_probe(endpoint)
                for answer in questions:
                    answer(found)
            except Exception as error:
                self.refusal = error
            with self._probed:
                is_asked = bool(endpoint.questions) and self.refusal is None
                endpoint.is_probing = is_asked
                self._probed.notify_all()

    def _found_by_probe(self, endpoint: Endpoint) -> Probe:
        try:
            endpoint.probe()
        except JobStopped as error:
            self.refusal = error
            return Probe.REFUSES
        except StoreError as error:
            endpoint.down_until = 0.0
            endpoint.rest(str(error))
            endpoint.failed_probe = True
            return Probe.DOWN
        endpoint.answered()
        return Probe.WELL

    def _refuse(self, error: BaseException) -> None:
        """What ended a thread ends the unit."""
        self.refusal = self.refusal or error
        self._wake()

    def why_down(self) -> str:
        return "; ".join(endpoint.message for endpoint in self.endpoints if not endpoint.is_up)

    def messages(self) -> str:
        """What every endpoint last failed with."""
        return "; ".join(endpoint.message for endpoint in self.endpoints)

    # -- work -------------------------------------------------------------------------------------------------

    def set_descriptors(self, descriptors: Sequence[int]) -> None:
        """The folders movers may reach. A change ends the running movers: a child has the descriptors of its birth.

        Where folders only came, what is under way is finished; where some went, nobody may hold on to them.
        """
        before, self._descriptors = self._descriptors, tuple(descriptors)
        some_went = not set(before) <= set(self._descriptors)
        # A mover of this process reaches what came as well; two at once would have twice the connections.
        if self._descriptors != before and (some_went or self._settings.tool == "s5cmd"):
            self._let_movers_leave()
            if some_went:
                self._close_leaving(lambda _mover: True)
        self._close_leaving(lambda mover: not mover.in_flight)

    def follow_credentials(self) -> None:
        """An s5cmd keeps the credentials of its start: once others count, new work goes to new ones."""
        credentials = self._keys.current() if self._keys else None
        if credentials is self._credentials:
            return
        self._credentials = credentials
        if self._settings.tool == "s5cmd":
            self._let_movers_leave()

    def _let_movers_leave(self, *, for_good: bool = False) -> None:
        with self._making:
            self._is_closed = self._is_closed or for_good
            self._leaving += self._movers.values()
            self._movers = {}

    def _close_leaving(self, is_due: Callable[[_Mover], bool]) -> None:
        due = [mover for mover in self._leaving if is_due(mover)]
        self._leaving = [mover for mover in self._leaving if mover not in due]
        for mover in due:
            mover.close()

    def owned(self) -> set[int]:
        """The objects that were handed over and have no outcome yet."""
        with self._lock:
            return set(self._owners)

    def is_large(self, size: int) -> bool:
        return size >= self._settings.large_object

    def has_room(self, endpoint: Endpoint, size: int, volume: int) -> bool:
        """Whether `submit` of such work would not block, as far as the mover can tell; else `wake` says when."""
        mover = self._movers.get((endpoint.url, "native"))
        return self.is_large(size) or not isinstance(mover, NativeMover) or mover.has_room(volume)

    def submit(self, endpoint: Endpoint, work: Fetch | Send) -> None:
        """Hand over work. Blocks while the mover's lane is full: large objects only after `pick(large=True)`."""
        is_large = self.is_large(work.size)
        with self._lock:
            self._owners[work.id] = (endpoint, is_large)
            endpoint.in_flight += 1
            if is_large:
                endpoint.large.add(work.id)
        tool = self.tool(work)
        if tool == "s5cmd" and is_large:
            self._has_begun(work.id)
        if tool == "native" or (tool == "s5cmd" and isinstance(work, Fetch)):
            self._by_mover(endpoint, tool, work)
        else:
            (self._large_lane if is_large else self._small_lane).submit(endpoint, work)

    def _has_begun(self, object_id: int) -> None:
        self._begun[object_id] = None
        if len(self._begun) > _REMEMBERED:
            del self._begun[next(iter(self._begun))]

    def _ended(self, outcome: Outcome) -> None:
        with self._lock:
            endpoint, is_large = self._owners.pop(outcome.id, (None, False))
            if endpoint:
                endpoint.in_flight -= 1
                endpoint.large.discard(outcome.id)
        try:
            self._on_outcome(outcome)
        except Exception as error:  # nobody would ever hear of this object again
            self._refuse(error)
        if is_large:
            self._wake()

    def _failed(self, work: Fetch | Send, error: Exception) -> None:
        """Work that raised where nobody foresaw it must get its outcome."""
        self._ended(Outcome(work.id, Trouble.OTHER, f"{type(error).__name__}: {error}"))

    def tool(self, work: Fetch | Send) -> str:
        """Which mover takes this work: the job's, or boto3 for what that cannot express.

        s5cmd begins a large object again from its first byte: one that it did not bring to its end goes to the native
        mover, which keeps what has come, or gone.
        """
        if self._settings.tool != "s5cmd":
            return "native" if _can_take(NativeMover, work) else "boto3"
        if self._is_interrupted(work) and _can_take(NativeMover, work):
            return "native"
        return "s5cmd" if _can_take(S5cmdMover, work) else "boto3"

    def _is_interrupted(self, work: Fetch | Send) -> bool:
        if not self.is_large(work.size):
            return False
        return work.id in self._begun or (self._memory is not None and self._memory.remembers(work))

    def _in_lane(self, endpoint: Endpoint, work: Fetch | Send) -> None:
        if self._settings.tool == "s5cmd" and _can_take(S5cmdMover, work):
            self._by_s5cmd(endpoint, work)
        else:
            self._by_control(endpoint, work)

    def _by_s5cmd(self, endpoint: Endpoint, work: Fetch | Send) -> None:
        """It stores whatever it reads, so the file is compared with its digest first."""
        damage = damage_of(work) if isinstance(work, Send) else None
        if damage:
            self._ended(damage)
            return
        self._by_mover(endpoint, "s5cmd", work)

    def _by_mover(self, endpoint: Endpoint, tool: str, work: Fetch | Send) -> None:
        with self._making:
            mover = None if self._is_closed else self._mover(endpoint, tool)
        if mover:
            mover.submit(work)
        else:
            self._ended(Outcome(work.id, Trouble.UNKNOWN, "the movers were closed"))

    def _by_control(self, endpoint: Endpoint, work: Fetch | Send) -> None:
        try:
            control = self.control(endpoint)
            outcome = control.fetch(work) if isinstance(work, Fetch) else control.send(work)
        except StoreError as error:
            outcome = Outcome(work.id, error.trouble, str(error))
        self._ended(outcome)

    def control(self, endpoint: Endpoint) -> Control:
        return endpoint.control()

    def _mover(self, endpoint: Endpoint, tool: str) -> _Mover:
        mover = self._movers.get((endpoint.url, tool))
        if mover is None or mover.is_closed:  # it failed: nobody else closes one of these
            mover = self._movers[endpoint.url, tool] = self._new_mover(endpoint, tool)
        return mover

    def _new_mover(self, endpoint: Endpoint, tool: str) -> _Mover:
        settings = self._settings
        if tool == "native":
            return NativeMover(
                endpoint.store,
                endpoint.url,
                endpoint.keys,
                settings,
                direction=self._direction,
                on_outcome=self._ended,
                on_part=self._on_part,
                on_room=self._wake,
                on_error=self._refuse,
                lanes=RESUMING if settings.tool == "s5cmd" else self._lanes,
                memory=self._memory,
                packing=endpoint.packing,
            )
        return S5cmdMover(
            endpoint.store,
            endpoint.url,
            endpoint.keys,
            settings,
            direction=self._direction,
            pass_fds=self._descriptors,
            on_outcome=self._ended,
            on_error=self._refuse,
        )

    def traffic(self) -> int:
        """Bytes that the movers running now have read and written: it grows while a transfer of hours is well."""
        return sum(mover.traffic for mover in [*self._movers.values(), *self._leaving])

    def close(self) -> None:
        """End the movers; what they had in flight becomes UNKNOWN. A piece of boto3's work under way is abandoned."""
        self._let_movers_leave(for_good=True)
        self._close_leaving(lambda _mover: True)
        for lane in (self._small_lane, self._large_lane):
            lane.close()


def damage_of(work: Send) -> Outcome | None:
    """What is wrong with a file that is about to be sent, None: it has the digest that it was proven to have."""
    if not work.digest:
        return None
    action = f"send {work.key!r}"
    try:
        found = etag.file_etag(work.path, work.part_size)
    except OSError as error:
        return Outcome(work.id, local_trouble(error), f"Failed to {action}: the local file says: {error}")
    if found != work.digest.lower():
        return Outcome(work.id, Trouble.MISMATCH, str(rotten(action, work.digest, found)))
    return None


def _for_direction(settings: MoverSettings, direction: str) -> MoverSettings:
    """Large objects are fetched half as many at once as they are sent: they then end one after another.

    Fetched all together they end together, and the second hop has nothing to do until then.
    """
    if direction != "fetch":
        return settings
    return settings.model_copy(update={"large_workers": max(1, settings.large_workers // 2)})


def _can_take(mover: type[_Mover], work: Fetch | Send) -> bool:
    return mover.can_fetch(work) if isinstance(work, Fetch) else mover.can_send(work)
