# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The command ``snowsync``: arguments in, text or one JSON document on stdout, everything else on stderr.

This is the only place where exceptions become messages and exit codes.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from ..core.errors import LedgerError, LocalError, ObjectsFailed, SnowsyncError, Trouble
from ..core.imports import without_collections
from ..core.text import (
    bytes_text,
    count_text,
    counted_text,
    evidence_text,
    key_text,
    plain_text,
    rate_text,
    seconds_text,
    table,
)
from . import store_commands, volume_commands
from .arguments import build_parser
from .common import EXIT_NOT_DRAINED, load_named_job, print_json

if TYPE_CHECKING:
    from ..config.job_file import Job
    from ..running.run import Plan
    from ..running.summary import Summary

EXIT_DEFECT = 1
EXIT_INTERRUPTED = 128 + signal.SIGINT
EXIT_BROKEN_PIPE = 128 + signal.SIGPIPE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. SystemExit only from the parser (0 for --help, 2 for usage)."""
    _make_output_safe()
    arguments = sys.argv[1:] if arguments is None else arguments
    parsed = build_parser(arguments[0] if arguments else "").parse_args(arguments)
    _set_up_logging(parsed.log_level or ("info" if parsed.command == "run" else "warning"))
    try:
        code = _ACTIONS[parsed.act](parsed)
        sys.stdout.flush()
    except KeyboardInterrupt:
        _complain("interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The interpreter flushes stdout again when it exits; that must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except SnowsyncError as error:
        _flush_quietly()
        _complain(str(error))
        return error.exit_code
    except Exception as error:
        return _unexpected(error)
    return code


def _unexpected(error: Exception) -> int:
    """Report an exception that nothing else handled; returns its exit code."""
    from ..ledger.database import UNREADABLE, problem_text

    if isinstance(error, UNREADABLE):
        _complain(f"Failed to read the ledger: {problem_text(error)}")
        return LedgerError.exit_code
    logging.getLogger("snowsync").critical(
        "Unexpected error, probably a bug in snowsync: %s: %s", type(error).__name__, error, exc_info=error
    )
    return EXIT_DEFECT


# -- commands ---------------------------------------------------------------------------------------------------


def _run(parsed: argparse.Namespace) -> int:
    with without_collections():
        from ..running.pair import run_pair
        from ..running.run import run_job
        from ..running.service import Daemon

    job, attendant = load_named_job(parsed), Daemon()
    _refuse_root_for_another(job)
    run = run_pair if parsed.direction == "both" else partial(run_job, direction=parsed.direction)
    summary = run(job, until=parsed.until, timeout=parsed.timeout, attendant=attendant)
    if parsed.json:
        print_json(asdict(summary))
    else:
        print(_summary_text(summary))
    sys.stdout.flush()
    return _run_code(parsed, summary, attendant.stopped_by)


def _refuse_root_for_another(job: Job) -> None:
    """Raise LocalError when root would create files that the user of the job's units can neither read nor delete."""
    import pwd

    try:
        owner = job.state_path.stat().st_uid
    except OSError:
        return
    if os.geteuid() == 0 and owner != 0:
        try:
            name = pwd.getpwuid(owner).pw_name
        except KeyError:
            name = str(owner)
        reason = f"{job.state_path} belongs to {name}, who could not use the files that root leaves"
        fix = "start its units, use the module s5cmd_sync, or run it as that user"
        raise LocalError(Trouble.IO, f"run job {job.job} as root", f"{reason}; {fix}")


def _run_code(parsed: argparse.Namespace, summary: Summary, stopped_by: int) -> int:
    """The exit code of a run that ended normally. A service stopped by SIGTERM exits with 0."""
    if stopped_by and not (parsed.until == "forever" and stopped_by == signal.SIGTERM):
        return 128 + stopped_by
    if summary.waiting and not summary.drained:
        _complain(f"not drained after {seconds_text(summary.seconds)}; {'; '.join(summary.waiting)}")
        return EXIT_NOT_DRAINED
    problems = list(_problems(parsed, summary))
    if problems and parsed.until != "forever":
        raise ObjectsFailed("; ".join(problems))
    return 0


