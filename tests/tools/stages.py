# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs test stages, one summary line each: ``stages.py --all`` or ``stages.py STAGE ... [-- PYTEST ARGUMENTS]``.

Every stage is run even if one before it failed; ``--all`` runs two lanes of stages side by side. Full output goes to
``.build/logs/STAGE.log``; the end of it is shown on standard error when the stage fails. The last line is
``N passed, N failed``, the sum over all stages, where a pytest stage counts its tests, sanity those of ansible-test,
molecule its scenarios, and lint its commands. Exit code 0 only if nothing failed and every stage proved something.
"""

from __future__ import annotations

import argparse
import configparser
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / ".build"
LOGS = BUILD / "logs"
BIN = Path(sys.executable).parent
TAIL_LINES = 60
# Half of what integration, faults and molecule do is waiting, so one lane leaves room for the other on two cores.
LANES = (("integration", "molecule"), ("lint", "sanity", "unit", "docs", "demo", "faults"))


@dataclass(frozen=True)
class Counts:
    """What a stage proved. `note` explains a failure that no count can."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    note: str = ""

    def __add__(self, other: Counts) -> Counts:
        notes = [note for note in (self.note, other.note) if note]
        return Counts(
            self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped, "; ".join(notes)
        )

    def __str__(self) -> str:
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


def failure(note: str) -> Counts:
    return Counts(failed=1, note=note)


@dataclass(frozen=True)
class Stage:
    """`run` writes to the stage's log and returns counts.

    A command that writes nothing for `silence` minutes is ended: how long a stage may take depends on the machine, and
    on what else it does; that it gets on does not.
    """

    name: str
    run: Callable[[Runner], Counts]
    silence: float = 15
    needs_root: bool = False


_running: set[subprocess.Popen[bytes]] = set()
_stopping = threading.Event()
_screen = threading.Lock()


