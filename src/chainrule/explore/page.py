"""The page: what an exploration shows, as one HTML file.

Takes: an `Explored`. Gives: a page that holds its style, drawings, numbers and code.
The one idea: English and Korean stand beside each other, so that no language has to be chosen,
and every number of the pictures is in a table too.
"""

from __future__ import annotations

import base64
import hashlib
import keyword
import re
from importlib import resources
from types import ModuleType

from chainrule.core.errors import missing_extra
from chainrule.explore.code import shown_code
from chainrule.explore.run import Explored
from chainrule.report.assets import asset, page_style
from chainrule.report.words import clean, escape, format_number, format_seconds

_TOKEN = re.compile(
    r"(?P<comment>#[^\n]*)|(?P<string>\"\"\".*?\"\"\"|\"[^\"\n]*\"|'[^'\n]*')|(?P<word>\b[A-Za-z_]\w*\b)",
    re.DOTALL,
)


def render_page(explored: Explored) -> str:
    """Return the page as HTML; the same run gives the same text but for the time it took.

    Raises:
        MissingExtraError: Jinja2 is not installed.
    """
    environment = _jinja().Environment(
        autoescape=True,
        undefined=_jinja().StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    folder = resources.files("chainrule.explore")
    template = folder.joinpath("page.html").read_text(encoding="utf-8")
    script = asset("script.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    code = shown_code(explored.exploration)
    page = environment.from_string(template).render(
        exploration=explored.exploration,
        figures=explored.figures,
        tables=[(t.caption, t.head, t.texts(), _numeric(t.texts())) for t in explored.tables],
        parameters=[(name, _value(value)) for name, value in explored.parameters.items()],
        command=command(explored),
        seconds=format_seconds(explored.seconds),
        code=coloured(code),
        style=page_style() + folder.joinpath("page.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=digest,
    )
    return clean(page)


def check_page() -> None:
    """Raise what `render_page` would raise for want of a library, before any work was done."""
    _jinja()


def command(explored: Explored) -> str:
    """Return the command line that makes the same page again."""
    words = ["chainrule explore", explored.exploration.name]
    for name, value in explored.parameters.items():
        words.append(f"--seed {value}" if name == "seed" else f"--set {name}={value}")
    return " ".join(words)


def coloured(code: str) -> str:
    """Return Python code as HTML, its comments, strings and keywords marked.

    Example:
        >>> coloured("x = 1  # one")
        'x = 1  <i class="comment"># one</i>'
    """
    parts, end = [], 0
    for found in _TOKEN.finditer(code):
        parts.append(escape(code[end : found.start()]))
        end = found.end()
        kind, text = found.lastgroup, escape(found.group())
        if kind == "word" and not keyword.iskeyword(found.group()):
            parts.append(text)
        else:
            parts.append(f'<i class="{kind}">{text}</i>')
    return "".join([*parts, escape(code[end:])])


def _jinja() -> ModuleType:
    try:
        import jinja2
    except ImportError:
        raise missing_extra("jinja2", "writing a page") from None
    return jinja2


def _numeric(rows: list[list[str]]) -> list[bool]:
    """Return which columns hold numbers only, the first one aside."""
    columns = zip(*rows, strict=True)
    marks = [all(re.match(r"-?[\d.∞–N]", cell) for cell in column) for column in columns]
    return [i > 0 and mark for i, mark in enumerate(marks)]


def _value(value: object) -> str:
    return format_number(value) if isinstance(value, int | float) else str(value)
