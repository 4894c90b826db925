# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""A job's configuration: the schema of its YAML file. All problems of a file are reported at once.

config/values.py checks each value alone; `_Crossing` checks values against each other, even when single values are
wrong, so that one run of ``snowsync check-config`` is enough to fix a file.
Sizes are bytes (an integer, or text such as ``10GiB`` or ``500MB``), durations are seconds.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from ..core.errors import ConfigError
from ..core.model import MIB, Evidence
from ..core.s3_limits import LARGEST_PART, SMALLEST_PART
from ..core.sizes import parse_size
from . import values
from .connection_needs import least

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
STATE_ROOT = Path("/var/lib/snowsync")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Store(_Part):
    """A bucket and prefix, reached through `endpoints` (`scheme://host[:port]`; empty: the AWS of `region`)."""

    bucket: values.Bucket
    prefix: values.Prefix = ""
    endpoints: tuple[values.Endpoint, ...] = ()
    region: values.Region = "us-east-1"
    credentials_file: values.AbsolutePath | None = None
    profile: values.Profile = "default"
    ca_bundle: values.AbsolutePath | None = None
    addressing: Annotated[Literal["auto", "path", "virtual"], values.one_of("auto", "path", "virtual")] = "auto"
    list_version: Annotated[Literal["auto", "v2", "v1"], values.one_of("auto", "v2", "v1")] = "auto"
    sorted: values.Flag = True
    etag: Annotated[Literal["auto", "opaque"], values.one_of("auto", "opaque")] = "auto"
    max_connections: Annotated[int, values.whole_number(1, 1000)] = 64


class Volume(_Part):
    """A staging filesystem: `limit` in bytes (None: the whole filesystem), `drop_folder` relative to `path`."""

    name: values.VolumeName
    path: values.AbsolutePath
    limit: Annotated[int, values.size_between(1)] | None = None
    require_mount: values.Flag = True
    drop_folder: values.RelativeFolder | None = None

    @property
    def drop_path(self) -> Path | None:
        return self.path / self.drop_folder if self.drop_folder else None


class Space(_Part):
    """Watermarks as fractions of the usable size (`limit`, or the filesystem); `reserve` bytes of the filesystem."""

    high_watermark: values.Fraction = 0.9
    low_watermark: values.Fraction = 0.8
    reserve: Annotated[int, values.size_between(0)] = 256 * MIB


class Group(_Part):
    """A group is committed when it has `objects` objects or `bytes` bytes, or is `seconds` old."""

    objects: Annotated[int, values.whole_number(1, 100_000)] = 500
    bytes: Annotated[int, values.size_between(1)] = 256 * MIB
    seconds: values.Seconds = 2.0


class MoverSettings(_Part):
    """How the movers work: objects of `large_object` bytes and more have their own lane of `large_workers`.

    Half of these workers fetch, so that large objects finish one after another and both hops work at the same time.
    `processes` of each direction move small objects (None: as the number of CPUs suggests).
    `tool` auto is the native mover, which costs less CPU and reads nothing twice.
    """

    tool: Annotated[Literal["auto", "native", "s5cmd"], values.one_of("auto", "native", "s5cmd")] = "auto"
    workers: Annotated[int, values.whole_number(1, 256)] = 16
    processes: Annotated[int, values.whole_number(0, 16)] | None = None
    large_workers: Annotated[int, values.whole_number(1, 256)] = 2
    large_object: Annotated[int, values.size_between(1)] = 16 * MIB
    part_size: Annotated[int, values.size_between(SMALLEST_PART, LARGEST_PART)] = 64 * MIB
    part_concurrency: Annotated[int, values.whole_number(1, 64)] = 4
    retries: Annotated[int, values.whole_number(0, 100)] = 2
    stall_seconds: values.Seconds = 60.0
    answer_seconds: values.Seconds | None = None
    binary: values.AbsolutePath | None = None

    def is_large(self, size: int) -> bool:
        """Whether an object of `size` bytes uses the lane of large objects and has its parts remembered."""
        return size >= self.large_object


