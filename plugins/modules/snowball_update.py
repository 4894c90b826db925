#!/usr/bin/python
# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: snowball_update
short_description: Update the software of a Snowball, or bring it into its ordered state again
version_added: 0.2.0
author: edgeops.snowsync contributors (@edgeops)
description:
  - Goes the whole way of a software update. It gets the update of a job from AWS, brings it onto the device, stops the
    services that must be stopped, installs, restarts and unlocks the device twice, looks whether the new version is
    there, and starts the services that ran before.
  - The same way with O(force=true) brings back what the job defines, for example on a device that arrived without its
    S3 bucket.
  - A run that was cut off, wherever that was, is simply started again. It asks the device how far it is, and finds in
    O(state_file) what the device does not tell. A step that was done is not done again.
  - An update takes an hour or more, of which the device restarts twice. EC2-compatible instances are stopped by it, and
    the module does not start them again.
  - For a cluster run it for each node in turn (C(throttle=1)), each with its own O(endpoint) and with O(device_ips).
    A service that spans the nodes, like C(s3-snow), is better stopped before the first and started after the last one
    with M(edgeops.snowsync.snowball_service), as a run knows the network interfaces of one node only.
extends_documentation_fragment:
  - edgeops.snowsync.attributes
  - edgeops.snowsync.snowball
  - edgeops.snowsync.snowball.wait
attributes:
  check_mode:
    support: full
    details:
      - Tells the steps that a run would take. The device, and for O(job_id) AWS, are asked, nothing is changed.
      - Of a locked device only the unlocking can be told, as it does not tell its version before that.
  diff_mode:
    support: full
    details: Shows the version before and after.
  idempotent:
    support: partial
    details:
      - A device that has the version already is left alone, see O(version) for how that is found out.
      - With O(force=true) each run that is carried through installs the update again.
options:
  job_id:
    description:
      - The id of the job that the device belongs to. AWS is asked for a link to the update of this job, with
        credentials of the account and in the region that it was ordered in. Needs boto3.
      - If none of O(job_id), O(url) and O(path) is given, the device gets the latest version by itself, for which it
        needs a connection to its region. It has to be given neither when the device holds the update already.
    type: str
  url:
    description:
      - A link to the update, as C(aws snowball get-software-updates) prints it. It lives two days.
      - It is as good as a password, and is in no log or result.
    type: str
  path:
    description:
      - The file of the update on the host that runs the task.
      - With O(job_id) or O(url) it is downloaded to there, unless it is there and complete. A download that was cut off
        goes on where it ended, from a file with the suffix C(.part). What was downloaded is noted in one with the
        suffix C(.source.json).
      - Without them it must be there.
      - Of a folder it is the file C(offline-updates) in it. By default it is that of O(snowdir), for O(job_id) and
        O(url).
    type: path
  version:
    description:
      - The version to get to. A device that has this or a later one is left alone. A device that has an earlier one
        after the update fails the task.
      - By default the version is that in the path of the link of AWS, else the latest one that the device knows of, if
        it has a connection. If neither tells it, an update is left out if it is known from O(state_file) that this very
        file was installed, and the device has the version that it had then.
    type: str
  force:
    description:
      - Install the update also when the device has its version.
    type: bool
    default: false
  device_ips:
    description:
      - The addresses of all nodes, if the device is a node of a cluster, which is unlocked as a whole.
      - By default what C(device_ip_addresses) says in C(sbe_config.yaml) of O(snowdir), otherwise it is one device.
    type: list
    elements: str
    default: []
  state_file:
    description:
      - Where a run notes for the next one what the device does not tell. It is the version that is being installed, the
        services to start again with their network interfaces, and the restarts so far. There is no secret in it.
      - By default it is beside the update, and named after it and the address of the device. It stays after the update.
    type: path
  delete_file:
    description:
      - Delete the file of the update, and all that was noted about its download, once the version is installed. The
        terms of AWS ask for this. Nodes of a cluster share the file, so only the last one may delete it.
    type: bool
    default: false
  timeout:
    description:
      - Wait this many seconds at most for each single thing, which is the download to the device, the installation,
        each restart, each unlocking and each service. The device goes on by itself when the time is over, so the task
        can be run again to wait on.
    type: float
    default: 3600
  region:
    description:
      - The AWS region that the device was ordered in, for O(job_id). By default what boto3 finds in the environment or
        in C(~/.aws/config).
    type: str
  aws_profile:
    description:
      - The profile in C(~/.aws) to use for O(job_id). Without it and O(aws_access_key) boto3 looks where it always
        does.
    type: str
  aws_access_key:
    description: The access key of the AWS account. Not one of a device.
    type: str
  aws_secret_key:
    description: Its secret key.
    type: str
  aws_session_token:
    description: Its session token, when it is temporary.
    type: str
  aws_endpoint_url:
    description: Where to reach AWS instead of the public endpoint of the region.
    type: str
