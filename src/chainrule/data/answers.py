"""Answers: what the network is to answer, as numbers; and its answers, as the user's words.

Takes: training targets. Gives: a frozen rule: class index <-> class name, or z-score <-> value.
The one idea: outputs are undone by the same rule that made the targets, so every figure that
the user sees is in the user's unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from chainrule.core.errors import DataError, ShapeError, did_you_mean
from chainrule.data.encoders import as_texts
from chainrule.data.scalers import Float32, Float64, Scaler
from chainrule.data.state import State

__all__ = ["ClassTargets", "ValueTargets"]

Array: TypeAlias = NDArray[Any]

# An error lists at most so many known classes.
LISTED = 20


@dataclass(frozen=True)
class ClassTargets:
    """Classes: index <-> name.

    Example:
        >>> targets = ClassTargets.fit(np.array(["no", "yes", "no"]), None, "data")
        >>> targets.apply(np.array(["yes"]), None, "data").tolist()
        [1]
        >>> targets.undo(np.array([0, 1])).tolist()
        ['no', 'yes']
    """

    names: tuple[str, ...]

    @property
    def n_outputs(self) -> int:
        """Number of classes."""
        return len(self.names)

    @classmethod
    def fit(cls, targets: Array, classes: tuple[str, ...] | None, where: str) -> ClassTargets:
        """Learn the class names: those given, or the different training labels in order.

        Raises:
            DataError: There are fewer than two classes, or a label is missing.
        """
        if classes is None:
            _expect_flat(targets, where)
            targets = as_texts(targets)
            classes = tuple(label for label in np.unique(targets).tolist() if label)
        result = cls(classes)
        present = np.unique(result.apply(targets, None, where))
        if len(present) < 2:
            only = f" ({classes[int(present[0])]!r})" if len(present) else ""
            raise DataError(f"{where}: one class only in training{only}, expected two or more")
        return result

    def describe(self, targets: Array) -> tuple[str, ...]:
        """Return notes on classes that training examples do not show."""
        counts = np.bincount(self.apply(targets, None, "training"), minlength=len(self.names))
        return tuple(
            f"class {name!r}: no training example"
            for name, count in zip(self.names, counts.tolist(), strict=True)
            if not count
        )

    def apply(self, targets: Array, classes: tuple[str, ...] | None, where: str) -> Array:
        """Return [N] int64 class indices.

        Args:
            targets: [N] labels (text or floats), or integers, which index ``classes``.
            classes: What indices mean; None for our own names.
            where: Where the targets came from, for the text of errors.

        Raises:
            DataError: A target is missing, no class index or an unknown class.
        """
        _expect_flat(targets, where)
        if targets.dtype.kind in "Uf":
            # Numbers with a fraction are no indices: they name the classes, 3.0 the class "3".
            targets = as_texts(targets)
            labels, index = np.unique(targets, return_inverse=True)
            found = [self._find(label, where, targets) for label in labels.tolist()]
            return np.array(found, dtype=np.int64)[index]
        names = self.names if classes is None else classes
        if targets.dtype.kind not in "iu":
            raise DataError(f"{where}: elements are {targets.dtype}, expected class indices")
        wrong = (targets < 0) | (targets >= len(names))
        if wrong.any():
            row = int(np.argmax(wrong))
            raise DataError(
                f"{where}, example {row}: class index {targets[row]}, "
                f"expected 0 ... {len(names) - 1} ({len(names)} classes)"
            )
        if names == self.names:
            return targets.astype(np.int64)
        # Another source numbers its classes in its own way; the names decide.
        own = np.zeros(len(names), dtype=np.int64)
        for number in np.unique(targets).tolist():
            own[number] = self._find(names[number], where, np.array(names)[targets])
        result: Array = own[targets]
        return result

    def undo(self, index: Array) -> Array:
        """Return the names of classes, text of the same shape.

        Raises:
            ShapeError: These are no class indices.
        """
        known = range(len(self.names))
        if index.dtype.kind not in "iu" or (
            index.size and not (int(index.min()) in known and int(index.max()) in known)
        ):
            raise ShapeError(
                f"{index.dtype} {list(index.shape)} are no indices of {len(self.names)} classes",
                hint="logits.argmax(-1)",
            )
        names: Array = np.array(self.names, dtype=np.str_)
        return names[index]

    def state_dict(self) -> dict[str, Any]:
        """Return the class names as JSON."""
        return {"classes": list(self.names)}

    @classmethod
    def from_state(cls, value: object, where: str) -> ClassTargets:
        """Rebuild it from its `state_dict`; a damaged one is a DataError."""
        state = State(value, where, ("classes",))
        names = state.texts("classes")
        if len(names) < 2:
            state.fail("classes", "at least two classes")
        return cls(names)

    def _find(self, label: str, where: str, labels: Array) -> int:
        if label in self.names:
            return self.names.index(label)
        row = int(np.argmax(labels == label))
        known = ", ".join(self.names[:LISTED]) + (", ..." if len(self.names) > LISTED else "")
        problem = f"unknown class {label!r}" if label else "no class given"
        raise DataError(
            f"{where}, example {row}: {problem}; known: {known}",
            hint=did_you_mean(label, self.names),
        )


@dataclass(frozen=True)
class ValueTargets:
    """Numbers to predict: z-score <-> value in the user's unit.

    Example:
        >>> targets = ValueTargets.fit(np.array([100.0, 300.0]), "data")
        >>> targets.apply(np.array([300.0]), "data").tolist()
        [1.0]
        >>> targets.undo(np.array([-1.0])).tolist()
        [100.0]
    """

    scaler: Scaler

    @property
    def n_outputs(self) -> int:
        """Number of values to predict for an example."""
        return int(self.scaler.shift.size)

    @classmethod
    def fit(cls, targets: Array, where: str) -> ValueTargets:
        """Measure mean and standard deviation of training targets [N] or [N, M].

        Raises:
            DataError: A target is missing or not a finite number.
        """
        _expect_values(targets, where)
        axis = (1,) if targets.ndim == 2 else ()
        return cls(Scaler.fit(targets, axis=axis, what=where))

    def describe(self, targets: Array) -> tuple[str, ...]:
        """Return a note on the scaling."""
        shift, scale = self.scaler.shift.ravel(), self.scaler.scale.ravel()
        shown = ", ".join(f"{a:.6g} and {b:.6g}" for a, b in zip(shift, scale, strict=True))
        note = f"target: trained as z-score, shown in its own unit (mean and deviation {shown})"
        if bool((targets == targets[:1]).all()):
            return note, "target: all training values are equal, there is nothing to learn"
        return (note,)

    def apply(self, targets: Array, where: str) -> Float32:
        """Return z-scores, float32 of the same shape.

        Raises:
            DataError: A target is missing or not a finite number, or the shape does not fit.
        """
        _expect_values(targets, where)
        if targets.shape[1:] != self.scaler.shift.shape:
            raise DataError(
                f"{where}: shape {list(targets.shape)}, in training {self.n_outputs} an example"
            )
        return self.scaler.apply(targets)

    def undo(self, values: Array) -> Float64:
        """Return values in the user's unit.

        Raises:
            ShapeError: The last axis has another length than in training.
        """
        own = self.scaler.shift.shape
        if own and values.shape[-1:] != own:
            raise ShapeError(f"values {list(values.shape)}, expected [N, {own[0]}]")
        return self.scaler.undo(values)

    def state_dict(self) -> dict[str, Any]:
        """Return the scaling as JSON."""
        return {"scaler": self.scaler.state_dict()}

    @classmethod
    def from_state(cls, value: object, where: str) -> ValueTargets:
        """Rebuild it from its `state_dict`; a damaged one is a DataError."""
        state = State(value, where, ("scaler",))
        scaler = Scaler.from_state(state.raw("scaler"), f"{where}, key 'scaler'")
        if scaler.shift.ndim > 1:
            state.fail("scaler", "one shift and one scale a value")
        return cls(scaler)


def _expect_flat(targets: Array, where: str) -> None:
    if targets.ndim != 1:
        raise DataError(f"{where}: shape {list(targets.shape)}, expected [N]: one class each")


def _expect_values(targets: Array, where: str) -> None:
    if targets.dtype.kind not in "iuf" or targets.ndim not in (1, 2):
        raise DataError(
            f"{where}: {targets.dtype} {list(targets.shape)}, expected numbers [N] or [N, M]"
        )
    missing = ~np.isfinite(targets)
    if missing.any():
        row = int(np.argmax(missing.reshape(len(targets), -1).any(axis=1)))
        raise DataError(
            f"{where}, example {row}: {targets[row]}, expected a finite number "
            f"({int(missing.sum()):,} such values)",
            hint="remove examples whose target is unknown",
        )
