# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The arguments and the help texts of the command ``snowsync``."""

from __future__ import annotations

import argparse
import contextlib
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import VERSION

JOBS_DIR = Path("/etc/snowsync/jobs")

_EPILOG = """\
A first transfer, from the job file to the final check:
  snowsync check-config photos.yml              list every mistake in the file
  snowsync plan photos.yml                      list what would be moved; nothing is moved
  snowsync run photos.yml --until-drained       move and verify the objects, free the volumes
  snowsync verify photos.yml                    compare source, ledger and destination
JOB is the name of a job (a file of that name in --jobs-dir) or the path of a YAML file.

exit codes:
    0  done; for `verify`: source and destination agree
    1  unexpected error, probably a bug in snowsync
    2  invalid arguments or configuration: every problem is listed
    3  objects failed, are quarantined or were left at the source, or a listing is incomplete;
       for `verify`: something differs, is missing or cannot be proven
    4  a request to a store failed
    5  a store rejects the credentials or the bucket: retrying does not help
    6  a volume or the state directory failed
    7  another process is running this unit of the job
    8  the ledger cannot be used: it does not exist yet, is damaged, or was written by a newer snowsync
  124  --timeout expired before the job, or the volume, was drained
  130  interrupted (Ctrl-C); 143 after SIGTERM, except for `run --forever`, which SIGTERM ends with 0
  141  the reader of the output closed the pipe
"""

_VERIFY_EPILOG = """\
One symbol per object, as in rclone's `check --combined`:
  =  identical: the same size, and the destination's digest equals the source's or the one proven at delivery
  *  size or digest differs
  +  only at the source: missing at the destination
  -  only at the destination (a failure only with --exact)
  !  cannot be proven (digests of different kinds and no proof in the ledger; see --read-back), or an error; also
     objects whose source ETag proves nothing, so that only two reads of the source agree (evidence `not_proven`).
     Those that the job accepts (`unproven`) are counted and listed separately, and are not failures

A listing does not show whether an object is encrypted with a KMS key, in which case its ETag is not a digest. Equal
ETags that look like MD5s count as proof, unless the job declares that store's ETags opaque or the ledger has the object
as not proven. If the destination's ETag is the one that the object had when it was proven there, that proof counts.
--read-back and --read-all also compare what the source returns with its own ETag, and so report corruption at the
source even where both sides are equal.

--combined FILE contains one line per object: the symbol, a space, the key. It is the source's key, or the destination's
for "-". A key with control characters, invisible characters or leading or trailing white space, or one that begins with
a double quote, is written as a JSON string in double quotes: "two\\nlines". All other keys are written unchanged.

Nothing is written to a store, and at most a few pages of a listing are held in memory. The totals also show what is in
flight according to the ledger (pending, staged), and where the ledger and the stores disagree.
"""


