#!/usr/bin/python
# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: snowball_profile
short_description: Give a Snowball a profile for AWS tools
version_added: 0.2.0
author: edgeops.snowsync contributors (@edgeops)
description:
  - Makes a profile in the files C(~/.aws/config) and C(~/.aws/credentials), so that the AWS CLI, the AWS SDKs and all
    programs built on them (boto3, s5cmd, rclone and others) speak to the device with C(--profile) and nothing else.
  - Other profiles, comments, blank lines, line endings, and options of this profile that are not named here stay byte
    for byte what they are. Each file is replaced in one step, and by one task at a time, so that a play may do this
    for many devices at once. For that a file C(.snowsync.lock) stays beside it.
  - A profile that is there twice in one file is an error; botocore does not read such a file at all.
extends_documentation_fragment:
  - edgeops.snowsync.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Shows the lines of this profile only. Of a secret it tells only whether it is another one than before.
  idempotent:
    support: full
options:
  state:
    description:
      - With V(present) the profile is there, with the options given here.
      - With V(absent) it is in neither file. The certificate file that O(ca_bundle) has by default is gone as well, if
        the profile named it. Comments after the last option of the profile stay, they may be about what follows.
    type: str
    choices: [present, absent]
    default: present
  profile:
    description:
      - The name of the profile. By default it is the name of the folder O(snowdir).
      - At least one of O(profile) and O(snowdir) is needed.
    type: str
  snowdir:
    description:
      - The folder of the device. If it holds a file C(keys.yaml) (see M(edgeops.snowsync.snowball_unlock)) and
        O(access_key) is not given, then the keys are taken from there.
    type: path
  access_key:
    description:
      - The access key of the device. Without it and without a file C(keys.yaml) the credentials file is left alone.
    type: str
  secret_key:
    description:
      - The secret key that belongs to O(access_key).
    type: str
  region:
    description: The region that requests are signed for. All interfaces of a Snowball expect V(snow).
    type: str
    default: snow
  output:
    description: In which format the AWS CLI prints.
    type: str
    choices: [json, text, table, yaml, yaml-stream]
    default: json
  endpoint_url:
    description:
      - The endpoint of the device that requests of this profile go to, mostly that of S3, for example
        V(https://192.0.2.10:8443).
      - Without it the profile's line C(endpoint_url), if there is one, stays what it is. Programs older than 2023 do
        not know this line and need the endpoint as an argument.
    type: str
  checksums:
    description:
      - Whether newer AWS SDKs add checksums of their own to each request, C(request_checksum_calculation) and
        C(response_checksum_validation). The S3 adapter of a Snowball refuses such requests.
    type: str
    choices: [when_required, when_supported]
    default: when_required
  certificate:
    description:
      - The certificate of the device as PEM text. It is written to the file O(ca_bundle), which anybody may read.
      - All else in the text than certificates is left out.
    type: str
  ca_bundle:
    description:
      - The file with the certificates that programs trust when they use this profile.
      - By default, if O(certificate) is given, it is a file named like the profile with the suffix C(.pem), in the
        folder of O(config_file).
      - Without O(certificate) the file is only named. If neither is given, the profile's line C(ca_bundle) stays what
        it is.
    type: path
  config_file:
    description: The config file. A new one is readable by its owner only, an existing one keeps its mode.
    type: path
    default: ~/.aws/config
  credentials_file:
    description: The credentials file. It is readable and writable by its owner only afterwards.
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
- name: A profile named snowball-7, with the keys that snowball_unlock left in the folder
  edgeops.snowsync.snowball_profile:
    snowdir: /srv/snowballs/snowball-7

- name: A profile with everything in it
  edgeops.snowsync.snowball_profile:
    profile: survey
    access_key: "{{ survey_access_key }}"
    secret_key: "{{ survey_secret_key }}"
    certificate: "{{ survey_certificate }}"
    endpoint_url: https://192.0.2.10:8443

- name: Use it
  ansible.builtin.command:
    cmd: aws s3 ls --profile survey
  changed_when: false

- name: The device goes back to AWS, its profile goes too
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
  description: The file of certificates that this task put into the profile; empty if it named none.
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
