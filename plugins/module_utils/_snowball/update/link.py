# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The link to the software update of a job, from the AWS account that ordered the device."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.edgeops.snowsync.plugins.module_utils._common.argspec import ArgumentSpec
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.errors import SnowballError

try:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError as error:
    BOTO3_ERROR: Exception | None = error
else:
    BOTO3_ERROR = None

# The AWS account and region; never the keys of a device.
ACCOUNT = ArgumentSpec(
    {
        "region": {"type": "str"},
        "aws_profile": {"type": "str"},
        "aws_access_key": {"type": "str", "no_log": False},  # a name, not a secret
        "aws_secret_key": {"type": "str", "no_log": True},
        "aws_session_token": {"type": "str", "no_log": True},
        "aws_endpoint_url": {"type": "str"},
    },
    mutually_exclusive=[("aws_profile", "aws_access_key")],
    required_by={"aws_access_key": ("aws_secret_key",), "aws_session_token": ("aws_access_key",)},
)
_FIXES = {
    "AccessDeniedException": "Allow snowball:GetSoftwareUpdates to these credentials",
    "InvalidResourceException": "Check job_id and region: a job belongs to the region it was ordered in",
    "InvalidJobStateException": "AWS provides updates only while the device is with the customer (state WithCustomer)",
}
# .../<job id>/<version>/offline-updates, as seen by users. AWS does not document the format.
_VERSION = re.compile(r"/(?:JID|MID|CID)[^/?]*/(\d+)/[^/?]+(?:\?|$)")


class CloudRefused(SnowballError):
    """AWS provides no link to an update."""

    trouble = "cloud"
    fix = "Check the credentials, the region and the network of the host that runs this task"


def update_link(options: Mapping[str, Any], device: str) -> str:
    """A link to the update for the job in the options; it is valid for two days. Raises CloudRefused."""
    doing = f"get the software update of job {options['job_id']}"
    try:
        answer = _client(options).get_software_updates(JobId=options["job_id"])
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        raise CloudRefused(doing, device, str(error), _FIXES.get(code, "")) from error
    except (BotoCoreError, ValueError) as error:
        raise CloudRefused(doing, device, str(error)) from error
    link = str(answer.get("UpdatesURI") or "")
    if not link:
        raise CloudRefused(doing, device, "AWS has no update for it")
    return link


def _client(options: Mapping[str, Any]) -> Any:
    session = boto3.session.Session(
        aws_access_key_id=options["aws_access_key"],
        aws_secret_access_key=options["aws_secret_key"],
        aws_session_token=options["aws_session_token"],
        profile_name=options["aws_profile"],
        region_name=options["region"],
    )
    return session.client("snowball", endpoint_url=options["aws_endpoint_url"])


def version_in(link: str) -> str:
    """The version in an AWS link, "" if it has none."""
    found = _VERSION.search(link)
    return found[1] if found else ""
