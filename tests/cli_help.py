"""Small data, models of users and runs for the tests of the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from chainrule.cli.main import main

# Models as a newcomer might write them, right and wrong.
OWN_MODELS = """from chainrule import nn


class Good(nn.Module):
    def __init__(self, input_shape, n_outputs):
        super().__init__()
        self.layer = nn.Linear(input_shape[0], n_outputs)

    def forward(self, x):
        return self.layer(x)


class Bare(Good):
    def __init__(self):
        super().__init__((5,), 2)


class ByName(Good):
    def __init__(self, n_outputs, width=5):
        super().__init__((width,), n_outputs)


class Narrow(Good):
    def __init__(self, input_shape, n_outputs):
        super().__init__(input_shape, 1)


class FailsToBuild(Good):
    def __init__(self, input_shape, n_outputs):
        super().__init__(input_shape, n_outputs)
        1 / 0


class FailsToRun(Good):
    def forward(self, x):
        return self.layer(x.nonsense())


class FailsInTraining(Good):
    def forward(self, x):
        if self.training:
            raise RuntimeError("not today")
        return self.layer(x)


class WrongWidth(Good):
    def __init__(self, input_shape, n_outputs):
        super().__init__((3,), n_outputs)


class Flat(Good):
    def forward(self, x):
        return self.layer(x)[:, 0]


class Detached(Good):
    def forward(self, x):
        return self.layer(x).detach()


class GivesList(Good):
    def forward(self, x):
        return [self.layer(x)]


class Infinite(Good):
    def forward(self, x):
        return self.layer(x) * float("inf")


class Three(Good):
    def __init__(self, a, b, c):
        pass


class NoModule:
    pass
"""


class Result(NamedTuple):
    """What a command gave."""

    status: int
    out: str
    err: str


Call = Callable[..., Result]


def caller(capsys: pytest.CaptureFixture[str]) -> Call:
    """Return a function that runs a command line and returns what it printed."""

    def call(*words: str | Path) -> Result:
        capsys.readouterr()
        status = main([str(word) for word in words])
        captured = capsys.readouterr()
        return Result(status, captured.out, captured.err)

    return call


def write_table(path: Path, n: int = 80) -> Path:
    """Write a CSV table: two numbers and a city decide a price and a class."""
    rng = np.random.default_rng(3)
    lines = ["area,age,city,price,class"]
    for area, age, city in zip(
        rng.normal(80, 20, n), rng.integers(0, 60, n), rng.integers(0, 3, n), strict=True
    ):
        price = 3 * area - age + 20 * city
        label = "높음" if price > 220 else "낮음"
        lines.append(f"{area:.2f},{age},{('서울', 'Busan', 'Jeju')[city]},{price:.2f},{label}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_models(folder: Path) -> Path:
    """Write the models of users."""
    path = folder / "nets.py"
    path.write_text(OWN_MODELS, encoding="utf-8")
    return path


def tree(folder: Path) -> dict[str, bytes]:
    """Return the contents of all files of a folder, by relative path."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
