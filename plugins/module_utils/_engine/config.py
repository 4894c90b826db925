# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""A job's configuration: what may stand in its YAML file, and every problem at once when it may not.

Pydantic checks each value alone; what concerns several values together is checked by `_Crossing`, also when
single values are wrong, so that one run of ``snowsync check-config`` is enough to mend a file.
Sizes are bytes (an integer, or text such as ``10GiB`` or ``500MB``), durations are seconds.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from .errors import ConfigError
from .model import MIB, Evidence

JOBS_DIR = Path("/etc/snowsync/jobs")
STATE_ROOT = Path("/var/lib/snowsync")
OWN_FOLDER = ".snowsync"  # the engine's folder on every volume

_JOB_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_UNITS: dict[str, int] = {"": 1, "B": 1} | {
    f"{letter}{suffix}": base**power
    for power, letter in enumerate("KMGTP", start=1)
    for suffix, base in (("iB", 1024), ("B", 1000))
}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]*)")


def parse_size(value: object) -> int:
    """Bytes from an integer or from text such as ``10GiB``, ``1.5 GB``, ``64KiB``; ValueError says the mend."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise ValueError("is negative; give a number of bytes, or text such as 10GiB")
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("is not a size; give a whole number of bytes, or text such as 10GiB or 500MB")
    number, unit = match.groups()
    if unit == "k" + unit[1:]:
        unit = "K" + unit[1:]
    if unit not in _UNITS:
        letter = unit[:1].upper()
        mend = f"{number}{letter}iB or {number}{letter}B" if letter and letter in "KMGTP" else "10GiB or 500MB"
        raise ValueError(f"has the unknown unit {unit!r}; write {mend} (GiB counts by 1024, GB by 1000)")
    whole, _, fraction = number.partition(".")
    return int(whole + fraction) * _UNITS[unit] // int("1" + "0" * len(fraction))


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        mend = "; put it in quotes" if isinstance(value, (int, float)) else ""
        raise ValueError(f"must be {what}, not {_kind(value)}{mend}")
    return value


def _matching(pattern: str, mend: str) -> BeforeValidator:
    compiled = re.compile(pattern)

    def check(value: object) -> str:
        text = _text(value, "text")
        if not compiled.fullmatch(text):
            raise ValueError(f"{text!r} is not possible; {mend}")
        return text

    return BeforeValidator(check)


def _absolute_path(value: object) -> Path:
    text = str(value) if isinstance(value, Path) else _text(value, "an absolute path")
    if not text.startswith("/") or "\0" in text:
        raise ValueError(f"{text!r} is not an absolute path; begin it with /")
    if ".." in text.split("/"):
        raise ValueError(f"{text!r} contains ..; write the path it leads to")
    return Path("/" + text.lstrip("/"))


def _relative_path(value: object) -> str:
    text = _text(value, "a path below the volume")
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if text.startswith("/") or ".." in parts or not parts or "\0" in text:
        raise ValueError(f"{text!r} is not a folder below the volume; name one, such as incoming")
    if parts[0] == OWN_FOLDER:
        raise ValueError(f"lies in {OWN_FOLDER}, which belongs to the engine; choose another folder")
    return "/".join(parts)


def _bucket(value: object) -> str:
    text = _text(value, "the name of a bucket")
    if "/" in text or ":" in text:
        raise ValueError("must be the bare name of a bucket; a prefix goes into `prefix`, a URL into `endpoints`")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{2,254}", text):
        raise ValueError(f"{text!r} is no name of a bucket; use 3 to 63 letters, digits, dots and hyphens")
    return text


def _prefix(value: object) -> str:
    text = _text(value, "text")
    try:
        length = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError("is not valid Unicode; remove the lone surrogate") from None
    if length > 1024:
        raise ValueError(f"has {length} bytes; a key has at most 1024")
    return text


def _endpoint(value: object) -> str:
    """`scheme://host[:port]`, scheme and host in lower case. Messages never repeat the URL: it may hold a password."""
    text = _text(value, "a URL")
    if re.search(r"[\x00-\x20\x7f-\U0010ffff\\]", text):
        raise ValueError("holds white space or characters that no URL has; write https://host:port")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("is not a URL with a host and a port of 1 to 65535; write https://host:port") from None
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError("must begin with https:// or http://; write https://host:port")
    if "@" in parts.netloc:
        raise ValueError("holds a user or password; remove it, keys belong in `credentials_file`")
    if parts.path not in ("", "/") or "?" in text or "#" in text:
        raise ValueError("has a path, query or fragment; end it after the host and port, the bucket goes into `bucket`")
    if port == 0 or parts.netloc.endswith(":") or not _is_host(host):
        raise ValueError("has no usable host or port; write https://host:port")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port else "")


def _is_host(host: str) -> bool:
    if ":" in host:
        try:
            return bool(ipaddress.IPv6Address(host.partition("%")[0]))
        except ValueError:
            return False
    return len(host) <= 253 and all(re.fullmatch(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", x) for x in host.split("."))


def _mode(value: object) -> object:
    if value == "direct":
        raise ValueError("direct is not built yet; use staged")
    return value


def _evidence(value: object) -> Evidence:
    if not isinstance(value, int) or value not in (2, 3, 4):
        raise ValueError("must be 2 (the store's digest), 3 (read back) or 4 (read back from the medium)")
    return Evidence(value)


AbsolutePath = Annotated[Path, BeforeValidator(_absolute_path)]
Size = Annotated[int, BeforeValidator(parse_size)]
Seconds = Annotated[float, Field(strict=True, gt=0, le=31_536_000, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True, ge=1)]
Flag = Annotated[bool, Field(strict=True)]
Fraction = Annotated[float, Field(strict=True, gt=0, le=1, allow_inf_nan=False)]
JobName = Annotated[
    str, _matching(_JOB_NAME.pattern, "use 1 to 63 of a-z, 0-9, _ and -, beginning with a letter or digit")
]
VolumeName = Annotated[
    str, _matching(r"[a-z0-9][a-z0-9-]{0,62}", "use 1 to 63 of a-z, 0-9 and -, beginning with a letter or digit")
]
Region = Annotated[str, _matching(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", "give a region such as us-east-1")]
Profile = Annotated[str, _matching(r"[^\[\]\x00-\x1f]{1,128}", "give the name of a section of the credentials file")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Store(_Part):
    """A bucket and prefix, reached through `endpoints` (`scheme://host[:port]`; empty: the AWS of `region`)."""

    bucket: Annotated[str, BeforeValidator(_bucket)]
    prefix: Annotated[str, BeforeValidator(_prefix)] = ""
    endpoints: tuple[Annotated[str, BeforeValidator(_endpoint)], ...] = ()
    region: Region = "us-east-1"
    credentials_file: AbsolutePath | None = None
    profile: Profile = "default"
    ca_bundle: AbsolutePath | None = None
    list_version: Literal["auto", "v2", "v1"] = "auto"
    sorted: Flag = True
    etag: Literal["auto", "opaque"] = "auto"
    max_connections: Annotated[Count, Field(le=1000)] = 64


class Volume(_Part):
    """A staging filesystem: `limit` in bytes (None: the whole filesystem), `drop_folder` relative to `path`."""

    name: VolumeName
    path: AbsolutePath
    limit: Annotated[Size, Field(ge=1)] | None = None
    require_mount: Flag = True
    drop_folder: Annotated[str, BeforeValidator(_relative_path)] | None = None

    @property
    def drop_path(self) -> Path | None:
        return self.path / self.drop_folder if self.drop_folder else None


class Space(_Part):
    """Watermarks as fractions of the usable size (`limit`, or the filesystem); `reserve` bytes of the filesystem."""

    high_watermark: Fraction = 0.9
    low_watermark: Fraction = 0.8
    reserve: Size = 256 * MIB


class Group(_Part):
    """A group is committed when it has `objects` objects or `bytes` bytes, or is `seconds` old."""

    objects: Annotated[Count, Field(le=100_000)] = 500
    bytes: Annotated[Size, Field(ge=1)] = 256 * MIB
    seconds: Seconds = 2.0


class MoverSettings(_Part):
    """How the movers work: objects of `large_object` bytes and more have their own lane of `large_workers`."""

    workers: Annotated[Count, Field(le=256)] = 16
    large_workers: Annotated[Count, Field(le=256)] = 4
    large_object: Annotated[Size, Field(ge=1)] = 16 * MIB
    part_size: Annotated[Size, Field(ge=5 * MIB, le=5 * 1024 * MIB)] = 64 * MIB
    part_concurrency: Annotated[Count, Field(le=64)] = 1
    retries: Annotated[int, Field(strict=True, ge=0, le=100)] = 2
    stall_seconds: Seconds = 60.0
    binary: AbsolutePath | None = None


class Job(_Part):
    """One configured transfer. Made by `load_job` or `parse_job`, which also check the values against each other."""

    job: JobName
    mode: Annotated[Literal["staged"], BeforeValidator(_mode)] = "staged"
    state_dir: AbsolutePath | None = None
    source: Store | None = None
    destination: Store
    volumes: tuple[Volume, ...]
    space: Space = Space()
    group: Group = Group()
    mover: MoverSettings = MoverSettings()
    evidence: Annotated[Evidence, BeforeValidator(_evidence)] = Evidence.STORE_DIGEST
    reread: Literal["suspect", "always"] = "suspect"
    keep_staged: Flag = False
    attempts: Annotated[Count, Field(le=1000)] = 5
    pass_interval: Seconds = 60.0
    drop_settle: Annotated[float, Field(strict=True, ge=0, le=31_536_000, allow_inf_nan=False)] = 10.0

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
    """The file of a job: a path (anything with a / or ending in .yml or .yaml) as it is, a name below `jobs_dir`.

    Raises ConfigError for a name that has no file, with the names that have one.
    """
    if "/" in name_or_path or name_or_path.endswith((".yml", ".yaml")):
        return Path(name_or_path)
    if not _JOB_NAME.fullmatch(name_or_path):
        raise ConfigError(name_or_path, ["is neither the name of a job nor a path; see `snowsync --help`"])
    candidates = [Path(jobs_dir, name_or_path + suffix) for suffix in (".yml", ".yaml")]
    found = [path for path in candidates if path.exists()]
    if found:
        return found[0]
    known = sorted(path.stem for path in Path(jobs_dir).glob("*.y*ml")) if Path(jobs_dir).is_dir() else []
    hint = _did_you_mean(name_or_path, known) or f"jobs there: {', '.join(known[:20]) or 'none'}"
    raise ConfigError(str(candidates[0]), [f"there is no job `{name_or_path}`; {hint}"])


def load_job(path: Path | str) -> Job:
    """The job in a YAML file; ConfigError with every problem (or with the line of a syntax error)."""
    return parse_job(_read_yaml(Path(path)), str(path))


def parse_job(mapping: object, origin: str) -> Job:
    """The job in a mapping as YAML or JSON give it; `origin` names it in errors. ConfigError with every problem."""
    if not isinstance(mapping, Mapping):
        raise ConfigError(origin, [f"must be a mapping of options (job: ..., destination: ...), not {_kind(mapping)}"])
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
    """What several values say together. Values that are wrong by themselves are None here and are passed over."""

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
            if store is None:
                continue
            yield from _repeated(f"{side}.endpoints", [str(endpoint) for endpoint in store.endpoints or ()])
            if store.bucket and store.endpoints == () and not re.fullmatch(r"[a-z0-9][a-z0-9.-]{2,62}", store.bucket):
                yield f"{side}.bucket: AWS knows only names of 3 to 63 a-z, 0-9, . and -; mend it, or give `endpoints`"
        if source and destination and _feeds_itself(source, destination):
            yield (
                "destination: is the source itself (same endpoint and bucket, one prefix contains the other),"
                " the job would feed itself; choose another bucket or prefix"
            )

    def _volumes(self) -> Iterator[str]:
        for position, (where, volume) in enumerate(self.volumes):
            for earlier, other in self.volumes[:position]:
                if volume.name and volume.name == other.name:
                    yield f"{where}.name: {volume.name!r} is already the name of {earlier}; give each volume its own"
                yield from _overlap(f"{where}.path", volume.path, f"{earlier}.path", other.path)
            if volume.path == Path("/"):
                yield f"{where}.path: is the root of the system; name the mount point or folder to stage in"
            elif volume.path and self.job.state_dir and self.job.state_dir.is_relative_to(volume.path):
                yield f"state_dir: lies on {where} ({volume.path}); put it on the system disk, it describes the volumes"

    def _rest(self) -> Iterator[str]:
        space = self.job.space
        if space and space.low_watermark and space.high_watermark and space.low_watermark >= space.high_watermark:
            yield (
                f"space.low_watermark: {space.low_watermark} is not below space.high_watermark"
                f" ({space.high_watermark}); lower it, or raise the other"
            )
        if self.job.volumes is not None and not self.job.volumes:
            yield "volumes: needs at least one volume; give its name and path"
        if self.job.source is None and self.volumes and not any(volume.drop_folder for _, volume in self.volumes):
            yield "source: there is none, and no volume has a `drop_folder`, so nothing would move; give one of them"


def _feeds_itself(source: Store, destination: Store) -> bool:
    if source.bucket is None or source.bucket != destination.bucket:
        return False
    if source.endpoints is None or destination.endpoints is None or None in (source.prefix, destination.prefix):
        return False
    same_store = _addresses(source) & _addresses(destination)
    overlap = source.prefix.startswith(destination.prefix) or destination.prefix.startswith(source.prefix)
    return bool(same_store) and overlap


def _addresses(store: Store) -> set[str]:
    """Where a store answers, one name for all of AWS: bucket names are unique there."""
    if not store.endpoints:
        return {"aws"}
    found = set()
    for endpoint in store.endpoints:
        parts = urlsplit(endpoint)
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        found.add("aws" if re.search(r"\.amazonaws\.com(\.cn)?$", host) else f"{host}:{port}")
    return found


def _repeated(where: str, values: list[str]) -> Iterator[str]:
    for index, value in enumerate(values):
        if value in values[:index]:
            yield f"{where}[{index}]: repeats {where}[{values.index(value)}]; remove one of them"


def _overlap(where: str, path: Path | None, other_where: str, other: Path | None) -> Iterator[str]:
    if path is None or other is None:
        return
    if path == other:
        yield f"{where}: {path} is already {other_where}; one filesystem is one volume"
    elif path.is_relative_to(other) or other.is_relative_to(path):
        inner, outer = (where, other_where) if path.is_relative_to(other) else (other_where, where)
        yield f"{where}: {path} and {other_where} {other} contain each other ({inner} inside {outer}); separate them"


_Model = TypeVar("_Model", bound=BaseModel)


def _salvage_job(mapping: Mapping[str, Any]) -> Job:
    """What can be used of a job that has wrong values: those become None, missing ones their default."""
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
    values: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if name in mapping:
            values[name] = _salvage_value((field.annotation, *field.metadata), mapping[name])
        else:
            values[name] = None if field.is_required() else field.get_default(call_default_factory=True)
    if model is Volume and mapping.get("drop_folder"):
        values["drop_folder"] = mapping["drop_folder"]  # also a wrong one shows that files would come from it
    return model.model_construct(**values)


def _salvage_value(annotation: tuple[Any, ...], value: object) -> Any:
    annotated: Any = Annotated
    pieces = (*annotation, None)  # Annotated wants one annotation at least
    try:
        return TypeAdapter(annotated[pieces]).validate_python(value)
    except ValidationError:
        return None


_KINDS = ((bool, "true/false"), ((int, float), "a number"), (str, "text"), (Mapping, "a mapping"), (list, "a list"))
_EXPECTED = {
    "missing": "is missing; add it",
    "model_type": "must be a mapping of options",
    "tuple_type": "must be a list",
    "bool_type": "must be true or false, without quotes",
    "int_type": "must be a whole number, without quotes",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number, without quotes or unit",
    "finite_number": "must be a finite number",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "invalid_key": "is not text; quote the name of the option",
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
    """One line for one of pydantic's errors; a wrong value is repeated only where it cannot be a secret."""
    where = _where(details["loc"])
    kind, context = details["type"], details.get("ctx", {})
    if kind == "value_error":
        return f"{where}: {context['error']}"
    if kind == "extra_forbidden":
        return f"{where}: {_unknown_key(details['loc'])}"
    expected = _EXPECTED.get(kind)
    if expected is None:
        return f"{where}: {details['msg']}"
    found = f", not {_kind(details['input'])}" if kind.endswith("_type") else ""
    if kind.startswith(("greater", "less", "int_from")) and isinstance(details["input"], (int, float)):
        found = f", not {details['input']}"
    return f"{where}: {expected.format(**context)}{found}"


