# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module s5cmd_sync as Ansible runs it, against a command that answers what a test wants."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = "ansible_collections.edgeops.snowsync.plugins"
pytestmark = pytest.mark.usefixtures("collection")

RAN = {
    "job": "photos",
    "changed": True,
    "drained": True,
    "seconds": 1.5,
    "listed": {"objects": 2, "bytes": 30},
    "staged": {"objects": 2, "bytes": 30, "seconds": 1.0},
    "delivered": {"objects": 2, "bytes": 30, "seconds": 1.1},
    "released": {"objects": 2, "bytes": 30},
    "states": {"pending": 0, "released": 2},
    "evidence": {"source": {"store_digest": 2}, "destination": {"store_digest": 2}},
    "failures": [],
    "failure_count": 0,
    "refused": 0,
    "left_behind": 0,
    "lost": 0,
    "waiting": [],
    "unserved": [],
    "report": "/var/lib/snowsync/photos/reports/dt_data_1.json",
}
PLANNED = {
    "job": "photos", "objects": 3, "bytes": 40, "keys": ["a", "new\nline", "\u00e9"], "left_behind": 0, "left": [],
}  # fmt: skip

COMMAND = """\
#!{python}
import json, os, stat, sys
folder = os.path.dirname(os.path.abspath(__file__))
words = sys.argv[1:]
action = words[words.index("--jobs-dir") + 2]
job = words[words.index(action) + 1]
call = {{"words": words}}
if os.path.exists(job):
    call.update(mode=stat.S_IMODE(os.stat(job).st_mode), config=json.load(open(job)), path=job)
with open(os.path.join(folder, "calls"), "a") as file:
    file.write(json.dumps(call) + "\\n")
answer = json.load(open(os.path.join(folder, action + ".json")))
sys.stdout.write(answer["stdout"])
sys.stderr.write(answer["stderr"])
sys.exit(answer["code"])
"""


@dataclass
class Command:
    """A stand-in for the command `snowsync`: `answers` fixes what it says, `calls` tells what it was asked."""

    folder: Path
    path: Path = field(init=False)

    def __post_init__(self) -> None:
        self.path = self.folder / "snowsync"
        self.path.write_text(COMMAND.format(python=sys.executable))
        self.path.chmod(0o755)
        self.answers("run", RAN)
        self.answers("plan", PLANNED)

    def answers(
        self, action: str, document: object = None, *, code: int = 0, stdout: str = "", stderr: str = ""
    ) -> None:
        said = json.dumps(document) if document is not None else stdout
        (self.folder / f"{action}.json").write_text(json.dumps({"stdout": said, "stderr": stderr, "code": code}))

    @property
    def calls(self) -> list[dict[str, Any]]:
        path = self.folder / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def words(self) -> list[list[str]]:
        return [call["words"] for call in self.calls]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path)


Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Run]:
    """Runs the module with options; returns what it returns to Ansible."""
    from ansible.module_utils.testing import patch_module_args

    module = importlib.import_module(f"{PACKAGE}.modules.s5cmd_sync")

    def call(*, check: bool = False, diff: bool = False, **options: Any) -> dict[str, Any]:
        arguments = {
            "executable": str(command.path),
            **options,
            "_ansible_check_mode": check,
            "_ansible_diff": diff,
            "_ansible_remote_tmp": str(tmp_path),
            "_ansible_keep_remote_files": False,
        }
        with patch_module_args(arguments), pytest.raises(SystemExit) as exit_info:
            module.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert (exit_info.value.code != 0) == bool(result.get("failed"))
        return result

    yield call


def test_a_run_returns_the_commands_document(run: Run, command: Command) -> None:
    result = run(job="photos")
    assert {name: result[name] for name in RAN} == RAN
    assert command.words == [
        ["--jobs-dir", "/etc/snowsync/jobs", "run", "photos", "--direction", "both", "--until-drained", "--json"]
    ]


def test_the_stand_in_and_the_documentation_know_all_that_the_engine_says() -> None:
    import yaml

    from snowsync.running.run import Plan
    from snowsync.running.summary import Summary

    said, planned = ({entry.name for entry in dataclasses.fields(model)} for model in (Summary, Plan))
    assert set(RAN) == said and set(PLANNED) == planned
    documented = yaml.safe_load(importlib.import_module(f"{PACKAGE}.modules.s5cmd_sync").RETURN)
    assert said - {"changed"} <= set(documented)
    assert planned == set(documented["plan"]["contains"])


