"""Presets: recipes from papers that change several settings of a training together.

Takes: a configuration, a plain dictionary. Gives: a changed one, with the reason of each change.
The one idea: a method is often given credit that belongs to the settings which came with it; said
one by one, they can be tried one by one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chainrule.core.errors import ArgumentError, unknown_word

__all__ = ["Change", "Preset", "batch_norm_companions"]

# Settings of a training that batch norm's companions speak of, with their defaults.
SETTINGS: dict[str, Any] = {
    "batch_norm": False,
    "lr": 0.01,
    "dropout": 0.0,
    "weight_decay": 0.0,
    "lr_decay_epochs": None,
    "local_response_norm": False,
    "shuffle": False,
    "photometric_distortion": 0.0,
}
# Ioffe & Szegedy 2015, section 4.2.1.
FASTER_DECAY = 6
WEAKER_DECAY = 5
REASONS = (
    "normalises the inputs of each layer",
    "gradients no longer depend on the scale of weights",
    "batch norm regularises: a batch is random company",
    f"the same, divided by {WEAKER_DECAY}",
    f"training is faster: fall {FASTER_DECAY} times as fast",
    "has no use beside batch norm",
    "an example should meet others in each batch",
    "fewer passes over the data: let them be real images",
)


@dataclass(frozen=True)
class Change:
    """One change of a configuration.

    Attributes:
        setting: Its name.
        before: The value in the configuration that came.
        after: The value now.
        reason: Why.
    """

    setting: str
    before: Any
    after: Any
    reason: str


@dataclass(frozen=True)
class Preset:
    """A changed configuration; ``print`` shows it as a table.

    Attributes:
        configuration: All settings.
        changes: What was changed, in the paper's order; also where nothing had to be.
    """

    configuration: dict[str, Any]
    changes: list[Change]

    def __str__(self) -> str:
        cells = [
            (change.setting, _written(change.before), _written(change.after), change.reason)
            for change in self.changes
        ]
        rows = [("setting", "before", "after", "reason"), *cells]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = []
        for row in rows:
            padded = [cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)]
            lines.append("  ".join(padded).rstrip())
        return "\n".join(lines)


def batch_norm_companions(configuration: Mapping[str, Any], *, rate_factor: float = 5.0) -> Preset:
    """Return a configuration with batch norm and the seven changes that came with it.

    Adding batch norm alone gains little; Ioffe & Szegedy (2015, section 4.2.1) changed with it:
    1. a larger learning rate (5 times in their BN-x5, 30 times, 0.045 for 0.0015, in BN-x30);
    2. no dropout; 3. weight decay divided by 5; 4. a learning rate that decays 6 times as fast;
    5. no local response normalisation; 6. examples shuffled anew, so that they meet others in
    each batch; 7. fewer photometric distortions (here: half as strong; the paper gives no figure).

    Args:
        configuration: Settings of a training: ``lr``, ``dropout``, ``weight_decay``,
            ``lr_decay_epochs`` (epochs between two falls of the rate), ``local_response_norm``,
            ``shuffle``, ``photometric_distortion`` (strength), ``batch_norm``; others are kept.
        rate_factor: By how much the learning rate grows.

    Raises:
        ArgumentError: ``rate_factor`` is below 1, ``lr`` is no positive number, or a setting is
            misspelt.

    Example:
        >>> preset = batch_norm_companions({"lr": 0.0015, "dropout": 0.4, "weight_decay": 5e-4})
        >>> preset.configuration["lr"], preset.configuration["dropout"]
        (0.0075, 0.0)
        >>> print(preset)
        setting                 before  after   reason
        batch_norm              no      yes     normalises the inputs of each layer
        lr                      0.0015  0.0075  gradients no longer depend on the scale of weights
        dropout                 0.4     0       batch norm regularises: a batch is random company
        weight_decay            0.0005  0.0001  the same, divided by 5
        lr_decay_epochs         none    none    training is faster: fall 6 times as fast
        local_response_norm     no      no      has no use beside batch norm
        shuffle                 no      yes     an example should meet others in each batch
        photometric_distortion  0       0       fewer passes over the data: let them be real images
    """
    if not rate_factor >= 1:
        raise ArgumentError(
            f"batch_norm_companions: rate_factor is {rate_factor}, expected at least 1"
        )
    for name in configuration:
        near = [known for known in SETTINGS if known.replace("_", "") == name.replace("_", "")]
        if near and name not in SETTINGS:
            raise unknown_word("setting", name, SETTINGS)
    before = {**SETTINGS, **configuration}
    rate = before["lr"]
    if not isinstance(rate, int | float) or not 0 < rate < math.inf:
        raise ArgumentError(f"batch_norm_companions: lr is {rate!r}, expected a positive number")
    after = _after(before, rate_factor)
    changes = [
        Change(name, before[name], value, reason)
        for (name, value), reason in zip(after.items(), REASONS, strict=True)
    ]
    return Preset({**before, **after}, changes)


def _after(before: Mapping[str, Any], rate_factor: float) -> dict[str, Any]:
    every = before["lr_decay_epochs"]
    return {
        "batch_norm": True,
        "lr": before["lr"] * rate_factor,
        "dropout": 0.0,
        "weight_decay": before["weight_decay"] / WEAKER_DECAY,
        "lr_decay_epochs": None if every is None else max(1, round(every / FASTER_DECAY)),
        "local_response_norm": False,
        "shuffle": True,
        "photometric_distortion": before["photometric_distortion"] / 2,
    }


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, int | float) else str(value)
