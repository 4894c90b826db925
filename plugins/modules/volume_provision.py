#!/usr/bin/python
# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: volume_provision
short_description: Turn blank disks into volumes, and never format a disk that holds data
version_added: 0.3.0
author: edgeops.snowsync contributors (@edgeops)
description:
  - Turns disks into the volumes that jobs stage on. A volume is a filesystem with a UUID and a marker, mounted by its
    UUID in C(/etc/fstab) with C(nofail), so that a host boots without it.
  - Only disks that are provably blank are used automatically. All others are left alone, and the result says why.
    A disk that holds anything is only formatted when it is named, alone, with O(force) and O(force_signature).
  - A disk keeps its name (C(volume-01), C(volume-02), and so on) across restarts, whatever the kernel calls it, and
    also while it is unplugged.
  - All decisions are made from one scan of the host, before anything is changed. Before each disk is formatted, the
    UUID that it will get is recorded in C(/var/lib/snowsync-volumes/volumes.json). After a power cut between any two
    steps, the next run continues from that point, and formats nothing twice.
  - A filesystem whose disk has grown is grown to fit.
extends_documentation_fragment:
  - edgeops.snowsync.attributes
attributes:
  check_mode:
    support: full
    details: >-
      To read markers, filesystems that may be volumes are mounted briefly, read-only and without journal replay, in
      check mode as well.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description:
      - V(present) creates and mounts volumes. V(absent) unmounts them and removes them from C(/etc/fstab), with their
        data untouched. To bring an V(absent) volume back, name its device with O(state=present).
      - V(wiped) makes the disks of volumes blank again. This is refused while any ledger of this host has staged
        objects on them, or while they hold any file that snowsync did not create. The name is not reused, because
        ledgers tie names to disks.
    type: str
    choices: [present, absent, wiped]
    default: present
  devices:
    description:
      - The disks or partitions, each by its path, by a link such as C(/dev/disk/by-id/...), or by its serial number.
      - If one of them must not be used, none of them is changed.
    type: list
    elements: str
    default: []
  select:
    description:
      - V(blank) uses every whole disk that is provably blank, and restores whatever the existing volumes of this host
        lack.
      - A disk is blank if it has no partition table or signature known to C(wipefs) or C(blkid), holds no data where
        partitions and filesystems usually begin, at its ends, or in samples across the whole disk (64 MiB are read at
        most, see C(docs/volumes.md)), and is not mounted, not in use, not read-only, not in C(/etc/fstab), not the
        disk of the running system, and not visible twice, as a disk with two paths is without multipath.
    type: str
    choices: [blank]
  match:
    description:
      - Shell patterns. O(select) only considers disks whose path, link below C(/dev/disk) or serial number matches one
        of these. Loop devices are only considered when a pattern matches them.
    type: list
    elements: str
    default: []
  count:
    description:
      - With O(select), the maximum number of volumes of the host. Unplugged volumes count until they are V(absent).
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
      - The filesystem of new volumes. Existing volumes are not changed.
    type: str
    choices: [ext4, xfs]
    default: ext4
  partition:
    description:
      - Whether a new volume is placed on a single GPT partition instead of on the whole disk.
    type: bool
    default: false
  mount_root:
    description:
      - New volumes are mounted in folders below this one.
    type: path
    default: /srv/snowsync
  mount_options:
    description:
      - Mount options in addition to C(nofail) and the timeout, which are always set. A change is written to
        C(/etc/fstab), and takes effect at the next mount.
    type: list
    elements: str
    default: [noatime]
  device_timeout:
    description:
      - How many seconds the boot waits for a missing disk.
    type: int
    default: 10
  owner:
    description:
      - The user that owns the volumes, by name or number. A change applies to the top folder and the marker, but not
        to what jobs have staged.
    type: str
    default: snowsync
  group:
    description:
      - The group that owns the volumes, by name or number.
    type: str
    default: snowsync
  mode:
    description:
      - The mode of the top folder of a volume.
    type: str
    default: "0750"
  adopt_foreign:
    description:
      - Whether a named device that is a volume of another host is adopted with everything on it. Its name changes if
        this host already has a volume of that name.
    type: bool
    default: false
  force:
    description:
      - Formats the one named device if O(force_signature) matches its content. Everything on it is permanently lost.
      - A volume of this host is never formatted this way, nor is a disk that C(/etc/fstab) mounts, because a host whose
        fstab waits for a filesystem that no longer exists may not boot. See O(state=wiped).
    type: bool
    default: false
  force_signature:
    description:
      - With O(force), the UUID or the type of what is on the device now, for example V(ntfs), as reported by the error
        without O(force). Use V(unknown) for data of an unknown type, or data that does not begin at the start of the
        device.
    type: str
    default: ""
  volumes:
    description:
      - The names of the volumes that O(state=absent) or O(state=wiped) applies to.
    type: list
    elements: str
    default: []
  executable:
    description:
      - The command C(snowsync), which is queried before a volume is wiped.
    type: path
    default: /opt/snowsync/bin/snowsync