requirements:
  - boto3, for O(job_id)
seealso:
  - module: edgeops.snowsync.snowball_info
  - module: edgeops.snowsync.snowball_service
  - module: edgeops.snowsync.snowball_unlock
"""

EXAMPLES = r"""
- name: Update the device of a folder with what AWS has for its job
  edgeops.snowsync.snowball_update:
    snowdir: /srv/snowballs/survey-1
    job_id: JID1a2b3c4d-1234-5678-9abc-def012345678
    region: eu-central-1
    delete_file: true

- name: See what would be done
  edgeops.snowsync.snowball_update:
    snowdir: /srv/snowballs/survey-1
    job_id: JID1a2b3c4d-1234-5678-9abc-def012345678
    region: eu-central-1
  check_mode: true
  register: survey

- name: Update a device without a connection, from a file that was carried there
  edgeops.snowsync.snowball_update:
    snowdir: /srv/snowballs/survey-1
    path: /media/usb/offline-updates
    version: "119"

- name: Bring back the bucket of a device that arrived without it
  edgeops.snowsync.snowball_update:
    snowdir: /srv/snowballs/survey-1
    url: "{{ vaulted_update_link }}"
    force: true

- name: Have a device with a connection update itself
  edgeops.snowsync.snowball_update:
    snowdir: /srv/snowballs/survey-1
"""

RETURN = r"""
steps:
  description:
    - What was done, or would be done in check mode, of V(fetch) (to this host), V(download) (to the device),
      V(stop_services), V(install), V(reboot), V(unlock) and V(start_services).
  returned: when the device could be asked
  type: list
  elements: str
  sample: [fetch, download, stop_services, install, reboot, unlock, reboot, unlock, start_services]
previous_version:
  description: The version that was installed when this run came to the device; empty if it could not be asked.
  returned: when the device could be asked
  type: str
  sample: "118"
installed_version:
  description: The version that is installed now.
  returned: when the device could be asked
  type: str
  sample: "119"
install_state:
  description:
    - Where the device is with an update, V(NA) (nowhere), V(DOWNLOADING), V(DOWNLOAD_FAILED), V(DECRYPTING),
      V(DECRYPT_FAILED), V(DOWNLOADED), V(INSTALLING), V(INSTALL_FAILED) or V(REQUIRE_REBOOT).
  returned: when the device could be asked
  type: str
  sample: NA
services_started:
  description: The services that this run started again.
  returned: when the device could be asked
  type: list
  elements: str
  sample: [s3-snow]
file:
  description: The file of the update on this host; empty if the device gets it by itself.
  returned: when the device could be asked
  type: str
  sample: /srv/snowballs/survey-1/offline-updates
fetched_bytes:
  description: How many bytes of it this run downloaded to this host.
  returned: when the device could be asked
  type: int
  sample: 6442450944
state_file:
  description: Where this run noted what the next one would need.
  returned: when the device could be asked
  type: str
  sample: /srv/snowballs/survey-1/offline-updates.192.0.2.10.json
trouble:
  description:
    - One word for what went wrong, among them V(update_failed), V(fetch_failed), V(cloud), V(wrong_update_state),
      V(no_cloud_connection), V(damaged_file), V(timed_out) and those of M(edgeops.snowsync.snowball_unlock).
  returned: failure
  type: str
  sample: update_failed
snowball:
  description: The device as the message names it.
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
