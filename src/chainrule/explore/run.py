"""Running: from a name and parameters to numbers, figures and tables.

Takes: the name of an exploration, parameters. Gives: an `Explored`.
The one idea: figures and tables are made from the same result, once.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chainrule.core.errors import ArgumentError, did_you_mean, unknown_word
from chainrule.explore.activations import EXPLORATION as ACTIVATIONS
from chainrule.explore.batch_size import EXPLORATION as BATCH_SIZE
from chainrule.explore.dead_relu import EXPLORATION as DEAD_RELU
from chainrule.explore.exploration import Exploration, Figure, Table
from chainrule.explore.gd_vs_sgd import EXPLORATION as GD_VS_SGD
from chainrule.explore.initialization import EXPLORATION as INITIALIZATION
from chainrule.explore.learning_rate import EXPLORATION as LEARNING_RATE
from chainrule.explore.loss_gradients import EXPLORATION as LOSS_GRADIENTS
from chainrule.explore.momentum import EXPLORATION as MOMENTUM
from chainrule.explore.optimizers import EXPLORATION as OPTIMIZERS
from chainrule.explore.overfitting import EXPLORATION as OVERFITTING
from chainrule.explore.perceptron import EXPLORATION as PERCEPTRON
from chainrule.explore.softmax_temperature import EXPLORATION as SOFTMAX_TEMPERATURE
from chainrule.explore.symmetry import EXPLORATION as SYMMETRY
from chainrule.explore.universal_approximation import EXPLORATION as UNIVERSAL_APPROXIMATION
from chainrule.explore.vanishing_gradient import EXPLORATION as VANISHING_GRADIENT

# In the order in which one would read them.
EXPLORATIONS: dict[str, Exploration] = {
    exploration.name: exploration
    for exploration in (
        *(PERCEPTRON, ACTIVATIONS, UNIVERSAL_APPROXIMATION, SOFTMAX_TEMPERATURE, LOSS_GRADIENTS),
        *(SYMMETRY, INITIALIZATION, VANISHING_GRADIENT, DEAD_RELU),
        *(LEARNING_RATE, MOMENTUM, OPTIMIZERS, GD_VS_SGD, BATCH_SIZE, OVERFITTING),
    )
}
MOST = 10**7  # of any whole-number parameter: above it, arrays would not fit into memory


@dataclass(frozen=True)
class Explored:
    """An exploration that was run.

    Args:
        exploration: Which one.
        parameters: Every parameter with its value.
        result: The numbers of the experiment.
        figures, tables: The same, to look at.
        seconds: How long the experiment took.
    """

    exploration: Exploration
    parameters: Mapping[str, Any]
    result: Any
    figures: list[Figure]
    tables: list[Table]
    seconds: float


def find_exploration(name: str) -> Exploration:
    """Return an exploration by its name.

    Raises:
        ArgumentError: There is none; the nearest name is suggested.
    """
    if name not in EXPLORATIONS:
        raise unknown_word("exploration", name, EXPLORATIONS)
    return EXPLORATIONS[name]


def parameters_of(exploration: Exploration) -> dict[str, Any]:
    """Return the parameters of an experiment with their defaults."""
    signature = inspect.signature(exploration.experiment)
    return {name: parameter.default for name, parameter in signature.parameters.items()}


def chosen_parameters(
    exploration: Exploration, given: Mapping[str, Any], *, short: bool = False
) -> dict[str, Any]:
    """Return every parameter of a run: given, of the short form, or the default.

    Raises:
        ArgumentError: A parameter is not known, of another kind, or out of range.
    """
    defaults = parameters_of(exploration)
    for name, value in given.items():
        if name not in defaults:
            hint = did_you_mean(name, defaults)
            known = ", ".join(defaults) or "none"
            raise ArgumentError(
                f"{exploration.name}: unknown parameter: {name!r}", hint=f"{hint} known: {known}"
            )
        _check(exploration.name, name, value, defaults[name])
    return {**defaults, **(exploration.short if short else {}), **given}


def explore(
    name: str, *, short: bool = False, parameters: Mapping[str, Any] | None = None
) -> Explored:
    """Run an exploration.

    Args:
        name: What it is called: one of `EXPLORATIONS`.
        short: A form that takes about a second, with coarser numbers.
        parameters: Values for the experiment's parameters; the others keep their defaults.

    Raises:
        ArgumentError: The name or a parameter is not known, or a value is out of range.

    Example:
        >>> from chainrule.explore import explore
        >>> run = explore("momentum", parameters={"steps": 2, "lr": 0.1})
        >>> run.tables[0].head
        ('form', 'f after 1 steps', 'after 2')
        >>> run.result["without"]
        [[-7.0, 2.0], [-6.93, 1.6], [-6.8607, 1.28]]
    """
    exploration = find_exploration(name)
    chosen = chosen_parameters(exploration, parameters or {}, short=short)
    start = time.perf_counter()
    result = exploration.experiment(**chosen)
    seconds = time.perf_counter() - start
    figures, tables = exploration.figures(result), exploration.tables(result)
    return Explored(exploration, chosen, result, figures, tables, seconds)


def _check(exploration: str, name: str, value: object, default: object) -> None:
    where = f"{exploration}: {name}={value!r}"
    if isinstance(default, int):
        least = 0 if name == "seed" else 1
        most = 2**63 - 1 if name == "seed" else MOST
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ArgumentError(f"{where}: expected a whole number from {least} to {most:,}")
    elif isinstance(default, float):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 < float(str(value)) < float("inf"):
            raise ArgumentError(f"{where}: expected a positive number")
