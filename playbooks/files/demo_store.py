# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""demo_store.py start FOLDER BUCKET | serve FOLDER BUCKET DEVICE | stop FOLDER: one store in the background.

``start`` starts an S3 store, ``serve`` the S3 side of a simulated Snowball of the fleet in FOLDER, and both print its
URL on loopback. What the process prints is in FOLDER.log, its process id in FOLDER.pid.
"""

from __future__ import annotations

import os
import pathlib
import re
import signal
import subprocess
import sys
import time

SIMULATORS = pathlib.Path(__file__).resolve().parents[2] / "tests" / "simulators"
START_SECONDS = 30
# A store that nobody stopped, because the demonstration was interrupted, ends by itself.
LIFETIME_SECONDS = 900


def start(folder: pathlib.Path, bucket: str) -> str:
    return run(folder, "s3_store", "--folder", str(folder), "--bucket", bucket)


def serve(folder: pathlib.Path, bucket: str, device: str) -> str:
    return run(folder, "snowball", "--folder", str(folder), "serve", device, "--bucket", bucket)


def run(folder: pathlib.Path, *words: str) -> str:
    log = folder.with_suffix(".log")
    command = [sys.executable, "-m", *words]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": str(SIMULATORS)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: signal.alarm(LIFETIME_SECONDS),  # alarms survive exec
        )
    folder.with_suffix(".pid").write_text(f"{process.pid}\n")
    return wait_for_url(process, log)


def wait_for_url(process: subprocess.Popen[bytes], log: pathlib.Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        found = re.search(r"^(?:listening|serving \S+) on (\S+)$", log.read_text(errors="replace"), re.MULTILINE)
        if found:
            return found.group(1)
        time.sleep(0.05)
    sys.exit(f"the store did not start:\n{log.read_text(errors='replace')}")


def stop(folder: pathlib.Path) -> None:
    """Ends the store of this folder, and no other process that happens to have its number by now."""
    pid_file = folder.with_suffix(".pid")
    if not pid_file.exists():
        return
    pid = int(pid_file.read_text())
    try:
        if os.fsencode(folder) in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            os.kill(pid, signal.SIGTERM)
    except (FileNotFoundError, ProcessLookupError):
        pass
    pid_file.unlink()


if __name__ == "__main__":
    action, folder_name, *rest = sys.argv[1:]
    if action == "stop":
        stop(pathlib.Path(folder_name))
    else:
        print({"start": start, "serve": serve}[action](pathlib.Path(folder_name), *rest))
