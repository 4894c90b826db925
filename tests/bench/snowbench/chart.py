# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The medians as a chart: for each set and pass one bar of wall time and one of client CPU time per tool. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any

from .figures import Summary

WIDTH, LEFT, RIGHT = 760, 130, 70
BAR, GAP, GROUP = 9, 3, 34
STYLE = """
    text { font: 12px ui-sans-serif, system-ui, sans-serif; fill: #1c2733; }
    .title { font-weight: 600; }
    .wall { fill: #4a6fa5; } .cpu { fill: #c9a24b; }
    @media (prefers-color-scheme: dark) { text { fill: #e6ebf1; } .wall { fill: #86a9de; } .cpu { fill: #d9b96a; } }
"""


def chart(summaries: Iterable[Summary], machine: Mapping[str, Any]) -> str:
    """SVG; bars of one set and pass share a scale, sets do not. Passes without a valid run are named, without a bar."""
    parts: list[str] = []
    y = 46
    groups = itertools.groupby(summaries, key=lambda each: (each.data_set, each.kind))
    for (data_set, kind), group in groups:
        parts.append(f'<text class="title" x="10" y="{y}">{escape(f"{data_set} {kind}")}</text>')
        bars, y = _bars(list(group), y + 12)
        parts += bars
        y += GROUP
    legend = "seconds, medians: upper bar wall time, lower bar CPU time of the tool"
    where = f"{machine['cores']} cores, {machine['platform']}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" role="img">',
            f"<title>Benchmark on {escape(where)}</title><style>{STYLE}</style>",
            f'<text x="10" y="20">{escape(legend)}; {escape(where)}</text>',
            *parts,
            "</svg>\n",
        ]
    )


def _bars(group: list[Summary], y: int) -> tuple[list[str], int]:
    known = [each.medians for each in group if each.medians]
    longest = max([max(one.wall, one.client_cpu) for one in known], default=0.0) or 1.0
    lines: list[str] = []
    for each in group:
        lines.append(f'<text x="20" y="{y + BAR + 5}">{escape(each.tool)}</text>')
        if each.medians is None:
            lines.append(f'<text x="{LEFT}" y="{y + BAR + 5}">void</text>')
        else:
            lines += _pair(each.medians.wall, each.medians.client_cpu, longest, y)
        y += 2 * BAR + 3 * GAP
    return lines, y


def _pair(wall: float, cpu: float, longest: float, y: int) -> Iterator[str]:
    for kind, value, top in (("wall", wall, y), ("cpu", cpu, y + BAR + 1)):
        width = (WIDTH - LEFT - RIGHT) * value / longest
        yield f'<rect class="{kind}" x="{LEFT}" y="{top}" width="{width:.1f}" height="{BAR}"/>'
        yield f'<text x="{LEFT + width + 6:.1f}" y="{top + BAR}">{value:.2f}</text>'
