#!/usr/bin/python
# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: volume_provision
short_description: Make volumes of disks, once, and never format what carries anything
version_added: 0.3.0
author: edgeops.snowsync contributors (@edgeops)
description:
  - Turns disks into the volumes that jobs stage on. A volume is a filesystem with a UUID and a marker, mounted by its
    UUID in C(/etc/fstab) with C(nofail), so that a host boots without it.
  - Only disks that are provably blank are taken by themselves. All others are left alone, and the result says why.
    A disk that carries anything is only formatted when it is named, alone, with O(force) and O(force_signature).
  - A disk keeps its name (C(volume-01), C(volume-02), and so on) across restarts, whatever the kernel calls it, and
    also while it is unplugged.
  - Everything is decided from one look at the host, before anything is done. Before each disk is formatted the host
    records, in C(/var/lib/snowsync-volumes/volumes.json), which UUID it is given. When the power is cut between any two
    steps, the next run goes on there, and formats nothing twice.
  - A filesystem whose disk grew is grown.
extends_documentation_fragment:
  - edgeops.snowsync.attributes
attributes:
  check_mode:
    support: full
    details: >-
      To read markers, filesystems that may be volumes are mounted for a moment, read-only and without their journal
      being replayed, in check mode as well.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description:
      - V(present) makes and mounts volumes, V(absent) unmounts them and takes them out of C(/etc/fstab), with their
        data untouched. One that is V(absent) comes back when its device is named with O(state=present).
      - V(wiped) makes the disks of volumes blank again. This is refused as long as any ledger of this host has staged
        objects there, or any file is on them that is not of snowsync. The name is not given again, because ledgers
        tie names to disks.
    type: str
    choices: [present, absent, wiped]
    default: present
  devices:
    description:
      - The disks or partitions, each by its path, by a link such as C(/dev/disk/by-id/...), or by its serial number.
      - One that must not be used means that nothing is done to any of them.
    type: list
    elements: str
    default: []
  select:
    description:
      - V(blank) takes every whole disk that is provably blank, and makes good whatever the volumes of this host lack.
      - Blank is a disk without a partition table or signature that C(wipefs) or C(blkid) know, that holds nothing where
        partitions and filesystems usually begin, at its ends, and in samples of all of it (64 MiB are read at most, see
        C(docs/volumes.md)), that is not mounted, not in use by anything, not read-only, not in C(/etc/fstab), not the
        disk of the running system, and not shown twice, as a disk on two cables is without multipath.
    type: str
    choices: [blank]
  match:
    description:
      - Shell patterns. O(select) only looks at disks with a path, a link below C(/dev/disk) or a serial number like one
        of these. Loop devices are only looked at when a pattern names them.
    type: list
    elements: str
    default: []
  count:
    description:
      - With O(select), the host gets so many volumes at most. Those that are unplugged count, until they are V(absent).
    type: int
  size_min:
    description:
      - With O(select), smaller disks are left alone. A size such as V(500GB) or V(1TiB).
    type: str
    default: 1GiB
  size_max:
    description:
      - With O(select), larger disks are left alone.
    type: str
  filesystem:
    description:
      - What new volumes are formatted as. Volumes that are there stay what they are.
    type: str
    choices: [ext4, xfs]
    default: ext4
  partition:
    description:
      - Whether a new volume lies on the one partition of a GPT, instead of on the whole disk.
    type: bool
    default: false
  mount_root:
    description:
      - New volumes are mounted in folders below this one.
    type: path
    default: /srv/snowsync
  mount_options:
    description:
      - Options of C(mount) beside C(nofail) and the time-out, which are always there. A change is written into
        C(/etc/fstab), and holds from the next mount on.
    type: list
    elements: str
    default: [noatime]
  device_timeout:
    description:
      - For how many seconds a boot waits for a disk that is not there.
    type: int
    default: 10
  owner:
    description:
      - The user that volumes belong to, by name or number. A change is one of the top folder and the marker, and not
        of what jobs have staged.
    type: str
    default: snowsync
  group:
    description:
      - The group that volumes belong to, by name or number.
    type: str
    default: snowsync
  mode:
    description:
      - The mode of the top folder of a volume.
    type: str
    default: "0750"
  adopt_foreign:
    description:
      - Whether a named device that is a volume of another host is taken over with all that is on it. Its name changes
        when this host has a volume of that name.
    type: bool
    default: false
  force:
    description:
      - Formats the one device that is named, with everything on it lost for ever, if O(force_signature) says what it
        is.
      - A volume of this host is never formatted this way, and no disk that C(/etc/fstab) mounts. A host whose fstab
        waits for a filesystem that is no more may not boot. See O(state=wiped).
    type: bool
    default: false
  force_signature:
    description:
      - With O(force), the UUID or the type of what is on the device now, for example V(ntfs), as the error without
        O(force) tells it. V(unknown) for data of no known kind, or that does not begin where the device does.
    type: str
    default: ""
  volumes:
    description:
      - The names of the volumes that O(state=absent) and O(state=wiped) concern.
    type: list
    elements: str
    default: []
  executable:
    description:
      - The command C(snowsync), which is asked before a volume is wiped.
    type: path
    default: /opt/snowsync/bin/snowsync
