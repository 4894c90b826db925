# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Options that the modules for a Snowball share: documented in doc_fragments/snowball.py."""

from __future__ import annotations

from ansible_collections.edgeops.snowsync.plugins.module_utils._common.argspec import ArgumentSpec

# The device and how to access it.
DEVICE = ArgumentSpec(
    {
        "client": {"type": "path", "default": "snowballEdge"},
        "snowdir": {"type": "path"},
        "endpoint": {"type": "str"},
        "manifest": {"type": "path"},
        "unlock_code": {"type": "str", "no_log": True},
        "profile": {"type": "str"},
        "command_timeout": {"type": "float", "default": 120.0},
    },
    mutually_exclusive=[("profile", "snowdir"), ("profile", "manifest"), ("profile", "unlock_code")],
)

# How long a module waits for a state of the device, and how often it queries it.
WAIT = ArgumentSpec(
    {
        "timeout": {"type": "float", "default": 600.0},
        "poll_interval": {"type": "float", "default": 10.0},
    }
)
