"""The command `chainrule explore`: run one of the experiments, draw it, write a page.

Takes: a name, parameters, where to write. Gives: numbers on the screen, files that are whole.
The one idea: whatever can be refused is refused before the experiment; files are written only
when all of them are ready, and taken away again if that is interrupted.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from chainrule.cli.folder import make
from chainrule.cli.screen import columns_of, fill, say, screen_width
from chainrule.cli.show import open_page
from chainrule.core.errors import ArgumentError, DataError
from chainrule.core.files import write_atomic
from chainrule.explore import EXPLORATIONS, Explored, check_page, find_exploration, render_page
from chainrule.explore.run import chosen_parameters, explore, parameters_of
from chainrule.report.standalone import check_png, standalone, to_png
from chainrule.report.words import format_seconds

DEFAULT_FOLDER = Path("explorations")
KINDS = (".html", ".svg", ".png")


def run(given: argparse.Namespace) -> int:
    """Run an exploration and write what it shows; without a name list all of them."""
    if given.name is None:
        _list()
        return 0
    exploration = find_exploration(given.name)
    parameters = _parameters(given, parameters_of(exploration))
    chosen_parameters(exploration, parameters, short=given.short)
    targets = _targets(given)
    with _folder(targets[0].parent):
        explored = explore(given.name, short=given.short, parameters=parameters)
        contents = {path: _content(explored, path.suffix) for path in targets}
        _write(contents)
    _report(explored, targets)
    if given.open:
        open_page(targets[0].resolve().as_uri())
    return 0


def _list() -> None:
    rows = [(name, exploration.title.en) for name, exploration in EXPLORATIONS.items()]
    say("explorations:")
    for row in columns_of(rows):
        say(f"  {row}")
    say("run one: chainrule explore NAME")


def _parameters(given: argparse.Namespace, defaults: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters that were given, as numbers of the defaults' kinds."""
    found: dict[str, Any] = {}
    for text in given.set:
        name, equals, value = text.partition("=")
        if not equals:
            raise ArgumentError(f"--set {text}: expected NAME=VALUE", hint="--set steps=100")
        found[name] = _number(name, value, defaults.get(name))
    if given.seed is not None:
        if "seed" not in defaults:
            raise ArgumentError(
                f"{given.name}: --seed has no effect: nothing in it is drawn at random",
                hint=f"chainrule explore {given.name}",
            )
        found["seed"] = given.seed
    return found


def _number(name: str, text: str, default: object) -> object:
    kind = float if isinstance(default, float) else int
    try:
        return kind(text)
    except ValueError:
        what = "a number" if kind is float else "a whole number"
        raise ArgumentError(f"--set {name}={text}: {text!r} is not {what}") from None


def _targets(given: argparse.Namespace) -> list[Path]:
    """Return the files to write, checked: the page first."""
    out = Path(given.out).expanduser() if given.out else None
    if out is not None and out.suffix.lower() in KINDS:
        targets = [out]
        if given.png and out.suffix.lower() != ".png":
            targets.append(out.with_suffix(".png"))
    else:
        kinds = KINDS if given.png else KINDS[:2]
        targets = [(out or DEFAULT_FOLDER) / f"{given.name}{kind}" for kind in kinds]
    if any(path.suffix.lower() == ".png" for path in targets):
        check_png()
    if any(path.suffix.lower() == ".html" for path in targets):
        check_page()
    for path in targets:
        # The default folder is ours; elsewhere a file of that name may be someone's work.
        if out is not None and path.exists() and not given.overwrite:
            raise DataError(f"{path}: exists already", hint="--overwrite replaces it")
        if path.is_dir():
            raise DataError(f"{path}: is a folder", hint="choose another place with --out")
    return targets


@contextmanager
def _folder(folder: Path) -> Iterator[None]:
    """Make a folder that can be written to; if all fails, take away again what was made."""
    made = make(folder)
    try:
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise DataError(
                f"{folder}: cannot be written to: {error.strerror or error}",
                hint="choose another place with --out",
            ) from error
        yield
    except BaseException:
        for path in made:
            with suppress(OSError):
                path.rmdir()
        raise


def _content(explored: Explored, kind: str) -> bytes:
    if kind.lower() == ".html":
        return render_page(explored).encode()
    drawings = [(figure.caption.en, figure.drawing) for figure in explored.figures]
    svg = standalone(drawings, title=explored.exploration.title.en)
    return to_png(svg) if kind.lower() == ".png" else svg.encode()


def _write(contents: dict[Path, bytes]) -> None:
    """Write all files; if that is interrupted, take away those that are new."""
    new: list[Path] = []
    try:
        for path, content in contents.items():
            if not path.exists():
                new.append(path)
            write_atomic(path, content)
    except BaseException:
        for path in new:
            with suppress(OSError):
                path.unlink()
        raise


def _report(explored: Explored, targets: Sequence[Path]) -> None:
    width = screen_width()
    say(f"{explored.exploration.title.en} ({format_seconds(explored.seconds)})")
    for table in explored.tables:
        say()
        say(f"{table.caption.en}:")
        rows = [list(table.head), *table.texts()]
        right = [i for i in range(1, len(table.head)) if not _is_words(table.rows, i)]
        for line in columns_of(rows, right=right):
            say(f"  {line}")
    say()
    for words in explored.exploration.see:
        say(fill(words.en, width, hanging="  "))
    say()
    for path in targets:
        say(f"wrote {path}")


def _is_words(rows: Sequence[Sequence[object]], column: int) -> bool:
    return any(isinstance(row[column], str) for row in rows)
