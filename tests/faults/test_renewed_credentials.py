# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys that are replaced while units run: nothing stops, nothing is begun again, and no object fails."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from faults.rig import DESTINATION, SOURCE, Rig, kill_group, wait_until
from simulators.s3_store.client import RunningStore


@contextmanager
def running(rig: Rig) -> Iterator[int]:
    """A run that goes on for ever; its process id."""
    rig.config["pass_interval"] = 0.2
    process = rig.start("--forever")
    try:
        yield process.pid
        assert process.poll() is None
    finally:
        kill_group(process)
        print(process.communicate()[1])


def deliver(rig: Rig, name: str) -> None:
    """Objects that need all clients: small ones, a large one, one with tags."""
    for number in range(20):
        rig.source.put(SOURCE, f"{name}-{number}", os.urandom(3000))
    rig.source.put(SOURCE, f"{name}-large", os.urandom(20_000_000), part_size=8 << 20)
    rig.source.put(SOURCE, f"{name}-tagged", b"tagged", tags={"a": "b"})
    wait_until(lambda: rig.destination.list(DESTINATION) == rig.source.list(SOURCE), f"the delivery of {name}")


def stores(rig: Rig) -> list[tuple[RunningStore, Path]]:
    folder = rig.folder / "credentials"
    return [(rig.source, folder / "source"), (rig.destination, folder / "destination")]


@pytest.mark.parametrize("tool", ["native", "s5cmd"])
def test_keys_are_renewed_before_the_former_ones_end(rig: Rig, tool: str) -> None:
    rig.config["mover"] = {"tool": tool}
    with running(rig):
        deliver(rig, "before")
        for store, path in stores(rig):
            store.renew_keys("renewed", "another-secret", keep=True)
            store.credentials_file(path)
        for number in itertools.count():  # each unit looks at its file once a second
            deliver(rig, f"meanwhile-{number}")
            if all(any(line["access_key"] == "renewed" for line in store.log()) for store, _ in stores(rig)):
                break
        deliver(rig, "with the new keys")
        for store, _ in stores(rig):
            store.renew_keys("renewed", "another-secret")
        deliver(rig, "after")
        assert [line for store, _ in stores(rig) for line in store.log() if line["status"] == 403] == []


@pytest.mark.parametrize("tool", ["native", "s5cmd"])
def test_refused_keys_are_read_again_before_a_unit_stops(rig: Rig, tool: str) -> None:
    rig.config["mover"] = {"tool": tool}
    with running(rig) as process:
        deliver(rig, "before")
        os.killpg(process, signal.SIGSTOP)  # between the end of the former keys and the new file
        for store, path in stores(rig):
            store.renew_keys("renewed", "another-secret")
            store.credentials_file(path)
        os.killpg(process, signal.SIGCONT)
        deliver(rig, "after")


def test_keys_that_are_replaced_one_by_one_stop_no_unit(rig: Rig) -> None:
    """The new access key with the former secret is refused: whoever writes the file is waited for."""
    with running(rig):
        deliver(rig, "before")
        path = rig.folder / "credentials" / "source"
        profile, _access_key, secret_key = path.read_text().splitlines()
        rig.source.renew_keys("renewed", "another-secret")
        path.write_text(f"{profile}\naws_access_key_id = renewed\n{secret_key}\n")
        wait_until(
            lambda: any(line["code"] == "SignatureDoesNotMatch" for line in rig.source.log()), "the half is refused"
        )
        rig.source.credentials_file(path)
        deliver(rig, "after")


def test_unit_stops_where_no_other_keys_came(rig: Rig) -> None:
    rig.source.put(SOURCE, "object", b"bytes")
    rig.source.renew_keys("renewed", "another-secret")
    code, _, errors = rig.run()
    assert code == 5
    assert "InvalidAccessKeyId" in errors
