# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""compare.py SOURCE_URL DESTINATION_URL: reads every object from both stores and compares them byte for byte.

Uses none of the engine. The access key is in $AWS_ACCESS_KEY_ID, the secret in $AWS_SECRET_ACCESS_KEY. Prints a JSON
document; exit code 1 if anything differs, is missing or too much, or if there is nothing.
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any

import boto3
from botocore.config import Config

CARRIED = ("ContentType", "CacheControl", "ContentDisposition", "ContentLanguage", "Metadata")


def client(url: str) -> Any:
    config = Config(s3={"addressing_style": "path"}, response_checksum_validation="when_required")
    return boto3.client("s3", endpoint_url=url, region_name="us-east-1", config=config)


def keys(store: Any, bucket: str) -> list[str]:
    pages = store.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return [item["Key"] for page in pages for item in page.get("Contents", [])]


def describe(store: Any, bucket: str, key: str) -> tuple[str, list[Any]]:
    answer = store.get_object(Bucket=bucket, Key=key)
    digest = hashlib.sha256()
    for chunk in answer["Body"].iter_chunks(1 << 20):
        digest.update(chunk)
    tags = store.get_object_tagging(Bucket=bucket, Key=key)["TagSet"] if answer.get("TagCount") else []
    return digest.hexdigest(), [answer.get(name) for name in CARRIED] + [sorted(tags, key=str)]


def main() -> int:
    source, destination = client(sys.argv[1]), client(sys.argv[2])
    wanted, arrived = keys(source, "source"), keys(destination, "destination")
    both = sorted(set(wanted) & set(arrived))
    differ = [key for key in both if describe(source, "source", key) != describe(destination, "destination", key)]
    missing, extra = sorted(set(wanted) - set(arrived)), sorted(set(arrived) - set(wanted))
    print(json.dumps({"objects": len(both), "missing": missing, "extra": extra, "differ": differ}))
    return int(not both or bool(missing or extra or differ))


if __name__ == "__main__":
    sys.exit(main())
