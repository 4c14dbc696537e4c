"""Screen: text as a terminal, a pipe or a log file can show it.

Takes: words, rows, notes; also those that came out of users' files. Gives: aligned lines.
The one idea: what arrives from outside is cleaned, measured and encoded here, and nowhere else:
wide characters take two columns, control characters none, and a character that the stream does
not know never ends a command.
"""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TextIO

from chainrule.report.words import clean

__all__ = ["columns_of", "display_width", "emit", "fill", "say", "screen_width"]

LEAST_WIDTH = 40
# For streams that know ASCII alone; anything else becomes an escape like \uac00.
_ASCII = str.maketrans({"²": "2", "³": "3", "×": "x", "–": "-", "…": "...", "→": "->"})


def say(text: str = "", *, to: TextIO | None = None) -> None:
    """Print text at once, whatever the stream's encoding.

    Args:
        text: One or several lines; control characters other than line ends are replaced.
        to: The stream; by default what `sys.stdout` is at that moment.
    """
    stream = sys.stdout if to is None else to
    print(_encodable(clean(text).replace("\r", " "), stream.encoding), file=stream, flush=True)


def emit(text: str) -> None:
    """Write data to `sys.stdout`: as they are to a file or pipe, cleaned to a terminal."""
    shown = clean(text) if sys.stdout.isatty() else text
    sys.stdout.write(_encodable(shown, sys.stdout.encoding))
    sys.stdout.flush()


def screen_width() -> int | None:
    """Return the columns of the terminal; None where the output goes elsewhere."""
    if not sys.stdout.isatty():
        return None
    return max(shutil.get_terminal_size().columns, LEAST_WIDTH)


def display_width(text: str) -> int:
    """Return how many columns of a terminal a text takes.

    Example:
        >>> display_width("accuracy"), display_width("정확도")
        (8, 6)
    """
    return sum(map(_columns, text))


def fill(text: str, width: int | None, *, indent: str = "  ", hanging: str = "    ") -> str:
    """Return a text broken into lines of at most ``width`` columns.

    Args:
        text: The text; line ends in it become spaces.
        width: Columns; None leaves it on one line.
        indent: Before the first line.
        hanging: Before the others.

    Example:
        >>> print(fill("split: 80 to train, 10 to validate", 24))
          split: 80 to train, 10
            to validate
    """
    words = text.split()
    if width is None:
        return indent + " ".join(words)
    lines, line = [], indent
    for word in words:
        space = "" if line in (indent, hanging) else " "
        if space and display_width(line) + 1 + display_width(word) > width:
            lines.append(line)
            line, space = hanging, ""
        line += space
        for character in word:
            if display_width(line) + _columns(character) > width:
                lines.append(line)
                line = hanging
            line += character
    return "\n".join([*lines, line])


def columns_of(rows: Iterable[Sequence[str]], *, right: Sequence[int] = ()) -> list[str]:
    """Return rows as lines with aligned columns, two spaces between them.

    Args:
        rows: Rows of equally many cells.
        right: Columns that are aligned to the right (figures).

    Example:
        >>> columns_of([("가나", "1"), ("abc", "20")], right=[1])
        ['가나   1', 'abc   20']
    """
    table = [tuple(row) for row in rows]
    widths = [max(map(display_width, cells)) for cells in zip(*table, strict=True)]
    return [
        "  ".join(
            _pad(cell, width, at_left=k in right)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]


def _pad(text: str, width: int, *, at_left: bool) -> str:
    space = " " * (width - display_width(text))
    return space + text if at_left else text + space


def _columns(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Cf", "Me", "Mn"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _encodable(text: str, encoding: str | None) -> str:
    name = encoding or "utf-8"
    try:
        text.encode(name)
    except UnicodeEncodeError:
        return text.translate(_ASCII).encode(name, "backslashreplace").decode(name)
    return text
