# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Live progress on a terminal, or one line every two seconds without one."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ..core.conditions import IN_USE
from ..core.errors import ObjectsFailed
from ..core.model import State
from ..core.text import bytes_text, count_text, counted_text, key_text, plain_text, rate_text, seconds_text
from ..inspection.progress import Progress
from ..inspection.progress_view import HopView, View, VolumeView
from ..inspection.report import whereabouts
from ..inspection.status import unit_line
from ..ledger.records import Tally

if TYPE_CHECKING:
    from rich.console import Console, Group, RenderableType
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    from ..config.job_file import Job

_LIVE_SECONDS = 0.5
_PLAIN_SECONDS = 2.0
_TITLES = {"source": "source → volumes", "destination": "volumes → destination"}
_PLAIN_TITLES = {"source": "to volumes", "destination": "to destination"}
_WIDE = 112  # minimum width in columns for long titles and bars


def watch(job: Job, *, until_drained: bool = False, timeout: float | None = None) -> bool:
    """Show progress on stdout until the job is drained and no unit runs (`until_drained`: even if units still run).

    Returns whether it was drained; False only after `timeout` seconds. Raises LedgerError, and ObjectsFailed when
    nothing is left to do, but objects failed or were left at the source.
    """
    from rich.console import Console

    console = Console(highlight=False)
    progress = Progress(job)
    try:
        if console.is_terminal and not console.is_dumb_terminal:
            return _ending(_watch_live(console, progress, until_drained, timeout))
        return _ending(_watch_plain(progress, until_drained, timeout))
    finally:
        progress.close()


def _ending(view: View) -> bool:
    if view.objects.is_settled and not view.objects.drained:
        raise ObjectsFailed(f"{_left(view)}: see `snowsync report {view.job}`")
    return view.objects.drained


def _left(view: View) -> str:
    """The objects that were not moved although nothing is left to do."""
    counts = ((view.objects.troubled, "failed or quarantined"), (view.objects.left_behind, "cannot be moved"))
    return "; ".join(f"{counted_text(count, 'object')} {what}" for count, what in counts if count)


def _views(
    progress: Progress, until_drained: bool, timeout: float | None, interval: float
) -> Iterator[tuple[View, bool]]:
    """(view, whether it is the last one), `interval` seconds apart."""
    deadline = time.monotonic() + timeout if timeout is not None else math.inf
    while True:
        view = progress.look()
        left = deadline - time.monotonic()
        last = left <= 0 or (view.objects.is_settled and (until_drained or not view.run.is_running))
        yield view, last
        if last:
            return
        time.sleep(min(left, progress.pause(interval)))


# -- without a terminal -----------------------------------------------------------------------------------------


def _watch_plain(progress: Progress, until_drained: bool, timeout: float | None) -> View:
    view = View("")
    for view, _last in _views(progress, until_drained, timeout, _PLAIN_SECONDS):
        print(plain_line(view), flush=True)
    return view


def plain_line(view: View) -> str:
    """A snapshot as one line."""
    if view.waiting_for:
        return f"{view.job}: {plain_text(view.waiting_for)}"
    parts = [
        f"{_PLAIN_TITLES[name]} {counted_text(hop.moved.objects, 'object')} {bytes_text(hop.moved.bytes)}"
        f" ({hop.rate.objects:,.0f}/s, {rate_text(hop.rate.bytes)})"
        for name, hop in view.hops.items()
    ]
    parts.append(f"{count_text(view.objects.states[State.PENDING].objects)} pending")
    parts.append(f"{count_text(view.objects.states[State.STAGED].objects)} staged")
    if view.failures.count:
        parts.append(counted_text(view.failures.count, "failure"))
    parts.append(_closing(view))
    waits = [plain_text(unit.run.status) for unit in view.run.units if unit.alive and "waiting" in unit.run.status]
    return f"{view.job}: {', '.join(parts)}" + (f" [{'; '.join(waits)}]" if waits else "")


def _closing(view: View) -> str:
    if view.objects.drained:
        return f"drained, {seconds_text(view.run.seconds)}"
    if view.objects.is_settled:
        return f"not drained, {seconds_text(view.run.seconds)}, {_left(view)}"
    if not view.run.is_running:
        return "no unit is running"
    return f"ETA {seconds_text(view.eta_seconds)}" if view.eta_seconds is not None else "ETA unknown"


# -- on a terminal ----------------------------------------------------------------------------------------------


