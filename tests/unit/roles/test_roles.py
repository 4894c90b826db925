# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said twice about a role is the same both times: options, defaults, the engine's own settings, pins."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import Field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import jinja2
import jinja2.nativetypes
import pytest
import yaml

from snowsync.config import credentials, job_file
from snowsync.config.schema import is_required
from snowsync.core.sizes import parse_size

ROOT = Path(__file__).resolve().parents[3]
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())
ENGINE = ROOT / "plugins/module_utils/_engine"
DUAL_SYNC = ROOT / "roles/dual_sync"

Spec = dict[str, Any]


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def options_of(role: Path) -> dict[str, Spec]:
    options: dict[str, Spec] = load(role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    return options


def nested(options: dict[str, Spec], where: str = "") -> list[tuple[str, Spec]]:
    found = []
    for name, spec in options.items():
        found += [(f"{where}{name}", spec), *nested(spec.get("options", {}), f"{where}{name}.")]
    return found


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_defaults_are_the_documented_ones(role: Path) -> None:
    documented = {name: spec["default"] for name, spec in options_of(role).items() if "default" in spec}
    assert load(role / "defaults/main.yml") == documented


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_option_is_named_after_its_role_typed_and_described(role: Path) -> None:
    options = options_of(role)
    assert options
    assert [name for name in options if not name.startswith(f"{role.name}_")] == []
    assert [name for name, spec in nested(options) if not spec.get("description") or "type" not in spec] == []
    assert [name for name, spec in options.items() if "default" not in spec and not spec.get("required")] == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_variables_of_the_role_are_private_by_name(role: Path) -> None:
    assert [name for name in load(role / "vars/main.yml") if not name.startswith(f"__{role.name}_")] == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_the_role_confesses_what_it_supports(role: Path) -> None:
    text = " ".join(load(role / "meta/argument_specs.yml")["argument_specs"]["main"]["description"])
    assert "Check mode:" in text and "Diff mode:" in text and "Idempotent:" in text


# --- dual_sync_jobs and the engine's own models

JOB = options_of(DUAL_SYNC)["dual_sync_jobs"]["options"]
MODELS: dict[str, tuple[type[Any], dict[str, Spec]]] = {
    "job": (job_file.Job, JOB),
    "source": (job_file.Store, JOB["source"]["options"]),
    "destination": (job_file.Store, JOB["destination"]["options"]),
    "volumes": (job_file.Volume, JOB["volumes"]["options"]),
    "space": (job_file.Space, JOB["space"]["options"]),
    "group": (job_file.Group, JOB["group"]["options"]),
    "mover": (job_file.MoverSettings, JOB["mover"]["options"]),
}
SECRETS = {"access_key", "secret_key", "session_token"}
OWN = {"job": {"state"}, "source": SECRETS | {"snowball"}}
OWN["destination"] = OWN["source"]
# A job with the state `absent` is a name and nothing else; the role asks for these in all other states.
ASKED_LATER = {("job", "destination"), ("job", "volumes")}


@pytest.mark.parametrize("part", MODELS)
def test_the_role_offers_exactly_what_the_engine_knows(part: str) -> None:
    model, options = MODELS[part]
    assert set(options) - OWN.get(part, set()) == {field.name for field in fields(model)}


FIELDS = [(part, name) for part, (model, _) in MODELS.items() for name in [field.name for field in fields(model)]]


@pytest.mark.parametrize(("part", "name"), FIELDS)
def test_default_and_requirement_are_the_engines(part: str, name: str) -> None:
    model, options = MODELS[part]
    (field,) = [each for each in fields(model) if each.name == name]
    spec = options[name]
    if (part, name) in ASKED_LATER:
        assert is_required(field)
        return
    assert bool(spec.get("required")) == is_required(field)
    if not is_required(field):
        assert comparable(spec) == plain(field)


def comparable(spec: Spec) -> object:
    """The documented default as the engine has it: sizes are text in the role, bytes in the engine."""
    default = spec.get("default")
    if spec["type"] == "str" and isinstance(default, str) and re.fullmatch(r"\d+[KMG]iB", default):
        return parse_size(default)
    return default


def plain(field: Field[Any]) -> object:
    default = field.default
    if is_dataclass(default):
        return None  # a part of its own, compared above
    return list(default) if isinstance(default, tuple) else default


CHOICES = [(part, name) for part, name in FIELDS if get_origin(get_type_hints(MODELS[part][0])[name]) is Literal]


@pytest.mark.parametrize(("part", "name"), CHOICES)
def test_choices_are_the_engines(part: str, name: str) -> None:
    model, options = MODELS[part]
    assert options[name]["choices"] == list(get_args(get_type_hints(model)[name]))


def test_the_units_restart_unless_an_operator_must_act() -> None:
    from snowsync.core import errors

    unit = (DUAL_SYNC / "templates/snowsync-unit.service.j2").read_text()
    (prevented,) = re.findall(r"^RestartPreventExitStatus=(.*)$", unit, re.MULTILINE)
    assert prevented.split() == [str(errors.ConfigError.exit_code), str(errors.JobStopped.exit_code)]


def test_credentials_are_written_as_the_engine_reads_them(tmp_path: Path) -> None:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(DUAL_SYNC / "templates"), trim_blocks=True, keep_trailing_newline=True
    )
    environment.filters["comment"] = lambda text: f"# {text}"
    template = environment.get_template("credentials.j2")
    store = {"access_key": "AKIA%1", "secret_key": "a/b+c=;#d", "session_token": "t%t", "profile": "snow"}
    path = tmp_path / "source"
    path.touch(mode=0o600)
    path.write_text(
        template.render(ansible_managed="managed", __dual_sync_job={"source": store}, __dual_sync_side="source")
    )
    found = credentials.load(path, "snow")
    assert (found.access_key, found.secret_key, found.session_token) == ("AKIA%1", "a/b+c=;#d", "t%t")


