# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that speaks to a Snowball: DEVICE and WAIT of module_utils/_snowball/argspec.py."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  client:
    description:
      - The command C(snowballEdge) of the Snowball Edge client, as a path or as a name to be found in C(PATH).
    type: path
    default: snowballEdge
  snowdir:
    description:
      - The folder of the device. It holds one file C(*manifest.bin), and C(sbe_config.yaml) with C(unlock_key) and
        C(endpoint_url), for a cluster also C(device_ip_addresses) as a list on one line. Its name is the name of the
        device in messages.
      - O(endpoint), O(manifest) and O(unlock_code) take precedence over what the folder says, e.g. when the code is
        kept in a vault instead.
    type: path
  endpoint:
    description:
      - The address of the device, for example V(https://192.0.2.10) or V(https://192.0.2.10:9091).
    type: str
  manifest:
    description:
      - The manifest of the device's job, a file.
    type: path
  unlock_code:
    description:
      - The unlock code of the device's job, 25 letters and digits in five groups.
      - It is handed to the client in a file that only the task's user can read, for as long as the task runs. It is
        never part of a command line, a log or a result.
    type: str
  profile:
    description:
      - A profile in the client's own profile file, C(~/.aws/snowball/config/snowball-edge.config) of the task's user,
        see M(edgeops.snowsync.snowball_client_config).
      - If neither this nor O(snowdir), O(manifest) or O(unlock_code) is given, the client uses its default profile.
    type: str
  command_timeout:
    description:
      - A single command of the client is ended after this many seconds.
    type: float
    default: 120
requirements:
  - The Snowball Edge client (U(https://aws.amazon.com/snowball/resources/)) on the host that runs the task
"""

    WAIT = r"""
options:
  timeout:
    description:
      - Wait this many seconds at most for the device to get there. The device goes on by itself when the time is over,
        so the task can be run again to wait on.
    type: float
    default: 600
  poll_interval:
    description:
      - Ask the device for its state again after this many seconds.
    type: float
    default: 10
"""
