#!/usr/bin/python
# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: snowball_info
short_description: Gather information about a Snowball Edge device
version_added: 0.2.0
author: edgeops.snowsync contributors (@edgeops)
description:
  - Returns the device with its state, network interfaces and capacities, its software version, when its certificate
    expires, its services, and its S3 endpoints.
  - A locked device reports less. RV(unavailable) lists what it does not report. This does not fail the task.
  - Warns when a certificate of the device is about to expire, because the device cannot be used after that.
extends_documentation_fragment:
  - edgeops.snowsync.attributes
  - edgeops.snowsync.snowball
attributes:
  check_mode:
    support: full
    details: The device is only queried.
  diff_mode:
    support: N/A
    details: Nothing is changed.
  idempotent:
    support: full
options:
  gather:
    description:
      - What to query in addition to the device itself. Each subset needs one or more client commands, which take a
        second or two each.
      - V(services) is the services and the S3 endpoints, V(software) the versions and the expiry of the certificate,
        V(interfaces) the virtual network interfaces, V(certificates) every certificate in PEM, V(features) e.g. remote
        management, V(time) the time sources, V(client) the version of the client.
    type: list
    elements: str
    choices: [certificates, client, features, interfaces, services, software, time]
    default: [certificates, client, features, interfaces, services, software, time]
  certificate_warning_days:
    description:
      - Warn when a certificate expires in this many days or fewer.
    type: int
    default: 30
"""

EXAMPLES = r"""
- name: Gather everything about a device
  edgeops.snowsync.snowball_info:
    snowdir: /srv/snowballs/survey-1
  register: survey

- name: Show the endpoint of its S3 adapter
  ansible.builtin.debug:
    msg: "{{ survey.s3_endpoints.adapter | selectattr('protocol', 'eq', 'https') | map(attribute='url') | first }}"

- name: Save the certificate that this endpoint presents
  ansible.builtin.copy:
    content: >-
      {{ survey.certificates | selectattr('arn', 'eq', survey.s3_endpoints.object[0].certificate_arn)
      | map(attribute='pem') | first }}
    dest: /etc/snowsync/survey-1.pem
    mode: "0644"

- name: Gather only the software version and the expiry of the certificate
  edgeops.snowsync.snowball_info:
    profile: survey-1
    gather: [software]
    certificate_warning_days: 60
"""

RETURN = r"""
state:
  description: V(LOCKED), V(UNLOCKING) or V(UNLOCKED).
  returned: success
  type: str
  sample: UNLOCKED
device_id:
  description: The ID of the device.
  returned: success
  type: str
  sample: JID2EXAMPLE-0c40-49a7-9f53-916aEXAMPLE81
device:
  description: The device. Fields that it does not report are empty or null.
  returned: success
  type: dict
  contains:
    device_id:
      description: The ID of the device.
      type: str
    state:
      description: V(LOCKED), V(UNLOCKING) or V(UNLOCKED).
      type: str
    ip_address:
      description: The address of its active network interface.
      type: str
    device_type:
      description: The model, e.g. V(V3_5C) (compute-optimized) or V(V3_5S) (storage-optimized, 210 TB).
      type: str
    interfaces:
      description:
        - The physical network interfaces. Each has C(interface_id), C(connector), C(assignment), C(ip_address),
          C(netmask), C(gateway), C(mac_address) and C(mtu).
      type: list
      elements: dict
    capacities:
      description: The capacities by kind. Each has C(name), C(unit), C(total), C(used) and C(available).
      type: list
      elements: dict
    cluster_id:
      description: The cluster that the device belongs to.
      type: str
    association:
      description: Its association with the cluster, e.g. V(ASSOCIATED).
      type: str
    reachability:
      description: Whether the cluster can reach it.
      type: str
    tags:
      description: Its tags.
      type: dict
  sample:
    device_id: JID2EXAMPLE-0c40-49a7-9f53-916aEXAMPLE81
    state: UNLOCKED
    ip_address: 192.0.2.10
    device_type: V3_5S
    interfaces:
      - interface_id: s.ni-8EXAMPLEaEXAMPLEd
        connector: RJ45
        assignment: DHCP
        ip_address: 192.0.2.10
        netmask: 255.255.255.0
        gateway: 192.0.2.1
        mac_address: EX:AM:PL:E0:12:34
        mtu: 1500
    capacities:
      - name: HDD Storage
        unit: Byte
        total: 80000000000000
        used: 1000000000
        available: 79999000000000
    cluster_id: ""
    association: ""
    reachability: ""
    tags: {}
