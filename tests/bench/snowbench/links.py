# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shaped links: the source store, the destination store and the client each in a network namespace of its own.

    source ── veth, TBF at both ends ── client ── veth, TBF at both ends ── destination

Needs root and iproute2. Delay cannot be added (netem is often not in the kernel); only the rate is shaped.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .stores import BenchError

CLIENT = "snowbench-client"
# Namespace of the server, its address, the client's address of the same link, and the two interface names.
SIDES = {
    "source": ("snowbench-source", "10.213.1.2", "10.213.1.1", "sbs0", "sbs1"),
    "destination": ("snowbench-dest", "10.213.2.2", "10.213.2.1", "sbd0", "sbd1"),
}
CLONE_NEWNET = 0x40000000
BURST, LATENCY = "256kb", "50ms"


class ShapedLinks:
    """A context manager: inside it this thread, and what it starts, lives in the client's namespace."""

    def __init__(self, rate: str) -> None:
        self.rate = rate
        self._home = -1

    def __enter__(self) -> ShapedLinks:
        if os.geteuid() != 0:
            raise BenchError("--shaped makes network namespaces, so it needs root")
        self._remove()
        try:
            self._build()
            self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            _enter(Path(f"/run/netns/{CLIENT}"))
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        _set_namespace(self._home)
        os.close(self._home)
        self._remove()

    def _build(self) -> None:
        _ip("netns", "add", CLIENT)
        _ip("-n", CLIENT, "link", "set", "lo", "up")
        for namespace, server, client, outer, inner in SIDES.values():
            _ip("netns", "add", namespace)
            _ip("-n", namespace, "link", "set", "lo", "up")
            _ip("-n", CLIENT, "link", "add", outer, "type", "veth", "peer", "name", inner, "netns", namespace)
            for home, interface, address in ((CLIENT, outer, client), (namespace, inner, server)):
                _ip("-n", home, "address", "add", f"{address}/30", "dev", interface)
                _ip("-n", home, "link", "set", interface, "up")
                shape = ["rate", self.rate, "burst", BURST, "latency", LATENCY]
                _run(["tc", "-n", home, "qdisc", "add", "dev", interface, "root", "tbf", *shape])

    @staticmethod
    def _remove() -> None:
        for namespace in (CLIENT, *(side[0] for side in SIDES.values())):
            if Path(f"/run/netns/{namespace}").exists():
                _ip("netns", "delete", namespace)

    @staticmethod
    def server_prefix(side: str) -> list[str]:
        """What goes before the command of the server of `side`."""
        return ["ip", "netns", "exec", SIDES[side][0]]

    @staticmethod
    def server_address(side: str) -> str:
        return SIDES[side][1]


def _ip(*arguments: str) -> None:
    _run(["ip", *arguments])


def _run(argv: Sequence[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"{' '.join(argv)}: {done.stderr.strip()}")


def _enter(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _set_namespace(descriptor)
    finally:
        os.close(descriptor)


def _set_namespace(descriptor: int) -> None:
    # os.setns came with Python 3.12.
    library = ctypes.CDLL(None, use_errno=True)
    if library.setns(descriptor, CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise BenchError(f"setns: {os.strerror(code)}")
