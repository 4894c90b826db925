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

if TYPE_CHECKING:  # config/job_file.py brings pydantic, which the users of `load` may not have
    from .job_file import Job

CREDENTIALS_ROOT = Path("/etc/snowsync/credentials")
_log = logging.getLogger("snowsync.credentials")
_LOOK_SECONDS = 1.0  # so long a file that was replaced may go unseen, unless a credential is refused
_SETTLE_SECONDS = 20.0  # so long after a change of the file somebody may not have finished it: one key after the other
_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """One key pair (`session_token` may be empty), and the `profile` of the file `path` it came from.

    `oddities` are the spellings in that file which s5cmd, that reads it itself, does not know.
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
        """Themselves: they do not change."""
        return self

    def look(self) -> bool:
        """There is nothing to look at."""
        return False

    def may_change(self) -> bool:
        """Nobody changes them."""
        return False


class Keys(Protocol):
    """Where whoever signs a request finds the credentials of the moment."""

    def current(self) -> Credentials:
        """What counts now. The same object as before as long as nothing changed."""

    def look(self) -> bool:
        """Find out at once whether others count now; True if they do."""

    def may_change(self) -> bool:
        """Whether somebody changed something a moment ago, and may not have finished."""


def renewed_since(keys: Keys, before: Credentials) -> bool:
    """Whether others than those a refused request was signed with count now; then it is worth another try.

    While a file is being written this waits: half of it may be the new keys already, and half the former ones.
    """
    keys.look()
    while keys.current() is before and keys.may_change() and not workers.is_over():
        time.sleep(_POLL_SECONDS)
        keys.look()
    return keys.current() is not before


class WatchedFile:
    """The credentials of a file that somebody may renew at any time; all methods may be called from several threads.

    `find_path` says which file counts now. What cannot be read, or is half written, changes nothing: the credentials
    read before stay, and a warning says why.
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
        """What counts now; the file is looked at once a second at most."""
        if time.monotonic() >= self._look_at:
            self.look()
        return self._current

    def look(self) -> bool:
        """Read the file again if it is another one now; whether its credentials are others than before."""
        with self._lock:
            self._look_at = time.monotonic() + _LOOK_SECONDS
            path = self._find_path()
            found = _identity(path)
            if found == self._seen:
                return False
            self._seen, self._changed_at = found, time.monotonic()
            return self._take(path)

    def may_change(self) -> bool:
        """Whether the file was changed, or taken away, a moment ago."""
        return time.monotonic() - self._changed_at < _SETTLE_SECONDS

    def _take(self, path: Path) -> bool:
        try:
            renewed = load(path, self._profile)
        except ConfigError as error:
            _log.warning("the credentials in %s were not renewed, the former ones are used: %s", path, error)
            return False
        if renewed == self._current:
            return False
        self._current = renewed
        _log.info("the credentials in %s were renewed", path)
        return True


def _identity(path: Path) -> tuple[str, ...]:
    """What is another once a file was written or replaced."""
    try:
        found = path.stat()
    except OSError as error:
        return (str(path), str(error.errno))
    return (str(path), *map(str, (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)))


def for_side(job: Job, side: str) -> WatchedFile:
    """The credentials of a job's "source" or "destination"; ConfigError as `load`, or when there is no such side."""
    store = {"source": job.source, "destination": job.destination}[side]
    if store is None:
        raise ConfigError(f"job {job.job}", [f"{side}: is null, so it has no credentials; give the job a {side}"])
    named = store.credentials_file
    return WatchedFile(lambda: named or default_path(job.job, side), store.profile)


def default_path(job_name: str, side: str) -> Path:
    """Where a side's credentials are when the job does not say.

    What was handed over to the running unit since it started, else what systemd handed over at its start (which stays
    as it was then), else root's own file.
    """
    handed_over = os.environ.get("CREDENTIALS_DIRECTORY")
    if not handed_over:
        return CREDENTIALS_ROOT / job_name / side
    runtime = os.environ.get("RUNTIME_DIRECTORY")
    renewed = Path(runtime, side) if runtime else None
    return renewed if renewed and renewed.exists() else Path(handed_over, side)


