# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Aborts multipart uploads that will not be continued: those that the ledger knows, and those of a killed process."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ....core.errors import StoreError
from ....core.machine import now_ms
from ....core.parts import Upload
from ....ledger.destination_ports import LeftUploads
from ....store.endpoint import Endpoint
from ...pool import EndpointPool

if TYPE_CHECKING:
    from ....store.boto_client import Control

_log = logging.getLogger("snowsync.destination")


def abort_left_uploads(parts: LeftUploads, pool: EndpointPool) -> None:
    """Abort uploads of objects that were delivered, replaced or given up; the next run retries what fails."""
    for upload in parts.left_uploads() if pool.any_up else []:
        endpoint = _endpoint_of(upload, pool)
        if endpoint is None:
            continue  # at another destination than the job's: its credentials are not available
        try:
            _abort(parts, endpoint.control(), upload)
        except StoreError as error:
            _log.warning("%s; its parts stay at the destination until the next run", error)
        else:
            parts.end_upload(upload)


def abort_cut_off(parts: LeftUploads, object_id: int, endpoint: Endpoint, destination_key: str) -> None:
    """Remove the parts that a killed upload of an object left at the destination, but for those that are continued."""
    try:
        control = endpoint.control()
        continued = {upload.upload_id for upload in parts.uploads(object_id)}
        control.abort_uploads(destination_key, now_ms(), keep=continued)
    except StoreError as error:
        _log.warning("%s; parts of unfinished uploads may remain at the destination", error)


def _abort(parts: LeftUploads, control: Control, upload: Upload) -> None:
    if upload.upload_id:
        control.abort_upload(upload.key, upload.upload_id)
    else:
        # Its id was never received; all other uploads in progress for this key are in the ledger.
        known = {other.upload_id for other in parts.uploads(upload.object_id)}
        control.abort_uploads(upload.key, now_ms(), keep=known)


def _endpoint_of(upload: Upload, pool: EndpointPool) -> Endpoint | None:
    for endpoint in pool.endpoints:
        if (endpoint.url.rstrip("/"), endpoint.store.bucket) == (upload.endpoint, upload.bucket):
            return endpoint
    return None
