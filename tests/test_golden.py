"""The compiler's text for some thirty programs is what it was: ops, kernels, memory.

A change that is meant to leave programs alone leaves these files alone; one that is meant to change
them shows in its diff what it does. After such a change:

    python tests/test_golden.py --update
"""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

import pytest
from golden_programs import PROGRAMS

import chainrule

FOLDER = Path(__file__).with_name("golden")


def text_of(name: str) -> str:
    """Return what a program looks like before and after scheduling."""
    chainrule.manual_seed(0)
    function, arguments = PROGRAMS[name]()
    function.__name__ = name
    traced = chainrule.compile(function).trace(*arguments)
    return f"{traced.text.rstrip()}\n\n{traced.lower().text.rstrip()}\n"


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_is_compiled_as_before(name: str) -> None:
    kept = (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    now = text_of(name).splitlines()
    changes = "\n".join(difflib.unified_diff(kept, now, "kept", "now", lineterm=""))
    assert kept == now, f"{changes}\nif this is meant: python tests/test_golden.py --update"


def test_text_is_the_same_each_time() -> None:
    assert text_of("convolutional_step") == text_of("convolutional_step")


def test_every_file_has_a_program() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(PROGRAMS)


def update() -> None:
    """Write what the programs look like now."""
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.txt"):
        path.unlink()
    for name in PROGRAMS:
        (FOLDER / f"{name}.txt").write_text(text_of(name), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit("usage: python tests/test_golden.py --update")
    update()
