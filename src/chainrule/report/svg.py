"""SVG: elements as text.

Takes: tag names, attributes, children. Gives: strings that are well-formed XML.
The one idea: numbers and texts enter an attribute in one place, which rounds the first,
escapes the second and lets no NaN through.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from chainrule.report.words import escape

Attributes = Mapping[str, str | float]


def coordinate(value: float) -> str:
    """Return a length in pixels with at most one decimal.

    Raises:
        ValueError: It is NaN or infinite; a chart has to filter its values before drawing.
    """
    if not math.isfinite(value):
        raise ValueError(f"coordinate {value} in an SVG drawing")
    text = f"{value:.1f}"
    text = text.removesuffix(".0")
    return "0" if text == "-0" else text


def element(tag: str, attributes: Attributes, *children: str) -> str:
    """Return one SVG element; ``children`` are SVG texts already escaped."""
    listing = "".join(f' {name}="{_value(value)}"' for name, value in attributes.items())
    if not children:
        return f"<{tag}{listing}/>"
    return f"<{tag}{listing}>{''.join(children)}</{tag}>"


def text(
    x: float, y: float, words: str, style: str = "", *, anchor: str = "start", tip: str = ""
) -> str:
    """Return a text element at (x, y).

    Args:
        x, y: Place of the baseline's anchor, in pixels.
        words: What is written; escaped here.
        style: CSS classes.
        anchor: ``start``, ``middle`` or ``end``.
        tip: The full text, where ``words`` was cut.
    """
    attributes: dict[str, str | float] = {"x": x, "y": y}
    if style:
        attributes["class"] = style
    if anchor != "start":
        attributes["text-anchor"] = anchor
    title = element("title", {}, escape(tip)) if tip and tip != words else ""
    return element("text", attributes, escape(words) + title)


def line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    """Return a straight line."""
    return element("line", {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "class": style})


def drawing(
    width: float,
    height: float,
    label: str,
    parts: Iterable[str],
    *,
    style: str = "",
    least: float = 0.0,
    description: str = "",
) -> str:
    """Return a whole ``<svg>``.

    Args:
        width, height: Natural size in pixels.
        label: Describes it to those who cannot see it.
        parts: The elements in it.
        style: CSS classes.
        least: Share of its natural width below which it must not be shrunk.
        description: What it shows, in a sentence or two.
    """
    box = f"0 0 {coordinate(width)} {coordinate(height)}"
    attributes: dict[str, str | float] = {"class": f"drawing {style}".strip(), "viewBox": box}
    # Width and height give the natural size; the style sheet may shrink it.
    attributes |= {"width": width, "height": height, "role": "img", "aria-label": label}
    if least:
        attributes["style"] = f"min-width:{coordinate(width * least)}px"
    told = [element("desc", {}, escape(description))] if description else []
    return element("svg", attributes, *told, *parts)


def _value(value: str | float) -> str:
    return escape(value) if isinstance(value, str) else coordinate(value)
