# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Argument specifications as values: a module merges what it needs with ``|``, including the conditions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ArgumentSpec:
    """Options of a module and the conditions between them."""

    options: dict[str, Any]
    mutually_exclusive: list[tuple[str, ...]] = field(default_factory=list)
    required_one_of: list[tuple[str, ...]] = field(default_factory=list)
    required_by: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __or__(self, other: ArgumentSpec) -> ArgumentSpec:
        return ArgumentSpec(
            self.options | other.options,
            self.mutually_exclusive + other.mutually_exclusive,
            self.required_one_of + other.required_one_of,
            self.required_by | other.required_by,
        )

    def as_arguments(self) -> dict[str, Any]:
        """Keyword arguments for AnsibleModule."""
        return {
            "argument_spec": self.options,
            "mutually_exclusive": self.mutually_exclusive,
            "required_one_of": self.required_one_of,
            "required_by": self.required_by,
        }


# The command `snowsync` of the host.
COMMAND = ArgumentSpec(
    {
        "executable": {"type": "path", "default": "/opt/snowsync/bin/snowsync"},
        "jobs_dir": {"type": "path", "default": "/etc/snowsync/jobs"},
    }
)

# One job, by its name on the host or as a mapping, and who runs it.
JOB = ArgumentSpec(
    {
        "job": {"type": "str"},
        "config": {"type": "dict"},
        "user": {"type": "str"},
    },
    mutually_exclusive=[("job", "config")],
    required_one_of=[("job", "config")],
    required_by={"user": ("job",)},
)