class Runner:
    """Runs the commands of one stage: no terminal, no input, output to the stage's log, temporary files in `folder`."""

    def __init__(self, stage: Stage, log: TextIO, pytest_arguments: list[str], folder: Path) -> None:
        self.stage = stage
        self.log = log
        self.pytest_arguments = pytest_arguments
        self.folder = folder

    def command(self, *argv: str | Path, cwd: Path | None = None, environment: dict[str, str] | None = None) -> int:
        """Exit code of the command, 124 when it was ended because it did not get on."""
        words = [str(word) for word in argv]
        self.log.write(f"\n$ {' '.join(words)}\n")
        self.log.flush()
        process = subprocess.Popen(
            words,
            cwd=cwd or ROOT,
            env={**clean_environment(), "TMPDIR": str(self.folder), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        _running.add(process)
        try:
            return self._wait(process)
        finally:
            end_group(process)
            _running.discard(process)

    def _wait(self, process: subprocess.Popen[bytes]) -> int:
        size, grown = -1, time.monotonic()
        while True:
            with suppress(subprocess.TimeoutExpired):
                return process.wait(0.5)
            before, size = size, os.stat(self.log.name).st_size
            if size != before:
                grown = time.monotonic()
            elif time.monotonic() - grown > self.stage.silence * 60:
                self.log.write(f"\nended: it wrote nothing for {self.stage.silence} minutes\n")
                return 124

    def written_since(self, place: int) -> str:
        """What the log holds from `place` (bytes) on."""
        with Path(self.log.name).open(errors="replace") as stream:
            stream.seek(place)
            return stream.read()

    def check(self, name: str, *argv: str | Path) -> Counts:
        """One command as one check."""
        code = self.command(*argv)
        return Counts(passed=1) if code == 0 else failure(f"{name} exited {code}")

    def pytest(self, folder: str, *options: str) -> Counts:
        """All tests of a folder, counted from pytest's own report."""
        report = LOGS / f"{self.stage.name}.xml"
        report.unlink(missing_ok=True)
        common = [f"--junitxml={report}", f"--basetemp={self.folder}/t", "--durations=10"]
        code = self.command(sys.executable, "-m", "pytest", folder, *common, *options, *self.pytest_arguments)
        counts = read_junit(report)
        if code == 124:
            return counts + failure(f"ended: no test ended for {self.stage.silence} minutes")
        if code != 0 and not counts.failed:
            return counts + failure("no test was run" if code == 5 else f"pytest exited {code}")
        return counts


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Ends what the command left in its process group, the command itself first."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def release(folder: Path) -> None:
    """Unmount what is mounted below a folder, detach loop devices over its files: a test that was ended leaves them."""
    below = f"{folder}/"
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for path in sorted((path for path in mounts if path.startswith(below)), reverse=True):
        subprocess.run(["umount", "--lazy", path], check=False, capture_output=True)
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        with suppress(OSError):
            if backing.read_text().startswith(below):
                device = f"/dev/{backing.parts[3]}"
                # A disk may be read-only in its test: the next user of this device would find it so.
                subprocess.run(["blockdev", "--setrw", device], check=False, capture_output=True)
                subprocess.run(["losetup", "--detach", device], check=False, capture_output=True)


def clean_environment() -> dict[str, str]:
    """The caller's environment without what would decide a test's result, e.g. someone's AWS account."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "ANSIBLE_", "MOLECULE_"))}
    for name in ("PYTHONPATH", "PYTHONHOME", "MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
        kept.pop(name, None)
    return {
        **kept,
        "PATH": f"{BIN}:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin",
        "LC_ALL": "C.UTF-8",
        "NO_COLOR": "1",
        "ANSIBLE_CONFIG": str(ROOT / "tests/ansible.cfg"),
        "ANSIBLE_HOME": str(BUILD / "ansible"),
        "ANSIBLE_COLLECTIONS_PATH": str(BUILD / "collections"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def read_junit(report: Path) -> Counts:
    if not report.exists():
        return Counts()
    counts = Counts()
    for suite in ElementTree.parse(report).getroot().iter("testsuite"):
        tests, failures, errors, skipped = (int(suite.get(n, 0)) for n in ("tests", "failures", "errors", "skipped"))
        # A test whose teardown fails as well is counted twice by pytest's report, once as a test.
        failed = min(failures + errors, tests)
        counts += Counts(tests - failed - skipped, failed, skipped)
    return counts


def tracked_files() -> list[str]:
    """Files of the checkout that are in git or could be: not ignored, and there."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    names = listing.stdout.decode().split("\0")
    return sorted({name for name in names if name and os.path.lexists(ROOT / name)})


def lint(runner: Runner) -> Counts:
    names = tracked_files()
    shell_scripts = [name for name in names if is_bash(ROOT / name)]
    return (
        runner.check("ruff check", BIN / "ruff", "check", "--no-cache")
        + runner.check("ruff format", BIN / "ruff", "format", "--check", "--no-cache")
        + runner.check("mypy", sys.executable, "-m", "mypy", "--cache-dir", BUILD / "mypy")
        + runner.check("yamllint", BIN / "yamllint", "--strict", ".")
        + runner.check("ansible-lint", BIN / "ansible-lint", "--offline", "--nocolor")
        + runner.check("shellcheck", "shellcheck", "--severity=warning", *shell_scripts)
    )


def is_bash(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.readline().startswith((b"#!/usr/bin/env bash", b"#!/bin/bash"))


def copy_collection(target: Path) -> None:
    """The collection under the path that ansible-test insists on, without anything that git ignores."""
    shutil.rmtree(target, ignore_errors=True)
    for name in tracked_files():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name, follow_symlinks=False)
    # ansible-test asks the nearest repository above for its files, and the one of the checkout ignores this folder.
    subprocess.run(["git", "init", "--quiet", target], check=True)


def prepare_ansible_test(home: Path) -> None:
    """A home folder in which ansible-test finds its pip script, and pip its settings (its environment is dropped)."""
    requirements = next(BIN.parent.glob("lib*/python*/site-packages/ansible_test/_internal/python_requirements.py"))
    cache = home / ".ansible/test/cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in set(re.findall(r"\bpip='([\d.]+)'", requirements.read_text())):
        shutil.copy2(ROOT / "tests/tools/get_pip.py", cache / f"get_pip_{version.replace('.', '_')}.py")
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*install, f"--target={cache}/pip-{version}", "--upgrade", f"pip=={version}"], check=True)

    settings = configparser.ConfigParser(interpolation=None)
    settings.read(Path.home() / ".config/pip/pip.conf")
    if "PIP_CERT" in os.environ:
        settings.read_dict({"global": {"cert": os.environ["PIP_CERT"]}})
    target = home / ".config/pip/pip.conf"
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w") as stream:
        settings.write(stream)


