#!/usr/bin/python
# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: s5cmd_sync
short_description: Run a snowsync job once, until everything has arrived
version_added: 0.1.0
author: edgeops.snowsync contributors (@edgeops)
description:
  - Runs one job in the foreground, for a bounded time. Objects go from the source bucket through local volumes to the
    destination bucket, each hop proven, and recorded in the ledger of the job.
  - What has been delivered is never sent again, so a run can be repeated, and one that was cut off is simply run again.
  - For a transfer that goes on for ever, as systemd units, see P(edgeops.snowsync.dual_sync#role).
extends_documentation_fragment:
  - edgeops.snowsync.attributes
  - edgeops.snowsync.command
attributes:
  check_mode:
    support: full
    details: The source is listed and compared with the ledger, nothing is moved and nothing is recorded.
  diff_mode:
    support: full
    details: Shows the first 100 keys that are to move. Outside of check mode this needs another listing of the source.
  idempotent:
    support: full
options:
  job:
    description:
      - The name of a job on the host, whose file is in O(jobs_dir).
    type: str
  config:
    description:
      - The job itself, with the same keys as a job's file, see the options of P(edgeops.snowsync.dual_sync#role).
      - It never holds a secret. Each store names a V(credentials_file) on the host in the format of
        C(~/.aws/credentials), which nobody but its owner may read.
      - Give it the same V(job) and V(state_dir) each time, the ledger there knows what has been delivered.
    type: dict
  user:
    description:
      - Run as this user, in a transient systemd unit that is handed the job's credentials as the long-lived units are.
      - By default a task that runs as root runs O(job) as the owner of C(/var/lib/snowsync/<job>), if there is such a
        folder, so that nothing is left there that the job's units cannot use. In all other cases it runs as the task's
        own user.
    type: str
  direction:
    description:
      - V(source) only fills the volumes, V(destination) only empties them, V(both) does both at once.
    type: str
    choices: [both, source, destination]
    default: both
  until:
    description:
      - With V(drained) the run ends when everything that is listed is delivered and proven, failed or quarantined.
      - With V(one_pass) the source is listed once and every object is tried once.
    type: str
    choices: [drained, one_pass]
    default: drained
  timeout:
    description:
      - The run ends after this many seconds at the latest. If the job is not drained by then, the task fails;
        what was moved is kept.
      - By default there is no limit.
    type: float
"""

EXAMPLES = r"""
- name: Empty the volumes before the ship leaves, for two hours at most
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

- name: See what would move
  edgeops.snowsync.s5cmd_sync:
    job: photos
  check_mode: true
  register: photos

- name: Say it
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
      description: How many objects are listed or staged and not delivered.
      type: int
    bytes:
      description: Their size in bytes.
      type: int
    keys:
      description: The first 100 keys.
      type: list
      elements: str
    left_behind:
      description: How many listed objects cannot be moved because of their keys (no UTF-8, too long).
      type: int
    left:
      description: The first 100 of them, each with the reason; a byte that is no UTF-8 is written as C(\xNN).
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
    - Whether all that is listed was delivered, and proven. Not while objects are failed or quarantined, were refused by
      the destination, or cannot be moved.
  returned: when the job ran
  type: bool
  sample: true
seconds:
  description: How long the run took, in seconds.
  returned: when the job ran
  type: float
  sample: 41.27
listed:
  description: What this run listed at the source.
  returned: when the job ran
  type: dict
  sample: {"objects": 1041, "bytes": 530579456}
staged:
  description: What this run brought from the source to the volumes, and the seconds this hop was at work.
  returned: when the job ran
  type: dict
  sample: {"objects": 1041, "bytes": 530579456, "seconds": 38.4}
delivered:
  description: What this run brought from the volumes to the destination, and the seconds this hop was at work.
  returned: when the job ran
  type: dict
  sample: {"objects": 1041, "bytes": 530579456, "seconds": 39.1}
refused:
  description:
    - How many staged objects the destination did not take. They are kept on their volumes, and the next run sends
      them again.
  returned: when the job ran
  type: int
  sample: 0
released:
  description: What this run deleted from the volumes, after the destination's copy was proven.
  returned: when the job ran
  type: dict
  sample: {"objects": 1041, "bytes": 530579456}
states:
  description: How many objects of the ledger are in each state, whichever run brought them there.
  returned: when the job ran
  type: dict
  sample: {"pending": 0, "staged": 0, "delivered": 0, "released": 1041, "quarantined": 0, "failed": 0}
evidence:
  description:
    - How the objects of the ledger were proven on each hop, from V(size) (nothing but the size) and V(not_proven) (two
      reads agree, and nothing better can be had) to V(medium) (read back from the medium or by an independent reader).
  returned: when the job ran
  type: dict
  sample: {"source": {"store_digest": 1041}, "destination": {"store_digest": 1041}}
failures:
  description: The first 100 objects that could not be moved, each with one word for the kind of trouble and a message.
  returned: when the job ran
  type: list
  elements: dict
  sample:
    - key: 2026/locked.jpg
      trouble: denied
      message: "Failed to get 2026/locked.jpg: the store denies this request (HTTP 403, AccessDenied)"
failure_count:
  description: How many failures there were in all.
  returned: when the job ran
  type: int
  sample: 0
lost:
  description:
    - How many objects had a newer version at the source that was listed and is gone. The older one, which was staged,
      is delivered.
  returned: when the job ran
  type: int
  sample: 0
left_behind:
  description:
    - How many objects are listed at the source and cannot be moved because of their keys (no UTF-8, too long). The job
      is not drained and the task fails while there are any.
  returned: when the job ran
  type: int
  sample: 0
unserved:
  description:
    - A sentence for each store that answered and served no object, however often some were tried. What is still to be
      moved is kept, and the next run goes on with it.
  returned: when the job ran
  type: list
  elements: str
  sample: []
waiting:
  description: What each direction was doing or waiting for when O(timeout) ended the run; empty otherwise.
  returned: when the job ran
  type: list
  elements: str
  sample: []
report:
  description: The report of this run on the host; empty if there was nothing to report.
  returned: when the job ran
  type: str
  sample: /var/lib/snowsync/photos/reports/dt_data_1795267139.json
exit_code:
  description:
    - The exit code of the command, see C(snowsync --help).
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
