# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What the thread of an s5cmd mover waits for: output of the processes, room in their inputs, and a wake-up."""

from __future__ import annotations

import os
import select

from .process import Process


class Poller:
    """Tells the mover's thread which descriptors are ready.

    The pool's lock guards the wake-up descriptor (-1 while there is no thread to wake) and changes of `inputs`; the
    rest belongs to the mover's thread.
    """

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._doze = select.poll()  # polls only the wake-up descriptor
        self._wake = -1
        self.outputs: dict[int, Process] = {}
        self.inputs: dict[int, Process] = {}

    def open_wake_up(self) -> None:
        """Before the mover's thread starts."""
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll.register(self._wake, select.EPOLLIN)
        self._doze.register(self._wake, select.POLLIN)

    def rouse(self) -> None:
        """End the wait of the mover's thread, if there is one."""
        if self._wake >= 0:
            os.eventfd_write(self._wake, 1)

    def close_wake_up(self) -> None:
        """When the mover's thread ends."""
        os.close(self._wake)
        self._wake = -1

    def add_outputs(self, process: Process) -> None:
        for descriptor in process.output.streams:
            self.outputs[descriptor] = process
            self._poll.register(descriptor, select.EPOLLIN)

    def remove_output(self, descriptor: int) -> None:
        del self.outputs[descriptor]
        self._poll.unregister(descriptor)

    def add_input(self, process: Process) -> None:
        """Wait until its input has room again."""
        descriptor = process.input.descriptor
        if descriptor not in self.inputs:
            self.inputs[descriptor] = process
            self._poll.register(descriptor, select.EPOLLOUT)

    def remove_input(self, process: Process) -> None:
        descriptor = process.input.descriptor
        if self.inputs.pop(descriptor, None):
            self._poll.unregister(descriptor)

    def wait(self, seconds: float | None) -> list[int]:
        """The descriptors of processes that are ready. Handling one of them may remove another that is in the list."""
        ready = [descriptor for descriptor, _event in self._poll.poll(seconds)]
        if self._wake in ready:
            os.eventfd_read(self._wake)
            ready.remove(self._wake)
        return ready

    def doze(self, milliseconds: float) -> None:
        """Wait for the wake-up only, while output accumulates."""
        self._doze.poll(milliseconds)

    def close(self) -> None:
        self._poll.close()
