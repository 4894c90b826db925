#!/usr/bin/python
# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: snowball_client_config
short_description: Manage the profile of a Snowball in the Snowball Edge client
version_added: 0.2.0
author: edgeops.snowsync contributors (@edgeops)
description:
  - Creates a profile in the configuration file of the Snowball Edge client, as C(snowballEdge configure) does.
    Afterwards C(snowballEdge describe-device --profile ...) works for everyone who uses this account, without other
    options. With the default O(profile), C(--profile) can be omitted too.
  - The modules of this collection do not need it. They give the client a profile of their own when they have the
    manifest and the unlock code.
  - The file holds unlock codes. The module makes the file and the client's folder readable by the owner only. Other
    profiles in the file, and fields of this profile that this module does not manage, are not changed.
  - A file that is not JSON is an error and is not changed.
  - Each file is replaced atomically and by one task at a time. The lock file C(.snowsync.lock) stays beside it.
extends_documentation_fragment:
  - edgeops.snowsync.attributes
  - edgeops.snowsync.snowball
attributes:
  check_mode:
    support: full
    details: With O(interactive) the client is not started, so the unlock code is not checked against the manifest.
  diff_mode:
    support: full
    details: Shows this profile only. For the unlock code it shows only whether it changed.
  idempotent:
    support: full
options:
  state:
    description: Whether the profile should exist. With V(absent) the file stays, even if it becomes empty.
    type: str
    choices: [present, absent]
    default: present
  profile:
    description:
      - The name of the profile.
      - The default is the profile that C(snowballEdge) appears to use when it is called without C(--profile). AWS does
        not document its name. O(interactive) leaves the choice to the client.
    type: str
    default: default
  snowdir:
    description:
      - The folder of the device. It holds one file C(*manifest.bin), and C(sbe_config.yaml) with C(unlock_key) and
        C(endpoint_url).
      - O(snowdir) or O(manifest) is required when O(state=present).
    type: path
  device_ips:
    description:
      - The addresses of all nodes, if the device is a node of a cluster.
    type: list
    elements: str
  unlock_code:
    description:
      - The unlock code of the device's job, 25 letters and digits in five groups. It is written to the file, and never
        appears on a command line, in a log or in a result.
    type: str
  interactive:
    description:
      - Have the client write the profile itself. The module runs C(snowballEdge configure) on a terminal and answers
        its prompts. The client checks the unlock code against the manifest and records the job ID.
      - This is done only when the profile is missing or differs. The client does not need the device for this.
      - The client writes to its own file. Set O(config_file) only if that file is not the default one.
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
- name: Set the device that snowballEdge uses without options
  edgeops.snowsync.snowball_client_config:
    snowdir: /srv/snowballs/snowball-7

- name: Create one profile per device, with the code from a vault
  edgeops.snowsync.snowball_client_config:
    profile: "{{ inventory_hostname }}"
    endpoint: https://192.0.2.10
    manifest: /srv/snowballs/JID1a2b3c4d-1234-5678-9abc-def012345678_manifest.bin
    unlock_code: "{{ vaulted_unlock_code }}"

- name: Have the client check the code against the manifest
  edgeops.snowsync.snowball_client_config:
    snowdir: /srv/snowballs/snowball-7
    interactive: true

- name: Remove the profile when the device is returned to AWS
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
  description: A one-word error class, for example V(wrong_code), V(wrong_manifest) or V(damaged_file).
  returned: failure
  type: str
  sample: damaged_file
snowball:
  description: The name of the device in messages.
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
