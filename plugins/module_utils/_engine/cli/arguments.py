# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What the command ``snowsync`` may be told, and the help it gives."""

from __future__ import annotations

import argparse
import contextlib
import textwrap
from pathlib import Path
from typing import Any

from .. import VERSION

JOBS_DIR = Path("/etc/snowsync/jobs")

_EPILOG = """\
A first transfer, from a job file to the proof that it worked:
  snowsync check-config photos.yml              every mistake in the file, all at once
  snowsync plan photos.yml                      what would move; nothing is moved
  snowsync run photos.yml --until-drained       move it, prove it, release the volumes
  snowsync verify photos.yml                    compare source, ledger and destination
JOB is the name of a job (a file of that name in --jobs-dir) or the path of a YAML file.

exit codes:
    0  done; for `verify`: source and destination agree
    1  a defect, or something nobody foresaw
    2  wrong arguments, or a wrong configuration: every problem is listed
    3  objects are failed or quarantined; for `verify`: something differs, is missing or cannot be proven
    4  a request to a store failed
    5  a store refuses the credential or the bucket: waiting would not help
    6  a volume or the state directory failed
    7  another process runs this unit of the job
    8  the ledger refuses: there is none yet, it is damaged, or from a newer snowsync
  124  --timeout ended before the job, or the volume, was drained
  130  interrupted (Ctrl-C); 143 by SIGTERM, which is how `run --forever` is stopped: then 0
  141  whoever read the output stopped reading it
"""

_VERIFY_EPILOG = """\
One symbol per object, as in rclone's `check --combined`:
  =  identical: the same size, and the destination's digest is the source's or the one proven at delivery
  *  differs in size or digest
  +  only at the source: missing at the destination
  -  only at the destination (fails only with --exact)
  !  cannot be proven (digests of different kinds and no proof in the ledger; see --read-back), or an error; also what
     two reads of the source gave where its ETag proves nothing (evidence `not_proven`). Of the latter, what the job
     accepts (`unproven`) is counted and named apart, and is no failure

A listing does not say whether an object lies under a KMS key, where no ETag is a digest. Equal ETags that look like
MD5s count as proof, unless the job calls that store's ETags opaque or the ledger has the object as not proven. Where
the destination's ETag is the one that the object had when it was proven there, that proof counts. --read-back and
--read-all also hold what the source gives against its own ETag: a source that rotted is told, also where both sides
are equal.

--combined FILE holds one line per object: the symbol, a space, the key. The key is the source's, and the destination's
for "-". A key that has control characters, invisible characters or white space at an end, or that begins with a double
quote, stands there as a JSON string in double quotes: "two\\nlines". All other keys stand as they are.

Nothing is written to a store, and no more than some pages of a listing are held in memory. The sums also say what the
ledger has in flight (pending, staged), and where the ledger and the stores disagree.
"""