seealso:
  - module: ansible.posix.mount
"""

EXAMPLES = r"""
- name: Make a volume of each blank disk, four at most
  edgeops.snowsync.volume_provision:
    select: blank
    count: 4
    size_min: 500GB

- name: Only look at the disks of one bay
  edgeops.snowsync.volume_provision:
    select: blank
    match: ["/dev/disk/by-path/pci-0000:3b:00.0-*"]
    filesystem: xfs

- name: Use these two disks, whatever the kernel calls them
  edgeops.snowsync.volume_provision:
    devices:
      - /dev/disk/by-id/wwn-0x5000c500a1b2c3d4
      - S5GXNX0T123456

- name: Give up what is on one disk, knowing what that is
  edgeops.snowsync.volume_provision:
    devices: [/dev/disk/by-id/wwn-0x5000c500a1b2c3d4]
    force: true
    force_signature: 6e2b8b0a-8d1c-4a63-9b0e-1f0a3c5d7e9f

- name: Take a volume along to another host
  edgeops.snowsync.volume_provision:
    state: absent
    volumes: [volume-03]

- name: Make an empty volume a blank disk again
  edgeops.snowsync.volume_provision:
    state: wiped
    volumes: [volume-03]
"""

RETURN = r"""
volumes:
  description: The volumes that the task is about, with O(select) all of the host.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The name that stays with the disk.
      type: str
      returned: always
    path:
      description: Where it is mounted.
      type: str
      returned: always
    device:
      description: The disk or partition it lies on now, empty when it is V(missing).
      type: str
      returned: always
    disk:
      description: The name of the disk that says most, as it was first seen.
      type: str
      returned: always
    size:
      description: The size of the device in bytes, 0 when it is V(missing).
      type: int
      returned: always
    filesystem:
      description: V(ext4) or V(xfs).
      type: str
      returned: always
    filesystem_uuid:
      description: What C(/etc/fstab) mounts it by.
      type: str
      returned: always
    identity:
      description: What ledgers know it by.
      type: str
      returned: always
    state:
      description: V(ready), V(missing), V(failed), V(absent) or V(wiped). In check mode what it would be.
      type: str
      returned: always
    was:
      description:
        - What it was before, V(new), V(ready), V(unmounted), V(adopted), V(absent), V(missing), V(wiped), or how far
          an earlier run came, V(formatting), V(formatted) or V(wiping).
      type: str
      returned: always
  sample:
    - name: volume-01
      path: /srv/snowsync/volume-01
      device: /dev/sdb
      disk: /dev/disk/by-id/wwn-0x5000c500a1b2c3d4
      size: 4000787030016
      filesystem: ext4
      filesystem_uuid: 0b1f2a58-53a1-4d1c-8a86-0c53b13d7a0e
      identity: 5f0d4c0e-6a3b-4f57-9f6e-3a2b1c0d9e8f
      state: ready
      was: new
left_alone:
  description: The disks that O(select) looked at and left as they are.
  returned: success
  type: list
  elements: dict
  contains:
    device:
      description: The path of the disk.
      type: str
      returned: always
    reason:
      description: Why.
      type: str
      returned: always
  sample:
    - device: /dev/sda
      reason: it carries the running system (/, /boot/efi)
    - device: /dev/sdc
      reason: it has a signature of ntfs (label DATA, UUID 1C2D3E4F5A6B7C8D)
steps:
  description: What was done, or would be in check mode, in this order.
  returned: success
  type: list
  elements: str
  sample:
    - record volume-01 as formatting
    - format /dev/sdb as ext4 for volume-01
    - record volume-01 as formatted
    - "write into fstab: UUID=0b1f2a58-53a1-4d1c-8a86-0c53b13d7a0e /srv/snowsync/volume-01 ext4
      noatime,nofail,x-systemd.device-timeout=10s 0 2"
    - mount volume-01 at /srv/snowsync/volume-01
    - write the marker of volume-01
    - record volume-01 as ready
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edgeops.snowsync.plugins.module_utils._volume.model import VolumeError
from ansible_collections.edgeops.snowsync.plugins.module_utils._volume.options import OPTIONS, runner, wish_of
from ansible_collections.edgeops.snowsync.plugins.module_utils._volume.provision import provision


def main():
    module = AnsibleModule(OPTIONS, supports_check_mode=True)
    if os.geteuid() != 0:
        module.fail_json(msg="Failed to look at the disks: only root can. Give the task `become: true`.")
    try:
        outcome = provision(
            runner(module),
            wish_of(module.params),
            check=module.check_mode,
            command=module.params["executable"],
            move=module.atomic_move,
        )
    except VolumeError as error:
        module.fail_json(msg=str(error), device=error.device)
    result = outcome.as_result()
    if module._diff:
        result["diff"] = outcome.diff()
    for warning in outcome.warnings():
        module.warn(warning)
    if outcome.problems:
        module.fail_json(msg="\n".join(map(str, outcome.problems)), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
