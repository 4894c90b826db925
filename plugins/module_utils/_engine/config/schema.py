# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The options of a job file: which there are, how each is checked, and what a problem is called.

An option is a function that takes what the file contains, where that is, and the list of problems, to which it adds its
own. It returns the value, or None in place of a wrong one, so that config/agreement.py can check all others against
each other: one run of ``snowsync check-config`` is enough to fix a file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any

from ..core.s3_limits import LARGEST_PART, SMALLEST_PART
from . import values
from .job import Group, Job, MoverSettings, Space, Store, Volume

Option = Callable[[object, str, list[str]], Any]
_SECRET_KEYS = re.compile(r"(access|secret|session)_?(key|token)|password|token|aws_.*", re.IGNORECASE)


def read_job(mapping: Mapping[Any, Any]) -> tuple[Job, list[str]]:
    """The job of a file's mapping, and every problem with a single value. With problems, the job is for checks only."""
    problems: list[str] = []
    return JOB(mapping, "", problems), problems


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint at the name that was probably meant; empty if none is close."""
    import difflib  # only for a file with problems: every start would load it

    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean `{close[0]}`?" if close else ""


# -- kinds of options -------------------------------------------------------------------------------------------


def _value(check: values.Check, *, keeps_wrong: bool = False) -> Option:
    """A single value. With `keeps_wrong`, a wrong one is returned as it is: it shows that something was set."""

    def read(raw: object, where: str, problems: list[str]) -> Any:
        try:
            return check(raw)
        except ValueError as error:
            problems.append(f"{where}: {error}")
            return raw if keeps_wrong else None

    return read


def _nullable(option: Option) -> Option:
    return lambda raw, where, problems: None if raw is None else option(raw, where, problems)


def _list(option: Option) -> Option:
    """A list of one kind; None if anything in it is wrong."""

    def read(raw: object, where: str, problems: list[str]) -> tuple[Any, ...] | None:
        if not isinstance(raw, (list, tuple)):
            problems.append(f"{where}: must be a list, not {values.kind(raw)}")
            return None
        found = [option(each, f"{where}[{index}]", problems) for index, each in enumerate(raw)]
        return None if None in found else tuple(found)

    return read


def _mapping(model: type[Any], options: Mapping[str, Option]) -> Option:
    """A mapping of options. It always returns a `model`, whose wrong and missing values are None."""

    def read(raw: object, where: str, problems: list[str]) -> Any:
        if not isinstance(raw, Mapping):
            problems.append(f"{where}: must be a mapping of options, not {values.kind(raw)}")
            return model(**dict.fromkeys(required))
        inside = f"{where}." if where else ""
        found: dict[str, Any] = dict.fromkeys(required)
        for name, option in options.items():
            if name in raw:
                found[name] = option(raw[name], f"{inside}{name}", problems)
            elif name in required:
                problems.append(f"{inside}{name}: is missing; add it")
        problems += [f"{_printable(inside, name)}: {_unknown(name, options)}" for name in raw if name not in options]
        return model(**found)

    required = [field.name for field in fields(model) if is_required(field)]
    return read


def is_required(field: Field[Any]) -> bool:
    """Whether a job file must have this option."""
    return field.default is MISSING


def _printable(inside: str, name: object) -> str:
    path = f"{inside}{name}"
    return path if path.isprintable() else repr(path)


def _unknown(name: object, known: Iterable[str]) -> str:
    if not isinstance(name, str):  # YAML reads `on` as true
        return "is not text; put the option's name in quotes"
    if _SECRET_KEYS.fullmatch(name):
        return "secrets do not belong here; put it into the file that `credentials_file` names"
    return f"unknown option; {did_you_mean(name, known) or 'known options: ' + ', '.join(known)}"


# -- the options ------------------------------------------------------------------------------------------------

STORE = _mapping(
    Store,
    {
        "bucket": _value(values.bucket),
        "prefix": _value(values.prefix),
        "endpoints": _list(_value(values.endpoint)),
        "region": _value(values.region),
        "credentials_file": _nullable(_value(values.absolute_path)),
        "profile": _value(values.profile),
        "ca_bundle": _nullable(_value(values.absolute_path)),
        "addressing": _value(values.one_of("auto", "path", "virtual")),
        "list_version": _value(values.one_of("auto", "v2", "v1")),
        "sorted": _value(values.flag),
        "etag": _value(values.one_of("auto", "opaque")),
        "max_connections": _value(values.whole_number(1, 1000)),
    },
)
VOLUME = _mapping(
    Volume,
    {
        "name": _value(values.volume_name),
        "path": _value(values.absolute_path),
        "limit": _nullable(_value(values.size_between(1))),
        "require_mount": _value(values.flag),
        # Even a wrong one shows that files would come from it: the job needs no source.
        "drop_folder": _nullable(_value(values.relative_folder, keeps_wrong=True)),
    },
)
SPACE = _mapping(
    Space,
    {
        "high_watermark": _value(values.fraction),
        "low_watermark": _value(values.fraction),
        "reserve": _value(values.size_between(0)),
    },
)
GROUP = _mapping(
    Group,
    {
        "objects": _value(values.whole_number(1, 100_000)),
        "bytes": _value(values.size_between(1)),
        "seconds": _value(values.seconds),
    },
)
MOVER = _mapping(
    MoverSettings,
    {
        "tool": _value(values.one_of("auto", "native", "s5cmd")),
        "workers": _value(values.whole_number(1, 256)),
        "processes": _nullable(_value(values.whole_number(0, 16))),
        "large_workers": _value(values.whole_number(1, 256)),
        "large_object": _value(values.size_between(1)),
        "part_size": _value(values.size_between(SMALLEST_PART, LARGEST_PART)),
        "part_concurrency": _value(values.whole_number(1, 64)),
        "retries": _value(values.whole_number(0, 100)),
        "stall_seconds": _value(values.seconds),
        "answer_seconds": _nullable(_value(values.seconds)),
        "binary": _nullable(_value(values.absolute_path)),
    },
)
JOB = _mapping(
    Job,
    {
        "job": _value(values.job_name),
        "mode": _value(values.mode),
        "state_dir": _nullable(_value(values.absolute_path)),
        "source": _nullable(STORE),
        "destination": STORE,
        "volumes": _list(VOLUME),
        "space": SPACE,
        "group": GROUP,
        "mover": MOVER,
        "evidence": _value(values.evidence),
        "unproven": _value(values.one_of("auto", "hold", "accept")),
        "reread": _value(values.one_of("suspect", "always")),
        "keep_staged": _value(values.flag),
        "tags": _value(values.one_of("copy", "skip")),
        "metadata": _value(values.one_of("copy", "skip")),
        "attempts": _value(values.whole_number(1, 1000)),
        "pass_interval": _value(values.seconds),
        "drop_settle": _value(values.seconds_or_zero),
    },
)
