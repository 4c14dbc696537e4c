"""Standalone: drawings as files of their own, SVG and PNG.

Takes: drawings of a page. Gives: SVG with its own style sheet, light and dark; PNG.
The one idea: the drawing is the same as on the page; a file carries the colours with it.

PNG is made by resvg (a renderer of static SVG, one wheel of 1.4 MB, no further packages), which
does not know CSS variables: they are replaced by the light colours first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import ModuleType

from chainrule.core.errors import missing_extra
from chainrule.report.assets import drawing_style
from chainrule.report.svg import coordinate, element
from chainrule.report.words import escape

FONTS = (
    'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Apple SD Gothic Neo", '
    '"Malgun Gothic", "Noto Sans CJK KR", Arial, sans-serif'
)
MARGIN = 20.0
SPACE = 28.0  # pixels between two drawings of one file
SCALE = 2  # pixels of a PNG for one of the drawing: sharp on dense screens
_SIZE = re.compile(r'<svg [^>]*?width="([\d.]+)" height="([\d.]+)"')
_VARIABLE = re.compile(r"--([\w-]+):\s*([^;]+);")


def standalone(drawings: Sequence[tuple[str, str]], *, title: str) -> str:
    """Return drawings below each other as one SVG file.

    Args:
        drawings: (caption, SVG of `drawing`) of each; a caption may be empty.
        title: Name of the file's content.
    """
    parts, y, width = [], MARGIN, 0.0
    for caption, svg in drawings:
        if caption:
            place: dict[str, str | float] = {"x": MARGIN, "y": y + 14, "class": "heading"}
            parts.append(element("text", place, escape(caption)))
            y += 34
        w, h = _size(svg)
        where = f'<svg x="{coordinate(MARGIN)}" y="{coordinate(y)}" '
        parts.append(where + svg.removeprefix("<svg "))
        y, width = y + h + SPACE, max(width, w)
    width, height = width + 2 * MARGIN, y - SPACE + MARGIN
    root: dict[str, str | float] = {"xmlns": "http://www.w3.org/2000/svg", "class": "drawing"}
    root |= {"viewBox": f"0 0 {coordinate(width)} {coordinate(height)}"}
    root |= {"width": width, "height": height, "role": "img"}
    style = drawing_style() + f".drawing {{ font-family: {FONTS}; }}\n"
    ground = element("rect", {"width": "100%", "height": "100%", "class": "ground"})
    head = element("title", {}, escape(title)) + element("style", {}, _compact(style))
    return element("svg", root, head, ground, *parts) + "\n"


def to_png(svg: str) -> bytes:
    """Return a file of `standalone` as PNG, in the light colours.

    Raises:
        MissingExtraError: resvg is not installed.
    """
    return bytes(_resvg().svg_to_bytes(svg_string=_with_colours(svg), zoom=SCALE))


def check_png() -> None:
    """Raise what `to_png` would raise for want of a library, before any work was done."""
    _resvg()


def _resvg() -> ModuleType:
    try:
        import resvg_py
    except ImportError:
        raise missing_extra("resvg_py", "drawing PNG", "pictures") from None
    return resvg_py


def _with_colours(svg: str) -> str:
    """Return the drawing with its CSS variables replaced by the light colours."""
    start, end = svg.index("<style>") + len("<style>"), svg.index("</style>")
    style = svg[start:end]
    light = dict(_VARIABLE.findall(style[: style.index("@media")]))
    rules = style[style.index(".drawing") :]
    rules = re.sub(r"var\(--([\w-]+)\)", lambda found: light[found.group(1)], rules)
    return svg[:start] + rules + svg[end:]


def _size(svg: str) -> tuple[float, float]:
    found = _SIZE.match(svg)
    if found is None:
        raise ValueError("not a drawing of chainrule.report.svg")
    return float(found.group(1)), float(found.group(2))


def _compact(style: str) -> str:
    """Return a style sheet without comments and indentation."""
    bare = re.sub(r"/\*.*?\*/", "", style, flags=re.DOTALL)
    return "\n".join(line.strip() for line in bare.splitlines() if line.strip())