def _watch_live(console: Console, progress: Progress, until_drained: bool, timeout: float | None) -> View:
    from rich.live import Live

    view = View("")
    with Live(console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:
        for view, _last in _views(progress, until_drained, timeout, _LIVE_SECONDS):
            live.update(render(view, console.width), refresh=True)
    return view


def render(view: View, width: int = _WIDE) -> Group:
    """A snapshot as a renderable of `rich`, for a terminal of `width` columns."""
    from rich.console import Group
    from rich.text import Text

    if view.waiting_for:
        return Group(_headline(view), Text(f"  {plain_text(view.waiting_for)}", style="yellow"))
    sections: list[RenderableType] = [_headline(view), "", _hop_table(view, width), "", _state_grid(view, width)]
    if view.volumes:
        sections += ["", _volume_table(view.volumes, width)]
    sections += ["", *_unit_lines(view), *_failure_lines(view)]
    return Group(*sections)


def _headline(view: View) -> Text:
    from rich.text import Text

    line = Text.assemble((f"snowsync {view.job}", "bold"))
    if view.waiting_for:
        return line.append("  waiting", style="yellow")
    is_at_work = view.run.is_running and not view.objects.is_settled
    line.append(f"  {_closing(view)}", style="green" if view.objects.drained else "cyan" if is_at_work else "yellow")
    if is_at_work:
        line.append(f"  running for {seconds_text(view.run.seconds)}", style="dim")
    return line


def _bar(percent: float, width: int, style: str, finished_style: str) -> ProgressBar:
    from rich.progress_bar import ProgressBar

    bar = 24 if width >= _WIDE else 10
    return ProgressBar(total=100, completed=percent, width=bar, complete_style=style, finished_style=finished_style)


def _grid(*columns: tuple[str, str]) -> Table:
    """A table without borders; each column is (title, alignment)."""
    from rich.table import Table

    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title, alignment in columns:
        grid.add_column(title, justify="right" if alignment == "right" else "left", no_wrap=True)
    return grid


def _hop_table(view: View, width: int) -> Table:
    right = "right"
    grid = _grid(
        ("hop", ""),
        ("", ""),
        ("", right),
        ("objects", right),
        ("bytes", right),
        ("obj/s", right),
        ("MiB/s", right),
        ("ETA", right),
    )
    for name, hop in view.hops.items():
        grid.add_row((_TITLES if width >= _WIDE else _PLAIN_TITLES)[name], *_hop_cells(hop, width))
    return grid


def _hop_cells(hop: HopView, width: int) -> tuple[RenderableType, ...]:
    done = not hop.remaining.objects
    # 100 % is shown only when nothing remains.
    percent = 100 if done else min(99, int(hop.fraction * 100))
    eta = "" if done else (seconds_text(hop.eta_seconds) if hop.eta_seconds is not None else "?")
    return (
        _bar(percent, width, "cyan", "green"),
        f"{percent} %",
        count_text(hop.moved.objects),
        bytes_text(hop.moved.bytes),
        f"{hop.rate.objects:,.0f}",
        f"{hop.rate.bytes / 1048576:,.1f}",
        eta,
    )


_STATE_STYLES: dict[State, Callable[[Tally], str]] = {
    State.PENDING: lambda tally: "" if tally.objects else "dim",
    State.STAGED: lambda tally: "" if tally.objects else "dim",
    State.DELIVERED: lambda tally: "" if tally.objects else "dim",
    State.RELEASED: lambda tally: "green" if tally.objects else "dim",
    State.QUARANTINED: lambda tally: "bold red" if tally.objects else "dim",
    State.FAILED: lambda tally: "bold red" if tally.objects else "dim",
}


def _state_grid(view: View, width: int) -> Table:
    """All states, on one line if there is room for six, otherwise on two; columns stay put as the numbers change."""
    from rich.table import Table
    from rich.text import Text

    cells = []
    for state, tally in view.objects.states.items():
        text = f"{count_text(tally.objects)} {state.label}" + (f" ({bytes_text(tally.bytes)})" if tally.bytes else "")
        cells.append(Text(text, style=_STATE_STYLES[state](tally)))
    columns = len(cells) if width >= _WIDE else 3
    grid = Table.grid(padding=(0, 3, 0, 0))
    for first in range(0, len(cells), columns):
        grid.add_row(*cells[first : first + columns])
    return grid


def _volume_table(volumes: list[VolumeView], width: int) -> Table:
    from rich.text import Text

    right = "right"
    grid = _grid(
        ("volume", ""),
        ("", ""),
        ("held", right),
        ("of", right),
        ("objects", right),
        ("obj/s", right),
        ("MiB/s", right),
        ("", ""),
    )
    for view in volumes:
        volume = view.status
        room = volume.usable
        share = min(100.0, 100 * volume.held.bytes / room) if room else 0.0
        grid.add_row(
            volume.name,
            _bar(share, width, "yellow", "red"),
            bytes_text(volume.held.bytes),
            bytes_text(room) if room else "?",
            count_text(volume.held.objects),
            f"{view.rate.objects:,.0f}",
            f"{view.rate.bytes / 1048576:,.1f}",
            Text("" if volume.state == IN_USE else volume.words, style="red"),
        )
    return grid


def _unit_lines(view: View) -> list[Text]:
    from rich.text import Text

    lines = []
    for unit in view.run.units:
        if unit.word == "running":
            style = "yellow" if "waiting" in unit.run.status else ""
            lines.append(Text(f"{unit.run.unit}: {plain_text(unit.run.status)}", style=style))
        else:
            in_order = unit.run.status == unit.word == "stopped"
            lines.append(Text(unit_line(unit), style="dim" if in_order else "bold red"))
    return lines


def _failure_lines(view: View) -> list[RenderableType]:
    from rich.text import Text

    if not view.failures.count:
        return []
    lines: list[RenderableType] = ["", Text(f"{counted_text(view.failures.count, 'failure')}, latest:", style="red")]
    for failure in view.failures.items:
        times = f" ({failure.times} times)" if failure.times > 1 else ""
        what = f"{key_text(failure.key)}: {failure.trouble}: {plain_text(failure.message)}"
        text = f"  {whereabouts(failure)}{times}: {what}"
        lines.append(Text(text, no_wrap=True, overflow="ellipsis"))
    return lines
