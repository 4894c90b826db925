# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Staged files that are unknown to the ledger, since a restored older ledger does not know what was staged later.

Such a file may be the last copy of its object, so it is never removed merely because it is unknown. It is used if the
object is not available otherwise: the source no longer has it, or the file that the ledger knows is gone. It is removed
once the destination is proven to hold the same bytes.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Container
from dataclasses import dataclass

from ..core import etag, keys, workers
from ..core.errors import Trouble
from ..core.model import Evidence, Origin, State
from ..core.removal import AtDestination
from ..core.s3_limits import can_be_sent
from ..ledger.ledger import Failure, Row
from ..ledger.unit_ports import UnitLedger
from ..proofs.proof import local_file_is_sound
from ..volumes.open_volume import OpenVolume
from ..volumes.volume_set import VolumeSet

_log = logging.getLogger("snowsync.volumes")
_LARGEST = 4 << 30  # bytes hashed while a volume comes into use; the watchdog waits some minutes


@dataclass(frozen=True, slots=True)
class Found:
    """A file on a volume that has the object's digest: `digest` is its ETag in parts of `part_size` bytes.

    `part_md5s` as in `Proven`, where it was proven by the listed ETag.
    """

    volume: OpenVolume
    digest: str
    part_size: int
    part_md5s: bytes = b""


def adopt(ledger: UnitLedger, volumes: VolumeSet, row: Row, wake: Callable[[], None]) -> bool:
    """Stage an object from an unknown file of this generation that has its digest; False: there is none.

    Also True if its own file is there again because one evacuation moved it away and another one moved it back. `wake`
    is called if something was staged.
    """
    if row.origin != Origin.SOURCE:
        return False
    with volumes.in_use.borrowed() as borrowed:
        for volume in borrowed:
            found = _look(volume, row)
            if found and any(_is_there(each, row) for each in borrowed):
                return True
            if found and _say_staged(ledger, row, found):
                wake()
                return True
    return False


def _is_there(volume: OpenVolume, row: Row) -> bool:
    """Whether this is the object's own volume, and has its file."""
    return volume.id == row.volume and os.path.exists(volume.staged_path(keys.to_path(row.key, row.generation)))


def _look(volume: OpenVolume, row: Row) -> Found | None:
    if volume.id == row.volume:
        return None
    path = volume.staged_path(keys.to_path(row.key, row.generation))
    try:
        if os.stat(path).st_size != row.size:
            return None
        if row.digest:  # it was staged once, elsewhere
            sound = local_file_is_sound(path, row.digest, row.part_size)[0]
            return Found(volume, row.digest, row.part_size) if sound else None
        proof = etag.prove_file(path, row.etag)
    except OSError:
        return None
    if proof.matched and can_be_sent(row.size, proof.part_size):
        return Found(volume, proof.etag, proof.part_size, proof.part_md5s)
    return None


def _say_staged(ledger: UnitLedger, row: Row, found: Found) -> bool:
    volume = found.volume
    try:
        with volume.names_held():
            os.stat(volume.staged_path(keys.to_path(row.key, row.generation)))
            adopted = ledger.staging.adopt(
                row, volume.id, found.digest, found.part_size, Evidence.STORE_DIGEST, found.part_md5s
            )
    except OSError:
        return False
    if adopted:
        message = f"found on volume {volume.name}, where it was unknown to the ledger"
        message += "" if row.digest else "; its content type and metadata are unknown"
        _log.warning("%r: %s", row.key, message)
        failure = Failure(row, "source", Trouble.NOT_FOUND, message, "staged there and delivered")
        ledger.journal.record(failure)
    return adopted


def overtaken(ledger: UnitLedger, volume: OpenVolume, beat: Callable[[], None]) -> set[str]:
    """Keys of which this volume holds a newer generation than a restored older ledger knows.

    `beat` is called for every file.
    """
    keys_there: set[str] = set()
    for relative in volume.staged_files():
        beat()
        workers.beat()  # raises on a stop: with an incomplete result nothing may be sent
        try:
            key, generation = keys.from_path(relative)
        except ValueError:
            continue
        row = ledger.objects.row_of_key(key)
        if row and row.generation < generation:
            keys_there.add(key)
    return keys_there


def sweep_delivered(
    ledger: UnitLedger, volume: OpenVolume, spared: Container[str], goes_on: Callable[[str], bool]
) -> int:
    """Remove unknown staged files whose bytes the destination is proven to hold. Returns how many.

    `goes_on` gets a description of the work and returns whether to continue.
    """
    removed: list[str] = []
    for seen, relative in enumerate(volume.staged_files()):
        if not goes_on(f"scanning volume {volume.name}: {seen} staged files so far"):
            break
        if relative not in spared and _sweep(ledger, volume, relative):
            removed.append(relative)
    volume.directories.prune({os.path.dirname(relative) for relative in removed})
    return len(removed)


def _sweep(ledger: UnitLedger, volume: OpenVolume, relative: str) -> bool:
    try:
        key, generation = keys.from_path(relative)
    except ValueError:
        return False
    row = ledger.objects.row_of_key(key)
    if row is None or row.state not in (State.DELIVERED, State.RELEASED) or row.generation != generation:
        return False
    path = volume.staged_path(relative)
    if row.size > _LARGEST or not row.digest or os.stat(path).st_size != row.size:
        return False
    if not local_file_is_sound(path, row.digest, row.part_size)[0]:
        return False
    permit = AtDestination(row.id, key, generation, row.target, row.destination_etag)
    with volume.names_held():
        if ledger.copies.has_file(key, generation, volume.id):
            return False
        volume.discard_staged(relative, permit)
    return True
