"""Mistakes of newcomers as programs: run one, get what its author reads.

A program is text and runs as the file ``train.py``, so messages name its true lines.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import chainrule as cr
import chainrule.nn.functional as F
from chainrule import data, nn, optim, train

PACKAGE = os.path.dirname(cr.__file__)


class Mistake(NamedTuple):
    """A program, and the message that it should get.

    Attributes:
        name: What is wrong, in words joined by underscores.
        program: What a newcomer would type; the names of `run` are imported already.
        kind: Name of the error's or warning's class.
        message: Its whole text; a newline at the end does not count.
    """

    name: str
    program: str
    kind: str
    message: str


class Complaint(NamedTuple):
    """What came of a program.

    Attributes:
        kind: Name of the error's or warning's class.
        message: Its whole text.
        depth: Frames of the traceback inside chainrule.
    """

    kind: str
    message: str
    depth: int


def by_name(mistake: Mistake) -> str:
    """Return the name of a test."""
    return mistake.name


def check(mistake: Mistake, folder: Path, monkeypatch: pytest.MonkeyPatch, *, deepest: int) -> None:
    """Assert that a mistake gets its message, and a traceback that is not deeper than allowed."""
    monkeypatch.chdir(folder)
    monkeypatch.delenv("CHAINRULE_DEBUG", raising=False)
    found = run(mistake.program.lstrip("\n"), monkeypatch)
    assert found.message == mistake.message.strip("\n")
    assert found.kind == mistake.kind
    assert found.depth <= deepest


def run(program: str, monkeypatch: pytest.MonkeyPatch) -> Complaint:
    """Run a program in the current folder and return its error, else its first warning."""

    def hide(library: str) -> None:
        """Make the import of a library fail."""
        monkeypatch.setitem(sys.modules, library, None)

    names = {"cr": cr, "nn": nn, "optim": optim, "data": data, "train": train, "F": F, "np": np}
    files = {"Path": Path, "hide": hide, "write": write, "cut": cut, "picture": picture}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            exec(compile(program, "train.py", "exec"), {"__name__": "__main__", **names, **files})
        except cr.ChainruleError as error:
            frames = traceback.extract_tb(error.__traceback__)
            inside = [frame for frame in frames if frame.filename.startswith(PACKAGE)]
            return Complaint(type(error).__name__, str(error), len(inside))
    assert caught, "the program ran without a complaint"
    first = caught[0]
    place = f"{os.path.basename(first.filename)}:{first.lineno}"
    return Complaint(first.category.__name__, f"{place}: {first.message}", 0)


def write(path: str, text: str) -> None:
    """Write a text file."""
    Path(path).write_text(text, encoding="utf-8")


def cut(path: str) -> None:
    """Truncate a file to half of its length."""
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[: len(content) // 2])


def picture(path: str) -> None:
    """Write a grey image of 8 x 8 pixels."""
    image = pytest.importorskip("PIL.Image", reason="the extra 'full' is not installed")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(path)