def _problems(parsed: argparse.Namespace, summary: Summary) -> Iterator[str]:
    """What a run that was not interrupted did not move, and where to look."""
    bad = summary.states.get("failed", 0) + summary.states.get("quarantined", 0)
    report = f"see `snowsync report {parsed.job}`"
    if bad:
        yield f"{counted_text(bad, 'object')} failed or quarantined: {report}"
    if summary.refused:
        refused = f"the destination did not accept {counted_text(summary.refused, 'staged object')}"
        yield f"{refused}: they are kept, and the next run sends them again; {report}"
    pending = summary.states.get("pending", 0)
    yield from summary.unserved
    if pending and summary.unserved:
        yield f"{counted_text(pending, 'object')} not fetched from the source"
    elif pending and parsed.until == "drained" and parsed.direction != "destination":
        yield f"{counted_text(pending, 'object')} not fetched from the source: the volumes have no room for them"
    if summary.lost:
        lost = (
            f"{counted_text(summary.lost, 'object')} disappeared from the source before the newest version was fetched"
        )
        yield f"{lost}: {report}"
    if summary.left_behind:
        left = f"{counted_text(summary.left_behind, 'object')} left at the source because their keys cannot be moved"
        yield f"{left}: rename them there; `snowsync plan {parsed.job}` lists them"


def _summary_text(summary: Summary) -> str:
    values: dict[str, Any] = asdict(summary)
    rows = []
    for name in ("listed", "staged", "delivered", "released"):
        part = values[name]
        seconds = part.get("seconds", 0.0)
        rows.append(
            (
                name,
                count_text(part["objects"]),
                bytes_text(part["bytes"]),
                f"{seconds:.1f}" if seconds else "",
                rate_text(part["bytes"] / seconds) if seconds else "",
            )
        )
    lines = [table(("this run", "objects", "bytes", "seconds", "rate"), rows), "", _ending_text(summary)]
    for hop, evidence in summary.evidence.items():
        lines += [f"proven at the {hop} so far: {evidence_text(evidence)}"] if evidence else []
        if evidence.get("not_proven"):
            lines.append(
                f"  not proven: only two reads of the source agree; `snowsync report {summary.job}` lists them"
            )
    lines += [
        f"  {key_text(failure['key'])}: {failure['trouble']}: {plain_text(failure['message'])}"
        for failure in values["failures"][:20]
    ]
    if summary.failure_count > 20:
        lines.append(f"  ... {count_text(summary.failure_count)} failures in total")
    if summary.report:
        lines.append(f"report: {summary.report}")
    return "\n".join(lines)


def _ending_text(summary: Summary) -> str:
    """How the run ended, and the states of all objects of the job."""
    changed = "changed" if summary.changed else "nothing to do" if summary.drained else "nothing moved"
    states = ", ".join(f"{count_text(number)} {state}" for state, number in summary.states.items() if number)
    if summary.left_behind:
        states = f"{states or 'none'}, {count_text(summary.left_behind)} that cannot be moved"
    ending = f"{'drained' if summary.drained else 'not drained'} after {seconds_text(summary.seconds)}"
    return f"job {summary.job}: {ending}, {changed}; all objects: {states or 'none'}"


def _plan(parsed: argparse.Namespace) -> int:
    from ..running.run import plan_job

    plan = plan_job(load_named_job(parsed))
    if parsed.json:
        print_json(asdict(plan))
    else:
        print(_plan_text(plan))
    return 0


def _plan_text(plan: Plan) -> str:
    lines = [f"job {plan.job}: {counted_text(plan.objects, 'object')} ({bytes_text(plan.bytes)}) would be moved"]
    lines += [f"  {key_text(object_key)}" for object_key in plan.keys[:20]]
    if plan.objects > 20:
        lines.append(f"  ... and {count_text(plan.objects - 20)} more")
    if plan.left_behind:
        lines.append(f"{counted_text(plan.left_behind, 'object')} cannot be moved:")
        lines += [f"  {key_text(left['key'])}: {plain_text(left['reason'])}" for left in plan.left[:20]]
    return "\n".join(lines)