def sanity(runner: Runner) -> Counts:
    target = BUILD / "ansible_collections/edgeops/snowsync"
    home = BUILD / "home"
    copy_collection(target)
    prepare_ansible_test(home)
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    began = runner.log.tell()
    code = runner.command(
        BIN / "ansible-test", "sanity", "--local", "--requirements", "--python", python, "--color", "no",
        cwd=target, environment={"HOME": str(home)},
    )  # fmt: skip
    return read_sanity(runner.written_since(began), code)


def read_sanity(output: str, code: int) -> Counts:
    started = len(set(re.findall(r"^Running sanity test [\"']([\w-]+)", output, re.MULTILINE)))
    listed = re.search(r"The (\d+) sanity test\(s\) listed below", output)
    failed = int(listed.group(1)) if listed else int(code != 0)
    if not started:
        return failure(f"ansible-test ran no test and exited {code}")
    return Counts(started - failed, failed, note="" if code == 0 else f"ansible-test exited {code}")


def unit(runner: Runner) -> Counts:
    return runner.pytest("tests/unit", "--numprocesses=3", "--dist=worksteal")


def docs(runner: Runner) -> Counts:
    return runner.pytest("tests/docs")


def demo(runner: Runner) -> Counts:
    return runner.check("make demo", "make", "--no-print-directory", "demo")


def integration(runner: Runner) -> Counts:
    # Real stores are started for a whole file; files come in the order of conftest.py, the longest first.
    return runner.pytest("tests/integration", "--numprocesses=2", "--dist=loadfile", "--no-loadscope-reorder")


def faults(runner: Runner) -> Counts:
    # One by one in the order of conftest.py, so that none of the longest is begun when the others have ended.
    return runner.pytest("tests/faults", "--numprocesses=4", "--dist=loadgroup", "--no-loadscope-reorder")


def molecule(runner: Runner) -> Counts:
    scenarios = sorted(path.parent.name for path in (ROOT / "tests/molecule").glob("*/molecule.yml"))
    if not scenarios:
        return failure("there is no scenario")
    began = runner.log.tell()
    base = (BIN / "molecule", "-c", "tests/molecule/config.yml")
    # What is run in the containers takes over TMPDIR, and they have no folder of ours.
    environment = {"MOLECULE_GLOB": "tests/molecule/*/molecule.yml", "TMPDIR": tempfile.gettempdir()}
    code = runner.command(*base, "test", "--all", "--no-command-borders", "--report", environment=environment)
    if code == 124 or code < 0:  # it was ended, and could not destroy its containers
        runner.command(*base, "destroy", "--all", environment=environment)
    return read_molecule(runner.written_since(began), code, scenarios)


def read_molecule(output: str, code: int, scenarios: list[str]) -> Counts:
    recap = dict(re.findall(r"^(\S+)\s*: actions=.* failed=(\d+)", output, re.MULTILINE))
    passed = sum(1 for scenario in scenarios if recap.get(scenario) == "0")
    failed = len(scenarios) - passed
    return Counts(passed, max(failed, int(code != 0)), note="" if code == 0 else f"molecule exited {code}")


