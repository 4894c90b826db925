# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running a module of this collection in the process of a test, as Ansible would call it."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "ansible_collections.edgeops.snowsync.plugins"
_tree: list[Path] = []


def backend(name: str, folder: Path) -> Any:
    """A file of plugins/module_utils; `folder` is where the checkout may get its name as a collection."""
    load_collection(folder)
    return importlib.import_module(f"{PACKAGE}.module_utils.{name}")


def load_collection(folder: Path) -> None:
    """Ansible finds the checkout under the collection's name."""
    from ansible.plugins.loader import init_plugin_loader

    if f"{PACKAGE}" in sys.modules:
        return
    namespace = folder / "ansible_collections" / "edgeops"
    namespace.mkdir(parents=True)
    (namespace / "snowsync").symlink_to(ROOT)
    init_plugin_loader([str(folder)])
    importlib.import_module(PACKAGE)


def run_module(name: str, folder: Path, *, check: bool = False, diff: bool = False, **options: Any) -> dict[str, Any]:
    """What the module returns to Ansible; `folder` is the place for its temporary files."""
    from ansible.module_utils.testing import patch_module_args

    module = importlib.import_module(f"{PACKAGE}.modules.{name}")
    arguments = {
        **options,
        "_ansible_check_mode": check,
        "_ansible_diff": diff,
        # Named here, it is not removed when this process ends, long after pytest has removed it.
        "_ansible_tmpdir": tempfile.mkdtemp(prefix="ansible-tmp-", dir=folder),
    }
    printed = io.StringIO()
    with patch_module_args(arguments), contextlib.redirect_stdout(printed), pytest.raises(SystemExit) as exit_info:
        module.main()
    result: dict[str, Any] = json.loads(printed.getvalue())
    assert (exit_info.value.code != 0) == bool(result.get("failed"))
    return result
