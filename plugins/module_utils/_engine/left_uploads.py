# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Multipart uploads that nobody will continue are found again from the ledger, and aborted."""

from __future__ import annotations

import logging

from .endpoints import Endpoint, EndpointPool
from .errors import StoreError
from .ledger_parts import PartLedger
from .parts import Upload

_log = logging.getLogger("snowsync.destination")


def abort_left_uploads(ledger: PartLedger, pool: EndpointPool) -> None:
    """Abort the uploads of objects that were delivered, replaced or given up; what fails is tried by the next run."""
    for upload in ledger.left_uploads():
        endpoint = _endpoint_of(upload, pool)
        if endpoint is None:
            continue  # another destination than the job's: its credentials are not here
        try:
            pool.control(endpoint).abort_upload(upload.key, upload.upload_id)
        except StoreError as error:
            _log.warning("%s; its parts stay at the destination until the next run", error)
        else:
            ledger.end_upload(upload)


def _endpoint_of(upload: Upload, pool: EndpointPool) -> Endpoint | None:
    for endpoint in pool.endpoints:
        if (endpoint.url.rstrip("/"), endpoint.store.bucket) == (upload.endpoint, upload.bucket):
            return endpoint
    return None
