# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The errors of the engine and their exit codes.

::

    SnowsyncError                exit 1   a bug, or an unexpected error
    ├── ConfigError              exit 2   the job's configuration is wrong; every problem is listed
    ├── ObjectsFailed            exit 3   the run ended, and some objects are failed or quarantined
    ├── StoreError               exit 4   a request to a store failed; `trouble` says how
    │   └── JobStopped           exit 5   credential or bucket rejected: waiting would not help
    ├── LocalError               exit 6   a volume or the state directory failed; `trouble` says how
    ├── JobLocked                exit 7   another process runs this unit of the job
    └── LedgerError              exit 8   ledger error: a forbidden transition, a newer schema, a damaged file

Exit codes are stable: scripts and units rely on them.
"""

from __future__ import annotations

import enum
import errno
from collections.abc import Sequence


class Trouble(enum.Enum):
    """One word per kind of failure, whichever tool reported it."""

    CREDENTIAL = "credential"  # the store rejects the access key or the signature
    DENIED = "denied"  # the key is known, but not allowed to make this request
    BUCKET = "bucket"  # no such bucket
    NOT_FOUND = "not_found"  # no such object (or version)
    CHANGED = "changed"  # the object is no longer the one that was listed
    MISMATCH = "mismatch"  # bytes or digests differ from the expected ones
    TLS = "tls"  # certificate or handshake rejected
    DNS = "dns"  # the endpoint's host name does not resolve
    REFUSED = "refused"  # connection refused, or no route
    TIMEOUT = "timeout"  # the endpoint accepted the connection but did not answer, or stalled midway
    BROKEN = "broken"  # the connection broke, or the body ended early
    THROTTLED = "throttled"  # 429, 503 SlowDown
    SERVER = "server"  # any other 5xx
    FULL = "full"  # the store is out of space: its quota, or its disks
    SPACE = "space"  # no space left on a volume: no bytes, no inodes, or a quota
    TOO_LARGE = "too_large"  # the filesystem of a volume cannot hold a file of this size
    READONLY = "readonly"  # a volume became read-only
    IO = "io"  # a volume returns EIO or is gone
    UNSUPPORTED = "unsupported"  # this store or mover does not support the request
    UNKNOWN = "unknown"  # no outcome was reported: check, do not assume
    OTHER = "other"

    @property
    def is_transient(self) -> bool:
        """The endpoint's problem, not this object's: wait, probe, continue; no attempt is counted."""
        return self in _TRANSIENT

    @property
    def stops_job(self) -> bool:
        """Waiting would not help: report it once, clearly, and stop."""
        return self in (Trouble.CREDENTIAL, Trouble.BUCKET)

    @property
    def is_local(self) -> bool:
        """The volume's problem, not the store's."""
        return self in (Trouble.SPACE, Trouble.TOO_LARGE, Trouble.READONLY, Trouble.IO)


_TRANSIENT = frozenset(
    {
        Trouble.TLS,
        Trouble.DNS,
        Trouble.REFUSED,
        Trouble.TIMEOUT,
        Trouble.BROKEN,
        Trouble.THROTTLED,
        Trouble.SERVER,
    }
)


_OF_ERRNO = {
    errno.ENOSPC: Trouble.SPACE,
    errno.EDQUOT: Trouble.SPACE,
    errno.EFBIG: Trouble.TOO_LARGE,
    errno.EROFS: Trouble.READONLY,
}


def local_trouble(error: OSError) -> Trouble:
    """The word for an error of the local filesystem."""
    return _OF_ERRNO.get(error.errno or 0, Trouble.IO)


class SnowsyncError(Exception):
    """An error without a more specific class."""

    exit_code = 1


class ConfigError(SnowsyncError):
    """The configuration is wrong. `problems` holds one line per wrong value, each with its path."""

    exit_code = 2

    def __init__(self, origin: str, problems: Sequence[str]) -> None:
        self.origin = origin
        self.problems = list(problems)
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        count = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        super().__init__(f"{origin}: {count} in the configuration:\n{lines}")


class ObjectsFailed(SnowsyncError):
    """The run ended, and some objects are failed or quarantined."""

    exit_code = 3


class StoreError(SnowsyncError):
    """A request to a store failed.

    `action` says what was attempted ("list s3://bucket/prefix at https://..."), `trouble` classifies the error, `code`
    is the error code of the store or of the transport, `status` the HTTP status (0: none).
    """

    exit_code = 4

    def __init__(self, trouble: Trouble, action: str, detail: str, *, code: str = "", status: int = 0) -> None:
        self.trouble = trouble
        self.action = action
        self.detail = detail
        self.code = code
        self.status = status
        super().__init__(f"Failed to {action}: {detail}")


class JobStopped(StoreError):
    """Credential or bucket rejected: waiting would not help, an operator must act."""

    exit_code = 5


def stop_if_refused(error: StoreError) -> None:
    """Raise JobStopped if the store rejects the credential or the bucket; return for all other errors."""
    if error.trouble.stops_job:
        raise JobStopped(error.trouble, error.action, error.detail, code=error.code, status=error.status) from error


class LocalError(SnowsyncError):
    """A volume or the state directory failed."""

    exit_code = 6

    def __init__(self, trouble: Trouble, action: str, detail: str) -> None:
        self.trouble = trouble
        super().__init__(f"Failed to {action}: {detail}")


def file_error(action: str, error: OSError) -> LocalError:
    """An error of the local file of an object that was being moved."""
    return LocalError(local_trouble(error), action, f"local file error: {error}")


class JobLocked(SnowsyncError):
    """Another process runs this unit of the job."""

    exit_code = 7


class LedgerError(SnowsyncError):
    """The ledger rejects an operation, or cannot be used."""

    exit_code = 8