def test_a_run_that_moved_nothing_is_unchanged(run: Run, command: Command) -> None:
    command.answers("run", RAN | {"changed": False})
    assert run(job="photos")["changed"] is False


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"direction": "source"}, ["--direction", "source", "--until-drained"]),
        ({"direction": "destination"}, ["--direction", "destination", "--until-drained"]),
        ({"until": "one_pass"}, ["--direction", "both", "--once"]),
        ({"timeout": 90}, ["--direction", "both", "--until-drained", "--timeout", "90"]),
        ({"timeout": 0.5}, ["--direction", "both", "--until-drained", "--timeout", "0.5"]),
    ],
)
def test_options_become_words(run: Run, command: Command, options: dict[str, Any], words: list[str]) -> None:
    run(job="photos", jobs_dir="/srv/jobs", **options)
    assert command.words == [["--jobs-dir", "/srv/jobs", "run", "photos", *words, "--json"]]


def test_every_word_is_one_the_real_command_knows(run: Run, command: Command) -> None:
    """The stand-in takes anything; the real command's parser must take the same words."""
    from snowsync.cli.arguments import build_parser

    run(job="photos", direction="source", until="one_pass", timeout=5)
    run(job="photos", check=True)
    actions = [build_parser().parse_args(words).act for words in command.words]
    assert actions == ["run", "plan"]


def test_check_mode_plans_and_runs_nothing(run: Run, command: Command) -> None:
    result = run(job="photos", check=True)
    assert [words[2] for words in command.words] == ["plan"]
    assert result["changed"] is True
    assert result["plan"] == PLANNED
    assert "diff" not in result


def test_check_mode_with_nothing_to_move_is_unchanged(run: Run, command: Command) -> None:
    command.answers("plan", {"job": "photos", "objects": 0, "bytes": 0, "keys": []})
    assert run(job="photos", check=True)["changed"] is False


def test_diff_shows_what_would_arrive_one_key_a_line(run: Run, command: Command) -> None:
    command.answers("plan", PLANNED | {"objects": 250})
    diff = run(job="photos", check=True, diff=True)["diff"]
    assert diff["before"] == ""
    assert diff["after"] == "a\n'new\\nline'\n\u00e9\n... and 247 more\n"
    assert "250 objects, 40 bytes" in diff["after_header"]


def test_diff_outside_of_check_mode_plans_before_it_runs(run: Run, command: Command) -> None:
    result = run(job="photos", diff=True)
    assert [words[2] for words in command.words] == ["plan", "run"]
    assert result["diff"]["after"].startswith("a\n")
    assert result["delivered"] == RAN["delivered"]


def test_an_inline_job_becomes_a_private_file_that_does_not_stay(run: Run, command: Command) -> None:
    config = {"job": "survey", "destination": {"bucket": "archive"}, "volumes": [{"name": "a", "path": "/a"}]}
    run(config=config)
    (call,) = command.calls
    assert call["config"] == config
    assert call["mode"] == stat.S_IRUSR | stat.S_IWUSR
    assert call["path"].endswith(".yml")
    assert not os.path.exists(call["path"])


@pytest.mark.parametrize(
    "options", [{}, {"job": "photos", "config": {"job": "x"}}, {"config": {"job": "x"}, "user": "snowsync"}]
)
def test_a_job_is_named_or_given_but_not_both(run: Run, command: Command, options: dict[str, Any]) -> None:
    assert run(**options)["failed"]
    assert command.calls == []


LOG = "2026-11-21T14:00:00 INFO    volume disk1 is in use\n"


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (1, "please report it"),
        (2, "configuration of the job is wrong"),
        (4, "store is unreachable"),
        (5, "rejected the credentials or the bucket"),
        (6, "volume or the state folder"),
        (7, "Another process is running this job"),
        (8, "ledger of the job cannot be used"),
        (124, "Timed out"),
        (77, "exited unexpectedly"),
    ],
)
def test_an_exit_code_becomes_a_message_with_the_commands_words(
    run: Run, command: Command, code: int, meaning: str
) -> None:
    command.answers("run", code=code, stderr=LOG + "snowsync: first line\n  second line\n")
    result = run(job="photos")
    assert result["exit_code"] == code
    assert meaning in result["msg"]
    assert result["msg"].endswith("first line\n  second line")
    assert LOG.strip() not in result["msg"]


