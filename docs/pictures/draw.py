"""Draw the pictures of docs/explorations.md anew: ``python docs/pictures/draw.py [NAME ...]``.

Each is the first figure of an exploration with its default parameters, as an SVG file.
"""

from __future__ import annotations

import sys
from pathlib import Path

from chainrule.core.files import write_atomic
from chainrule.explore import EXPLORATIONS, explore
from chainrule.report.standalone import standalone

FOLDER = Path(__file__).parent / "explore"

for name in sys.argv[1:] or EXPLORATIONS:
    run = explore(name)
    svg = standalone([("", run.figures[0].drawing)], title=run.exploration.title.en)
    write_atomic(FOLDER / f"{name}.svg", svg.encode())
    print(f"{name}.svg: {len(svg.encode()):,} bytes")
