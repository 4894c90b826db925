# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The native mover: one request per object, or per part of a large one, in this process.

What it reads it hashes on the way, and the headers of an object come with its bytes: to be proven, a fetch needs no
other request and no second read. What is in flight when the mover is closed becomes UNKNOWN.
"""

from __future__ import annotations

import html
import os
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from . import etag
from .errors import StoreError, Trouble
from .keys import is_utf8
from .model import Fetch, Head, Outcome, Received, Send
from .native_lanes import Errand, Kit, SmallLane, Stream, StreamClosed, StreamLane
from .native_requests import Bucket, Get, Post, Put, Request, Target, can_carry, object_headers, with_md5
from .volumes import local_trouble

if TYPE_CHECKING:  # config.py brings pydantic
    from .config import MoverSettings, Store
    from .credentials import Credentials

    _Result: TypeAlias = "Head | Exception | None"  # None: given up
    _Step: TypeAlias = "Callable[[Stream], Head | None]"

_SINGLE_PUT_LIMIT = 5 * 1024**3
_NO_LIMIT = 1 << 30
_find_upload_id = re.compile(rb"<(?:\w+:)?UploadId>([^<]+)</").search


class NativeMover:
    """Fetches objects of one bucket at one endpoint, or sends them: one Outcome for every submitted work.

    `on_outcome` is called from the mover's threads (or from `submit`, for work that never began), must return quickly
    and not call `submit`; so must `on_part`, told the id of a large object each time a range of it is in its file,
    and `on_room`. The small objects of each of about `folders` volumes go through a lane of their own.
    After a failed fetch `<path>` may exist; it is the caller's to remove.
    """

    def __init__(
        self,
        store: Store,
        endpoint: str,
        credentials: Credentials,
        settings: MoverSettings,
        *,
        direction: str,
        on_outcome: Callable[[Outcome], None],
        on_part: Callable[[int], None] = lambda object_id: None,
        on_room: Callable[[], None] = lambda: None,
        folders: int = 1,
    ) -> None:
        self.on_part = on_part
        self._settings = settings
        self._bucket = Bucket(store, endpoint, credentials)
        self._on_outcome = on_outcome
        self._lock = threading.Lock()
        self._count = 0
        self._knows_ranges = True
        self._direction = direction
        self._kit = kit = Kit(store, endpoint, settings.stall_seconds, settings.retries)
        self._on_room = on_room
        self._width = max(1, -(-settings.workers // folders))
        # One for each volume: what a thread reads or writes there may block for as long as the medium is busy.
        self._small: dict[str, SmallLane] = {}
        self._is_closed = False
        width = settings.large_workers * settings.part_concurrency
        self._large = StreamLane(f"native-{direction}-large", kit, width)

    @staticmethod
    def can_fetch(work: Fetch) -> bool:
        """Whether it can be told of this fetch: a key that is no UTF-8 has no form that all stores sign alike."""
        return is_utf8(work.key)

    @staticmethod
    def can_send(work: Send) -> bool:
        """Whether it can be told of this, with every header."""
        return (
            is_utf8(work.key)
            and work.size <= (work.part_size * 10_000 or _SINGLE_PUT_LIMIT)
            and can_carry(work.headers)
        )

    @property
    def in_flight(self) -> int:
        """How many pieces of work have no outcome yet."""
        return self._count

    @property
    def traffic(self) -> int:
        """Bytes moved so far, about."""
        return self._bucket.moved

    def has_room(self, path: str) -> bool:
        """Whether small work whose file is at `path` would be taken without blocking; else `on_room` says when."""
        lane = self._small.get(_folder_of(path))
        return lane is None or lane.has_room()

    def _small_lane(self, work: Fetch | Send) -> SmallLane:
        folder = _folder_of(work.path)
        with self._lock:
            lane = self._small.get(folder)
            if lane is None:
                name = f"native-{self._direction}-{len(self._small)}"
                # Who sends hands over whole batches, of which there are few: none waits for another volume's.
                capacity = 4 * self._settings.workers if self._direction == "fetch" else _NO_LIMIT
                lane = SmallLane(name, self._kit, self._width, capacity=capacity, on_room=self._on_room)
                self._small[folder] = lane
                if self._is_closed:
                    lane.close()
        return lane

    def submit(self, work: Fetch | Send) -> None:
        """Hand over work; blocks while there is much of small work to fetch for its folder."""
        with self._lock:
            self._count += 1
        is_large = work.size >= self._settings.large_object
        if isinstance(work, Fetch):
            if is_large:
                LargeFetch(self, work).start()
            else:
                self._fetch_small(work)
        elif is_large or work.part_size:
            LargeSend(self, work).start()
        else:
            self._send_small(work)

    def close(self) -> None:
        """Break off everything; what is in flight gets UNKNOWN."""
        with self._lock:
            self._is_closed = True
            lanes = list(self._small.values())
        for lane in lanes:
            lane.begin_closing()
        for lane in lanes:
            lane.close()
        self._large.close()

    # -- small objects: one request each ------------------------------------------------------------------------

    def _fetch_small(self, work: Fetch) -> None:
        target = Target(work.path)
        request: list[Get] = []

        def make() -> Request:
            request[:] = [Get(self._bucket, work, target, 0, work.size, etag.PartDigests(0))]
            return request[0]

        def told(result: _Result) -> None:
            try:
                target.close()
            except OSError as error:
                result = error
            received = None
            digests = request[0].digests if request else None
            if isinstance(result, Head) and digests:
                received = Received(result, digests.etag(), 0)
            self.ended(work, result, received)

        self._small_lane(work).submit(Errand(make, told))

    def _send_small(self, work: Send) -> None:
        descriptor: list[int] = []

        def make() -> Request:
            if not descriptor:
                descriptor.append(self.open_file(work))
            headers = with_md5(object_headers(work), work.md5)
            return Put(self._bucket, work, descriptor[0], 0, work.size, parameters={}, headers=headers)

        def told(result: _Result) -> None:
            if descriptor:
                os.close(descriptor[0])
            self.ended(work, result)

        self._small_lane(work).submit(Errand(make, told))

    def open_file(self, work: Send) -> int:
        """The file to send. OSError; StoreError when it is not the one that was meant."""
        # Links are followed: a file of a drop folder is reached through one of ours.
        descriptor = os.open(work.path, os.O_RDONLY | os.O_CLOEXEC)
        size = os.fstat(descriptor).st_size
        if size != work.size:
            os.close(descriptor)
            action = self._bucket.action("send", work.key)
            raise StoreError(Trouble.MISMATCH, action, f"the file has {size} bytes, not {work.size}")
        return descriptor

    # -- outcomes -----------------------------------------------------------------------------------------------

    def ended(self, work: Fetch | Send, result: _Result, received: Received | None = None) -> None:
        """Tell what became of a piece of work."""
        with self._lock:
            self._count -= 1
        if isinstance(result, Head):
            outcome = Outcome(work.id, received=received)
        elif result is None:
            outcome = Outcome(work.id, Trouble.UNKNOWN, "the mover was closed")
        elif isinstance(result, StoreError):
            outcome = Outcome(work.id, result.trouble, str(result))
        elif isinstance(result, OSError):
            action = self._bucket.action("fetch" if isinstance(work, Fetch) else "send", work.key)
            outcome = Outcome(work.id, local_trouble(result), f"Failed to {action}: the local file says: {result}")
        else:
            outcome = Outcome(work.id, Trouble.OTHER, f"{type(result).__name__}: {result}")
        self._on_outcome(outcome)


class _Large:
    """A large object under way: several steps, each in one of the streams; the last one tells what became of it."""

    def __init__(self, mover: NativeMover, work: Fetch | Send) -> None:
        self._mover = mover
        self._left = 0
        self._lock = threading.Lock()
        self._result: _Result = None
        self._failed = False

    def _submit(self, *steps: _Step) -> None:
        with self._lock:
            self._left += len(steps)
        self._mover._large.submit(*(self._guarded(step) for step in steps))

    def _guarded(self, step: _Step) -> Callable[[Stream | None], None]:
        def run(stream: Stream | None) -> None:
            result: Head | Exception | None = StreamClosed()
            if stream and not self._failed:
                try:
                    result = step(stream)
                except Exception as error:  # whatever it is, the work must get its outcome
                    result = error
            with self._lock:
                if not self._failed:
                    self._failed = isinstance(result, Exception)
                    self._result = None if isinstance(result, StreamClosed) else result
                self._left -= 1
                is_last = self._left == 0
            if is_last:
                self._finish(stream)

        return run

    def _finish(self, stream: Stream | None) -> None:
        raise NotImplementedError


class LargeFetch(_Large):
    """Ranges of an object, cut so that its parts can be hashed as they come."""

    def __init__(self, mover: NativeMover, work: Fetch) -> None:
        super().__init__(mover, work)
        self._work = work
        self._target = Target(work.path)
        self._ranges, self._part_size = cut(
            work.size, work.etag, mover._settings.part_size, in_one=not mover._knows_ranges
        )
        self._digests: list[list[bytes]] = [[] for _ in self._ranges]

    def start(self) -> None:
        try:
            self._target.open()
        except OSError as error:
            self._mover.ended(self._work, error)
            return
        self._submit(*(self._range_step(number) for number in range(len(self._ranges))))

    def _range_step(self, number: int) -> _Step:
        start, length = self._ranges[number]
        made: list[Get] = []

        def make() -> Request:
            digests = None if self._part_size is None else etag.PartDigests(self._part_size)
            made[:] = [Get(self._mover._bucket, self._work, self._target, start, length, digests)]
            return made[0]

        def fetch(stream: Stream) -> Head:
            try:
                head = stream.perform(make)
            except StoreError:
                self._mover._knows_ranges = self._mover._knows_ranges and not made[0].ignores_ranges
                raise
            if made[0].digests:
                self._digests[number] = made[0].digests.digests()
            self._mover.on_part(self._work.id)
            return head

        return fetch

    def _finish(self, stream: Stream | None) -> None:
        self._target.close()
        work, result = self._work, self._result
        if isinstance(result, StoreError) and stream and len(self._ranges) > 1 and not self._mover._knows_ranges:
            LargeFetch(self._mover, work).start()  # in one answer
            return
        received = None
        if isinstance(result, Head) and self._part_size is not None:
            digests = [digest for part in self._digests for digest in part]
            found = etag.multipart_etag(digests) if self._part_size else digests[0].hex()
            if found == result.etag:  # else the parts are others than usual: the file is read, and asked about
                received = Received(replace(result, status=200, size=work.size), found, self._part_size)
        self._mover.ended(work, result, received)


class LargeSend(_Large):
    """One PUT, or a multipart upload in parts of exactly the wanted size."""

    def __init__(self, mover: NativeMover, work: Send) -> None:
        super().__init__(mover, work)
        self._work = work
        self._descriptor = -1
        self._upload_id = ""
        self._etags: list[str] = []

    def start(self) -> None:
        try:
            self._descriptor = self._mover.open_file(self._work)
        except (OSError, StoreError) as error:
            self._mover.ended(self._work, error)
            return
        self._submit(self._begin if self._work.part_size else self._put)

    def _put(self, stream: Stream) -> Head:
        work, headers = self._work, with_md5(object_headers(self._work), self._work.md5)
        return stream.perform(
            lambda: Put(self._mover._bucket, work, self._descriptor, 0, work.size, parameters={}, headers=headers)
        )

    def _begin(self, stream: Stream) -> None:
        work, bucket = self._work, self._mover._bucket
        made: list[Post] = []

        def make() -> Request:
            made[:] = [Post(bucket, work, parameters={"uploads": ""}, headers=object_headers(work))]
            return made[0]

        stream.perform(make)
        found = _find_upload_id(made[0].answer)
        if not found:
            action = bucket.action("send", work.key)
            raise StoreError(Trouble.SERVER, action, "the store began a multipart upload and did not name it")
        self._upload_id = html.unescape(found[1].decode())
        starts = range(0, work.size, work.part_size)
        self._etags = [""] * len(starts)
        self._submit(*(self._part_step(number, start) for number, start in enumerate(starts)))

    def _part_step(self, number: int, start: int) -> _Step:
        work = self._work
        length = min(work.part_size, work.size - start)
        parameters = {"partNumber": str(number + 1), "uploadId": self._upload_id}

        def send(stream: Stream) -> Head:
            head = stream.perform(
                lambda: Put(
                    self._mover._bucket, work, self._descriptor, start, length, parameters=parameters, headers={}
                )
            )
            self._etags[number] = head.etag
            return head

        return send

    def _finish(self, stream: Stream | None) -> None:
        os.close(self._descriptor)
        if self._upload_id and stream:
            try:
                if not self._failed:
                    self._result = self._complete(stream)
                    self._upload_id = ""
            except Exception as error:
                self._result = None if isinstance(error, StreamClosed) else error
            if self._upload_id:
                self._abort(stream)
        self._mover.ended(self._work, self._result)

    def _complete(self, stream: Stream) -> Head:
        parts = "".join(
            f'<Part><PartNumber>{number}</PartNumber><ETag>"{html.escape(part_etag)}"</ETag></Part>'
            for number, part_etag in enumerate(self._etags, start=1)
        )
        space = "http://s3.amazonaws.com/doc/2006-03-01/"
        body = f'<CompleteMultipartUpload xmlns="{space}">{parts}</CompleteMultipartUpload>'.encode()
        return stream.perform(
            lambda: Post(
                self._mover._bucket,
                self._work,
                parameters={"uploadId": self._upload_id},
                headers={"content-type": "application/xml"},
                body=body,
            )
        )

    def _abort(self, stream: Stream) -> None:
        """Leave no parts behind; what cannot be removed now is found when the object is sent again."""
        try:
            stream.perform(
                lambda: Post(
                    self._mover._bucket,
                    self._work,
                    method="DELETE",
                    parameters={"uploadId": self._upload_id},
                    headers={},
                )
            )
        except (StoreError, OSError, StreamClosed):
            return


def _folder_of(path: str) -> str:
    """What tells the volumes apart: the descriptor in /proc/self/fd/<descriptor>/<name>.

    Files that are held open (/proc/<process>/fd/<descriptor>) have no name, and are one folder.
    """
    parts = path.split("/", 5)
    return "/".join(parts[:5] if len(parts) > 5 else parts[:4])


def cut(
    size: int, listed_etag: str, part_size: int, *, in_one: bool = False
) -> tuple[list[tuple[int, int]], int | None]:
    """Ranges (start, length) of about `part_size` bytes, and in what parts their bytes are to be hashed.

    0: all bytes in one, None: not at all, since no range alone says anything of the ETag.
    """
    parsed = etag.parse(listed_etag)
    in_one = in_one or size <= part_size
    usual = next(iter(etag.candidate_part_sizes(size, parsed.parts)), 0) if parsed and parsed.parts > 1 else 0
    if usual:
        return _ranges(size, size if in_one else usual * max(1, part_size // usual)), usual
    if in_one:
        return [(0, size)], 0 if parsed and not parsed.parts else None
    return _ranges(size, part_size), None


def _ranges(size: int, length: int) -> list[tuple[int, int]]:
    return [(start, min(length, size - start)) for start in range(0, size, length)]
