# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that calls the host's command ``snowsync``: COMMAND of module_utils/_common/argspec.py."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  executable:
    description: The C(snowsync) command on the host. The role P(edgeops.snowsync.engine#role) installs it.
    type: path
    default: /opt/snowsync/bin/snowsync
  jobs_dir:
    description: The folder of the job files on the host.
    type: path
    default: /etc/snowsync/jobs
requirements:
  - The engine of this collection on the host, see P(edgeops.snowsync.engine#role)
"""
