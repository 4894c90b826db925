# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The socket between a hand and its parent: messages in frames, and descriptors beside them."""

from __future__ import annotations

import array
import contextlib
import marshal
import socket
import struct
from collections import deque
from collections.abc import Sequence
from typing import Any, TypeAlias

Message: TypeAlias = tuple[Any, ...]  # its kind, and values that marshal knows

_LENGTH = struct.Struct("<I")
_READ_BYTES = 256 * 1024
_BESIDE = socket.CMSG_SPACE(16 * array.array("i").itemsize)  # descriptors with one frame


class Channel:
    """One end of the socket. One thread may send while another one receives.

    Frames are encoded with `marshal`: both ends run the same Python, and trust each other.
    """

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._received = bytearray()
        self._descriptors: deque[int] = deque()

    def fileno(self) -> int:
        return self._end.fileno()

    def send(self, messages: Sequence[Message], descriptors: Sequence[int] = ()) -> None:
        """One frame, and descriptors that the other end gets duplicates of. Blocks; OSError if that end is gone."""
        data = marshal.dumps(list(messages))
        frame = _LENGTH.pack(len(data)) + data
        if descriptors:
            frame = frame[socket.send_fds(self._end, [frame], descriptors) :]
        self._end.sendall(frame)

    def receive(self) -> list[Message] | None:
        """The next frame; blocks until it is there. None: the other end is closed."""
        while (frame := self._complete()) is None:
            if not self.read():
                return None
        return frame

    def read(self) -> bool:
        """Read what has arrived, perhaps a part of a frame; blocks while there is nothing. False: as above."""
        try:
            # socket.recv_fds ignores its flags.
            data, beside, _flags, _sender = self._end.recvmsg(_READ_BYTES, _BESIDE, socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:  # it ended with something unread
            return False
        for _level, _kind, numbers in beside:
            self._descriptors += array.array("i", numbers)
        self._received += data
        return bool(data)

    def has_frame(self) -> bool:
        """Whether `receive` would return at once, without reading from the socket."""
        return len(self._received) >= _LENGTH.size + self._length()

    def take_descriptor(self) -> int:
        """The next descriptor that arrived, now the caller's own. IndexError: there is none."""
        return self._descriptors.popleft()

    def hang_up(self) -> None:
        """Whoever sends or receives, at either end, finds the other one gone; the descriptor stays."""
        with contextlib.suppress(OSError):  # it has ended
            self._end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """When nobody uses it any more: else what is sent might reach a file that gets the descriptor's number."""
        self._end.close()

    def _length(self) -> int:
        return int(_LENGTH.unpack_from(self._received)[0]) if len(self._received) >= _LENGTH.size else _READ_BYTES

    def _complete(self) -> list[Message] | None:
        """Remove and decode the first frame; None: it has not arrived completely."""
        if not self.has_frame():
            return None
        end = _LENGTH.size + self._length()
        frame: list[Message] = marshal.loads(memoryview(self._received)[_LENGTH.size : end])
        del self._received[:end]
        return frame
