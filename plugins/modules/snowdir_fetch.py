#!/usr/bin/python
# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: snowdir_fetch
short_description: Get the manifests and unlock codes of an account's Snowball jobs from AWS
version_added: 0.2.0
author: edgeops.snowsync contributors (@edgeops)
description:
  - Requests the Snowball jobs of an account from AWS and writes the manifest and unlock code of each job into a folder
    of its own, a snowdir. The inventory plugin P(edgeops.snowsync.snowdirs#inventory) turns each snowdir into a host.
  - AWS does not know the address that a device gets on the site. Set it with O(jobs[].endpoint), or write
    C(endpoint_url) into C(sbe_config.yaml) later. Until then the inventory plugin lists the snowdir as incomplete.
  - Existing content of a snowdir is never overwritten, neither another manifest nor values in its C(sbe_config.yaml),
    which may be vaulted or templates. Only what is missing is added.
  - A job that fails does not stop the others from being written. The task fails at the end and names it.
extends_documentation_fragment:
  - edgeops.snowsync.attributes
attributes:
  check_mode:
    support: full
    details: AWS is still queried, which changes nothing there.
  diff_mode:
    support: none
    details: Everything that is written is secret.
  idempotent:
    support: full
options:
  path:
    description:
      - The folder of the snowdirs. Folders are created with mode 0700, files with 0600.
    type: path
    required: true
  jobs:
    description:
      - The jobs to get. By default all jobs of the account in O(region) whose device is with the customer.
    type: list
    elements: dict
    suboptions:
      job_id:
        description: The ID of the job.
        type: str
        required: true
      name:
        description:
          - The name of the snowdir, and therefore of the device, its host and its profiles.
          - By default the name of the snowdir that already has this job's manifest, otherwise the ID of the job.
        type: str
      endpoint:
        description: The address of the device on the site, for example V(https://192.0.2.10).
        type: str
  region:
    description:
      - The AWS region that the devices were ordered in. By default boto3 takes it from the environment or from
        C(~/.aws/config).
    type: str
  aws_profile:
    description:
      - The profile in C(~/.aws) to use. Without it and O(aws_access_key) boto3 uses its default credential chain.
    type: str
  aws_access_key:
    description: The access key of the AWS account, not of a device.
    type: str
  aws_secret_key:
    description: The secret key of the AWS account.
    type: str
  aws_session_token:
    description: The session token, if the credentials are temporary.
    type: str
requirements:
  - boto3 on the host that runs the task, preferably the controller (C(delegate_to=localhost))
seealso:
  - plugin: edgeops.snowsync.snowdirs
    plugin_type: inventory
"""

EXAMPLES = r"""
- name: Get all devices that have arrived
  edgeops.snowsync.snowdir_fetch:
    path: /srv/snowdirs
    region: eu-central-1
  delegate_to: localhost
  run_once: true

- name: Get two jobs with names and one endpoint
  edgeops.snowsync.snowdir_fetch:
    path: /srv/snowdirs
    region: eu-central-1
    aws_profile: logistics
    jobs:
      - job_id: JID8ca334a9-0d5a-4c11-bd0b-4e5a3ff9b0a1
        name: site-a-01
        endpoint: https://198.51.100.7
      - job_id: JID11bb4a6e-9f2a-43d8-8be1-0bd2f1a4e7c2
        name: site-a-02
  delegate_to: localhost

- name: Reload the inventory after the folder has changed
  ansible.builtin.meta: refresh_inventory
"""

RETURN = r"""
snowdirs:
  description: One entry per job.
  returned: when AWS could be queried
  type: list
  elements: dict
  contains:
    job_id:
      description: The ID of the job.
      type: str
    name:
      description: The name of the snowdir.
      type: str
    path:
      description: The path of the snowdir.
      type: str
    changed:
      description: Whether anything was written or a mode was changed.
      type: bool
    incomplete:
      description: Whether it still has no C(endpoint_url).
      type: bool
    kept:
      description: The content that differs from AWS or O(jobs) and was not changed.
      type: list
      elements: str
    problem:
      description: Why it could not be written. Empty if it was written.
      type: str
  sample:
    - job_id: JID8ca334a9-0d5a-4c11-bd0b-4e5a3ff9b0a1
      name: site-a-01
      path: /srv/snowdirs/site-a-01
      changed: true
      incomplete: false
      kept: []
      problem: ""
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.urls import open_url
from ansible_collections.edgeops.snowsync.plugins.module_utils._common.argspec import ArgumentSpec
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.jobs import (
    Account,
    SnowjobError,
    fetch,
    wanted_jobs,
)

try:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError as error:
    IMPORT_ERROR = error
else:
    IMPORT_ERROR = None

DOWNLOAD_SECONDS = 60
SPEC = ArgumentSpec(
    {
        "path": {"type": "path", "required": True},
        "jobs": {
            "type": "list",
            "elements": "dict",
            "options": {
                "job_id": {"type": "str", "required": True},
                "name": {"type": "str"},
                "endpoint": {"type": "str"},
            },
        },
        "region": {"type": "str"},
        "aws_profile": {"type": "str"},
        "aws_access_key": {"type": "str", "no_log": False},  # a name, not a secret
        "aws_secret_key": {"type": "str", "no_log": True},
        "aws_session_token": {"type": "str", "no_log": True},
    },
    mutually_exclusive=[("aws_profile", "aws_access_key")],
    required_by={"aws_access_key": ("aws_secret_key",), "aws_session_token": ("aws_access_key",)},
)


def client_of(options):
    session = boto3.session.Session(
        aws_access_key_id=options["aws_access_key"],
        aws_secret_access_key=options["aws_secret_key"],
        aws_session_token=options["aws_session_token"],
        profile_name=options["aws_profile"],
        region_name=options["region"],
    )
    return session.client("snowball")


def account_of(module):
    try:
        client = client_of(module.params)
    except BotoCoreError as error:
        raise SnowjobError(f"Failed to reach AWS: {error}. Set region and credentials, see the options.") from error
    return Account(
        client,
        errors=(BotoCoreError, ClientError),
        download=lambda url: open_url(url, timeout=DOWNLOAD_SECONDS).read(),
        keep_secret=module.no_log_values.add,
    )


def main():
    module = AnsibleModule(supports_check_mode=True, **SPEC.as_arguments())
    if IMPORT_ERROR is not None:
        module.fail_json(msg=missing_required_lib("boto3"), exception=IMPORT_ERROR)
    folder = module.params["path"]
    try:
        account = account_of(module)
        wanted = wanted_jobs(folder, module.params["jobs"], account)
    except (SnowjobError, OSError) as error:
        module.fail_json(msg=str(error))
    written = [fetch(module, folder, each, account) for each in wanted]
    result = {"changed": any(each.changed for each in written), "snowdirs": [each.as_result() for each in written]}
    for each in written:
        if each.kept:
            module.warn(f"Snowdir {each.name} keeps its own {', '.join(each.kept)}, unlike job {each.job_id}")
    problems = [each.problem for each in written if each.problem]
    if problems:
        module.fail_json(msg="\n".join(problems), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
