"""Assets: the style sheets and the script that pages and drawings carry.

Takes: nothing. Gives: their texts.
The one idea: a page and a drawing that stands alone share colours and the rules of drawings.
"""

from __future__ import annotations

from importlib import resources


def asset(name: str) -> str:
    """Return a file of this package; also from inside a wheel or a zip."""
    return resources.files("chainrule.report").joinpath(name).read_text(encoding="utf-8")


def page_style() -> str:
    """Return the style sheet of a page with drawings in it."""
    return "\n".join(asset(name) for name in ("colours.css", "style.css", "drawing.css"))


def drawing_style() -> str:
    """Return the style sheet of a drawing that stands alone."""
    return asset("colours.css") + asset("drawing.css")