def rendered(expression: str, **names: object) -> Any:
    """What a variable of the role comes to; `names` are those that it looks at."""
    environment = jinja2.nativetypes.NativeEnvironment()
    environment.filters["basename"] = os.path.basename
    return environment.from_string(expression).render(names)


def of_dual_sync(name: str, **names: object) -> Any:
    return rendered(load(DUAL_SYNC / "vars/main.yml")[name], **names)


def places_of(side: str) -> list[str]:
    names = {"__dual_sync_credentials": "/etc/snowsync/credentials/photos", "__dual_sync_sides_handed_over": [side]}
    places: list[str] = of_dual_sync("__dual_sync_credential_places", __dual_sync_job={"job": "photos"}, **names)
    return places


@pytest.mark.parametrize("side", ["source", "destination"])
def test_renewed_credentials_are_put_where_the_unit_looks(side: str) -> None:
    unit = (DUAL_SYNC / "templates/snowsync-unit.service.j2").read_text()
    (folder,) = re.findall(r"^RuntimeDirectory=(.*)$", unit, re.MULTILINE)
    place = rendered(folder, dual_sync_unit={"side": side}).replace("%i", "photos")
    hand_over = load(DUAL_SYNC / "tasks/job_credentials.yml")[-1]["ansible.builtin.copy"]
    names = {"__dual_sync_job": {"job": "photos"}, "__dual_sync_side": side}
    assert rendered(hand_over["dest"], **names) == f"/run/{place}/{side}"
    assert places_of(side)[2:] == [f"/run/{place}/{side}", f"/run/{place}"]


@pytest.mark.parametrize(
    ("wanted", "at_start", "since", "runs", "is_handed_over"),
    [
        ("new", "old", "", True, True),
        ("new", "new", "", True, False),
        ("new", "old", "old", True, True),
        ("new", "old", "new", True, False),
        ("old", "old", "new", True, True),
        ("new", "", "", True, True),
        ("new", "", "", False, False),
        ("", "old", "", True, False),
    ],
)
def test_only_a_unit_that_runs_with_former_credentials_is_handed_others(
    wanted: str, at_start: str, since: str, runs: bool, is_handed_over: bool
) -> None:
    places = places_of("source")
    digests = dict(zip(places, (wanted, at_start, since, "folder" if runs else ""), strict=True))
    found = {place: digest for place, digest in digests.items() if digest}
    names = {"__dual_sync_credential_places": places, "__dual_sync_credentials_found": found}
    assert of_dual_sync("__dual_sync_sides_with_former", **names) == ["source"] * is_handed_over


def of_shell(name: str, *arguments: Path | str, commands: Path = ROOT) -> list[str]:
    """The lines that a script of the role's prints; what is in the folder `commands` goes before other commands."""
    argv = ["sh", "-c", load(DUAL_SYNC / "vars/main.yml")[name], "sh", *arguments]
    environment = {"PATH": f"{commands}:{os.environ['PATH']}"}
    result = subprocess.run(argv, check=True, capture_output=True, text=True, env=environment)
    assert result.stderr == ""
    return result.stdout.splitlines()


