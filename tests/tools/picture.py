# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""picture.py: runs the demonstration and makes docs/watch.svg of what `snowsync watch` shows in the middle of it."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[2]
JOB = ROOT / ".demo" / "jobs" / "demo.yml"
COLUMNS = 92
FONTS = 'ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace'
REDRAWS = re.compile(r"\r\x1b\[2K(?:\x1b\[1A\x1b\[2K)*")  # what stands between one screen of the display and the next


def main() -> int:
    JOB.unlink(missing_ok=True)
    with subprocess.Popen(["make", "demo"], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as demo:
        while demo.poll() is None and not JOB.exists():
            time.sleep(0.1)
        screen = min(screens(), key=from_the_middle, default="")
    if demo.returncode or from_the_middle(screen) > 20:
        print("the demonstration failed, or was over too soon for a picture", file=sys.stderr)
        return 1
    (ROOT / "docs" / "watch.svg").write_text(svg(screen), encoding="utf-8")
    return 0


def screens() -> Iterator[str]:
    """What `snowsync watch` draws on a terminal, screen by screen, with its colours."""
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": "40"}
    command = [str(Path(sys.executable).with_name("snowsync")), "watch", str(JOB)]
    with subprocess.Popen(command, stdin=slave, stdout=slave, env=environment) as watch:
        os.close(slave)
        drawn = b""
        try:
            while chunk := os.read(master, 65536):
                drawn += chunk
                *complete, rest = REDRAWS.split(drawn.decode(errors="replace"))
                yield from (screen.replace("\r\n", "\n") for screen in complete)
                drawn = rest.encode() if complete else drawn
        except OSError:  # the terminal's other end is closed: it is over
            return
        finally:
            watch.terminate()
            os.close(master)


def from_the_middle(screen: str) -> float:
    """How many percent this screen is from the one where half has been delivered and both hops are at work."""
    hops = re.findall(r"^to \w+ .* (\d+) % .* s *$", Text.from_ansi(screen).plain, re.MULTILINE)
    source, destination = map(int, hops) if len(hops) == 2 else (0, 0)
    return abs(destination - 50) if destination < source else 100


def svg(screen: str) -> str:
    """The screen as a picture; it loads no font from elsewhere, so that it is the same wherever it is shown."""
    console = Console(record=True, width=COLUMNS, force_terminal=True, color_system="truecolor", file=io.StringIO())
    console.print(Text.from_ansi(screen.strip("\n")), soft_wrap=True)
    text = console.export_svg(title="snowsync watch demo", unique_id="watch")
    text = re.sub(r"\s*@font-face \{.*?\}", "", text, flags=re.DOTALL)
    return text.replace("Fira Code, monospace", FONTS).replace("Fira Code", FONTS)


if __name__ == "__main__":
    sys.exit(main())