software:
  description: Its software and the expiry of its certificate in UTC. V(certificate_days_left) is negative after expiry.
  returned: when requested and reported
  type: dict
  sample:
    installed: "118"
    installing: ""
    state: NA
    error: ""
    certificate_expiry_text: Sat Mar 30 16:47:51 UTC 2027
    certificate_expiry: "2027-03-30T16:47:51Z"
    certificate_days_left: 129
certificate_days_left:
  description:
    - The whole days until the first of its certificates expires, from RV(software) and RV(certificates). Null when the
      device reports none.
  returned: success
  type: int
  sample: 129
services:
  description: Its services by ID.
  returned: when requested and reported
  type: dict
  sample:
    s3:
      service_id: s3
      state: ACTIVE
      details: ""
      autostart: null
      allowed_hosts: null
      capacities:
        - {"name": "Storage", "unit": "Byte", "total": 99608745492480, "used": 1024000, "available": 99608744468480}
      endpoints:
        - url: https://192.0.2.10:8443
          protocol: https
          host: 192.0.2.10
          port: 8443
          kind: adapter
          certificate_arn: arn:aws:snowball-device:::certificate/78EXAMPLE516EXAMPLEf538EXAMPLEa7
          description: ""
          device_id: ""
          state: ""
s3_endpoints:
  description:
    - Its S3 endpoints. V(adapter) is the S3 adapter. V(object) and V(control) are the two of S3 compatible storage
      (C(s3-snow)). V(unknown) is present only for an endpoint that does not say which it is.
    - C(state) is the state of the service, because endpoints are listed before the service is ready.
  returned: when services are requested and reported
  type: dict
  sample:
    adapter:
      - url: https://192.0.2.10:8443
        protocol: https
        state: ACTIVE
        certificate_arn: arn:aws:snowball-device:::certificate/78EXAMPLE516EXAMPLEf538EXAMPLEa7
        device_id: ""
    object: []
    control: []
virtual_interfaces:
  description: Its virtual network interfaces.
  returned: when requested and reported
  type: list
  elements: dict
  sample:
    - arn: arn:aws:snowball-device:::interface/s.ni-8EXAMPLE9EXAMPLE1
      physical_id: s.ni-8EXAMPLEaEXAMPLEd
      assignment: DHCP
      ip_address: 192.0.2.11
      netmask: 255.255.255.0
      gateway: 192.0.2.1
      mac_address: EX:AM:PL:E1:23:45
certificates:
  description: Its certificates. Each endpoint names its certificate, which is not always the first one.
  returned: when requested and reported
  type: list
  elements: dict
  sample:
    - arn: arn:aws:snowball-device:::certificate/78EXAMPLE516EXAMPLEf538EXAMPLEa7
      names: [192.0.2.10]
      pem: "-----BEGIN CERTIFICATE-----\n..."
      certificate_expiry: "2027-03-30T16:47:51Z"
      certificate_days_left: 129
features:
  description: Its features.
  returned: when requested and reported
  type: dict
  sample: {"remote_management_state": "INSTALLED_ONLY"}
time_sources:
  description: Its time sources.
  returned: when requested and reported
  type: list
  elements: dict
  sample: [{"address": "192.0.2.123", "state": "CURRENT", "type": "SERVER", "stratum": "3"}]
client:
  description: The version of the client. V(build) is null if the client does not report it.
  returned: when requested
  type: dict
  sample: {"version": "1.2.0", "build": 661}
unavailable:
  description: The subsets that the device did not report, each with the reason.
  returned: success
  type: dict
  sample: {}
trouble:
  description: A one-word error class, e.g. V(unreachable). See M(edgeops.snowsync.snowball_unlock).
  returned: failure
  type: str
  sample: unreachable
snowball:
  description: The name of the device in the message.
  returned: failure
  type: str
  sample: survey-1 (https://192.0.2.10)
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edgeops.snowsync.plugins.module_utils._common.argspec import ArgumentSpec
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.argspec import DEVICE
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.client import fail, open_client
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.errors import SnowballError
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.info import (
    SUBSETS,
    days_left,
    expiry_warning,
    gather,
)

INFO = ArgumentSpec(
    {
        "gather": {"type": "list", "elements": "str", "choices": list(SUBSETS), "default": list(SUBSETS)},
        "certificate_warning_days": {"type": "int", "default": 30},
    }
)


def main():
    module = AnsibleModule(supports_check_mode=True, **(DEVICE | INFO).as_arguments())
    try:
        with open_client(module) as client:
            result = gather(client, module.params["gather"])
    except SnowballError as error:
        fail(module, error)
    days = days_left(result)
    for warning in expiry_warning(client.name, days, module.params["certificate_warning_days"]):
        module.warn(warning)
    module.exit_json(changed=False, certificate_days_left=days, **result)


if __name__ == "__main__":
    main()
