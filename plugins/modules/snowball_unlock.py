#!/usr/bin/python
# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: snowball_unlock
short_description: Unlock a Snowball Edge device or cluster
version_added: 0.2.0
author: edgeops.snowsync contributors (@edgeops)
description:
  - Queries the state of the device, unlocks it if it is locked, and waits until it is unlocked.
  - Optionally saves the device's keys in a file that only its owner can read, for example C(keys.yaml) in the device's
    folder.
  - A device locks itself when it loses power or restarts. Run this module again after that.
extends_documentation_fragment:
  - edgeops.snowsync.attributes
  - edgeops.snowsync.snowball
  - edgeops.snowsync.snowball.wait
attributes:
  check_mode:
    support: full
    details:
      - The device is queried but not unlocked. A locked device does not give out its keys, so O(keys_file) is compared
        only when the device is already unlocked.
  diff_mode:
    support: full
    details: Shows the state of the device, and O(keys_file) without its secret.
  idempotent:
    support: full
options:
  device_ips:
    description:
      - The addresses of all nodes of a cluster. The nodes share one manifest and one unlock code. O(endpoint) can be
        the address of any node.
      - By default the value of C(device_ip_addresses) in C(sbe_config.yaml) of O(snowdir), otherwise a single device.
      - A node that the cluster cannot reach causes a warning, because a cluster works without one or two nodes.
    type: list
    elements: str
    default: []
  keys_file:
    description:
      - Save the keys of the unlocked device in this file, as C(aws_access_key_id) and C(aws_secret_access_key) in YAML.
        Its mode is set to V(0600). Other lines in it are kept.
      - A relative path is relative to O(snowdir), for example V(keys.yaml).
      - By default the keys are not requested.
    type: str
"""

EXAMPLES = r"""
- name: Unlock the device of a folder and save its keys there
  edgeops.snowsync.snowball_unlock:
    snowdir: /srv/snowballs/survey-1
    keys_file: keys.yaml

- name: Unlock a device whose code is in a vault
  edgeops.snowsync.snowball_unlock:
    endpoint: https://192.0.2.10
    manifest: /srv/snowballs/JID2EXAMPLE-0c40-49a7-9f53-916aEXAMPLE81_manifest.bin
    unlock_code: "{{ vault_unlock_code }}"
    timeout: 1200

- name: Unlock a cluster through the client's own profile
  edgeops.snowsync.snowball_unlock:
    profile: cluster-1
    device_ips: [192.0.2.10, 192.0.2.11, 192.0.2.12]

- name: Check whether a device is locked
  edgeops.snowsync.snowball_unlock:
    snowdir: /srv/snowballs/survey-1
  check_mode: true
  register: survey
  failed_when: survey.state | default('') != 'UNLOCKED'
"""

RETURN = r"""
state:
  description:
    - The state of the device, V(LOCKED), V(UNLOCKING) or V(UNLOCKED). For a cluster, the state of the node that is
      furthest from unlocked.
  returned: success
  type: str
  sample: UNLOCKED
device_id:
  description: The ID of the device, or of the first node of a cluster.
  returned: success
  type: str
  sample: JID2EXAMPLE-0c40-49a7-9f53-916aEXAMPLE81
devices:
  description: The device, or all nodes of a cluster. The state of an unreachable node is empty.
  returned: success
  type: list
  elements: dict
  sample:
    - device_id: JID2EXAMPLE-0c40-49a7-9f53-916aEXAMPLE81
      state: UNLOCKED
      ip_address: 192.0.2.10
keys_file:
  description: The file with the keys.
  returned: when O(keys_file) is given
  type: str
  sample: /srv/snowballs/survey-1/keys.yaml
keys:
  description: The keys of the device. The secret is always masked. Read it from RV(keys_file).
  returned: when O(keys_file) is given and the device is unlocked
  type: dict
  sample: {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"}
trouble:
  description:
    - A one-word error class, among others V(unreachable), V(wrong_code), V(wrong_manifest), V(fell_back_to_locked),
      V(timed_out), V(command_timed_out), V(client_missing), V(client_not_executable), V(unknown_output), V(options).
  returned: failure
  type: str
  sample: wrong_code
snowball:
  description: The name of the device in the message.
  returned: failure
  type: str
  sample: survey-1 (https://192.0.2.10)
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edgeops.snowsync.plugins.module_utils._common.argspec import ArgumentSpec
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.argspec import DEVICE, WAIT
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.client import SnowballClient, fail, open_client
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.errors import SnowballError
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.keys import (
    KEY_ID,
    SECRET,
    keys_file,
    keys_path,
)
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.unlock import (
    ensure_unlocked,
    find_devices,
    out_of_reach,
    state_of,
)
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.wait import patience_of

UNLOCK = ArgumentSpec(
    {
        "device_ips": {"type": "list", "elements": "str", "default": []},
        "keys_file": {"type": "str"},
    }
)


def unlock(client: SnowballClient):
    """Unlocks the device and returns the result, with both sides of the diff."""
    devices = find_devices(client)
    before = state_of(devices)
    if not client.module.check_mode:
        devices = ensure_unlocked(client, patience_of(client.module.params), devices)
    result = {
        "changed": before == "LOCKED",
        "state": state_of(devices),
        "device_id": devices[0].device_id,
        "devices": [
            {"device_id": each.device_id, "state": each.state, "ip_address": each.ip_address} for each in devices
        ],
        "diff": {"before": {"state": before}, "after": {"state": "UNLOCKED"}},
    }
    for device_id in out_of_reach(devices):
        client.module.warn(f"Node {device_id} of Snowball {client.name} cannot be reached by the cluster")
    return result


def keep_keys(client: SnowballClient, path, result):
    """Saves the keys and adds the keys file to the result."""
    result["keys_file"] = path
    if result["state"] != "UNLOCKED":
        return
    keys = client.keys()
    file = keys_file(client, path, keys)
    if file.needs_writing:
        result["changed"] = True
        if not client.module.check_mode:
            file.write(client)
    result["keys"] = {KEY_ID: keys.access_key_id, SECRET: keys.secret_access_key}
    result["diff"]["before"]["keys_file"], result["diff"]["after"]["keys_file"] = file.diff()


def main():
    module = AnsibleModule(supports_check_mode=True, **(DEVICE | WAIT | UNLOCK).as_arguments())
    try:
        with open_client(module) as client:
            name = module.params["keys_file"]
            path = keys_path(name, client.access) if name else ""
            result = unlock(client)
            if path:
                keep_keys(client, path, result)
    except SnowballError as error:
        fail(module, error)
    if not module._diff:
        del result["diff"]
    module.exit_json(**result)


if __name__ == "__main__":
    main()
