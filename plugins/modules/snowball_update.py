#!/usr/bin/python
# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: snowball_update
short_description: Update the software of a Snowball, or restore the state that its job defines
version_added: 0.2.0
author: edgeops.snowsync contributors (@edgeops)
description:
  - Performs a complete software update. It gets the update of a job from AWS, transfers it to the device, stops the
    services that must be stopped, installs the update, restarts and unlocks the device twice, checks that the new
    version is installed, and starts the services that ran before.
  - With O(force=true) the same procedure restores what the job defines, for example on a device that arrived without
    its S3 bucket.
  - A run that was interrupted at any point can simply be restarted. It queries the device for its progress, and reads
    from O(state_file) what the device does not report. A completed step is not repeated.
  - An update takes an hour or more. The device restarts twice during it. The update stops EC2-compatible instances, and
    the module does not start them again.
  - For a cluster, run it for each node in turn (C(throttle=1)), each with its own O(endpoint) and with O(device_ips).
    Stop a service that spans the nodes, like C(s3-snow), before the first node and start it after the last node with
    M(edgeops.snowsync.snowball_service), because a run knows the network interfaces of one node only.
extends_documentation_fragment:
  - edgeops.snowsync.attributes
  - edgeops.snowsync.snowball
  - edgeops.snowsync.snowball.wait
attributes:
  check_mode:
    support: full
    details:
      - Reports the steps that a run would take. The device, and AWS for O(job_id), are queried. Nothing is changed.
      - For a locked device only the unlock step can be predicted, because a locked device does not report its version.
  diff_mode:
    support: full
    details: Shows the version before and after.
  idempotent:
    support: partial
    details:
      - A device that already has the version is not changed. See O(version) for how this is determined.
      - With O(force=true) every completed run installs the update again.
options:
  job_id:
    description:
      - The ID of the job that the device belongs to. The module requests a link to the update of this job from AWS,
        with the credentials of the account and in the region that the device was ordered in. Requires boto3.
      - If none of O(job_id), O(url) and O(path) is given, the device downloads the latest version itself, for which it
        needs a connection to its region. None of them is required if the device already holds the update.
    type: str
  url:
    description:
      - A link to the update, as C(aws snowball get-software-updates) prints it. It is valid for two days.
      - It is as sensitive as a password, and never appears in a log or result.
    type: str
  path:
    description:
      - The update file on the host that runs the task.
      - With O(job_id) or O(url) the update is downloaded to this path, unless the file exists and is complete. An
        interrupted download resumes from a file with the suffix C(.part). A file with the suffix C(.source.json)
        records what was downloaded.
      - Without O(job_id) or O(url) the file must exist.
      - If the path is a folder, the file C(offline-updates) in it is used. With O(job_id) or O(url) the default is
        this file in O(snowdir).
    type: path
  version:
    description:
      - The target version. A device that has this version or a later one is not changed. If the device has an earlier
        version after the update, the task fails.
      - By default the version is taken from the path of the AWS link, otherwise it is the latest one that the device
        reports, if it has a connection. If neither gives a version, the update is skipped if O(state_file) records that
        this exact file was installed and the device still has the version it had after that.
    type: str
  force:
    description:
      - Install the update even if the device already has its version.
    type: bool
    default: false
  device_ips:
    description:
      - The addresses of all nodes, if the device is a node of a cluster. A cluster is unlocked as a whole.
      - By default the value of C(device_ip_addresses) in C(sbe_config.yaml) of O(snowdir), otherwise a single device.
    type: list
    elements: str
    default: []
  state_file:
    description:
      - Where a run records for the next run what the device does not report. This is the version that is being
        installed, the services to start again with their network interfaces, and the restarts so far. It contains no
        secrets.
      - By default it is beside the update file, and named after it and the address of the device. It is kept after the
        update.
    type: path
  delete_file:
    description:
      - Delete the update file, and the records of its download, once the version is installed. The terms of AWS require
        this. The nodes of a cluster share the file, so only the last one may delete it.
    type: bool
    default: false
  timeout:
    description:
      - The maximum number of seconds to wait for each single step, which is the download to the device, the
        installation, each restart, each unlock and each service. The device continues on its own after a timeout, so
        run the task again to keep waiting.
    type: float
    default: 3600
  region:
    description:
      - The AWS region that the device was ordered in, for O(job_id). By default boto3 takes it from the environment or
        from C(~/.aws/config).
    type: str
  aws_profile:
    description:
      - The profile in C(~/.aws) to use for O(job_id). Without it and O(aws_access_key) boto3 uses its default
        credential chain.
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
  aws_endpoint_url:
    description: An endpoint to use instead of the public AWS endpoint of the region.
    type: str