seealso:
  - module: ansible.posix.mount
"""

EXAMPLES = r"""
- name: Create a volume on each blank disk, four at most
  edgeops.snowsync.volume_provision:
    select: blank
    count: 4
    size_min: 500GB

- name: Only consider the disks of one bay
  edgeops.snowsync.volume_provision:
    select: blank
    match: ["/dev/disk/by-path/pci-0000:3b:00.0-*"]
    filesystem: xfs

- name: Use these two disks, whatever the kernel calls them
  edgeops.snowsync.volume_provision:
    devices:
      - /dev/disk/by-id/wwn-0x5000c500a1b2c3d4
      - S5GXNX0T123456

- name: Format one disk that holds a known filesystem
  edgeops.snowsync.volume_provision:
    devices: [/dev/disk/by-id/wwn-0x5000c500a1b2c3d4]
    force: true
    force_signature: 6e2b8b0a-8d1c-4a63-9b0e-1f0a3c5d7e9f

- name: Remove a volume to move it to another host
  edgeops.snowsync.volume_provision:
    state: absent
    volumes: [volume-03]

- name: Turn an empty volume back into a blank disk
  edgeops.snowsync.volume_provision:
    state: wiped
    volumes: [volume-03]
"""

RETURN = r"""
volumes:
  description: The volumes that the task applies to, with O(select) all volumes of the host.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The permanent name of the volume.
      type: str
      returned: always
    path:
      description: Where it is mounted.
      type: str
      returned: always
    device:
      description: The disk or partition that it is on now. Empty when it is V(missing).
      type: str
      returned: always
    disk:
      description: The most descriptive name of the disk, as it was first seen.
      type: str
      returned: always
    size:
      description: The size of the device in bytes. 0 when it is V(missing).
      type: int
      returned: always
    filesystem:
      description: V(ext4) or V(xfs).
      type: str
      returned: always
    filesystem_uuid:
      description: The UUID that C(/etc/fstab) mounts it by.
      type: str
      returned: always
    identity:
      description: The identity by which ledgers know it.
      type: str
      returned: always
    state:
      description: V(ready), V(missing), V(failed), V(absent) or V(wiped). In check mode the expected state.
      type: str
      returned: always
    was:
      description:
        - The state before, V(new), V(ready), V(unmounted), V(adopted), V(absent), V(missing), V(wiped), or the step
          that an earlier run reached, V(formatting), V(formatted) or V(wiping).
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
  description: The disks that O(select) considered and did not use.
  returned: success
  type: list
  elements: dict
  contains:
    device:
      description: The path of the disk.
      type: str
      returned: always
    reason:
      description: Why the disk was not used.
      type: str
      returned: always
  sample:
    - device: /dev/sda
      reason: it carries the running system (/, /boot/efi)
    - device: /dev/sdc
      reason: it has a signature of ntfs (label DATA, UUID 1C2D3E4F5A6B7C8D)
steps:
  description: What was done, or would be done in check mode, in this order.
  returned: success
  type: list
  elements: str
  sample:
    - record volume-01 as formatting
    - format /dev/sdb as ext4 for volume-01
    - record volume-01 as formatted
    - "write to fstab: UUID=0b1f2a58-53a1-4d1c-8a86-0c53b13d7a0e /srv/snowsync/volume-01 ext4
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
        module.fail_json(msg="Failed to examine the disks: root is required. Set `become: true` on the task.")
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
