"""Building a model by name, or from a class in a file of the user's.

Takes: a name or ``file.py:Class``, settings, the shape of the data. Gives: a module.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from chainrule import nn
from chainrule.cli.config import ModelWords
from chainrule.cli.own_model import make_own, own_errors
from chainrule.cli.settings import Settings
from chainrule.core.errors import ArgumentError, DataError, ShapeError, unknown_word
from chainrule.core.files import read_bytes
from chainrule.data import Task
from chainrule.graph.tensor import Tensor, tensor
from chainrule.models import MLP, ConvNet, SimpleConvNet
from chainrule.train.evaluation import evaluating

__all__ = ["MODELS", "build_model", "check_model", "file_of", "try_model"]

Shape = tuple[int, ...]


def _mlp(shape: Shape, outputs: int, settings: Settings) -> nn.Module:
    return MLP(shape, outputs, hidden=settings["hidden"], dropout=settings["dropout"])


def _cnn(shape: Shape, outputs: int, settings: Settings) -> nn.Module:
    return ConvNet(shape, outputs)


def _simple(shape: Shape, outputs: int, settings: Settings) -> nn.Module:
    return SimpleConvNet(shape, outputs, hidden=settings["hidden"][0])


MODELS: dict[str, Callable[[Shape, int, Settings], nn.Module]] = {
    "mlp": _mlp,
    "cnn": _cnn,
    "simple-convnet": _simple,
}


def check_model(spec: str) -> ModelWords:
    """Return how a model is named in config.json.

    Raises:
        ArgumentError: The name is unknown.
        DataError: The file cannot be read.
    """
    if spec in MODELS:
        return ModelWords(spec)
    file, colon, name = spec.rpartition(":")
    if spec.endswith(".py"):
        raise ArgumentError(f"train --model: which class in {spec}?", hint=f"--model {spec}:Net")
    if not colon or not file.endswith(".py"):
        raise unknown_word("model", spec, [*MODELS, "file.py:Class"])
    path = Path(file).expanduser()
    return ModelWords(f"{path.resolve()}:{name}", _sha256(path))


def file_of(model: ModelWords) -> Path | None:
    """Return the file of a model of the user's; None for one of ours."""
    return None if model.spec in MODELS else Path(model.spec.rpartition(":")[0])


def build_model(
    model: ModelWords, input_shape: Shape, n_outputs: int, settings: Settings
) -> nn.Module:
    """Return a freshly initialised model.

    Raises:
        ArgumentError: The class does not exist, or is not an `nn.Module`.
        DataError: The file has changed since the run began, or fails.
    """
    path = file_of(model)
    if path is None:
        return MODELS[model.spec](input_shape, n_outputs, settings)
    if _sha256(path) != model.sha256:
        raise DataError(
            f"{path}: has changed since this run began",
            hint="restore the file, or train anew: the weights belong to the old definition",
        )
    return make_own(path, model.spec.rpartition(":")[2], input_shape, n_outputs)


def try_model(words: ModelWords, model: nn.Module, task: Task) -> None:
    """Run a few examples through a model, before anything is written.

    Raises:
        ShapeError: The outputs are not [N, n_outputs].
        DataError: A model of the user's fails; the file and line are named.
    """
    few = task.train.inputs[:2]
    with own_errors(file_of(words)), evaluating(model):
        outputs = model(tensor(few))
    what = f"{task.kind} of {task.target}: one output " + (
        "a class" if task.kind == "classification" else "a value"
    )
    wanted = (len(few), task.n_outputs)
    if not isinstance(outputs, Tensor):
        raise ShapeError(
            f"{words.spec}: forward gave {type(outputs).__name__}, expected a tensor "
            f"{list(wanted)} ({what})"
        )
    if outputs.shape != wanted:
        raise ShapeError(
            f"{words.spec}: forward gave {outputs.spec} for {len(few)} examples of shape "
            f"{list(few.shape[1:])}, expected [{wanted[0]}, {wanted[1]}] ({what})",
            hint=_shape_hint(outputs, wanted),
        )
    if not np.issubdtype(np.asarray(outputs).dtype, np.floating):
        raise ShapeError(f"{words.spec}: forward gave {outputs.spec}, expected floating numbers")


def _shape_hint(outputs: Tensor, wanted: tuple[int, int]) -> str:
    if outputs.shape == wanted[:1] and wanted[1] == 1:
        return "return y.reshape(-1, 1)"
    if len(outputs.shape) == 2:
        return f"the last layer: nn.Linear(..., {wanted[1]}), or (..., n_outputs) from __init__"
    return "x.flatten(1) before the linear layers"


def _sha256(path: Path) -> str:
    return hashlib.sha256(read_bytes(path)).hexdigest()
