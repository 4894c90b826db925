# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that talks to a Snowball: DEVICE and WAIT of module_utils/_snowball/argspec.py."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  client:
    description:
      - The C(snowballEdge) command of the Snowball Edge client, as a path or as a name that is looked up in C(PATH).
    type: path
    default: snowballEdge
  snowdir:
    description:
      - The folder of the device. It holds one file C(*manifest.bin), and C(sbe_config.yaml) with C(unlock_key) and
        C(endpoint_url). For a cluster it also holds C(device_ip_addresses) as a list on one line. The name of the
        folder is the name of the device in messages.
      - O(endpoint), O(manifest) and O(unlock_code) take precedence over the contents of the folder, e.g. when the code
        is in a vault.
    type: path
  endpoint:
    description:
      - The address of the device, for example V(https://192.0.2.10) or V(https://192.0.2.10:9091).
    type: str
  manifest:
    description:
      - The manifest file of the device's job.
    type: path
  unlock_code:
    description:
      - The unlock code of the device's job, 25 letters and digits in five groups.
      - It is passed to the client in a file that only the task's user can read and that exists only while the task
        runs. It never appears on a command line, in a log or in a result.
    type: str
  profile:
    description:
      - A profile in the client's own profile file, C(~/.aws/snowball/config/snowball-edge.config) of the task's user.
        See M(edgeops.snowsync.snowball_client_config).
      - If neither this nor O(snowdir), O(manifest) or O(unlock_code) is given, the client uses its default profile.
    type: str
  command_timeout:
    description:
      - Kill a single client command after this many seconds.
    type: float
    default: 120
requirements:
  - The Snowball Edge client (U(https://aws.amazon.com/snowball/resources/)) on the host that runs the task
"""

    WAIT = r"""
options:
  timeout:
    description:
      - The maximum number of seconds to wait for the device to reach the state. The device continues on its own after a
        timeout, so run the task again to keep waiting.
    type: float
    default: 600
  poll_interval:
    description:
      - The number of seconds between two queries of the device state.
    type: float
    default: 10
"""
