#!/usr/bin/python
# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: snowball_client_config
short_description: Give a Snowball a profile in the Snowball Edge client
version_added: 0.2.0
author: edgeops.snowsync contributors (@edgeops)
description:
  - Makes a profile in the file of the Snowball Edge client, as C(snowballEdge configure) does, so that afterwards
    C(snowballEdge describe-device --profile ...) works for everybody who uses this account, without any other option;
    with the default O(profile) also without that one.
  - The modules of this collection do not need it, they hand the client a profile of their own when they have the
    manifest and the unlock code.
  - The file holds unlock codes. It is readable by its owner only afterwards, and so is the client's folder. Other
    profiles in it, and fields of this profile that nothing here is about, stay what they are.
  - A file that is not JSON is an error, and is left as it is.
  - Each file is replaced in one step, and by one task at a time. For that a file C(.snowsync.lock) stays beside it.
extends_documentation_fragment:
  - edgeops.snowsync.attributes
  - edgeops.snowsync.snowball
attributes:
  check_mode:
    support: full
    details: With O(interactive) the client is not started, so the code is not checked against the manifest.
  diff_mode:
    support: full
    details: Shows this profile only. Of the unlock code it tells only whether it is another one than before.
  idempotent:
    support: full
options:
  state:
    description: Whether the profile is to be there. Without it the file stays, even if it is empty then.
    type: str
    choices: [present, absent]
    default: present
  profile:
    description:
      - The name of the profile.
      - The default is the one that C(snowballEdge) uses when it is called without C(--profile), as the client has it
        by all that is known; AWS documents no name for it. O(interactive) leaves the choice to the client.
    type: str
    default: default
  snowdir:
    description:
      - The folder of the device. It holds one file C(*manifest.bin), and C(sbe_config.yaml) with C(unlock_key) and
        C(endpoint_url).
      - One of O(snowdir) and O(manifest) is needed when O(state=present).
    type: path
  device_ips:
    description:
      - The addresses of all nodes, if the device is a node of a cluster.
    type: list
    elements: str
  unlock_code:
    description:
      - The unlock code of the device's job, 25 letters and digits in five groups. It ends up in the file, and in no
        command line, log or result.
    type: str
  interactive:
    description:
      - Have the client itself write the profile, C(snowballEdge configure), by answering its questions on a terminal.
        It checks the unlock code against the manifest and notes the job's id.
      - This is only done when the profile is not there or differs. The client needs no device for it.
      - The client writes to its own file. Give O(config_file) only if it is another one than the default.
    type: bool
    default: false
  config_file:
    description: The profile file of the client.
    type: path
    default: ~/.aws/snowball/config/snowball-edge.config
seealso:
  - module: edgeops.snowsync.snowball_profile
  - module: edgeops.snowsync.snowball_unlock
"""

EXAMPLES = r"""
- name: The device that snowballEdge speaks to without options
  edgeops.snowsync.snowball_client_config:
    snowdir: /srv/snowballs/snowball-7

- name: One profile per device, the code from a vault
  edgeops.snowsync.snowball_client_config:
    profile: "{{ inventory_hostname }}"
    endpoint: https://192.0.2.10
    manifest: /srv/snowballs/JID1a2b3c4d-1234-5678-9abc-def012345678_manifest.bin
    unlock_code: "{{ vaulted_unlock_code }}"

- name: Have the client check the code against the manifest
  edgeops.snowsync.snowball_client_config:
    snowdir: /srv/snowballs/snowball-7
    interactive: true

- name: The device goes back to AWS
  edgeops.snowsync.snowball_client_config:
    profile: snowball-7
    state: absent
"""

RETURN = r"""
profile:
  description: The name of the profile.
  returned: success
  type: str
  sample: default
config_file:
  description: The profile file of the client.
  returned: success
  type: str
  sample: /root/.aws/snowball/config/snowball-edge.config
trouble:
  description: One word for what went wrong, for example V(wrong_code), V(wrong_manifest) or V(damaged_file).
  returned: failure
  type: str
  sample: damaged_file
snowball:
  description: The device as messages name it.
  returned: failure
  type: str
  sample: snowball-7 (https://192.0.2.10)
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.argspec import DEVICE
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.client import fail
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.client_config import run
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.errors import SnowballError


def main():
    module = AnsibleModule(
        supports_check_mode=True,
        argument_spec={
            **DEVICE.options,
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "profile": {"type": "str", "default": "default"},
            "device_ips": {"type": "list", "elements": "str"},
            "interactive": {"type": "bool", "default": False},
            "config_file": {"type": "path", "default": "~/.aws/snowball/config/snowball-edge.config"},
        },
        required_if=[("state", "present", ("snowdir", "manifest"), True)],
    )
    try:
        result = run(module)
    except SnowballError as error:
        fail(module, error)
    except OSError as error:
        module.fail_json(msg=f"Failed to write {error.filename}: {error.strerror}")
    else:
        module.exit_json(**result)


if __name__ == "__main__":
    main()
