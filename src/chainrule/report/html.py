"""HTML: the report as one file.

Takes: `ReportContents`. Gives: a page that holds its style, script, drawings and pictures.
The one idea: everything from outside passes through the template's automatic escaping; only
our own drawings, whose texts are escaped where they are made, are placed as they are. A content
security policy forbids the page to load or send anything, whatever it contains.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from chainrule.core.errors import missing_extra
from chainrule.core.files import write_atomic
from chainrule.report.assets import asset, page_style
from chainrule.report.contents import ReportContents
from chainrule.report.sections import build_page
from chainrule.report.words import clean

__all__ = ["render", "write_report"]


def render(contents: ReportContents) -> str:
    """Return the report as HTML; the same contents give the same text.

    Raises:
        ArgumentError: The contents do not fit together.
        MissingExtraError: Jinja2, or for images Pillow, is not installed.
    """
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError:
        raise missing_extra("jinja2", "writing a report") from None
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style, script = page_style(), asset("script.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    page = environment.from_string(asset("template.html")).render(
        page=build_page(contents), style=style, script=script, script_hash=digest
    )
    return clean(page)


def write_report(path: Path, contents: ReportContents) -> None:
    """Write the report to ``path``, whole or not at all.

    Raises:
        ArgumentError: The contents do not fit together.
        DataError: The file cannot be written.
        MissingExtraError: Jinja2, or for images Pillow, is not installed.
    """
    write_atomic(path, render(contents).encode("utf-8"))
