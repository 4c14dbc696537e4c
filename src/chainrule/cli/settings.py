"""Settings of a training: what was given, what was chosen for the data, and why.

Takes: a task and the command line. Gives: one `Setting` for each choice, all of them printed.
The one idea: a default that depends on the data says what it depended on, and only settings that
have an effect exist.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from chainrule.cli.screen import columns_of
from chainrule.core.errors import ArgumentError, DataError
from chainrule.data import Task

__all__ = ["MOST", "NAMES", "Setting", "Settings", "choose", "describe", "shown"]

Origin = Literal["given", "chosen", "default"]
Value = str | int | float | list[int] | None


@dataclass(frozen=True)
class Setting:
    """One choice of a training.

    Attributes:
        name: What is chosen: ``epochs``.
        value: Its value, as JSON can hold it.
        origin: ``given`` by the user, ``chosen`` for the data, or a fixed ``default``.
        why: What a chosen value depended on.
    """

    name: str
    value: Value
    origin: Origin
    why: str = ""


# Every setting and the types that it may have; `hidden` and `dropout` only where a model has them.
NAMES: dict[str, tuple[type, ...]] = {
    "model": (str,),
    "hidden": (list,),
    "dropout": (float, int),
    "loss": (str,),
    "epochs": (int,),
    "batch": (int,),
    "optimizer": (str,),
    "lr": (float, int),
    "weight_decay": (float, int),
    "schedule": (str,),
    "patience": (int, type(None)),
    "seed": (int,),
    "eager": (bool,),
}
OPTIONAL = ("hidden", "dropout", "eager")
# Which models have hidden layers whose widths one can choose.
HIDDEN = {"mlp": "any", "simple-convnet": "one"}

# No number of epochs, examples in a batch or units of a layer is larger.
MOST = 10**9

# Tables: against 0.001 and no dropout, the best validation loss, mean of three seeds, fell from
# 0.214 to 0.202 on california-housing, from 0.583 to 0.571 on wine-quality, and
# stayed as it was on adult (0.309, 0.310).
TABLE_RATE, TABLE_DROPOUT, TABLE_DECAY = 3e-3, 0.1, 0.0
# Images: with less decay and dropout, or 128 examples a step, the validation loss of an MLP
# 784-100-10 on MNIST was higher in two seeds of two (0.070 against 0.073 to 0.079). For the
# convolutional network 0.002 with decay 0.1 was as good as 0.001 without, on digits and on 6,000
# images of Fashion-MNIST.
IMAGE_RATE, IMAGE_DROPOUT = 2e-3, 0.1
MLP_DECAY, CONVOLUTION_DECAY = 0.2, 0.1

# Examples seen in a whole training; small sets get more epochs, large ones fewer.
IMAGE_VISITS, TABLE_VISITS = 300_000, 600_000


class Settings:
    """All settings of a training, by name."""

    def __init__(self, settings: Iterable[Setting]) -> None:
        self.all = tuple(settings)
        self._by_name = {setting.name: setting.value for setting in self.all}

    def __getitem__(self, name: str) -> Any:
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def get(self, name: str, default: Any) -> Any:
        """Return a setting's value, or a default where there is no such setting."""
        return self._by_name.get(name, default)

    def to_json(self) -> list[dict[str, Value]]:
        """Return the settings for ``config.json``."""
        return [asdict(setting) for setting in self.all]

    @classmethod
    def from_json(cls, rows: object, where: str) -> Settings:
        """Return settings read from ``config.json``.

        Raises:
            DataError: They are not what `to_json` wrote.
        """
        if not isinstance(rows, list):
            raise DataError(f"{where}: settings are no list")
        settings = cls(_read(row, where) for row in rows)
        needed = [name for name in NAMES if name not in OPTIONAL]
        for name in needed:
            if name not in settings:
                raise DataError(f"{where}: the setting {name!r} is missing")
        model = settings["model"]
        if (model in HIDDEN) > ("hidden" in settings) or (model == "mlp") > ("dropout" in settings):
            raise DataError(f"{where}: settings of the model {model} are missing")
        return settings