class Job(_Part):
    """One configured transfer. Made by `load_job` or `parse_job`, which also check the values against each other."""

    job: values.JobName
    mode: values.Mode = "staged"
    state_dir: values.AbsolutePath | None = None
    source: Store | None = None
    destination: Store
    volumes: tuple[Volume, ...]
    space: Space = Space()
    group: Group = Group()
    mover: MoverSettings = MoverSettings()
    evidence: values.Rung = Evidence.STORE_DIGEST
    unproven: Annotated[Literal["auto", "hold", "accept"], values.one_of("auto", "hold", "accept")] = "auto"
    reread: Annotated[Literal["suspect", "always"], values.one_of("suspect", "always")] = "suspect"
    keep_staged: values.Flag = False
    tags: Annotated[Literal["copy", "skip"], values.one_of("copy", "skip")] = "copy"
    metadata: Annotated[Literal["copy", "skip"], values.one_of("copy", "skip")] = "copy"
    attempts: Annotated[int, values.whole_number(1, 1000)] = 5
    pass_interval: values.Seconds = 60.0
    drop_settle: values.SecondsOrZero = 10.0

    @property
    def state_path(self) -> Path:
        return self.state_dir or STATE_ROOT / self.job

    @property
    def ledger_path(self) -> Path:
        return self.state_path / "ledger.db"

    @property
    def reports_path(self) -> Path:
        return self.state_path / "reports"


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
    hint = _did_you_mean(name_or_path, known) or f"existing jobs: {', '.join(known[:20]) or 'none'}"
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
    try:
        job = Job.model_validate(mapping)
    except ValidationError as error:
        problems = [_explain(details) for details in error.errors(include_url=False)]
        raise ConfigError(origin, [*problems, *_Crossing(_salvage_job(mapping)).problems()]) from None
    problems = list(_Crossing(job).problems())
    if problems:
        raise ConfigError(origin, problems)
    return job


