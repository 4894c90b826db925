# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables of a role, as Ansible evaluates them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def evaluated(role: str, variable: str, **known: Any) -> Any:
    """A variable of a role, as a task of it would see it beside `known`."""
    from ansible.parsing.dataloader import DataLoader
    from ansible.template import Templar, trust_as_template

    loader = DataLoader()
    variables: dict[str, Any] = {"omit": "OMITTED"}
    for part in ("defaults", "vars"):
        variables |= loader.load_from_file(str(ROOT / "roles" / role / part / "main.yml"), trusted_as_template=True)
    templar = Templar(loader=loader, variables={**variables, **known})
    return templar.template(trust_as_template("{{ " + variable + " }}"))