class _Parser(argparse.ArgumentParser):
    """Help that keeps its line breaks, and no abbreviations: a script must not break when an option is added."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)


def build_parser(command: str = "") -> argparse.ArgumentParser:
    """The parser of all commands; with the name of one, of that one alone: fifteen take 5 ms of each start."""
    parser = _Parser(
        prog="snowsync",
        description="Moves objects from one S3 store through local volumes to another and verifies each of them.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"snowsync {VERSION}")
    parser.set_defaults(jobs_dir=JOBS_DIR, log_level=None)
    _add_common(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, add in _COMMANDS.items():
        if command == name or command not in _COMMANDS:
            add(commands)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    """Options allowed before or after the command. SUPPRESS: the second parser must not override the first."""
    parser.add_argument(
        "--jobs-dir",
        type=Path,
        metavar="DIR",
        default=argparse.SUPPRESS,
        help=f"directory of the job files (default {JOBS_DIR})",
    )
    parser.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default=argparse.SUPPRESS,
        help="minimum level of log messages on stderr (default: info for `run`, otherwise warning)",
    )


def _command(commands: Any, name: str, summary: str, description: str = "", **more: Any) -> argparse.ArgumentParser:
    text = textwrap.fill(f"{summary[:1].upper()}{summary[1:]}. {description}", 100)
    parser: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=text, **more)
    _add_common(parser)
    parser.set_defaults(act=name)
    return parser


def _add_job(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", metavar="JOB", help="name of a job or path of its YAML file")


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
        "Objects that are already proven are not moved again, so an interrupted run can simply be restarted. A summary"
        " is printed at the end; `snowsync watch JOB` shows the progress meanwhile.",
    )
    _add_job(parser)
    until = parser.add_mutually_exclusive_group(required=True)
    until.add_argument(
        "--until-drained",
        dest="until",
        action="store_const",
        const="drained",
        help="exit when everything listed is delivered and released, failed or quarantined",
    )
    until.add_argument(
        "--once", dest="until", action="store_const", const="once", help="one pass: list once, try each object once"
    )
    until.add_argument(
        "--forever",
        dest="until",
        action="store_const",
        const="forever",
        help="repeat passes until stopped, as the systemd units do",
    )
    parser.add_argument(
        "--direction",
        choices=("both", "source", "destination"),
        default="both",
        help="source: only fill the volumes; destination: only empty them (default both)",
    )
    parser.add_argument(
        "--timeout", type=_positive_seconds, metavar="SECONDS", help="exit after this time at the latest"
    )
    _add_json(parser)


def _add_plan(commands: Any) -> None:
    parser = _command(
        commands, "plan", "list the source and show what would be moved", "Nothing is moved and nothing is recorded."
    )
    _add_job(parser)
    _add_json(parser)


def _add_status(commands: Any) -> None:
    parser = _command(
        commands,
        "status",
        "show the status of one job or all jobs",
        "Shows states, units, rates, what the units wait for, volumes, endpoints and the latest failures. Reads only"
        " the ledger and the volumes; sends no request to a store.",
    )
    parser.add_argument("job", metavar="JOB", nargs="?", help="name or YAML file (default: every job of --jobs-dir)")
    _add_json(parser)


def _add_watch(commands: Any) -> None:
    parser = _command(
        commands,
        "watch",
        "show a job's progress live",
        "Only reads the ledger, and can be started and stopped (Ctrl-C) at any time. Exits when the job is drained and"
        " no unit is running. Without a terminal it prints a line every two seconds.",
    )
    _add_job(parser)
    parser.add_argument(
        "--until-drained", action="store_true", help="exit when the job is drained, even if its units keep running"
    )
    parser.add_argument(
        "--timeout", type=_positive_seconds, metavar="SECONDS", help="exit after this time at the latest"
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
        help="read objects whose digests cannot be compared from both sides, and compare their MD5s",
    )
    parser.add_argument(
        "--read-all", action="store_true", help="read every object from both sides: slow, transfers all data twice"
    )
    parser.add_argument(
        "--exact", action="store_true", help='also fail on objects that exist only at the destination ("-")'
    )


def _add_volumes(commands: Any) -> None:
    parser = _command(
        commands,
        "volumes",
        "show the volumes of one job or all jobs",
        "Shows state, space, contents, what is unavailable because its volume is missing or failed, and the transfer"
        " rates in and out.",
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
        "place nothing new on a volume and deliver what is there",
        "The setting is durable. Running units apply it within seconds; the units need not be running. The volume keeps"
        " draining until --undo.",
    )
    _add_volume(parser)
    parser.add_argument("--undo", action="store_true", help="put the volume back into use")
    parser.add_argument("--wait", action="store_true", help="wait until nothing of the job is left there")
    parser.add_argument(
        "--timeout", type=_positive_seconds, metavar="SECONDS", help="with --wait: exit after this time at the latest"
    )


def _add_evacuate(commands: Any) -> None:
    parser = _command(
        commands,
        "evacuate",
        "move what is staged on a volume to the other volumes",
        "Nothing is fetched again. Drains the volume first. Works with or without running units, and can be interrupted"
        " and restarted at any time. Dropped files stay: they are delivered from their drop folder.",
    )
    _add_volume(parser)


def _add_refetch(commands: Any) -> None:
    parser = _command(
        commands,
        "refetch",
        "give up a disk that will not come back",
        "What was staged there is fetched again from the source; files that were dropped there are lost and listed by"
        " name. Only for a volume that is missing or failed. Without --yes it only shows the consequences.",
    )
    _add_volume(parser)
    parser.add_argument("--yes", action="store_true", help="do it")


def _add_reset(commands: Any) -> None:
    parser = _command(
        commands,
        "reset",
        "discard what a job has staged, and its ledger",
        "Without --confirm it only shows what would be lost. Removes the job's own files from its volumes, lists every"
        " other file and keeps it, does not touch drop folders, and keeps the old ledger as ledger.db.reset-EPOCH. The"
        " job's units must be stopped.",
    )
    _add_job(parser)
    parser.add_argument(
        "--confirm", metavar="NAME", help="do it: repeat the job's name, or with --volume the id of the other ledger"
    )
    parser.add_argument(
        "--volume",
        metavar="VOLUME",
        help="discard only what another ledger staged on this volume; the job, its ledger and its units are kept",
    )
    _add_json(parser)


def _add_rebind(commands: Any) -> None:
    parser = _command(
        commands,
        "rebind",
        "accept a changed source or destination in the job file",
        "Without --confirm it only shows what changed and what each choice would do. A run refuses a job file whose"
        " bucket, prefix or store differs from the one recorded in the ledger. No file is removed. The job's units must"
        " be stopped.",
    )
    _add_job(parser)
    parser.add_argument(
        "--as",
        dest="meaning",
        choices=("same", "new"),
        help="same: the same store under another name, all proofs stay valid; new: another store, where nothing is"
        " proven",
    )
    parser.add_argument(
        "--side",
        choices=("source", "destination"),
        help="only this side, even if its values are unchanged because another store now answers there (default: every"
        " side that changed)",
    )
    parser.add_argument("--confirm", metavar="NAME", help="do it: repeat the job's name")
    _add_json(parser)


def _add_resend(commands: Any) -> None:
    parser = _command(
        commands,
        "resend",
        "resend objects that the destination lost",
        "Sends from the volume if the file is still there, otherwise fetches it again. The destination is checked"
        " before anything is sent, nothing is removed, and units may be running. Also for failed or quarantined"
        " objects.",
    )
    _add_job(parser)
    parser.add_argument("keys", metavar="KEY", nargs="*", help="full key of an object at the source")
    parser.add_argument(
        "--lost",
        action="store_true",
        help="all objects that are delivered according to the ledger, but are missing or different at the destination,"
        " as found by `snowsync verify`",
    )
    parser.add_argument("--dry-run", action="store_true", help="only show what would be done")
    _add_json(parser)


def _add_ledger(commands: Any) -> None:
    parser = commands.add_parser("ledger", help="export a job's ledger", description="Export a job's ledger.")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    export = _command(
        actions,
        "export",
        "write every object of the ledger to stdout",
        "csv and json have all columns, times in UTC; forerunner is `Key,Size` of everything delivered or released.",
    )
    _add_job(export)
    export.add_argument("--format", choices=("csv", "json", "forerunner"), default="csv", help="default csv")


def _add_report(commands: Any) -> None:
    parser = _command(
        commands,
        "report",
        "write the job's report and print its totals",
        "The file is <state_dir>/reports/dt_data_<epoch>.json; <epoch> is the start of the reported period: the job's"
        " first run, or --since. Every run that moved something also writes a report of its own.",
    )
    _add_job(parser)
    parser.add_argument(
        "--since", type=int, metavar="EPOCH", help="cover only what happened since this time (Unix time)"
    )


def _add_check_config(commands: Any) -> None:
    parser = _command(commands, "check-config", "check a job file and list every mistake in it")
    parser.add_argument("file", metavar="FILE", type=Path, help="the YAML file")


_COMMANDS: dict[str, Callable[[Any], None]] = {
    "run": _add_run,
    "plan": _add_plan,
    "status": _add_status,
    "watch": _add_watch,
    "verify": _add_verify,
    "volumes": _add_volumes,
    "drain": _add_drain,
    "evacuate": _add_evacuate,
    "refetch": _add_refetch,
    "reset": _add_reset,
    "rebind": _add_rebind,
    "resend": _add_resend,
    "ledger": _add_ledger,
    "report": _add_report,
    "check-config": _add_check_config,
}