def _status(parsed: argparse.Namespace) -> int:
    with without_collections():
        from ..inspection import status

    found = status.gather_all(parsed.jobs_dir) if parsed.job is None else [status.gather(load_named_job(parsed))]
    if parsed.json:
        print_json({"jobs": [one.record() for one in found]})
    else:
        print("\n\n".join(status.render(one) for one in found) or f"no jobs in {parsed.jobs_dir}")
    problems = [one.error for one in found if one.error]
    return max((problem.exit_code for problem in problems), default=0)


def _watch(parsed: argparse.Namespace) -> int:
    from ..show.watch import watch

    drained = watch(load_named_job(parsed), until_drained=parsed.until_drained, timeout=parsed.timeout)
    return 0 if drained else EXIT_NOT_DRAINED


def _verify(parsed: argparse.Namespace) -> int:
    from ..inspection.verify import verify_job
    from ..inspection.verify_result import render

    job = load_named_job(parsed)
    result = verify_job(job, combined=parsed.combined, read_back=parsed.read_back, read_all=parsed.read_all)
    if parsed.json:
        print_json(result.record(exact=parsed.exact))
    else:
        print(render(result, exact=parsed.exact))
    if not result.agrees(exact=parsed.exact):
        sys.stdout.flush()
        raise ObjectsFailed(f"source and destination of job {job.job} do not agree")
    return 0


def _ledger_export(parsed: argparse.Namespace) -> int:
    from ..ledger.export import export
    from ..ledger.reader import LedgerReader

    with LedgerReader.open(load_named_job(parsed).ledger_path) as reader:
        export(reader, parsed.format, sys.stdout)
    return 0


def _report(parsed: argparse.Namespace) -> int:
    from ..inspection import report
    from ..inspection.status import is_running
    from ..ledger.reader import LedgerReader

    job = load_named_job(parsed)
    with LedgerReader.open(job.ledger_path) as reader:
        since_ms = None if parsed.since is None else parsed.since * 1000
        running = any(is_running(run) for run in reader.runs())
        gathered = report.gather(reader, since_ms=since_ms, running=running)
        path = report.save(job, reader, gathered)
    print(report.render(job, gathered, path))
    return 0


def _check_config(parsed: argparse.Namespace) -> int:
    from ..config.job_file import load_job

    job = load_job(parsed.file)
    print(f"{parsed.file}: job {job.job} is valid ({job.mode}, {counted_text(len(job.volumes), 'volume')})")
    return 0


_ACTIONS: dict[str, Callable[[argparse.Namespace], int]] = {
    "run": _run,
    "plan": _plan,
    "status": _status,
    "watch": _watch,
    "verify": _verify,
    "export": _ledger_export,
    "report": _report,
    "check-config": _check_config,
    **volume_commands.ACTIONS,
    **store_commands.ACTIONS,
}


# -- output -----------------------------------------------------------------------------------------------------


def _make_output_safe() -> None:
    """No key may abort the command with an encoding error, whatever the locale is."""
    for stream, encoding in ((sys.stdout, "utf-8"), (sys.stderr, None)):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(encoding=encoding, errors="backslashreplace")


def _flush_quietly() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _to_journal() -> bool:
    """Whether stderr is connected to the journal, as $JOURNAL_STREAM tells."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


def _complain(text: str) -> None:
    _write_stderr("\n".join(f"<3>{line}" for line in text.splitlines()) if _to_journal() else f"snowsync: {text}")


def _write_stderr(text: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(text, file=sys.stderr, flush=True)


class _JournalFormatter(logging.Formatter):
    """Prefixes every line with its syslog priority; no time, since the journal records its own."""

    def format(self, record: logging.LogRecord) -> str:
        priority = (
            7 if record.levelno < logging.INFO else {"INFO": 6, "WARNING": 4, "ERROR": 3}.get(record.levelname, 2)
        )
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())


def _set_up_logging(level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    if _to_journal():
        handler.setFormatter(_JournalFormatter("%(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%S"))
    logger = logging.getLogger("snowsync")
    logger.handlers = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