def test_credentials_are_told_apart_by_their_digests(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"key")
    digest = hashlib.sha256(b"key").hexdigest()
    lines = of_shell("__dual_sync_digests", tmp_path / "source", tmp_path / "missing", tmp_path)
    assert lines == [f"{digest}  {tmp_path}/source", f"folder  {tmp_path}"]


# Unit names of which this systemctl says what they are called.
SYSTEMCTL = """#!/bin/sh
for word; do unit=$word; done
case $1-$unit in
is-failed-*runs) exit 1 ;;
show-*refused) echo 5 ;;
show-*) echo 2 ;;
esac
"""


def test_only_units_that_ended_for_their_credentials_are_started_with_renewed_ones(tmp_path: Path) -> None:
    (tmp_path / "systemctl").write_text(SYSTEMCTL)
    (tmp_path / "systemctl").chmod(0o755)
    assert of_shell("__dual_sync_refused", "refused", "wrong", "refused-and-runs", commands=tmp_path) == ["refused"]


def test_mounted_volumes_are_told_by_their_place_in_the_list(tmp_path: Path) -> None:
    odd = tmp_path / "a b\nc"
    odd.mkdir()
    assert of_shell("__dual_sync_places_mounted", odd, Path("/proc"), tmp_path / "missing", Path("/")) == ["1", "3"]


def test_no_option_of_the_engine_is_taken_for_a_secret() -> None:
    """What the role keeps out of the job's file is what the engine refuses there."""
    private = set(load(DUAL_SYNC / "vars/main.yml")["__dual_sync_secrets"])
    assert private == SECRETS
    job = {"job": "x", "destination": {"bucket": "archive", **dict.fromkeys(private, "X")}, "volumes": []}
    with pytest.raises(job_file.ConfigError) as problems:
        job_file.parse_job(job, "test")
    assert len([line for line in problems.value.problems if "secrets do not belong here" in line]) == len(private)


# --- the engine on its way to the host

PINS = ROOT / "roles/engine/files/requirements.txt"


def pins(path: Path) -> dict[str, str]:
    return {name.lower(): version for name, version in re.findall(r"^([\w.-]+)==(\S+)", path.read_text(), re.MULTILINE)}


def test_every_pin_has_hashes() -> None:
    blocks = re.split(r"\n(?=\S)", PINS.read_text().replace("\\\n", " "))
    named = [block for block in blocks if "==" in block]
    assert len(named) > 10
    assert [block for block in named if "--hash=sha256:" not in block] == []


def test_what_is_tested_is_what_is_installed() -> None:
    tested = pins(ROOT / "tests/requirements/test.txt")
    assert {name: tested.get(name) for name in pins(PINS)} == pins(PINS)


def engine_files() -> dict[str, str]:
    return {str(path.relative_to(ENGINE)): path.read_text("utf-8") for path in ENGINE.rglob("*.py")}


def test_the_role_pushes_every_file_of_the_engine() -> None:
    """It looks for files in the folders that it names, and for nothing but Python."""
    folders = yaml.safe_load((ROOT / "roles/engine/vars/main.yml").read_text())["__engine_folders"]
    assert folders == sorted({os.path.dirname(name) or "." for name in engine_files()})
    others = [path for path in ENGINE.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]
    assert others == []


def unpack(folder: Path, files: dict[str, str]) -> subprocess.CompletedProcess[str]:
    (folder / "bundle.json").write_text(json.dumps(files))
    command = [sys.executable, "-I", str(ROOT / "roles/engine/files/unpack.py"), folder / "bundle.json", folder / "new"]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_engine_is_unpacked_and_compiled_whole(tmp_path: Path) -> None:
    files = engine_files()
    assert unpack(tmp_path, files).returncode == 0
    package = tmp_path / "new/snowsync"
    assert {str(path.relative_to(package)): path.read_text("utf-8") for path in package.rglob("*.py")} == files
    assert len(list(package.rglob("__pycache__/*.pyc"))) == len(files)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new"]
    command = [
        sys.executable,
        "-I",
        "-c",
        f"import sys; sys.path.insert(0, {str(tmp_path / 'new')!r}); import snowsync.__main__",
    ]
    assert subprocess.run(command).returncode == 0


def test_an_engine_that_does_not_compile_never_appears(tmp_path: Path) -> None:
    result = unpack(tmp_path, {"__init__.py": "", "broken.py": "def f(:\n"})
    assert result.returncode != 0 and "do not compile" in result.stderr
    assert not (tmp_path / "new").exists()
    assert unpack(tmp_path, {"__init__.py": ""}).returncode == 0, "what a broken one left must not be in the way"
