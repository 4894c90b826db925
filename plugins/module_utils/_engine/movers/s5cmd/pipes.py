# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The pipes of one s5cmd process: its input, which is written without blocking, and its output, read line by line."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import IO

_SHORTEST_NAP, _LONGEST_NAP = 1.0, 50.0  # ms to let reports accumulate: a wake-up costs more than a report
_LONGEST_LINE = 1024 * 1024
_MOST_NOISE = 4096


class CommandPipe:
    """The standard input of a process. Guarded by the pool's lock."""

    def __init__(self, stream: IO[bytes]) -> None:
        os.set_blocking(stream.fileno(), False)
        self._stream = stream
        self.backlog = b""

    @property
    def descriptor(self) -> int:
        return self._stream.fileno()

    def write(self, line: bytes) -> None:
        """Never blocks: what the pipe does not accept waits in `backlog`."""
        if self.backlog:
            self.backlog += line
            return
        try:
            written = os.write(self.descriptor, line)
        except BlockingIOError:
            written = 0
        except OSError:  # it died; the mover's thread will notice, and handles what is in flight
            return
        self.backlog = line[written:]

    def flush(self) -> None:
        line, self.backlog = self.backlog, b""
        self.write(line)

    def close(self) -> None:
        self.backlog = b""
        self._stream.close()


class ReportPipes:
    """The standard output and error of a process, for the mover's thread.

    `streams` are the open ones by descriptor, `nap` is how many ms to let reports accumulate after a read.
    """

    def __init__(self, streams: Iterable[IO[bytes]], width: int) -> None:
        self._width = width
        self.streams = {stream.fileno(): stream for stream in streams}
        self._tails = dict.fromkeys(self.streams, b"")  # the start of an incomplete line
        self._noise = b""  # output other than reports
        self.nap = _SHORTEST_NAP

    def read(self, descriptor: int) -> list[bytes] | None:
        """The complete lines that have arrived; None at the end of the stream, where an incomplete one is noise."""
        data = os.read(descriptor, 1 << 16)
        if not data:
            self._noise += self._tails[descriptor][:_MOST_NOISE]
            return None
        *lines, tail = (self._tails[descriptor] + data).split(b"\n")
        if len(tail) > _LONGEST_LINE:
            lines, tail = [*lines, tail], b""
        self._tails[descriptor] = tail
        return lines

    def pace(self, reports: int) -> None:
        self.nap = next_nap(self.nap, reports, self._width)

    def add_noise(self, lines: Iterable[bytes]) -> None:
        """Keep the start of what is not a report: it may explain the end of the process."""
        self._noise = (self._noise + b"\n".join(lines))[:_MOST_NOISE]

    def noise(self) -> str:
        """The noise in one short line."""
        return " ".join(self._noise.decode("utf-8", "replace").split())[:300]

    def close(self, descriptor: int) -> None:
        self.streams.pop(descriptor).close()


def next_nap(nap: float, reports: int, width: int) -> float:
    """Let about half as many reports accumulate as there are workers: as many commands are queued meanwhile."""
    if 2 * reports > width:
        return max(_SHORTEST_NAP, nap / 2)
    if 4 * reports <= width:
        return min(_LONGEST_NAP, nap * 2)
    return nap
