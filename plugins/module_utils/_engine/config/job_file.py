# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The YAML file of a job: where it is, and the job in it. All problems of a file are reported at once."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.errors import ConfigError
from ..core.sizes import parse_size
from . import values
from .agreement import Agreement, addresses
from .job import STATE_ROOT, Group, Job, MoverSettings, Space, Store, Volume
from .schema import did_you_mean, read_job

__all__ = [
    "JOBS_DIR",
    "STATE_ROOT",
    "Group",
    "Job",
    "MoverSettings",
    "Space",
    "Store",
    "Volume",
    "addresses",
    "job_path",
    "load_job",
    "parse_job",
    "parse_size",
]

JOBS_DIR = Path("/etc/snowsync/jobs")


def job_path(name_or_path: str, jobs_dir: Path | str = JOBS_DIR) -> Path:
    """The file of a job: a path (with a / or ending in .yml or .yaml) is used as is, a name is looked up in `jobs_dir`.

    Raises ConfigError for a name without a file, listing the names that have one.
    """
    if "/" in name_or_path or name_or_path.endswith((".yml", ".yaml")):
        return Path(name_or_path)
    if not re.fullmatch(values.JOB_NAME, name_or_path):
        raise ConfigError(name_or_path, ["is neither a job name nor a path; see `snowsync --help`"])
    try:
        names = os.listdir(jobs_dir)
    except FileNotFoundError:
        names = []
    except OSError as error:
        raise ConfigError(str(jobs_dir), [f"cannot be listed: {error.strerror}; try as root"]) from None
    for name in (f"{name_or_path}.yml", f"{name_or_path}.yaml"):
        if name in names:
            return Path(jobs_dir, name)
    known = sorted({name.rpartition(".")[0] for name in names if name.endswith((".yml", ".yaml"))})
    hint = did_you_mean(name_or_path, known) or f"existing jobs: {', '.join(known[:20]) or 'none'}"
    raise ConfigError(str(jobs_dir), [f"there is no job `{name_or_path}`; {hint}"])


def load_job(path: Path | str) -> Job:
    """Load a job from a YAML file; ConfigError with every problem (or with the line of a syntax error)."""
    return parse_job(_read_yaml(Path(path)), str(path))


def parse_job(mapping: object, origin: str) -> Job:
    """Parse a job from a mapping (YAML or JSON); `origin` names it in errors. ConfigError with every problem."""
    if not isinstance(mapping, Mapping):
        raise ConfigError(
            origin, [f"must be a mapping of options (job: ..., destination: ...), not {values.kind(mapping)}"]
        )
    job, problems = read_job(mapping)
    problems += Agreement(job).problems()
    if problems:
        raise ConfigError(origin, problems)
    return job


def _read_yaml(path: Path) -> object:
    import yaml

    try:
        return yaml.load(path.read_bytes(), _yaml_loader())
    except FileNotFoundError:
        raise ConfigError(str(path), ["there is no such file; check the name"]) from None
    except OSError as error:
        raise ConfigError(str(path), [f"cannot be read: {error.strerror}; check its type and mode"]) from None
    except RecursionError:
        raise ConfigError(str(path), ["is nested too deeply for a job; check the brackets"]) from None
    except yaml.YAMLError as error:
        raise ConfigError(str(path), [_explain_yaml(error)]) from None


def _explain_yaml(error: Any) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        return f"is not UTF-8 text ({getattr(error, 'reason', error)}); write it again"
    what = ", ".join(text for text in (error.context, error.problem) if text)
    return f"line {mark.line + 1}, column {mark.column + 1}: {what}; fix the YAML at this position"


def _yaml_loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """Rejects duplicate keys, of which YAML silently uses the last. Every error names its line."""

        def construct_object(self, node: Any, deep: bool = False) -> Any:
            try:
                return super().construct_object(node, deep)
            except (ValueError, OverflowError) as error:  # such as the date 2024-13-01
                raise yaml.MarkedYAMLError(problem=str(error), problem_mark=node.start_mark) from None

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            seen: set[str] = set()
            for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
                if isinstance(key_node, yaml.ScalarNode):
                    if key_node.value in seen:
                        repeated = f"the key `{key_node.value}` occurs twice"
                        raise yaml.MarkedYAMLError(problem=repeated, problem_mark=key_node.start_mark)
                    seen.add(key_node.value)
            return super().construct_mapping(node, deep)

    return Loader
