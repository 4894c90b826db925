# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What a source unit learns about objects while fetching them, for their next attempts. No side effects."""

from __future__ import annotations

from ....core.bounded_notes import Notes
from ....core.model import Head
from ....ledger.ledger import Row


class FetchNotes:
    """What to avoid, and what to expect, when an object is fetched again. Any thread may call these."""

    def __init__(self) -> None:
        self.served_last = ""  # the key of the object that was proven last
        self._endpoints: Notes[int, str] = Notes()  # by object: one that returned wrong bytes
        self._volumes: Notes[int, int] = Notes()  # by object: a healthy one that did not accept it
        # By object whose responses contradict its listing: what the listing shows, and the ETag of the responses.
        self._read_as: Notes[int, tuple[tuple[str, int], str] | None] = Notes()

    def has_any(self, row: Row) -> bool:
        """Whether anything is to be avoided."""
        return bool(self._endpoints.get(row.id, "") or self._volumes.get(row.id, 0))

    def endpoint_to_avoid(self, row: Row) -> str:
        """The URL of an endpoint that returned wrong bytes; "" for none."""
        return self._endpoints.get(row.id, "")

    def avoid_endpoint(self, row: Row, url: str) -> None:
        self._endpoints[row.id] = url

    def avoid_no_endpoint(self, row: Row) -> None:
        self._endpoints.pop(row.id, "")

    def volume_to_avoid(self, row: Row) -> int:
        """The number of a healthy volume that did not accept it; 0 for none."""
        return self._volumes.get(row.id, 0)

    def avoid_volume(self, row: Row, volume: int) -> bool:
        """False: that was known."""
        is_new = self.volume_to_avoid(row) != volume
        self._volumes[row.id] = volume
        return is_new

    def etag_to_read(self, row: Row) -> str:
        """The ETag that the source's responses for an object should have: as listed, unless others were seen."""
        known = self._read_as.get(row.id, None)
        return known[1] if known and known[0] == (row.etag, row.modified_ms) else row.etag

    def expect(self, row: Row, read: Head) -> bool:
        """Expect responses like this one, not as listed. False if that was already tried without success."""
        listed_as = (row.etag, row.modified_ms)
        known = self._read_as.pop(row.id, None)
        if known and known[0] == listed_as:
            return False
        self._read_as[row.id] = (listed_as, read.etag)
        return True

    def forget(self, row: Row) -> None:
        """An object is staged."""
        self._endpoints.pop(row.id, "")
        self._volumes.pop(row.id, 0)
        self._read_as.pop(row.id, None)
