# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""All endpoints of one store: which one takes the next piece of work, and what carries it out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING, TypeAlias

from . import etag
from .assignments import Assignments
from .blame import TRIED_AT_ONCE, Blame
from .config import MoverSettings, Store
from .connections import RESUMING, Lanes, lanes_within, shares, within
from .control_lane import ControlLane
from .credentials import Keys
from .endpoint import Endpoint, FailedRequest
from .endpoint_probes import Probes
from .errors import StoreError, Trouble
from .model import Fetch, Outcome, Send
from .native import NativeMover
from .parts import PartMemory
from .patience import patience_of
from .reach import endpoint_urls
from .s3_request import rotten
from .s5cmd import S5cmdMover
from .volumes import local_trouble

if TYPE_CHECKING:
    _Mover: TypeAlias = "NativeMover | S5cmdMover"

_REMEMBERED = 10_000


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
        self._making = threading.Lock()  # movers, which lanes make too
        self._assigned = Assignments()
        self._probes = Probes(f"{direction}-probe", self._refuse)
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
        return all(endpoint.health.failed_probe for endpoint in self.endpoints)

    @property
    def serves_nothing(self) -> bool:
        """Whether every endpoint answers, and has served no object lately, so that only some are tried."""
        return bool(self.endpoints) and all(endpoint.serves_nothing for endpoint in self.endpoints)

    @property
    def trials(self) -> int:
        """How often every endpoint was tried since then, in vain."""
        return min((endpoint.trials for endpoint in self.endpoints), default=0)

    def is_probed(self, endpoint: Endpoint) -> bool:
        """Whether it is being asked now whether it is well."""
        return self._probes.is_asked(endpoint)

    def probe_due(self) -> None:
        """Look again at endpoints whose rest is over."""
        for endpoint in self.endpoints:
            if endpoint.health.is_due and not self._probes.is_asked(endpoint):
                self._probes.ask(endpoint)

    def preflight(self, stopping: Callable[[], bool] = lambda: False) -> None:
        """Probe every endpoint; return when one is well, or none is. Raises JobStopped; one that is down merely rests.

        What answers later joins in later.
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
        """Whose fault a failure at an endpoint was: `told` is called once a probe has ended, from its thread.

        At once where the endpoint is known to be down. `progressed`: parts of the object moved since it failed last.
        """
        endpoint.failed(object_id)
        if not endpoint.is_up:
            told(Blame.ENDPOINT)
            return
        failed = FailedRequest(object_id, trouble, message, progressed)
        self._probes.ask(endpoint, lambda probe: told(endpoint.whose_fault(failed, probe, self._examples)))

    def _refuse(self, error: BaseException) -> None:
        """What waiting cannot fix, or what ended a thread, ends the unit."""
        self.refusal = self.refusal or error
        self._wake()

    def why_down(self) -> str:
        return "; ".join(endpoint.health.message for endpoint in self.endpoints if not endpoint.is_up)

    def messages(self) -> str:
        """What every endpoint last failed with."""
        return "; ".join(endpoint.health.message for endpoint in self.endpoints)

    # -- choice -----------------------------------------------------------------------------------------------

    def pick(self, avoid: str = "", *, large: bool = False, held_up: Container[int] = ()) -> Endpoint | None:
        """The healthy endpoint with the least in flight (not `avoid`, if another is healthy), or None: wait.

        With `large` only one that takes another large object at once: those `held_up` by their disks do not count.
        """
        up = [endpoint for endpoint in self.endpoints if endpoint.is_up and not self._is_busy(endpoint)]
        if large:
            up = [endpoint for endpoint in up if self._takes_large(endpoint, held_up)]
        if len(up) < 2:
            return up[0] if up else None
        others = [endpoint for endpoint in up if endpoint.url != avoid]
        return min(others or up, key=self._load)

    def pick_to_ask(self) -> Endpoint | None:
        """The healthy endpoint with the least in flight, for a question: one that serves no object may answer it."""
        return min((endpoint for endpoint in self.endpoints if endpoint.is_up), key=self._load, default=None)

    def _load(self, endpoint: Endpoint) -> int:
        return self._assigned.count(endpoint.url)

    def _is_busy(self, endpoint: Endpoint) -> bool:
        """Whether it serves nothing, and has as many objects as are tried with it."""
        return endpoint.serves_nothing and self._load(endpoint) >= TRIED_AT_ONCE

    def _takes_large(self, endpoint: Endpoint, held_up: Container[int]) -> bool:
        return self._assigned.large(endpoint.url, held_up) < self._settings.large_workers

    def expect_large(self, endpoint: Endpoint, object_id: int) -> None:
        """A large object is about to be handed over."""
        self._assigned.expect_large(endpoint.url, object_id)

    def expect_no_more(self, endpoint: Endpoint, object_id: int) -> None:
        """It is not, after all."""
        self._assigned.expect_no_more(endpoint.url, object_id)
        self._wake()

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
        return self._assigned.objects()

    def is_large(self, size: int) -> bool:
        return size >= self._settings.large_object

    def has_room(self, endpoint: Endpoint, size: int, volume: int) -> bool:
        """Whether `submit` of such work would not block, as far as the mover can tell; else `wake` says when."""
        mover = self._movers.get((endpoint.url, "native"))
        return self.is_large(size) or not isinstance(mover, NativeMover) or mover.has_room(volume)

    def submit(self, endpoint: Endpoint, work: Fetch | Send) -> None:
        """Hand over work. Blocks while the mover's lane is full: large objects only after `pick(large=True)`."""
        is_large = self.is_large(work.size)
        self._assigned.begin(endpoint.url, work.id, is_large=is_large)
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
        is_large = self._assigned.end(outcome.id)
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
            control = endpoint.control()
            outcome = control.fetch(work) if isinstance(work, Fetch) else control.send(work)
        except StoreError as error:
            outcome = Outcome(work.id, error.trouble, str(error))
        self._ended(outcome)

    def _mover(self, endpoint: Endpoint, tool: str) -> _Mover:
        mover = self._movers.get((endpoint.url, tool))
        if mover is None or mover.is_closed:  # it failed: nobody else closes one of these
            mover = self._movers[endpoint.url, tool] = self._new_mover(endpoint, tool)
        return mover

    def _new_mover(self, endpoint: Endpoint, tool: str) -> _Mover:
        settings, access = self._settings, endpoint.access
        if tool == "native":
            return NativeMover(
                access.store,
                access.url,
                access.keys,
                settings,
                direction=self._direction,
                on_outcome=self._ended,
                on_part=self._on_part,
                on_room=self._wake,
                on_error=self._refuse,
                lanes=RESUMING if settings.tool == "s5cmd" else self._lanes,
                memory=self._memory,
                packing=access.packing,
            )
        return S5cmdMover(
            access.store,
            access.url,
            access.keys,
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
