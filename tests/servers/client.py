# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A boto3 client of a test store: it prepares and inspects what the code under test works on."""

from __future__ import annotations

from typing import Any

from .store import Store


def s3_client(store: Store, **settings: Any) -> Any:
    """Path style, no retries, no checksums beyond what S3 requires; `settings` go to botocore's Config over these."""
    import boto3
    from botocore.config import Config

    quiet = {
        "s3": {"addressing_style": "path"},
        "retries": {"total_max_attempts": 1},
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
    }
    return boto3.client(
        "s3",
        endpoint_url=store.url,
        region_name=store.region,
        aws_access_key_id=store.access_key,
        aws_secret_access_key=store.secret_key,
        verify=store.ca_bundle or True,
        config=Config(**{**quiet, **settings}),
    )