def load(path: Path | str, profile: str = "default") -> Credentials:
    """The profile of an AWS credentials file; ConfigError names file, profile and option, never a value."""
    path = Path(path)
    parser = _parse(path, _read_private(path))
    section = _section(parser, profile)
    if section is None:
        known = ", ".join(parser.sections()[:20]) or "none"
        raise ConfigError(str(path), [f"[{profile}]: there is no such profile; profiles there: {known}"])
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
    "credential_process": "no program is run for keys; let a timer run it and write the keys into this file",
    "role_arn": "no role is assumed here; let a timer assume it (`aws sts assume-role`) and write the keys it gets,"
    " with their aws_session_token, into this file",
    "web_identity_token_file": "no role is assumed here; let a timer assume it"
    " (`aws sts assume-role-with-web-identity`) and write the keys it gets, with their aws_session_token, into this"
    " file",
    "sso_": "nobody can log in here; let `aws configure export-credentials` write the keys into this file",
}


def _section(parser: configparser.RawConfigParser, profile: str) -> str | None:
    """The section of a profile: a credentials file calls it by its name, a config file `[profile NAME]`."""
    return next((name for name in (profile, f"profile {profile}") if parser.has_section(name)), None)


def _elsewhere(section: str, options: list[str]) -> list[str]:
    """One line for each option by which the keys are to be had elsewhere: those in the file would be the wrong ones."""
    return [
        f"[{section}] {option}: {fix}; it is read again when it changes"
        for option in options
        for known, fix in _ELSEWHERE.items()
        if option == known or (known.endswith("_") and option.startswith(known))
    ]


def _wrong(option: str, value: str) -> str:
    if not value:
        return "" if option == "aws_session_token" else "is missing; add it"
    if any(character.isspace() or not character.isprintable() for character in value) or not value.isascii():
        return "holds white space or characters that no key has; copy it again, alone on its line"
    if value[0] in "'\"":
        return "begins with a quote; write the value without quotes"
    return ""


def _read_private(path: Path) -> str:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & 0o077 and not _handed_over(path):
                shown = f"{stat.S_IMODE(mode):04o}"
                raise ConfigError(str(path), [f"mode {shown} lets others than its owner in; chmod 600 {path}"])
            return file.read().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(str(path), ["there is no such file; put the credentials there, mode 0600"]) from None
    except OSError as error:
        raise ConfigError(str(path), [f"cannot be read: {error.strerror}; look at its kind and owner"]) from None
    except UnicodeDecodeError:
        raise ConfigError(str(path), ["is not a text in UTF-8; write it again"]) from None


def _handed_over(path: Path) -> bool:
    """Below $CREDENTIALS_DIRECTORY systemd keeps others out, whatever the mode of the file says."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    return bool(directory) and path.resolve().is_relative_to(Path(str(directory)).resolve())


def _parse(path: Path, text: str) -> configparser.RawConfigParser:
    # No section is a default for the others: [DEFAULT] would lend its keys to every profile.
    parser = configparser.RawConfigParser(default_section="\0", strict=True)
    try:
        parser.read_string(text)
    except configparser.DuplicateOptionError as error:
        problem = f"line {error.lineno}: [{error.section}] has `{error.option}` twice; keep one"
    except configparser.DuplicateSectionError as error:
        problem = f"line {error.lineno}: the profile [{error.section}] is there twice; keep one"
    except configparser.MissingSectionHeaderError as error:
        problem = f"line {error.lineno}: a line before the first [profile]; begin the file with [default]"
    except configparser.ParsingError as error:
        # The library's own message repeats the line, which may be the secret itself.
        problem = f"line {error.errors[0][0]}: is not `option = value`; fix it"
    else:
        return parser
    raise ConfigError(str(path), [problem])
