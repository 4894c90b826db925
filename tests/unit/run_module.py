# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running a module of this collection in the process of a test, as Ansible would call it."""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "ansible_collections.edgeops.snowsync.plugins"
COLLECTIONS = ROOT / ".build/collections"  # as make has it


def backend(name: str) -> Any:
    """A file of plugins/module_utils."""
    load_collection()
    return importlib.import_module(f"{PACKAGE}.module_utils.{name}")


@functools.cache
def load_collection() -> None:
    """Let Ansible find the checkout under the collection's name, in this process for as long as it lives.

    So nothing that belongs to one test may hold that name: the folder of a test goes with it.
    """
    from ansible.plugins.loader import init_plugin_loader

    namespace = COLLECTIONS / "ansible_collections/edgeops"
    namespace.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        (namespace / "snowsync").symlink_to(ROOT)
    init_plugin_loader([str(COLLECTIONS)])
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
