"""State dictionaries: comparing what a model holds with what is to be loaded into it.

Takes: the model's tensors by name, and the given ones. Gives: values that fit, or one error that
lists every difference.
The one idea: everything is checked before anything is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from chainrule.core.errors import ArgumentError, StateError, did_you_mean
from chainrule.graph.tensor import Tensor, as_tensor

# Longer listings hide the first line, which usually says it all.
SHOWN = 8


class Loaded(NamedTuple):
    """What `Module.load_state_dict` found: names without counterpart on either side."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def match_state(
    title: str, own: Mapping[str, Tensor], given: Mapping[str, Any], *, strict: bool
) -> tuple[dict[str, Tensor], Loaded]:
    """Return the given values by name, converted to tensors and checked against the own ones.

    Args:
        title: The model's name for messages.
        own: The tensors to be replaced.
        given: Tensors or arrays by name.
        strict: Whether names must be the same on both sides and dtypes equal; else what is
            missing stays, what is unexpected is ignored and floating types are converted.

    Raises:
        StateError: Something does not fit; every difference is listed.
        ArgumentError: ``given`` is not a dictionary.
    """
    if not isinstance(given, Mapping):
        raise ArgumentError(
            f"load_state_dict: got {type(given).__name__}, expected a dictionary of tensors",
            hint="model.load_state_dict(other.state_dict())",
        )
    names = [str(name) for name in given]
    missing = [name for name in own if name not in given]
    unexpected = [name for name in names if name not in own]
    values: dict[str, Tensor] = {}
    faults: list[str] = []
    for name, target in own.items():
        if name in given:
            value = as_tensor(given[name]).detach()
            values[name] = value
            faults += _misfit(name, target, value, strict=strict)
    problems = _names("missing", missing, unexpected) if strict else []
    problems += _names("unexpected", unexpected, missing) if strict else []
    problems += _shortened(faults)
    if problems:
        raise StateError(
            f"load_state_dict: the values do not fit {title}; nothing was changed",
            context=problems,
            hint=_remedy(faults, missing, unexpected),
        )
    return values, Loaded(missing, unexpected)


def _misfit(name: str, target: Tensor, value: Tensor, *, strict: bool) -> list[str]:
    if value.shape != target.shape:
        return [f"{name}: is {target.spec} here, but {value.spec} in what is loaded"]
    if value.dtype is target.dtype:
        return []
    convertible = value.dtype.is_floating and target.dtype.is_floating
    if strict or not convertible:
        return [f"{name}: is {target.dtype.name} here, but {value.dtype.name} in what is loaded"]
    return []


def _names(what: str, names: list[str], others: Iterable[str]) -> list[str]:
    lines = []
    for name in names:
        guess = did_you_mean(name, others)
        lines.append(f"{what}: {name}" + (f" ({guess})" if guess else ""))
    return _shortened(lines)


def _shortened(lines: list[str]) -> list[str]:
    if len(lines) <= SHOWN:
        return lines
    return [*lines[:SHOWN], f"... and {len(lines) - SHOWN} more"]


def _nearest(name: str, others: list[str]) -> str:
    return next((other for other in others if did_you_mean(name, [other])), "")


def _remedy(faults: list[str], missing: list[str], unexpected: list[str]) -> str:
    if faults and not missing and not unexpected and all("[" not in fault for fault in faults):
        return "convert the model first (model.double(), model.float()), or pass strict=False"
    if unexpected and missing and all(n.startswith("module.") for n in unexpected):
        return '{k.removeprefix("module."): v for k, v in state.items()}'
    pairs = [(n, near) for n in unexpected if (near := _nearest(n, missing))]
    if pairs and not faults and len(pairs) == len(unexpected) == len(missing):
        return f"rename: state[{pairs[0][1]!r}] = state.pop({pairs[0][0]!r})"
    if faults:
        return "build the model with the sizes that it was saved with"
    return "pass strict=False to load what fits and leave the rest"