def _unknown_key(location: tuple[int | str, ...]) -> str:
    name = str(location[-1])
    if _SECRET_KEYS.fullmatch(name):
        return "no secrets here; put it into the file that `credentials_file` names"
    model = _PARTS[location[0]] if len(location) > 1 else Job
    hint = _did_you_mean(name, model.model_fields)
    return f"unknown option; {hint or 'known ones: ' + ', '.join(model.model_fields)}"


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean `{close[0]}`?" if close else ""


def _where(location: Iterable[int | str]) -> str:
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return path.lstrip(".")


def _kind(value: object) -> str:
    if value is None:
        return "empty"
    return next((name for types, name in _KINDS if isinstance(value, types)), type(value).__name__)


def _read_yaml(path: Path) -> object:
    import yaml

    class Loader(yaml.SafeLoader):
        """Refuses what YAML lets pass: the same key twice, of which only the last would count."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            seen: set[str] = set()
            for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
                if key_node.tag != "tag:yaml.org,2002:merge" and isinstance(key_node.value, str):
                    if key_node.value in seen:
                        repeated = f"the key `{key_node.value}` is there twice; keep one"
                        raise yaml.MarkedYAMLError(problem=repeated, problem_mark=key_node.start_mark)
                    seen.add(key_node.value)
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(path.read_bytes(), Loader)
    except FileNotFoundError:
        raise ConfigError(str(path), ["there is no such file; check the name"]) from None
    except OSError as error:
        raise ConfigError(str(path), [f"cannot be read: {error.strerror}"]) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigError(str(path), [f"{line}{error.problem or error.context}"]) from None
    except yaml.YAMLError as error:
        reason = getattr(error, "reason", None) or "it is not YAML"
        raise ConfigError(str(path), [f"is not a text in UTF-8: {reason}"]) from None
