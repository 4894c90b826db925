# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The errors of requests to one endpoint: what was requested there, and why it failed. No side effects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.errors import StoreError, Trouble
from ..core.text import url_text
from .answers import failure
from .curl import Answer, Waiting
from .remedies import AskedWith

if TYPE_CHECKING:
    from ..config.job_file import Store

LATE = "late"  # the code of a StoreError: the caller stopped waiting for this response


class RequestErrors:
    """Names requests as people do, and turns responses with another status than 200 into errors."""

    def __init__(self, store: Store, endpoint: str) -> None:
        self._store = store
        self._endpoint = endpoint

    def listing(self, prefix: str) -> str:
        """The action of a request for a listing."""
        return f"list {url_text(self._store.bucket, prefix)} at {self._endpoint}"

    def reading(self, object_key: str) -> str:
        """The action of a GET."""
        return f"fetch {url_text(self._store.bucket, object_key)} from {self._endpoint}"

    def looking_at(self, object_key: str) -> str:
        """The action of a HEAD."""
        return f"look at {url_text(self._store.bucket, object_key)} at {self._endpoint}"

    def of_object(self, action: str, answer: Answer) -> StoreError:
        """The error for a rejected GET of an object."""
        return failure(
            action,
            answer.transfer.status,
            answer.receiver.refused,
            of_object=True,
            asked=AskedWith(self._store.region),
            headers=answer.transfer.header_block,
        )

    def of_listing(self, action: str, answer: Answer, body: bytes) -> StoreError:
        """The error for a rejected listing; `body` is the response's, wherever it was collected."""
        store = self._store
        return failure(
            action,
            answer.transfer.status,
            body,
            of_object=False,
            asked=AskedWith(store.region, store.addressing, store.list_version),
            headers=answer.transfer.header_block,
        )

    def of_head(self, object_key: str, status: int, headers: bytes, reason: bytes) -> StoreError:
        """The error for a rejected HEAD; `reason` is the body of the same refusal to a GET (b"": unknown)."""
        return failure(
            self.looking_at(object_key),
            status,
            reason,
            of_object=True,
            asked=AskedWith(self._store.region),
            headers=headers,
            bodyless=True,
        )

    def late_head(self, object_key: str, hurry: float) -> StoreError:
        """The error for a HEAD that was not waited for any longer."""
        detail = f"no response within {hurry:.0f} seconds"
        return StoreError(Trouble.TIMEOUT, self.looking_at(object_key), detail, code=LATE)


def silent(action: str, waiting: Waiting) -> StoreError:
    detail = f"the endpoint accepted the request, then sent nothing for {waiting.silent_for:.0f} seconds"
    return StoreError(Trouble.TIMEOUT, action, detail)
