#!/usr/bin/python
# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: s5cmd_sync
short_description: Run a snowsync job once, until everything is delivered
version_added: 0.1.0
author: edgeops.snowsync contributors (@edgeops)
description:
  - Runs one job in the foreground, for a bounded time. Objects go from the source bucket through local volumes to the
    destination bucket. Each hop is verified and recorded in the job's ledger.
  - Delivered objects are never sent again, so a run can be repeated, and an interrupted run can simply be restarted.
  - For a continuous transfer that runs as systemd units, see P(edgeops.snowsync.dual_sync#role).
extends_documentation_fragment:
  - edgeops.snowsync.attributes
  - edgeops.snowsync.command
attributes:
  check_mode:
    support: full
    details: The source is listed and compared with the ledger. Nothing is moved and nothing is recorded.
  diff_mode:
    support: full
    details: Shows the first 100 keys to move. Outside check mode this needs an additional listing of the source.
  idempotent:
    support: full
options:
  job:
    description:
      - The name of a job on the host. Its file is in O(jobs_dir).
    type: str
  config:
    description:
      - The job itself, with the same keys as a job file. See the options of P(edgeops.snowsync.dual_sync#role).
      - It never holds a secret. Each store names a V(credentials_file) on the host, in the format of
        C(~/.aws/credentials), that only its owner may read.
      - Use the same V(job) and V(state_dir) each time, because the ledger there records what has been delivered.
    type: dict
  user:
    description:
      - Run as this user, in a transient systemd unit that receives the job's credentials in the same way as the
        long-running units do.
      - By default a task that runs as root runs O(job) as the owner of C(/var/lib/snowsync/<job>), if that folder
        exists, so that every file left there is usable by the job's units. In all other cases it runs as the task's
        user.
    type: str
  direction:
    description:
      - V(source) only fills the volumes, V(destination) only empties them, V(both) does both at the same time.
    type: str
    choices: [both, source, destination]
    default: both
  until:
    description:
      - With V(drained) the run ends when every listed object is delivered and verified, failed or quarantined.
      - With V(one_pass) the source is listed once and each object is tried once.
    type: str
    choices: [drained, one_pass]
    default: drained
  timeout:
    description:
      - End the run after this many seconds. If the job is not drained by then, the task fails, and what was moved
        is kept.
      - By default there is no time limit.
    type: float
"""

EXAMPLES = r"""
- name: Empty the volumes before the ship leaves, within two hours
  edgeops.snowsync.s5cmd_sync:
    job: photos
    direction: destination
    timeout: 7200

- name: Move one bucket to another through two disks
  edgeops.snowsync.s5cmd_sync:
    config:
      job: survey
      state_dir: /srv/survey/state
      source:
        bucket: survey-2026
        endpoints: [https://198.51.100.7:8443]
        region: snow
        credentials_file: /root/survey/source
        ca_bundle: /root/survey/snowball.pem
        list_version: v1
        sorted: false
      destination:
        bucket: archive
        prefix: survey-2026/
        region: eu-central-1
        credentials_file: /root/survey/destination
      volumes:
        - name: disk1
          path: /mnt/disk1
        - name: disk2
          path: /mnt/disk2
          limit: 2TiB
  register: survey

- name: Preview what would move
  edgeops.snowsync.s5cmd_sync:
    job: photos
  check_mode: true
  register: photos

- name: Show the totals
  ansible.builtin.debug:
    msg: "{{ photos.plan.objects }} objects, {{ photos.plan.bytes | human_readable }}"
"""

RETURN = r"""
job:
  description: The name of the job.
  returned: when the job's configuration could be read
  type: str
  sample: photos
plan:
  description: What would move.
  returned: in check mode, and in diff mode
  type: dict
  contains:
    job:
      description: The name of the job.
      type: str
    objects:
      description: The number of objects that are listed or staged and not yet delivered.
      type: int
    bytes:
      description: Their size in bytes.
      type: int
    keys:
      description: The first 100 keys.
      type: list
      elements: str
    left_behind:
      description: The number of listed objects that cannot be moved because of their keys (not UTF-8, too long).
      type: int
    left:
      description: The first 100 of them, each with the reason. A byte that is not UTF-8 is written as C(\xNN).
      type: list
      elements: dict
  sample:
    job: photos
    objects: 3
    bytes: 1049600
    keys: [2026/a.jpg, 2026/b.jpg, 2026/empty]
    left_behind: 0
    left: []
drained:
  description:
    - Whether every listed object was delivered and verified. It is false while objects are failed or quarantined, were
      rejected by the destination, or cannot be moved.
  returned: when the job ran
  type: bool
  sample: true
seconds:
  description: The duration of the run in seconds.
  returned: when the job ran
  type: float
  sample: 41.27
listed:
  description: What this run listed at the source.
  returned: when the job ran
  type: dict
  sample: {"objects": 1041, "bytes": 530579456}
staged:
  description: What this run staged from the source to the volumes, and for how many seconds this hop was active.
  returned: when the job ran
  type: dict
  sample: {"objects": 1041, "bytes": 530579456, "seconds": 38.4}
delivered:
  description:
    - What this run delivered from the volumes to the destination, and for how many seconds this hop was active.
  returned: when the job ran
  type: dict
  sample: {"objects": 1041, "bytes": 530579456, "seconds": 39.1}
refused:
  description:
    - The number of staged objects that the destination rejected. They stay on their volumes, and the next run sends
      them again.
  returned: when the job ran
  type: int
  sample: 0
released:
  description: What this run deleted from the volumes after the destination's copy was verified.
  returned: when the job ran
  type: dict
  sample: {"objects": 1041, "bytes": 530579456}
states:
  description: The number of objects in each state of the ledger, over all runs.
  returned: when the job ran
  type: dict
  sample: {"pending": 0, "staged": 0, "delivered": 0, "released": 1041, "quarantined": 0, "failed": 0}
evidence:
  description:
    - How the objects in the ledger were verified on each hop, from V(size) (size only) and V(not_proven) (two reads
      agree, and nothing stronger is available) to V(medium) (read back from the medium or by an independent reader).
  returned: when the job ran
  type: dict
  sample: {"source": {"store_digest": 1041}, "destination": {"store_digest": 1041}}
failures:
  description: The first 100 objects that could not be moved, each with a one-word error class and a message.
  returned: when the job ran
  type: list
  elements: dict
  sample:
    - key: 2026/locked.jpg
      trouble: denied
      message: "Failed to get 2026/locked.jpg: the store denies this request (HTTP 403, AccessDenied)"
failure_count:
  description: The total number of failures.
  returned: when the job ran
  type: int
  sample: 0
lost:
  description:
    - The number of objects whose newer version was listed at the source and has since disappeared. The older version,
      which was staged, is delivered.
  returned: when the job ran
  type: int
  sample: 0
left_behind:
  description:
    - The number of objects listed at the source that cannot be moved because of their keys (not UTF-8, too long). While
      there are any, the job is not drained and the task fails.
  returned: when the job ran
  type: int
  sample: 0
unserved:
  description:
    - One sentence for each store that responded but served no object despite retries. The remaining objects stay in
      the ledger, and the next run continues with them.
  returned: when the job ran
  type: list
  elements: str
  sample: []
waiting:
  description: What each direction was doing or waiting for when O(timeout) ended the run. Otherwise empty.
  returned: when the job ran
  type: list
  elements: str
  sample: []
report:
  description: The path of this run's report on the host. Empty if there was nothing to report.
  returned: when the job ran
  type: str
  sample: /var/lib/snowsync/photos/reports/dt_data_1795267139.json
exit_code:
  description:
    - The exit code of the command. See C(snowsync --help).
  returned: when the command failed
  type: int
  sample: 5
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edgeops.snowsync.plugins.module_utils._common.argspec import COMMAND, JOB, ArgumentSpec
from ansible_collections.edgeops.snowsync.plugins.module_utils._common.command import JobCommand, from_parameters
from ansible_collections.edgeops.snowsync.plugins.module_utils._common.result import CommandFailed, diff_of, from_plan

RUN = ArgumentSpec(
    {
        "direction": {"type": "str", "choices": ["both", "source", "destination"], "default": "both"},
        "until": {"type": "str", "choices": ["drained", "one_pass"], "default": "drained"},
        "timeout": {"type": "float"},
    }
)
UNTIL = {"drained": "--until-drained", "one_pass": "--once"}


def run_arguments(direction, until, timeout):
    limit = [] if timeout is None else ["--timeout", f"{timeout:g}"]
    return ["--direction", direction, UNTIL[until], *limit]


def sync(command: JobCommand, options, check_mode, diff_mode):
    result = {}
    if check_mode or diff_mode:
        plan = command.call("plan")
        result = from_plan(plan) | ({"diff": diff_of(plan)} if diff_mode else {})
    if not check_mode:
        arguments = run_arguments(options["direction"], options["until"], options["timeout"])
        result |= command.call("run", *arguments)
    return result


def main():
    module = AnsibleModule(supports_check_mode=True, **(COMMAND | JOB | RUN).as_arguments())
    try:
        result = sync(from_parameters(module), module.params, module.check_mode, module._diff)
    except CommandFailed as error:
        module.fail_json(msg=str(error), exit_code=error.code, **error.document)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
