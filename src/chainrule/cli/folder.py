"""Run folders: where a training leaves everything, and how it is found again.

Takes: a path. Gives: the files in it, read with checks.
The one idea: a run folder is complete by itself; `evaluate`, `predict`, `show` and `--resume`
need nothing else but the data. One in which no step was done is taken away again.
"""

from __future__ import annotations

import itertools
import json
import math
import shlex
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chainrule.cli.config import RunConfig, digest
from chainrule.core.errors import DataError
from chainrule.core.files import read_bytes, read_json
from chainrule.data import Pipeline

__all__ = ["RunFolder", "discard", "find", "make", "new_path", "read_history", "read_pipeline"]

DEFAULT_PARENT = Path("runs")


@dataclass(frozen=True)
class RunFolder:
    """The files of one run."""

    path: Path

    @property
    def config(self) -> Path:
        """Every setting, and what the data were."""
        return self.path / "config.json"

    @property
    def pipeline(self) -> Path:
        """The fitted preprocessing."""
        return self.path / "pipeline.json"

    @property
    def metrics(self) -> Path:
        """One line an epoch and split."""
        return self.path / "metrics.jsonl"

    @property
    def profile(self) -> Path:
        """The timeline of ``--profile``."""
        return self.path / "profile.json"

    @property
    def evaluation(self) -> Path:
        """Results on the test part."""
        return self.path / "evaluation.json"

    @property
    def report(self) -> Path:
        """The page to look at."""
        return self.path / "report.html"

    @property
    def resume_command(self) -> str:
        """What to type to go on with this run."""
        return f"chainrule train --out {shlex.quote(str(self.path))} --resume"


def new_path(out: str | None, name: str) -> Path:
    """Return the folder of a new run; it is not made yet.

    Args:
        out: The folder the user named, or None for the next free ``runs/NAME-k``.
        name: Short name of the data.

    Raises:
        DataError: It exists and is not an empty folder.
    """
    if out is None:
        safe = "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip(".-") or "run"
        candidates = (DEFAULT_PARENT / f"{safe}-{k}" for k in itertools.count(1))
        return next(path for path in candidates if not path.exists())
    folder = RunFolder(Path(out).expanduser())
    try:
        taken = folder.path.exists() and (not folder.path.is_dir() or any(folder.path.iterdir()))
    except OSError as error:
        raise DataError(f"{folder.path}: cannot be read: {error.strerror}") from error
    if not taken:
        return folder.path
    another = "choose another folder with --out"
    if folder.config.exists():
        raise DataError(
            f"{folder.path}: a run is there already",
            hint=f"{another}, or go on with it: {folder.resume_command}",
        )
    what = "is not empty" if folder.path.is_dir() else "is a file"
    raise DataError(f"{folder.path}: {what}, and no run", hint=another)


def make(path: Path) -> tuple[Path, ...]:
    """Make the folder of a new run, and return the folders that had to be made for it.

    Raises:
        DataError: It cannot be made.
    """
    missing = tuple(folder for folder in (path, *path.parents) if not folder.exists())
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _remove(missing)
        reason = error.strerror or error
        raise DataError(
            f"{path}: cannot be made: {reason}", hint="choose another folder with --out"
        ) from error
    return missing


def discard(path: Path, made: tuple[Path, ...]) -> None:
    """Take away what a training wrote that failed before its first step.

    Args:
        path: The run folder, which was empty or not there before.
        made: What `make` returned.
    """
    for entry in path.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            with suppress(OSError):
                entry.unlink()
    _remove(made)


def find(path: str) -> RunFolder:
    """Return an existing run folder.

    Raises:
        DataError: There is no run in it.
    """
    folder = RunFolder(Path(path).expanduser())
    if folder.config.exists():
        return folder
    inside = folder.path if folder.path.is_dir() else DEFAULT_PARENT
    others = sorted(found.parent.as_posix() for found in inside.glob("*/config.json"))
    known = f"runs here: {', '.join(others)}" if others else "start one: chainrule train digits"
    if not folder.path.exists():
        raise DataError(f"{path}: no such run folder", hint=known)
    raise DataError(f"{path}: is not a run folder: it holds no config.json", hint=known)


def read_pipeline(folder: RunFolder, config: RunConfig) -> Pipeline:
    """Return the preprocessing that was fitted for a run.

    Raises:
        DataError: The file is missing, damaged, or of another run.
    """
    state = read_json(folder.pipeline)
    if digest(state) != config.pipeline:
        raise DataError(
            f"{folder.pipeline}: damaged or changed: its contents differ from the digest in "
            "config.json",
            hint="restore the file, or train anew in another folder",
        )
    return Pipeline.from_state(state, str(folder.pipeline))


def read_history(folder: RunFolder) -> list[dict[str, Any]]:
    """Return the rows of metrics.jsonl; a last line cut off by a crash is left out.

    Raises:
        DataError: The file is damaged; the line is named.
    """
    if not folder.metrics.exists():
        return []
    rows = []
    for number, line in enumerate(read_bytes(folder.metrics).split(b"\n")[:-1], 1):
        row = None
        with suppress(ValueError, RecursionError):
            row = json.loads(line)
        if not isinstance(row, dict) or not _is_row(row):
            raise DataError(f"{folder.metrics}, line {number}: damaged: not a row of figures")
        rows.append(row)
    return rows


def _is_row(row: dict[str, Any]) -> bool:
    figures = {key: value for key, value in row.items() if key != "split"}
    if not isinstance(row.get("split"), str) or not isinstance(row.get("epoch"), int):
        return False
    numbers = [value for value in figures.values() if value is not None]
    return all(
        isinstance(value, int | float) and abs(value) < 1e300 and math.isfinite(value)
        for value in numbers
    ) and isinstance(row.get("seconds"), int | float)


def _remove(folders: tuple[Path, ...]) -> None:
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()
