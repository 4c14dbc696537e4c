"""Errors: every exception that chainrule raises is built here.

Takes: the op or file concerned, the violated rule, the values that came, the remedy.
Gives: an exception whose text says all of that in at most a few lines.
The one idea: whoever finds the fault raises it with a rule and a hint; whoever knows more
(the layer path, the user's line, the origin of an argument) adds a line on the way out.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from types import CodeType
from typing import Self

# An installed copy or a checkout: every frame below this folder is ours, not the user's.
PACKAGE_DIR = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep

Site = tuple[CodeType, int]  # code object and offset of the last instruction


class ChainruleError(Exception):
    """Base class of all errors raised by chainrule.

    Args:
        message: What is wrong: op, layer or file; the value that came; what was expected.
        hint: The remedy, as code where possible.
        context: Where: a layer path, a file and line, the origin of an argument.
    """

    def __init__(self, message: str, *, hint: str = "", context: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.context: list[str] = list(context)

    def add_context(self, line: str) -> Self:
        """Append a line that says where the error happened; returns the error itself."""
        if line and line not in self.context:
            self.context.append(line)
        return self

    def __str__(self) -> str:
        lines = [self.message, *(f"  {line}" for line in self.context)]
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


class ShapeError(ChainruleError, ValueError):
    """Shapes, axes or sizes do not fit together."""


class AxisError(ShapeError, IndexError):
    """There is no such axis."""


class DTypeError(ChainruleError, TypeError):
    """A data type is not one the operation takes."""


class ArgumentError(ChainruleError, ValueError):
    """An argument has a value outside its documented range."""


class IndexRangeError(ChainruleError, IndexError):
    """An index lies outside the axis that it addresses."""


class GradientError(ChainruleError, RuntimeError):
    """A derivative was asked for where none can be had."""


class StateError(ChainruleError, RuntimeError):
    """A call came at a time, or in a state, in which it makes no sense."""


class OutOfMemoryError(ChainruleError, MemoryError):
    """A program needs more memory than there is; said before anything is allocated."""


class DataError(ChainruleError, ValueError):
    """A file or a data set is damaged, or is not what was expected.

    The message begins with the file's path and, where there is one, the place in it:
    ``train.csv, line 17: ...``.
    """


class MissingExtraError(ChainruleError, ImportError):
    """A library is needed that the core does not install."""


def missing_extra(library: str, purpose: str, extra: str = "full") -> MissingExtraError:
    """Build the error for an optional library that is not installed."""
    return MissingExtraError(
        f"{purpose} needs the library {library!r}, which is not installed",
        hint=f'pip install "chainrule[{extra}]"',
    )


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` for the nearest known word, or an empty string."""
    by_lower = {str(name).lower(): str(name) for name in known}
    matches = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return f"did you mean {by_lower[matches[0]]!r}?" if matches else ""


def unknown_word(what: str, word: str, known: Iterable[str]) -> ArgumentError:
    """Build the error for a word that is not in a fixed vocabulary, with the nearest one."""
    words = sorted(known)
    listing = ", ".join(words)
    suggestion = did_you_mean(word, words)
    hint = f"{suggestion} known: {listing}" if suggestion else f"known: {listing}"
    return ArgumentError(f"unknown {what}: {word!r}", hint=hint)


def describe_site(site: Site | None) -> str:
    """Return ``file.py:41`` for a place in the user's program, or an empty string."""
    if site is None:
        return ""
    code, offset = site
    for start, end, line in code.co_lines():
        if start <= offset < end and line is not None:
            return f"{os.path.basename(code.co_filename)}:{line}"
    return os.path.basename(code.co_filename)
