# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Multipart uploads that nobody will continue are found again from the ledger, and aborted."""

from __future__ import annotations

import logging

from ...core.errors import StoreError
from ...core.machine import now_ms
from ...core.parts import Upload
from ...ledger.ports import LeftUploads
from ...store.boto_client import Control
from ...store.endpoint import Endpoint
from ..pool import EndpointPool

_log = logging.getLogger("snowsync.destination")


def abort_left_uploads(parts: LeftUploads, pool: EndpointPool) -> None:
    """Abort the uploads of objects that were delivered, replaced or given up; what fails is tried by the next run."""
    for upload in parts.left_uploads() if pool.any_up else []:
        endpoint = _endpoint_of(upload, pool)
        if endpoint is None:
            continue  # another destination than the job's: its credentials are not here
        try:
            _abort(parts, endpoint.control(), upload)
        except StoreError as error:
            _log.warning("%s; its parts stay at the destination until the next run", error)
        else:
            parts.end_upload(upload)


def _abort(parts: LeftUploads, control: Control, upload: Upload) -> None:
    if upload.upload_id:
        control.abort_upload(upload.key, upload.upload_id)
    else:
        # Nobody heard its id; no other upload of this key is under way that the ledger does not know.
        known = {other.upload_id for other in parts.uploads(upload.object_id)}
        control.abort_uploads(upload.key, now_ms(), keep=known)


def _endpoint_of(upload: Upload, pool: EndpointPool) -> Endpoint | None:
    for endpoint in pool.endpoints:
        if (endpoint.url.rstrip("/"), endpoint.store.bucket) == (upload.endpoint, upload.bucket):
            return endpoint
    return None
