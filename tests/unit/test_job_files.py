# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many hands fault and integration tests can ask for; faults/test_hands.py counts those of such a job."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import job_files
import pytest
import yaml
from tools import stages

TESTS = Path(__file__).resolve().parents[1]
SETTINGS = {"tool": "native", "workers": 4}


@pytest.fixture(autouse=True)
def nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(job_files.VARIABLE, raising=False)


def written(folder: Path, config: dict[str, Any]) -> Any:
    return yaml.safe_load(job_files.write_job(folder / "job.yml", config).read_text())


def test_a_job_is_written_as_it_is_configured(tmp_path: Path) -> None:
    for config in ({"job": "a"}, {"job": "a", "mover": SETTINGS}):
        assert written(tmp_path, config) == config


@pytest.mark.parametrize("hands", [0, 1, 4])
def test_a_job_gets_the_hands_that_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hands: int) -> None:
    monkeypatch.setenv(job_files.VARIABLE, str(hands))
    assert written(tmp_path, {"job": "a"}) == {"job": "a", "mover": {"processes": hands}}
    config = {"job": "a", "mover": dict(SETTINGS)}
    assert written(tmp_path, config) == {"job": "a", "mover": {**SETTINGS, "processes": hands}}
    assert config == {"job": "a", "mover": SETTINGS}, "the test's own job stays"


def test_a_job_whose_subject_is_the_number_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(job_files.VARIABLE, "4")
    config = {"job": "a", "mover": {"processes": 1}}
    assert written(tmp_path, config) == config


@pytest.mark.parametrize("text", ["", "four", "-1", "1.5", "17", "4 ", "²"])
def test_what_is_no_number_of_hands_is_an_error(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(job_files.VARIABLE, text)
    with pytest.raises(pytest.UsageError, match=re.escape(f"{job_files.VARIABLE}={text} is no number of hands")):
        job_files.asked_hands()


@pytest.mark.parametrize("name", ["SNOWSYNC_TEST_HAND", "SNOWSYNC_TESTS_HANDS", "SNOWSYNC_TEST_PROCESSES"])
def test_a_variable_that_is_misspelt_is_an_error(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "4")
    with pytest.raises(pytest.UsageError, match=f"^{name} has no meaning: .* {job_files.VARIABLE}$"):
        job_files.asked_hands()


def test_the_stages_pass_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(job_files.VARIABLE, "4")
    assert stages.clean_environment()[job_files.VARIABLE] == "4"


def test_no_other_place_writes_the_job_of_such_a_test() -> None:
    """Each job of a test says where its ledger is."""
    files = {path: path.read_text() for folder in ("faults", "integration") for path in (TESTS / folder).rglob("*.py")}
    writers = {path.name for path, text in files.items() if '"state_dir": ' in text}
    assert writers == {"rig.py", "test_transfer.py", "test_million.py"}
    assert writers == {path.name for path, text in files.items() if "import write_job" in text}
    assert [path for path, text in files.items() if re.search(r"\byaml\.(safe_)?dump", text)] == []