requirements:
  - boto3, for O(job_id)
seealso:
  - module: edgeops.snowsync.snowball_info
  - module: edgeops.snowsync.snowball_service
  - module: edgeops.snowsync.snowball_unlock
"""

EXAMPLES = r"""
- name: Update the device of a folder with the update that AWS provides for its job
  edgeops.snowsync.snowball_update:
    snowdir: /srv/snowballs/survey-1
    job_id: JID1a2b3c4d-1234-5678-9abc-def012345678
    region: eu-central-1
    delete_file: true

- name: Preview what would be done
  edgeops.snowsync.snowball_update:
    snowdir: /srv/snowballs/survey-1
    job_id: JID1a2b3c4d-1234-5678-9abc-def012345678
    region: eu-central-1
  check_mode: true
  register: survey

- name: Update a device without a connection from a file that was brought to the site
  edgeops.snowsync.snowball_update:
    snowdir: /srv/snowballs/survey-1
    path: /media/usb/offline-updates
    version: "119"

- name: Restore the bucket of a device that arrived without it
  edgeops.snowsync.snowball_update:
    snowdir: /srv/snowballs/survey-1
    url: "{{ vaulted_update_link }}"
    force: true

- name: Have a device with a connection download the update itself
  edgeops.snowsync.snowball_update:
    snowdir: /srv/snowballs/survey-1
"""

RETURN = r"""
steps:
  description:
    - The steps that were done, or would be done in check mode, from V(fetch) (to this host), V(download) (to the
      device), V(stop_services), V(install), V(reboot), V(unlock) and V(start_services).
  returned: when the device could be queried
  type: list
  elements: str
  sample: [fetch, download, stop_services, install, reboot, unlock, reboot, unlock, start_services]
previous_version:
  description: The version that was installed when this run started. Empty if it could not be queried.
  returned: when the device could be queried
  type: str
  sample: "118"
installed_version:
  description: The version that is installed now.
  returned: when the device could be queried
  type: str
  sample: "119"
install_state:
  description:
    - The update state of the device, V(NA) (no update), V(DOWNLOADING), V(DOWNLOAD_FAILED), V(DECRYPTING),
      V(DECRYPT_FAILED), V(DOWNLOADED), V(INSTALLING), V(INSTALL_FAILED) or V(REQUIRE_REBOOT).
  returned: when the device could be queried
  type: str
  sample: NA
services_started:
  description: The services that this run started again.
  returned: when the device could be queried
  type: list
  elements: str
  sample: [s3-snow]
file:
  description: The update file on this host. Empty if the device downloads the update itself.
  returned: when the device could be queried
  type: str
  sample: /srv/snowballs/survey-1/offline-updates
fetched_bytes:
  description: The number of bytes of it that this run downloaded to this host.
  returned: when the device could be queried
  type: int
  sample: 6442450944
state_file:
  description: The file in which this run recorded what the next run would need.
  returned: when the device could be queried
  type: str
  sample: /srv/snowballs/survey-1/offline-updates.192.0.2.10.json
trouble:
  description:
    - A one-word error class, among others V(update_failed), V(fetch_failed), V(cloud), V(wrong_update_state),
      V(no_cloud_connection), V(damaged_file), V(timed_out) and those of M(edgeops.snowsync.snowball_unlock).
  returned: failure
  type: str
  sample: update_failed
snowball:
  description: The name of the device in the message.
  returned: failure
  type: str
  sample: survey-1 (https://192.0.2.10)
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.argspec import DEVICE, WAIT
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.client import open_client
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.errors import SnowballError
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.update.download import DownloadError
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.update.link import ACCOUNT, BOTO3_ERROR
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.update.options import (
    UPDATE,
    carry_out,
    diff_of,
    result_of,
    update_of,
)


def main():
    module = AnsibleModule(supports_check_mode=True, **(DEVICE | WAIT | ACCOUNT | UPDATE).as_arguments())
    if module.params["job_id"] and BOTO3_ERROR:
        module.fail_json(msg=missing_required_lib("boto3"), exception=BOTO3_ERROR)
    update = None
    try:
        with open_client(module) as client:
            update = update_of(client, module.params)
            result = carry_out(update, module.params, module.check_mode)
    except SnowballError as error:
        so_far = result_of(update, update.told()) if update else {}
        module.fail_json(changed=bool(so_far.get("steps")), **so_far, **error.as_result())
    except (DownloadError, OSError) as error:
        so_far = result_of(update, update.told()) if update else {}
        module.fail_json(msg=str(error), trouble="fetch_failed", changed=bool(so_far.get("steps")), **so_far)
    if module._diff:
        result["diff"] = diff_of(result, module.check_mode, update.goal.version)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
