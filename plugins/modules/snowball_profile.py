#!/usr/bin/python
# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: snowball_profile
short_description: Manage the profile of a Snowball for AWS tools
version_added: 0.2.0
author: edgeops.snowsync contributors (@edgeops)
description:
  - Creates a profile in the files C(~/.aws/config) and C(~/.aws/credentials), so that the AWS CLI, the AWS SDKs and all
    programs built on them (boto3, s5cmd, rclone and others) need only C(--profile) to use the device.
  - Other profiles, comments, blank lines, line endings, and options of this profile that are not named here are kept
    byte for byte. Each file is replaced atomically and by one task at a time, so a play can do this for many devices
    at once. The lock file C(.snowsync.lock) stays beside it.
  - A profile that appears twice in one file is an error. botocore cannot read such a file at all.
extends_documentation_fragment:
  - edgeops.snowsync.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Shows the lines of this profile only. For a secret it shows only whether it changed.
  idempotent:
    support: full
options:
  state:
    description:
      - With V(present) the profile exists with the options given here.
      - With V(absent) the profile is removed from both files. The default certificate file of O(ca_bundle) is removed
        as well, if the profile named it. Comments after the last option of the profile stay, because they may belong
        to what follows.
    type: str
    choices: [present, absent]
    default: present
  profile:
    description:
      - The name of the profile. By default it is the name of the folder O(snowdir).
      - At least one of O(profile) and O(snowdir) is required.
    type: str
  snowdir:
    description:
      - The folder of the device. If it holds a file C(keys.yaml) (see M(edgeops.snowsync.snowball_unlock)) and
        O(access_key) is not given, the keys are read from that file.
    type: path
  access_key:
    description:
      - The access key of the device. Without it and without a file C(keys.yaml) the credentials file is not changed.
    type: str
  secret_key:
    description:
      - The secret key that belongs to O(access_key).
    type: str
  region:
    description: The region used to sign requests. All interfaces of a Snowball expect V(snow).
    type: str
    default: snow
  output:
    description: The output format of the AWS CLI.
    type: str
    choices: [json, text, table, yaml, yaml-stream]
    default: json
  endpoint_url:
    description:
      - The endpoint of the device that this profile sends requests to, usually the S3 endpoint, for example
        V(https://192.0.2.10:8443).
      - Without it the profile's line C(endpoint_url), if there is one, is kept. Programs older than 2023 do not
        support this line and need the endpoint as an argument.
    type: str
  checksums:
    description:
      - When newer AWS SDKs add checksums of their own to requests, as C(request_checksum_calculation) and
        C(response_checksum_validation). The S3 adapter of a Snowball rejects requests with such checksums.
    type: str
    choices: [when_required, when_supported]
    default: when_required
  certificate:
    description:
      - The certificate of the device as PEM text. It is written to the file O(ca_bundle), which is world-readable.
      - Anything in the text other than certificates is omitted.
    type: str
  ca_bundle:
    description:
      - The file with the certificates that programs trust when they use this profile.
      - If O(certificate) is given, the default is a file named after the profile with the suffix C(.pem), in the
        folder of O(config_file).
      - Without O(certificate) the profile refers to the file, but the file is not written. If neither is given, the
        profile's line C(ca_bundle) is kept.
    type: path
  config_file:
    description: The config file. A new file is readable by its owner only. An existing file keeps its mode.
    type: path
    default: ~/.aws/config
  credentials_file:
    description: The credentials file. The module makes it readable and writable by its owner only.
    type: path
    default: ~/.aws/credentials
seealso:
  - module: edgeops.snowsync.snowball_unlock
  - module: edgeops.snowsync.snowball_client_config
  - name: Configuration and credential file settings
    description: The format of both files.
    link: https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-files.html
"""

EXAMPLES = r"""
- name: Create the profile snowball-7 with the keys that snowball_unlock saved in the folder
  edgeops.snowsync.snowball_profile:
    snowdir: /srv/snowballs/snowball-7

- name: Create a profile with all options
  edgeops.snowsync.snowball_profile:
    profile: survey
    access_key: "{{ survey_access_key }}"
    secret_key: "{{ survey_secret_key }}"
    certificate: "{{ survey_certificate }}"
    endpoint_url: https://192.0.2.10:8443

- name: Use the profile
  ansible.builtin.command:
    cmd: aws s3 ls --profile survey
  changed_when: false

- name: Remove the profile when the device is returned to AWS
  edgeops.snowsync.snowball_profile:
    profile: survey
    state: absent
"""

RETURN = r"""
profile:
  description: The name of the profile.
  returned: success
  type: str
  sample: snowball-7
config_file:
  description: The config file.
  returned: success
  type: str
  sample: /root/.aws/config
credentials_file:
  description: The credentials file.
  returned: success
  type: str
  sample: /root/.aws/credentials
ca_bundle:
  description: The file of certificates that this task set in the profile. Empty if it set none.
  returned: when O(state=present)
  type: str
  sample: /root/.aws/snowball-7.pem
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.profile import ProfileError, run


def main():
    module = AnsibleModule(
        supports_check_mode=True,
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "profile": {"type": "str"},
            "snowdir": {"type": "path"},
            "access_key": {"type": "str", "no_log": False},
            "secret_key": {"type": "str", "no_log": True},
            "region": {"type": "str", "default": "snow"},
            "output": {"type": "str", "choices": ["json", "text", "table", "yaml", "yaml-stream"], "default": "json"},
            "endpoint_url": {"type": "str"},
            "checksums": {"type": "str", "choices": ["when_required", "when_supported"], "default": "when_required"},
            "certificate": {"type": "str"},
            "ca_bundle": {"type": "path"},
            "config_file": {"type": "path", "default": "~/.aws/config"},
            "credentials_file": {"type": "path", "default": "~/.aws/credentials"},
        },
        required_one_of=[("profile", "snowdir")],
        required_together=[("access_key", "secret_key")],
    )
    try:
        result = run(module)
    except ProfileError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"Failed to write {error.filename}: {error.strerror}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
