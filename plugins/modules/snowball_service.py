#!/usr/bin/python
# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: snowball_service
short_description: Start and stop services of a Snowball Edge device
version_added: 0.2.0
author: edgeops.snowsync contributors (@edgeops)
description:
  - Starts S3 compatible storage (C(s3-snow)), NFS and other services of an unlocked device with the virtual network
    interfaces they need, or stops them, and waits until the device reports the new state.
  - Existing virtual interfaces are reused, and missing ones are created. None is ever deleted.
  - The services V(s3) (the S3 adapter), V(ec2), V(sts) and V(iam) run as long as the device is unlocked. They cannot be
    stopped, and O(state=started) only waits for them.
extends_documentation_fragment:
  - edgeops.snowsync.attributes
  - edgeops.snowsync.snowball
  - edgeops.snowsync.snowball.wait
attributes:
  check_mode:
    support: full
    details: A service that is already starting or stopping is assumed to finish.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  service:
    description:
      - The ID of the service, for example V(s3-snow), V(nfs), V(fileinterface), V(ec2) or V(greengrass). See
        RV(edgeops.snowsync.snowball_info#module:services) for the services of a device.
    type: str
    required: true
  state:
    description:
      - V(started) also accepts a service that runs with one node fewer (C(DEGRADED)), with a warning.
      - A service that is C(UNHEALTHY) is an error for V(started). Stop it first, which interrupts all its clients.
    type: str
    choices: [started, stopped]
    default: started
  interfaces:
    description:
      - The virtual network interfaces to start the service with. A running service keeps the interfaces it has.
      - V(s3-snow) needs two on each device, V(nfs) and V(fileinterface) need one. The default is that many with DHCP.
      - Each is an existing one (O(interfaces[].arn)), one with a static address (O(interfaces[].ip_address)), or
        otherwise one with DHCP.
      - For an interface with DHCP, the module uses any existing one that has its address by DHCP and that no other
        service of the device listens on. The client does not report which interfaces EC2-compatible instances use. If
        instances use DHCP, give static addresses here.
    type: list
    elements: dict
    default: []
    suboptions:
      arn:
        description:
          - Use this existing virtual interface.
        type: str
      physical:
        description:
          - The physical interface to create it on, by its ID or by its connector, for example V(RJ45), V(RJ45_2),
            V(SFP_PLUS) or V(QSFP).
          - By default the one with the address of the device.
        type: str
      ip_address:
        description:
          - A static address.
        type: str
      netmask:
        description:
          - The netmask of the static address. By default the netmask of the physical interface.
        type: str
  allowed_hosts:
    description:
      - Hosts and networks (CIDR) that may mount V(nfs) and V(fileinterface). If the list is empty, the device denies
        all hosts.
      - If a running service has a different list, it is stopped and started again, which interrupts the mounts.
      - By default the list is not changed.
    type: list
    elements: str
  device_ips:
    description:
      - The addresses of the cluster nodes to start the service on. Virtual interfaces are only created on the node of
        O(endpoint), so list the interfaces of all nodes by their O(interfaces[].arn).
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Start S3 compatible storage with two DHCP addresses
  edgeops.snowsync.snowball_service:
    snowdir: /srv/snowballs/survey-1
    service: s3-snow

- name: Start it on the fast port with static addresses
  edgeops.snowsync.snowball_service:
    snowdir: /srv/snowballs/survey-1
    service: s3-snow
    interfaces:
      - physical: QSFP
        ip_address: 192.0.2.21
        netmask: 255.255.255.0
      - physical: QSFP
        ip_address: 192.0.2.22
        netmask: 255.255.255.0
  register: survey

- name: Allow one network to mount the device
  edgeops.snowsync.snowball_service:
    profile: survey-2
    service: nfs
    allowed_hosts: [198.51.100.0/24]

- name: Stop the services that must be stopped before an update
  edgeops.snowsync.snowball_service:
    profile: survey-2
    service: "{{ item }}"
    state: stopped
  loop: [s3-snow, greengrass]
"""

RETURN = r"""
state:
  description:
    - The state of the service, V(INACTIVE), V(ACTIVATING), V(ACTIVE), V(DEGRADED), V(DEACTIVATING), V(DEACTIVATED),
      V(UPGRADING) or V(UNHEALTHY). In check mode the current state.
  returned: success
  type: str
  sample: ACTIVE
steps:
  description: What was done, or would be done in check mode, V(stop) and V(start) in this order.
  returned: success
  type: list
  elements: str
  sample: [start]
interfaces:
  description:
    - The virtual interfaces that the service was, or would be, started with. One that would be created has no C(arn).
  returned: success, empty when the service is not started
  type: list
  elements: dict
  sample:
    - arn: arn:aws:snowball-device:::interface/s.ni-8EXAMPLE9EXAMPLE1
      physical_id: s.ni-8EXAMPLEaEXAMPLEd
      ip_address: 192.0.2.21
      created: true
service:
  description: The service with its endpoints, as in RV(edgeops.snowsync.snowball_info#module:services).
  returned: success
  type: dict
  sample:
    service_id: s3-snow
    state: ACTIVE
    details: ""
    autostart: false
    allowed_hosts: null
    capacities:
      - {"name": "S3 Storage", "unit": "Byte", "total": null, "used": 38, "available": 148599705}
    endpoints:
      - url: https://192.0.2.22:443
        protocol: https
        host: 192.0.2.22
        port: 443
        kind: object
        certificate_arn: arn:aws:snowball-device:::certificate/78EXAMPLE516EXAMPLEf538EXAMPLEa7
        description: s3-snow object & bucket API endpoint (for s3api SDK)
        device_id: JID2EXAMPLE-0c40-49a7-9f53-916aEXAMPLE81
        state: ACTIVE
trouble:
  description:
    - A one-word error class, among others V(cannot_be_stopped), V(service_failed), V(wrong_state) (the device is
      locked) and those of M(edgeops.snowsync.snowball_unlock).
  returned: failure
  type: str
  sample: wrong_state
snowball:
  description: The name of the device in the message.
  returned: failure
  type: str
  sample: survey-1 (https://192.0.2.10)
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edgeops.snowsync.plugins.module_utils._common.argspec import ArgumentSpec
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.argspec import DEVICE, WAIT
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.client import fail, open_client
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.errors import SnowballError
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.interfaces import wanted_of
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.service import (
    FILE_SERVICES,
    INTERFACES_NEEDED,
    Wish,
    ensure,
)
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.wait import patience_of

INTERFACE = {
    "arn": {"type": "str"},
    "physical": {"type": "str"},
    "ip_address": {"type": "str"},
    "netmask": {"type": "str"},
}
EXCLUSIVE = [("arn", "physical"), ("arn", "ip_address"), ("arn", "netmask")]
SERVICE = ArgumentSpec(
    {
        "service": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["started", "stopped"], "default": "started"},
        "interfaces": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": INTERFACE,
            "mutually_exclusive": EXCLUSIVE,
            "required_by": {"netmask": ["ip_address"]},
        },
        "allowed_hosts": {"type": "list", "elements": "str"},
        "device_ips": {"type": "list", "elements": "str", "default": []},
    }
)


def wish_of(options):
    hosts = options["allowed_hosts"]
    return Wish(
        service_id=options["service"],
        state=options["state"],
        interfaces=wanted_of(options["interfaces"], INTERFACES_NEEDED.get(options["service"], 0)),
        allowed_hosts=None if hosts is None else tuple(hosts),
        device_ips=tuple(options["device_ips"]),
    )


def warnings_of(name, wish, result):
    if wish.is_started and result["state"] == "DEGRADED":
        yield f"The service {wish.service_id} of Snowball {name} is DEGRADED: it runs with one node fewer"
    if wish.service_id in FILE_SERVICES and "start" in result["steps"] and not wish.allowed_hosts:
        yield f"Snowball {name} denies all mounts of {wish.service_id}: allowed_hosts is empty"


def main():
    module = AnsibleModule(supports_check_mode=True, **(DEVICE | WAIT | SERVICE).as_arguments())
    wish = wish_of(module.params)
    try:
        with open_client(module) as client:
            result = ensure(client, wish, patience_of(module.params), module.check_mode).as_result(wish)
    except SnowballError as error:
        fail(module, error)
    for warning in warnings_of(client.name, wish, result):
        module.warn(warning)
    if not module._diff:
        del result["diff"]
    module.exit_json(**result)


if __name__ == "__main__":
    main()
