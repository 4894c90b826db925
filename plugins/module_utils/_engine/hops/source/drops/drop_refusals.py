# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Files of drop folders that cannot be taken: whether the file or its volume is to blame, and what is told of it."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ....core.errors import Trouble
from ....core.model import Origin, State
from ....ledger.rows import Failure, Row
from ....ledger.unit_ports import UnitJournal
from ....volumes.open_volume import OpenVolume
from ...setbacks import Setbacks

_log = logging.getLogger("snowsync.source")


class DropRefusals:
    """Tells of a file that is refused once, not again in each scan. Used by the scanner's thread."""

    def __init__(self, journal: UnitJournal, setbacks: Setbacks) -> None:
        self._journal = journal
        self._setbacks = setbacks
        self._told: set[tuple[str, str]] = set()  # files that the previous scan refused
        self._refused: set[tuple[str, str]] = set()  # files that this scan refuses

    def refuse(self, volume: OpenVolume, relative: str, reason: str) -> None:
        """Record that a file, given by its path in the drop folder, is not taken, and leave it where it is."""
        place = (volume.name, relative)
        is_told = place in self._told or place in self._refused
        self._refused.add(place)
        if is_told:
            return
        name = relative.encode(errors="backslashreplace").decode()
        row = Row(0, name, 0, "", 0, 0, Origin.DROP, State.FAILED, volume.id, 0, "", "", 0, 0, 0)
        message = f"the dropped file {name!r} on volume {volume.name} was not taken: {reason}"
        failure = Failure(row, "source", Trouble.UNSUPPORTED, message, "left where it is")
        self._journal.record(failure)
        self._setbacks.note(failure)
        _log.error("%s", message)

    def end_scan(self) -> None:
        """What this scan did not refuse is told again, should a later one refuse it."""
        self._told, self._refused = self._refused, set()

    def attempt(self, volume: OpenVolume, relative: str, step: Callable[[], int]) -> int:
        """Carry out a step with a file; it returns 1 for a file that is too recent, otherwise 0, as this does.

        OSError when the volume is to blame; a file that cannot be read is refused.
        """
        try:
            return step()
        except FileNotFoundError:
            return 0  # removed meanwhile
        except BlockingIOError:
            return 1  # a file server has it locked for a writer
        except OSError as error:
            if not volume.medium.is_well():
                raise
            self.refuse(volume, relative, f"it cannot be read: {error.strerror}; make it readable for snowsync's user")
            return 0

    def unreadable_directory(self, volume: OpenVolume, relative: str, error: OSError) -> None:
        """Refuse a directory that cannot be read ("": the drop folder itself); raises if the volume is to blame."""
        if not volume.medium.is_well():
            raise error
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):  # removed, or replaced by a link
            reason = f"the directory cannot be read: {error.strerror}; make it readable for snowsync's user"
            self.refuse(volume, relative or ".", reason)