def test_objects_that_failed_fail_the_task_and_their_names_are_returned(run: Run, command: Command) -> None:
    failures = [{"key": "a", "trouble": "denied", "message": "no"}]
    command.answers(
        "run", RAN | {"failures": failures, "failure_count": 1}, code=3, stderr="snowsync: see the report\n"
    )
    result = run(job="photos")
    assert result["failed"] and result["changed"] is True
    assert result["failures"] == failures
    assert "but 1 object could not be moved" in result["msg"] and RAN["report"] in result["msg"]


def test_every_exit_code_of_the_engine_has_a_meaning() -> None:
    from snowsync.cli import command as cli
    from snowsync.core import errors

    result = importlib.import_module(f"{PACKAGE}.module_utils._common.result")
    found = [errors.SnowsyncError]
    for error in found:
        found += error.__subclasses__()
    codes = {error.exit_code for error in found} | {cli.EXIT_DEFECT, cli.EXIT_NOT_DRAINED}
    assert len(codes) > 8
    assert codes <= set(result.EXIT_CODES)


def test_without_an_error_the_end_of_the_log_is_told(run: Run, command: Command) -> None:
    command.answers("run", code=1, stderr="".join(f"line {number}\n" for number in range(100)))
    message = run(job="photos")["msg"]
    assert message.endswith("line 99")
    assert "line 80\n" in message and "line 79\n" not in message


@pytest.mark.parametrize("stdout", ["", "no JSON", "[1]", '{"job": '])
def test_an_answer_that_cannot_be_read_is_a_failure(run: Run, command: Command, stdout: str) -> None:
    command.answers("run", stdout=stdout)
    assert "output cannot be parsed" in run(job="photos")["msg"]


def test_a_missing_command_names_what_installs_it(run: Run, tmp_path: Path) -> None:
    result = run(job="photos", executable=str(tmp_path / "none"))
    assert "edgeops.snowsync.engine" in result["msg"]
    assert str(tmp_path / "none") in result["msg"]


@pytest.fixture
def command_module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    module = importlib.import_module(f"{PACKAGE}.module_utils._common.command")
    monkeypatch.setattr(module, "STATE_ROOT", str(tmp_path / "state"))
    monkeypatch.setattr(module, "CREDENTIALS_ROOT", str(tmp_path / "credentials"))
    return module


def test_another_user_gets_only_the_credentials_that_are_there(command_module: Any, tmp_path: Path) -> None:
    (tmp_path / "credentials/photos").mkdir(parents=True)
    (tmp_path / "credentials/photos/source").touch()
    words = command_module.as_user("snowsync", "photos")
    assert words[0] == "systemd-run" and words[-1] == "--"
    assert "--uid=snowsync" in words
    assert [word for word in words if "LoadCredential" in word] == [
        f"--property=LoadCredential=source:{tmp_path}/credentials/photos/source"
    ]
    assert command_module.as_user("", "photos") == []


@pytest.mark.parametrize(
    ("task_user", "owner", "expected"), [(0, 65534, "nobody"), (0, 0, ""), (1000, 65534, ""), (0, None, "")]
)
def test_root_runs_a_job_as_the_owner_of_its_state(
    command_module: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    task_user: int,
    owner: int | None,
    expected: str,
) -> None:
    monkeypatch.setattr(command_module.os, "geteuid", lambda: task_user)
    if owner is not None:
        state = tmp_path / "state/photos"
        state.mkdir(parents=True)
        real, wanted = os.stat, str(state)

        def stat_as_owner(path: Any, *arguments: Any, **options: Any) -> os.stat_result:
            values = list(real(path, *arguments, **options))
            if str(path) == wanted:
                values[stat.ST_UID] = owner
            return os.stat_result(values)

        monkeypatch.setattr(command_module.os, "stat", stat_as_owner)
    assert command_module.state_owner("photos") == expected
