# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Credentials from an AWS credentials file. A value from such a file is never part of a message."""

from __future__ import annotations

import configparser
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import ConfigError

if TYPE_CHECKING:  # config.py brings pydantic, which the users of `load` may not have
    from .config import Job

CREDENTIALS_ROOT = Path("/etc/snowsync/credentials")


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """One key pair (`session_token` may be empty), and the `profile` of the file `path` it came from."""

    access_key: str
    secret_key: str
    session_token: str
    path: Path
    profile: str

    def __repr__(self) -> str:
        return f"Credentials(path={str(self.path)!r}, profile={self.profile!r})"


def for_side(job: Job, side: str) -> Credentials:
    """The credentials of a job's "source" or "destination"; ConfigError as `load`, or when there is no such side."""
    store = {"source": job.source, "destination": job.destination}[side]
    if store is None:
        raise ConfigError(f"job {job.job}", [f"{side}: is null, so it has no credentials; give the job a {side}"])
    return load(store.credentials_file or default_path(job.job, side), store.profile)


def default_path(job_name: str, side: str) -> Path:
    """Where a side's credentials are when the job does not say: what systemd handed over, else root's own file."""
    handed_over = os.environ.get("CREDENTIALS_DIRECTORY")
    return Path(handed_over, side) if handed_over else CREDENTIALS_ROOT / job_name / side


def load(path: Path | str, profile: str = "default") -> Credentials:
    """The profile of an AWS credentials file; ConfigError names file, profile and option, never a value."""
    path = Path(path)
    parser = _parse(path, _read_private(path))
    if not parser.has_section(profile):
        known = ", ".join(parser.sections()[:20]) or "none"
        raise ConfigError(str(path), [f"[{profile}]: there is no such profile; profiles there: {known}"])
    values = [parser.get(profile, option, fallback="") for option in _OPTIONS]
    wrong = ((option, _wrong(option, value)) for option, value in zip(_OPTIONS, values, strict=True))
    problems = [f"[{profile}] {option}: {problem}" for option, problem in wrong if problem]
    if problems:
        raise ConfigError(str(path), problems)
    access_key, secret_key, session_token = values
    return Credentials(access_key, secret_key, session_token, path, profile)


_OPTIONS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")


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
        problem = f"line {error.errors[0][0]}: is not `option = value`; mend it"
    else:
        return parser
    raise ConfigError(str(path), [problem])
