"""Exploration: what one experiment is, and what it shows, as plain records.

Takes: nothing. Gives: the types that every file of this room fills in.
The one idea: an exploration is its experiment (numbers), its figures and tables (the numbers
seen), and words in two languages that say what to look for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chainrule.report.words import format_number


@dataclass(frozen=True)
class Words:
    """The same in English and in Korean."""

    en: str
    ko: str


@dataclass(frozen=True)
class Figure:
    """One picture.

    Args:
        caption: What it is.
        drawing: SVG.
    """

    caption: Words
    drawing: str


@dataclass(frozen=True)
class Table:
    """Numbers of the experiment.

    Args:
        caption: What they are.
        head: Names of the columns.
        rows: As many cells each; the first one names the row.
    """

    caption: Words
    head: Sequence[str]
    rows: Sequence[Sequence[object]]

    def texts(self) -> list[list[str]]:
        """Return the rows as they are shown."""
        return [[cell_text(cell) for cell in row] for row in self.rows]


@dataclass(frozen=True)
class Exploration:
    """An experiment, and how it is shown.

    Args:
        name: What it is called on the command line.
        title: Its headline.
        see: What to look for, one thought a paragraph.
        source: Where the experiment, or what it shows, was published.
        experiment: Its parameters are keywords with defaults; it gives numbers.
        figures, tables: From the numbers to what is seen.
        short: Parameters of a form that takes about a second.
        constants: Names in the experiment's file that its code reads, shown before it.
    """

    name: str
    title: Words
    see: Sequence[Words]
    source: str
    experiment: Callable[..., Any]
    figures: Callable[[Any], list[Figure]]
    tables: Callable[[Any], list[Table]]
    short: Mapping[str, Any] = field(default_factory=dict)
    constants: Sequence[str] = ()


def cell_text(cell: object) -> str:
    """Return a cell as text: words as they are, numbers with four significant digits."""
    return format_number(cell) if isinstance(cell, int | float) else str(cell)