class _Crossing:
    """Checks of several values together. Values that are wrong by themselves are None here and are skipped."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.volumes = [(f"volumes[{index}]", volume) for index, volume in enumerate(job.volumes or ()) if volume]

    def problems(self) -> Iterator[str]:
        yield from self._stores()
        yield from self._volumes()
        yield from self._rest()

    def _stores(self) -> Iterator[str]:
        source, destination = self.job.source, self.job.destination
        for side, store in (("source", source), ("destination", destination)):
            if store is not None:
                yield from _why_not_virtual(side, store)
                yield from _too_few_connections(side, store, self.job.mover)
                yield from _repeated(f"{side}.endpoints", [str(endpoint) for endpoint in store.endpoints or ()])
        if source and destination and _feeds_itself(source, destination):
            yield (
                "destination: is the same as the source (same endpoint and bucket, one prefix contains the other),"
                " the job would copy its own output; choose another bucket or prefix"
            )

        virtual = [side for side in ("source", "destination") if _is_virtual(getattr(self.job, side))]
        if virtual and self.job.mover and self.job.mover.tool == "s5cmd":
            yield f"mover.tool: s5cmd does not support {virtual[0]}.addressing: virtual; use native"

    def _volumes(self) -> Iterator[str]:
        for position, (where, volume) in enumerate(self.volumes):
            for earlier, other in self.volumes[:position]:
                if volume.name and volume.name == other.name:
                    yield f"{where}.name: {volume.name!r} is already the name of {earlier}; volume names must be unique"
                yield from _overlap(f"{where}.path", volume.path, f"{earlier}.path", other.path)
            if volume.path == Path("/"):
                yield f"{where}.path: is the root directory; name the mount point or folder to stage in"
            elif volume.path and self.job.job and self.job.state_path.is_relative_to(volume.path):
                yield f"state_dir: is on {where} ({volume.path}); put it on the system disk, it describes the volumes"

    def _rest(self) -> Iterator[str]:
        space = self.job.space
        if space and space.low_watermark and space.high_watermark and space.low_watermark >= space.high_watermark:
            yield (
                f"space.low_watermark: {space.low_watermark} is not below space.high_watermark"
                f" ({space.high_watermark}); lower the first or raise the second"
            )
        if self.job.volumes is not None and not self.job.volumes:
            yield "volumes: needs at least one volume; give its name and path"
        if self.job.source is None and self.volumes and not any(volume.drop_folder for _, volume in self.volumes):
            yield "source: is not set, and no volume has a `drop_folder`: there is nothing to move; set one of them"


def _is_virtual(store: Store | None) -> bool:
    return store is not None and store.addressing == "virtual"


def _why_not_virtual(side: str, store: Store) -> Iterator[str]:
    """Why the bucket name cannot be part of the host name of an endpoint."""
    if not _is_virtual(store) or not store.bucket:
        return
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", store.bucket):
        yield f"{side}.addressing: {store.bucket!r} cannot be part of a host name; use path"
    elif "." in store.bucket and any(url.startswith("https:") for url in store.endpoints or ("https:",)):
        yield f"{side}.addressing: no TLS certificate matches a bucket name with dots before the host; use path"
    for index, url in enumerate(store.endpoints or ()):
        if values.is_address(urlsplit(url).hostname or ""):
            yield f"{side}.addressing: virtual needs a host name, {side}.endpoints[{index}] is an IP address; use path"


def _feeds_itself(source: Store, destination: Store) -> bool:
    if source.bucket is None or source.bucket != destination.bucket:
        return False
    if source.endpoints is None or destination.endpoints is None or None in (source.prefix, destination.prefix):
        return False
    same_store = addresses(source) & addresses(destination)
    overlap = source.prefix.startswith(destination.prefix) or destination.prefix.startswith(source.prefix)
    return bool(same_store) and overlap


def addresses(store: Store) -> set[str]:
    """The addresses of a store, with one name for all of AWS: bucket names are unique there."""
    if not store.endpoints:
        return {"aws"}
    found = set()
    for endpoint in store.endpoints:
        parts = urlsplit(endpoint)
        host = (parts.hostname or "").rstrip(".")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        found.add("aws" if re.search(r"\.amazonaws\.com(\.cn)?$", host) else f"{host}:{port}")
    return found


def _too_few_connections(side: str, store: Store, mover: MoverSettings | None) -> Iterator[str]:
    tool = (mover and mover.tool) or "auto"
    if store.max_connections and store.max_connections < least(tool):
        yield (
            f"{side}.max_connections: {store.max_connections} is too low, mover.tool {tool} needs {least(tool)}:"
            f" for listings and checks, boto3, small and large objects; set it to {least(tool)} or more"
        )


def _repeated(where: str, values: list[str]) -> Iterator[str]:
    for index, value in enumerate(values):
        if value in values[:index]:
            yield f"{where}[{index}]: repeats {where}[{values.index(value)}]; remove one of them"


def _overlap(where: str, path: Path | None, other_where: str, other: Path | None) -> Iterator[str]:
    if path is None or other is None:
        return
    if path == other:
        yield f"{where}: {path} is already {other_where}; each volume needs its own path"
    elif path.is_relative_to(other) or other.is_relative_to(path):
        inner, outer = (where, other_where) if path.is_relative_to(other) else (other_where, where)
        yield f"{where}: {path} and {other_where} {other} contain each other ({inner} inside {outer}); separate them"


_Model = TypeVar("_Model", bound=BaseModel)


def _salvage_job(mapping: Mapping[str, Any]) -> Job:
    """The usable part of a job that has wrong values: those become None, missing ones their default."""
    volumes = mapping.get("volumes")
    parts: dict[str, object] = {
        "source": None if mapping.get("source") is None else _salvage(Store, mapping["source"]),
        "destination": _salvage(Store, mapping.get("destination")),
        "space": _salvage(Space, mapping.get("space")),
        "volumes": [_salvage(Volume, volume) for volume in volumes] if isinstance(volumes, list) else None,
    }
    return _salvage(Job, mapping).model_copy(update=parts)


def _salvage(model: type[_Model], raw: object) -> _Model:
    mapping = raw if isinstance(raw, Mapping) else {}
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if name in mapping:
            found[name] = _salvage_value((field.annotation, *field.metadata), mapping[name])
        else:
            found[name] = None if field.is_required() else field.get_default(call_default_factory=True)
    if model is Volume and mapping.get("drop_folder"):
        found["drop_folder"] = mapping["drop_folder"]  # even a wrong one shows that files would come from it
    return model.model_construct(**found)


def _salvage_value(annotation: tuple[Any, ...], value: object) -> Any:
    annotated: Any = Annotated
    pieces = (*annotation, None)  # Annotated wants one annotation at least
    try:
        return TypeAdapter(annotated[pieces]).validate_python(value)
    except ValidationError:
        return None


_EXPECTED = {
    "missing": "is missing; add it",
    "model_type": "must be a mapping of options",
    "tuple_type": "must be a list",
}
_PARTS: dict[int | str, type[BaseModel]] = {
    "source": Store,
    "destination": Store,
    "volumes": Volume,
    "space": Space,
    "group": Group,
    "mover": MoverSettings,
}
_SECRET_KEYS = re.compile(r"(access|secret|session)_?(key|token)|password|token|aws_.*", re.IGNORECASE)


def _explain(details: Any) -> str:
    """The message for one pydantic error."""
    where, kind = _where(details["loc"]), details["type"]
    if kind == "value_error":
        return f"{where}: {details['ctx']['error']}"
    if kind == "invalid_key":
        # YAML reads `on` as true; the location of such a key is wrong and gives only its place.
        return f"{_where([*details['loc'][:-1], str(details['input'])])}: is not text; put the option's name in quotes"
    if kind == "extra_forbidden":
        return f"{where}: {_unknown_key(details['loc'])}"
    expected = _EXPECTED.get(kind, details["msg"])
    return f"{where}: {expected}" + (f", not {values.kind(details['input'])}" if kind.endswith("_type") else "")


def _unknown_key(location: tuple[int | str, ...]) -> str:
    name = str(location[-1])
    if _SECRET_KEYS.fullmatch(name):
        return "secrets do not belong here; put it into the file that `credentials_file` names"
    model = _PARTS[location[0]] if len(location) > 1 else Job
    hint = _did_you_mean(name, model.model_fields)
    return f"unknown option; {hint or 'known options: ' + ', '.join(model.model_fields)}"


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean `{close[0]}`?" if close else ""


def _where(location: Iterable[int | str]) -> str:
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return path.removeprefix(".") if path.isprintable() else repr(path.removeprefix("."))


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