def choose(task: Task, given: argparse.Namespace) -> Settings:
    """Return the settings of a training: the given ones, and choices for the rest.

    Args:
        task: The prepared data.
        given: The command line; None stands for "choose".

    Raises:
        ArgumentError: A setting was given that the model does not have.
    """
    n = len(task.train)
    pictures = _looks_like_images(task.input_shape)
    kind = f"{'images' if pictures else 'features'} of shape {_times(task.input_shape)}"
    examples = f"{n:,} training examples"
    cross = task.kind == "classification"
    model = given.model or ("cnn" if pictures else "mlp")
    _check_hidden(model, given.hidden)
    chosen: list[tuple[str, Value, str]] = [("model", model, kind)]
    if model in HIDDEN:
        small = pictures or model == "simple-convnet"
        chosen.append(("hidden", [100] if small else [128, 64], f"{model} and {kind}"))
    if model == "mlp":
        chosen.append(("dropout", IMAGE_DROPOUT if pictures else TABLE_DROPOUT, kind))
    chosen += [
        ("loss", "cross-entropy" if cross else "squared error of z-scores", task.kind),
        ("epochs", _epochs(n, pictures), examples),
        ("batch", _batch(n, model, pictures), examples),
        ("optimizer", "adamw", ""),
        ("lr", IMAGE_RATE if pictures else TABLE_RATE, kind),
        ("weight_decay", _decay(model, pictures), f"{model} and {kind}"),
        ("schedule", "cosine", ""),
        ("patience", None if pictures else 15, "" if pictures else "tables, which overfit early"),
        ("seed", 0, ""),
        ("eager", False, ""),
    ]
    return Settings(_setting(given, *choice) for choice in chosen)


def describe(settings: Settings) -> list[str]:
    """Return lines that say each setting and where it came from."""
    rows = []
    for setting in settings.all:
        reason = f"{setting.origin} for {setting.why}" if setting.why else setting.origin
        rows.append((f"  {setting.name}", shown(setting.value), reason))
    return columns_of(rows)


def shown(value: object) -> str:
    """Return a setting's value as one would type it."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return "none" if value is None else str(value)


def _read(row: object, where: str) -> Setting:
    keys = {"name", "value", "origin", "why"}
    if not isinstance(row, dict) or set(row) != keys:
        raise DataError(f"{where}: damaged setting {row!r:.80}")
    name, value, origin, why = (row[key] for key in ("name", "value", "origin", "why"))
    known = isinstance(name, str) and name in NAMES and origin in get_args(Origin)
    if not known or not isinstance(why, str) or not _is_possible(name, value):
        raise DataError(f"{where}: damaged setting {name!r:.80}: {value!r:.80}")
    return Setting(name, value, origin, why)


def _is_possible(name: str, value: Any) -> bool:
    """Return whether a setting may have this value; the command line asks the same of it."""
    if type(value) not in NAMES[name]:
        return False
    if isinstance(value, list):
        return bool(value) and all(type(n) is int and 1 <= n <= MOST for n in value)
    if name in ("epochs", "batch", "patience") and value is not None:
        return bool(1 <= value <= MOST)
    if name == "lr":
        return bool(0 < value < math.inf)
    if name == "weight_decay":
        return bool(0 <= value < math.inf)
    if name == "dropout":
        return bool(0 <= value < 1)
    return name != "seed" or bool(0 <= value < 2**63)


def _check_hidden(model: str, hidden: tuple[int, ...] | None) -> None:
    """An option without effect would be a lie in the report."""
    if hidden is None:
        return
    if model not in HIDDEN:
        takes = " and ".join(HIDDEN)
        raise ArgumentError(
            f"train --hidden: the model {model} has no such setting; {takes} have",
            hint=f"--model mlp --hidden {shown(hidden)}, or leave --hidden out",
        )
    if HIDDEN[model] == "one" and len(hidden) > 1:
        raise ArgumentError(
            f"train --hidden: {model} has one hidden layer, {len(hidden)} widths were given",
            hint=f"--hidden {hidden[0]}",
        )


def _setting(given: argparse.Namespace, name: str, value: Value, why: str) -> Setting:
    typed = getattr(given, name, None)
    if typed is not None:
        return Setting(name, list(typed) if isinstance(typed, tuple) else typed, "given")
    return Setting(name, value, "chosen" if why else "default", why)


def _looks_like_images(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[0] <= 4 and min(shape[1:]) >= 6


def _epochs(n: int, pictures: bool) -> int:
    if pictures:
        return min(max(round(IMAGE_VISITS / n), 5), 40)
    return min(max(round(TABLE_VISITS / n), 20), 100)


def _batch(n: int, model: str, pictures: bool) -> int:
    if n < 5_000:
        return 32
    return 64 if n < 20_000 or (pictures and model == "mlp") else 128


def _decay(model: str, pictures: bool) -> float:
    if not pictures:
        return TABLE_DECAY
    return MLP_DECAY if model == "mlp" else CONVOLUTION_DECAY


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
