"""Charts: a run as a picture, readable on light and on dark pages.

Takes: records of workloads. Gives: an SVG.
The one idea: bars grow from 1x, PyTorch's speed, on a logarithmic axis, so twice as fast and half
as fast are equally long.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from benchmarks.peers import PEERS, REFERENCE
from benchmarks.table import names_in, ratio

WIDTH, LABELS, RIGHT, TOP, BAR, GAP = 900, 330, 64, 64, 11, 12

# Distinguishable by people with any colour vision (Okabe & Ito 2008).
COLOURS = {
    "chainrule": "#d55e00",
    "eager": "#e69f00",
    "torch-compile": "#0072b2",
    "jax": "#009e73",
    "sklearn": "#cc79a7",
    "numpy": "#8a8a8a",
}
STYLE = """
text{font:12px system-ui,sans-serif;fill:#24292f}.quiet{fill:#57606a}.title{font-weight:600}
.grid{stroke:#d0d7de}.one{stroke:#57606a}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.quiet{fill:#9198a1}
.grid{stroke:#3d444d}.one{stroke:#9198a1}}
"""


def chart(records: Sequence[dict[str, Any]], caption: str) -> str:
    """Return the picture of all ratios to the reference."""
    names = [name for name in names_in(records) if name != REFERENCE]
    bars = [
        [(name, found) for name in names if (found := ratio(record, name)) is not None]
        for record in records
    ]
    low, high = _range([found for group in bars for _, found in group])
    parts: list[str] = []
    y = TOP
    for record, group in zip(records, bars, strict=True):
        if not group:
            continue
        height = BAR * len(group)
        middle = y + height / 2 + 4
        label = f"{record['name']}  {record['title']}"
        parts.append(
            f'<text x="{LABELS - 10}" y="{middle:.1f}" text-anchor="end">{_text(label)}</text>'
        )
        for number, (name, found) in enumerate(group):
            parts.append(_bar(name, found, y + number * BAR, low, high))
        y += height + GAP
    total = y + 40
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {total}" width="{WIDTH}" '
        f'height="{total}" role="img" aria-label="Speed relative to PyTorch">',
        f"<style>{STYLE}</style>",
        f'<text x="12" y="20" class="title">Speed relative to {PEERS[REFERENCE].title} (eager); '
        "longer to the right is faster</text>",
        *_legend(names),
        *_grid(low, high, y),
    ]
    foot = f'<text x="12" y="{total - 10}" class="quiet">{_text(caption)}</text></svg>'
    return "\n".join([*head, *parts, foot]) + "\n"


def _text(text: str) -> str:
    return escape(text, quote=False)


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Return powers of two that enclose all values and 1."""
    logs = [math.log2(value) for value in values] or [0.0]
    return math.floor(min(*logs, -1.0)), math.ceil(max(*logs, 1.0))


def _place(value: float, low: float, high: float) -> float:
    return LABELS + (WIDTH - LABELS - RIGHT) * (math.log2(value) - low) / (high - low)


def _bar(name: str, value: float, y: float, low: float, high: float) -> str:
    start, end = sorted((_place(1.0, low, high), _place(value, low, high)))
    label = f"{value:.2f}x" if value < 10 else f"{value:.1f}x"
    return (
        f'<rect x="{start:.1f}" y="{y:.1f}" width="{max(end - start, 1):.1f}" '
        f'height="{BAR - 1}" fill="{COLOURS[name]}"><title>{_text(PEERS[name].title)}: {label}'
        f'</title></rect><text x="{end + 4:.1f}" y="{y + BAR - 2:.1f}" font-size="10" '
        f'class="quiet" style="font-size:10px">{label}</text>'
    )


def _legend(names: Sequence[str]) -> list[str]:
    parts, x = [], 12.0
    for name in names:
        title = PEERS[name].title
        parts.append(
            f'<rect x="{x:.0f}" y="31" width="12" height="12" fill="{COLOURS[name]}"/>'
            f'<text x="{x + 17:.0f}" y="41">{_text(title)}</text>'
        )
        x += 34 + 7 * len(title)
    return parts


def _grid(low: float, high: float, bottom: float) -> list[str]:
    parts = []
    for power in range(int(low), int(high) + 1):
        x = _place(2.0**power, low, high)
        kind = "one" if power == 0 else "grid"
        label = f"{2**power}x" if power >= 0 else f"1/{2**-power}x"
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 8}" y2="{bottom}" class="{kind}"/>'
            f'<text x="{x:.1f}" y="{bottom + 14}" text-anchor="middle" class="quiet">{label}</text>'
        )
    return parts
