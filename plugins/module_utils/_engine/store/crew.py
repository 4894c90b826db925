# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Transfers that are carried out at once, and what they share: a multi handle with its connections."""

from __future__ import annotations

from .curl import Transfer
from .multi import Multi


class Crew:
    """A multi handle with its transfers and connections. For one thread."""

    def __init__(self, multi: Multi, transfers: list[Transfer]) -> None:
        self.multi = multi
        self.transfers = transfers
        self.idle = list(transfers)
        self.spare: list[Transfer] = []  # outside the multi handle, for requests in between
        self._by_handle = {transfer.curl: transfer for transfer in transfers}

    @property
    def busy(self) -> bool:
        return len(self.idle) < len(self.transfers)

    def under_way(self) -> list[Transfer]:
        return [transfer for transfer in self.transfers if transfer not in self.idle]

    def add(self, transfer: Transfer) -> None:
        self.multi.add(transfer.curl)

    def finished(self) -> list[tuple[Transfer, int, str]]:
        """Finished transfers, each with libcurl's error number and message (0 and "" for none); they are idle now."""
        ended = [(self._by_handle[easy], number, words) for easy, number, words in self.multi.ended()]
        self.idle += [transfer for transfer, _number, _words in ended]
        return ended

    def abandon(self) -> None:
        for transfer in self.under_way():
            self.multi.remove(transfer.curl)
        self.idle = list(self.transfers)

    def close(self) -> None:
        self.abandon()
        for transfer in (*self.transfers, *self.spare):
            transfer.curl.close()
        self.multi.close()