STAGES = {
    stage.name: stage
    for stage in (
        Stage("lint", lint),
        Stage("sanity", sanity),
        Stage("unit", unit),
        Stage("docs", docs),
        Stage("demo", demo),
        Stage("integration", integration),
        Stage("faults", faults, needs_root=True),
        Stage("molecule", molecule, needs_root=True),
    )
}


@contextmanager
def stage_log(name: str) -> Iterator[TextIO]:
    LOGS.mkdir(parents=True, exist_ok=True)
    with (LOGS / f"{name}.log").open("w", errors="replace") as log:
        yield log


def run_stage(stage: Stage, pytest_arguments: list[str]) -> Counts:
    """Runs one stage and prints its line."""
    began = time.monotonic()
    with stage_log(stage.name) as log:
        try:
            counts = in_folder(stage, log, pytest_arguments)
        except Exception as error:  # the other stages have to run
            log.write(f"\n{type(error).__name__}: {error}\n")
            counts = failure(f"{type(error).__name__}: {error}")
    word = "FAILED" if counts.failed else "passed"
    note = f"  {counts.note}" if counts.note else ""
    with _screen:
        if counts.failed:
            show_end_of_log(stage.name)
        print(f"{stage.name:12} {word}  {counts!s:32} {time.monotonic() - began:5.0f} s{note}", flush=True)
    return counts


def run_lane(names: Sequence[str], pytest_arguments: list[str]) -> Counts:
    """The sum of the stages, one after the other."""
    total = Counts()
    for name in names:
        if not _stopping.is_set():
            total += run_stage(STAGES[name], pytest_arguments)
    return total


def run_lanes(lanes: Sequence[Sequence[str]], pytest_arguments: list[str]) -> Counts:
    """The sum of all lanes, side by side. An interrupt ends what runs, with its children."""
    with ThreadPoolExecutor(len(lanes)) as pool:
        results = [pool.submit(run_lane, lane, pytest_arguments) for lane in lanes]
        try:
            return sum((result.result() for result in results), Counts())
        except KeyboardInterrupt:
            _stopping.set()
            for process in list(_running):
                end_group(process)
            raise


def in_folder(stage: Stage, log: TextIO, pytest_arguments: list[str]) -> Counts:
    """Run a stage with a folder of its own for temporary files, of which nothing is left unless it failed."""
    folder = Path(tempfile.mkdtemp(prefix="snow-"))
    try:
        counts = stage_counts(stage, Runner(stage, log, pytest_arguments, folder))
    finally:
        release(folder)
    if not counts.failed:
        shutil.rmtree(folder, ignore_errors=True)
    return counts


def stage_counts(stage: Stage, runner: Runner) -> Counts:
    if stage.needs_root and os.geteuid() != 0:
        return failure("cannot run: needs root")
    counts = stage.run(runner)
    return counts if counts.passed + counts.failed else failure("no test was run")


def show_end_of_log(name: str) -> None:
    path = LOGS / f"{name}.log"
    lines = path.read_text(errors="replace").splitlines()[-TAIL_LINES:]
    print(f"--- the end of {path.relative_to(ROOT)}", *lines, "---", sep="\n", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs test stages.")
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=", ".join(STAGES))
    parser.add_argument("--all", action="store_true", help="every stage")
    own, pytest_arguments = split(sys.argv[1:])
    options = parser.parse_args(own)
    lanes = LANES if options.all else (options.stages,)
    unknown = [name for name in options.stages if name not in STAGES]
    if unknown or not lanes[0]:
        parser.error(f"no such stage: {', '.join(unknown)}" if unknown else "name a stage, or --all")
    # SIGINT too: a shell's background jobs ignore it, and so would every command and test below.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    total = run_lanes(lanes, pytest_arguments)
    print(total, flush=True)
    return 1 if total.failed else 0


def split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Cuts at the first ``--``; what follows is pytest's."""
    place = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:place], arguments[place + 1 :]


if __name__ == "__main__":
    sys.exit(main())
