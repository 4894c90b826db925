# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""boto3 for tests of the simulators: path style, one attempt, the store's own CA."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config

from .s3_store import RunningStore


def client_of(store: RunningStore, *, secret_key: str = "", access_key: str = "", **config: Any) -> Any:
    """An S3 client of a running store; `config` goes into botocore's Config."""
    settings = {"s3": {"addressing_style": "path"}, "retries": {"total_max_attempts": 1}, **config}
    return boto3.client(
        "s3",
        endpoint_url=store.url,
        aws_access_key_id=access_key or store.access_key,
        aws_secret_access_key=secret_key or store.secret_key,
        region_name="us-east-1",
        verify=str(store.ca_path) if store.ca_path else None,
        config=Config(**settings),
    )