class _Parser(argparse.ArgumentParser):
    """Help that keeps its line breaks, and no abbreviations: a script must not break when an option is added."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)


def build_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="snowsync",
        description="Moves objects from one S3 store through local volumes to another, each one proven.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"snowsync {VERSION}")
    parser.set_defaults(jobs_dir=JOBS_DIR, log_level=None)
    _add_common(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for add in (
        _add_run,
        _add_plan,
        _add_status,
        _add_watch,
        _add_verify,
        _add_volumes,
        _add_drain,
        _add_evacuate,
        _add_refetch,
        _add_reset,
        _add_rebind,
        _add_resend,
        _add_ledger,
        _add_report,
        _add_check_config,
    ):
        add(commands)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    """Options that stand before or after the command. SUPPRESS: the second parser must not undo the first."""
    parser.add_argument(
        "--jobs-dir",
        type=Path,
        metavar="DIR",
        default=argparse.SUPPRESS,
        help=f"where the jobs' files are (default {JOBS_DIR})",
    )
    parser.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default=argparse.SUPPRESS,
        help="what is said on stderr (default: info for `run`, else warning)",
    )


def _command(commands: Any, name: str, summary: str, description: str = "", **more: Any) -> argparse.ArgumentParser:
    text = textwrap.fill(f"{summary[:1].upper()}{summary[1:]}. {description}", 100)
    parser: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=text, **more)
    _add_common(parser)
    parser.set_defaults(act=name)
    return parser


def _add_job(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", metavar="JOB", help="name of a job, or path of its YAML file")


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def _positive_seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < float(text) < 1e9:
            return float(text)
    raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, not {text!r}")


def _add_run(commands: Any) -> None:
    parser = _command(
        commands,
        "run",
        "run a job in the foreground",
        "What is proven is not moved again, so a run that was cut off is simply started again. It prints what it did at"
        " its end; `snowsync watch JOB` beside it shows its progress.",
    )
    _add_job(parser)
    until = parser.add_mutually_exclusive_group(required=True)
    until.add_argument(
        "--until-drained",
        dest="until",
        action="store_const",
        const="drained",
        help="end when everything listed is delivered and released, failed or quarantined",
    )
    until.add_argument(
        "--once", dest="until", action="store_const", const="once", help="one pass: list once, try every object once"
    )
    until.add_argument(
        "--forever", dest="until", action="store_const", const="forever", help="pass after pass, as the units do"
    )
    parser.add_argument(
        "--direction",
        choices=("both", "source", "destination"),
        default="both",
        help="source: only fill the volumes; destination: only empty them (default both)",
    )
    parser.add_argument(
        "--timeout", type=_positive_seconds, metavar="SECONDS", help="end after this time at the latest"
    )
    _add_json(parser)


def _add_plan(commands: Any) -> None:
    parser = _command(
        commands, "plan", "list the source and say what would move", "Nothing is moved and nothing is recorded."
    )
    _add_job(parser)
    _add_json(parser)


def _add_status(commands: Any) -> None:
    parser = _command(
        commands,
        "status",
        "say how one job or all jobs are",
        "States, units, rates, what is being waited for, volumes, endpoints and the last failures; from the ledger and"
        " the volumes alone, no store is asked.",
    )
    parser.add_argument("job", metavar="JOB", nargs="?", help="name or YAML file (default: every job of --jobs-dir)")
    _add_json(parser)


def _add_watch(commands: Any) -> None:
    parser = _command(
        commands,
        "watch",
        "show a job's progress as it happens",
        "It only reads the ledger and can be started and ended (Ctrl-C) at any time. Ends by itself when the job is"
        " drained and no unit runs. Without a terminal it prints a line every two seconds.",
    )
    _add_job(parser)
    parser.add_argument(
        "--until-drained", action="store_true", help="end when the job is drained, also while its units go on"
    )
    parser.add_argument(
        "--timeout", type=_positive_seconds, metavar="SECONDS", help="end after this time at the latest"
    )


def _add_verify(commands: Any) -> None:
    parser = _command(
        commands, "verify", "compare source, ledger and destination, object by object", epilog=_VERIFY_EPILOG
    )
    _add_job(parser)
    _add_json(parser)
    parser.add_argument("--combined", type=Path, metavar="FILE", help="write one line per object to FILE")
    parser.add_argument(
        "--read-back",
        action="store_true",
        help="read objects whose digests cannot be compared from both sides, and compare their MD5",
    )
    parser.add_argument(
        "--read-all", action="store_true", help="read every object from both sides: slow, each byte travels twice"
    )
    parser.add_argument("--exact", action="store_true", help='objects only at the destination ("-") are a failure too')


def _add_volumes(commands: Any) -> None:
    parser = _command(
        commands,
        "volumes",
        "say how the volumes of one job or all jobs are",
        "State, space, what lies there, what is unavailable with a volume that is away, and what goes in and out.",
    )
    parser.add_argument("job", metavar="JOB", nargs="?", help="name or YAML file (default: every job of --jobs-dir)")
    _add_json(parser)


def _add_volume(parser: argparse.ArgumentParser) -> None:
    _add_job(parser)
    parser.add_argument("volume", metavar="VOLUME", help="name of a volume of the job, see `snowsync volumes JOB`")


def _add_drain(commands: Any) -> None:
    parser = _command(
        commands,
        "drain",
        "place nothing more on a volume, deliver what is there",
        "Durable, and heeded within seconds by units that run; they need not. The volume stays as it is until --undo.",
    )
    _add_volume(parser)
    parser.add_argument("--undo", action="store_true", help="use the volume again")
    parser.add_argument("--wait", action="store_true", help="wait until nothing of the job is left there")
    parser.add_argument(
        "--timeout", type=_positive_seconds, metavar="SECONDS", help="with --wait: end after this time at the latest"
    )


def _add_evacuate(commands: Any) -> None:
    parser = _command(
        commands,
        "evacuate",
        "move what is staged on a volume to the others",
        "Nothing is fetched again. Drains the volume first; works beside running units and without, and may be cut off"
        " and begun again at any time. Dropped files stay: they are delivered from where they lie.",
    )
    _add_volume(parser)


def _add_refetch(commands: Any) -> None:
    parser = _command(
        commands,
        "refetch",
        "give up a disk that will not come back",
        "What was staged there is fetched again from the source; files that were dropped there are lost, each by name."
        " Only for a volume that is missing or failed; without --yes it only says what that means.",
    )
    _add_volume(parser)
    parser.add_argument("--yes", action="store_true", help="do it")


def _add_reset(commands: Any) -> None:
    parser = _command(
        commands,
        "reset",
        "throw away what a job has staged, and its ledger",
        "Without --confirm it only says what would be lost. Removes the job's own files from its volumes, names every"
        " other file and leaves it, leaves drop folders alone, keeps the ledger beside the new one as"
        " ledger.db.reset-EPOCH. The job's units must be stopped.",
    )
    _add_job(parser)
    parser.add_argument(
        "--confirm", metavar="NAME", help="do it: the job's name once more; with --volume the id of the other ledger"
    )
    parser.add_argument(
        "--volume",
        metavar="VOLUME",
        help="give up only what another ledger staged on this volume; the job, its ledger and its units go on",
    )
    _add_json(parser)


def _add_rebind(commands: Any) -> None:
    parser = _command(
        commands,
        "rebind",
        "say what another source or destination in the job file means",
        "Without --confirm it only says what changed, and what each answer would mean. A run refuses a job file that"
        " names another bucket, prefix or store than the ledger speaks of. No file is removed. The job's units must be"
        " stopped.",
    )
    _add_job(parser)
    parser.add_argument(
        "--as",
        dest="meaning",
        choices=("same", "new"),
        help="same: the same store under another name, all proofs stay; new: another one, where nothing is proven",
    )
    parser.add_argument(
        "--side",
        choices=("source", "destination"),
        help="only this side, also where its values are as before: another store answers there (default: what changed)",
    )
    parser.add_argument("--confirm", metavar="NAME", help="do it: the job's name once more")
    _add_json(parser)


def _add_resend(commands: Any) -> None:
    parser = _command(
        commands,
        "resend",
        "send objects again that the destination lost",
        "From the volume where the file is still there, else fetched again. The destination is asked before anything is"
        " sent, nothing is removed, and units may run. Also for an object that is failed or quarantined.",
    )
    _add_job(parser)
    parser.add_argument("keys", metavar="KEY", nargs="*", help="an object, by its whole key at the source")
    parser.add_argument(
        "--lost",
        action="store_true",
        help="all that is delivered, says the ledger, and that the destination lacks or has something else for,"
        " as `snowsync verify` finds it",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    _add_json(parser)


def _add_ledger(commands: Any) -> None:
    parser = commands.add_parser("ledger", help="export a job's ledger", description="Export a job's ledger.")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    export = _command(
        actions,
        "export",
        "write every object of the ledger to stdout",
        "csv and json have every column, times in UTC; forerunner is `Key,Size` of everything delivered or released.",
    )
    _add_job(export)
    export.add_argument("--format", choices=("csv", "json", "forerunner"), default="csv", help="default csv")


def _add_report(commands: Any) -> None:
    parser = _command(
        commands,
        "report",
        "write the job's report and print its sums",
        "The file is <state_dir>/reports/dt_data_<epoch>.json; <epoch> is where it begins: the job's first run, or"
        " --since. Every run that moved something has left such a report of its own.",
    )
    _add_job(parser)
    parser.add_argument(
        "--since", type=int, metavar="EPOCH", help="cover only what happened since this time (seconds since 1970)"
    )


def _add_check_config(commands: Any) -> None:
    parser = _command(commands, "check-config", "read a job's file and list every mistake in it")
    parser.add_argument("file", metavar="FILE", type=Path, help="the YAML file")
