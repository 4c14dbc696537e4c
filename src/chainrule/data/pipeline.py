"""Pipeline: all preprocessing of a data set, fitted on training examples alone.

Takes: training examples. Gives: a frozen rule that makes numbers of any examples of that kind,
makes answers of the network's numbers, and is saved as JSON beside the model.
The one idea: there is no empty pipeline to be fitted later, and none that can be fitted twice.
`Pipeline.fit` sees the training examples, and nothing that is done later can change the rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast, get_args

import numpy as np
from numpy.typing import NDArray

from chainrule.core.errors import ArgumentError, DataError, ShapeError
from chainrule.data.answers import ClassTargets, ValueTargets
from chainrule.data.encoders import CategoryColumn, NumericColumn, TableEncoder
from chainrule.data.examples import Examples, Kind, Modality, Source
from chainrule.data.scalers import METHODS, Float32, Scaler
from chainrule.data.state import State

__all__ = ["ArrayEncoder", "Pipeline"]

Array: TypeAlias = NDArray[Any]

FORMAT = "chainrule.pipeline"
VERSION = 1


@dataclass(frozen=True)
class ArrayEncoder:
    """Images and arrays: every feature scaled.

    Args:
        input_shape: Shape of one example.
        pixels: Whether training held uint8, which must not be mixed up with numbers in 0 ... 1.
        scaler: The scaling: per channel for images and [N, C, ...], per feature for floating
            [N, D] and [N, T, D], one for all elements of other uint8 arrays.
    """

    input_shape: tuple[int, ...]
    pixels: bool
    scaler: Scaler

    @classmethod
    def fit(
        cls, inputs: Array, *, image: bool, method: str = "zscore", origin: str = "data"
    ) -> ArrayEncoder:
        """Learn from training inputs [N, ...].

        Raises:
            ArgumentError: The method is unknown.
            DataError: Not an array of real numbers of at least two axes, or not all are finite.
        """
        what = f"{origin}, training inputs"
        _expect_numbers(inputs, what)
        if inputs.ndim < 2:
            raise DataError(
                f"{what}: they have shape {inputs.shape}, expected [N, D] or more axes",
                hint="x.reshape(-1, 1) for one number an example",
            )
        pixels = inputs.dtype == np.uint8
        axis: tuple[int, ...] = (1,)
        if not image and pixels:
            # Pixels share one unit; one that is hardly ever lit must not be blown up.
            axis = ()
        elif not image and inputs.ndim == 3:
            axis = (2,)
        scaler = Scaler.fit(inputs, axis=axis, method=method, what=what)
        return cls(inputs.shape[1:], pixels, scaler)

    def apply(self, inputs: Array, origin: str = "data") -> Float32:
        """Scale inputs [N, ...] of the shape that it was fitted on.

        Raises:
            DataError: Shape or type differ from training, or a value is not finite.
        """
        _expect_numbers(inputs, origin)
        if inputs.shape[1:] != self.input_shape:
            raise DataError(
                f"{origin}: an example has shape {_times(inputs.shape[1:])}, "
                f"in training it had {_times(self.input_shape)}"
            )
        is_float = inputs.dtype.kind == "f"
        if (self.pixels and is_float) or (inputs.dtype == np.uint8 and not self.pixels):
            trained = "uint8 (0 ... 255)" if self.pixels else "no uint8"
            raise DataError(
                f"{origin}: elements are {inputs.dtype}, training had {trained}; "
                "they would be read in the wrong unit",
                hint="convert them: (x * 255).round().astype(np.uint8), or x / 255",
            )
        out = self.scaler.apply(inputs)
        if is_float:
            for row, example in enumerate(out):
                if not np.isfinite(example).all():
                    raise DataError(f"{origin}, example {row}: not a finite number once scaled")
        return out

    def state_dict(self) -> dict[str, Any]:
        """Return the rule as JSON."""
        return {
            "input_shape": list(self.input_shape),
            "pixels": self.pixels,
            "scaler": self.scaler.state_dict(),
        }

    @classmethod
    def from_state(cls, value: object, where: str) -> ArrayEncoder:
        """Rebuild it from its `state_dict`; a damaged one is a DataError."""
        state = State(value, where, ("input_shape", "pixels", "scaler"))
        shape = state.shape("input_shape")
        scaler = Scaler.from_state(state.raw("scaler"), f"{where}, key 'scaler'")
        own = scaler.shift.shape
        fits = len(own) <= len(shape) and all(
            a in (1, b) for a, b in zip(own[::-1], shape[::-1], strict=False)
        )
        if not shape or not fits:
            state.fail("input_shape", f"a shape that scales of shape {list(own)} fit")
        return cls(shape, state.flag("pixels"), scaler)


@dataclass(frozen=True)
class Pipeline:
    """The fitted preprocessing of one data set.

    Made by `Pipeline.fit` or `Pipeline.from_state`.

    Args:
        modality: What an example is.
        kind: Classification or regression.
        target: Name of the target.
        encoder: The rule for inputs.
        answers: The rule for targets.
        notes: Every choice that was made, one sentence each.
    """

    modality: Modality
    kind: Kind
    target: str
    encoder: ArrayEncoder | TableEncoder
    answers: ClassTargets | ValueTargets
    notes: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def fit(cls, train: Examples, source: Source, *, scaling: str = "zscore") -> Pipeline:
        """Learn the preprocessing from training examples.

        Args:
            train: The examples that the network will train on, and no others.
            source: Where they came from; only what it says of their kind is read.
            scaling: ``"zscore"`` or ``"minmax"``, for numeric columns, pixels and arrays.

        Returns:
            A pipeline that can no longer change.

        Raises:
            ArgumentError: These are the test examples, or the scaling is unknown.
            DataError: There is nothing to learn from, or a value cannot be used.
        """
        if train is source.test:
            raise ArgumentError(
                "the pipeline was to be fitted on the test examples",
                hint="Pipeline.fit(training_examples, source)",
            )
        if not len(train):
            raise DataError(f"{source.origin}: no training examples")
        if train.targets is None:
            raise DataError(f"{source.origin}: the training examples have no targets")
        encoder: ArrayEncoder | TableEncoder
        if isinstance(train.inputs, Mapping):
            encoder, notes = TableEncoder.fit(
                train.inputs, scaling, origin=source.origin, names=train.names
            )
        else:
            image = source.modality == "image"
            encoder = ArrayEncoder.fit(
                train.inputs, image=image, method=scaling, origin=source.origin
            )
            notes = (_describe_scaling(encoder, image, scaling),)
        answers: ClassTargets | ValueTargets
        where = f"{source.origin}, target {source.target!r}"
        if source.kind == "classification":
            answers = ClassTargets.fit(train.targets, source.classes, where)
        else:
            answers = ValueTargets.fit(train.targets, where)
        notes += answers.describe(train.targets)
        return cls(source.modality, source.kind, source.target, encoder, answers, notes)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example as the network reads it."""
        return self.encoder.input_shape

    @property
    def n_outputs(self) -> int:
        """Number of values that the network must give: classes, or numbers to predict."""
        return self.answers.n_outputs

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Class names in index order; None for regression."""
        return self.answers.names if isinstance(self.answers, ClassTargets) else None

    @property
    def features(self) -> tuple[str, ...]:
        """Names of a table's features as the network reads them; empty for images and arrays."""
        return self.encoder.features if isinstance(self.encoder, TableEncoder) else ()

    @property
    def numeric(self) -> tuple[str, ...]:
        """Names of the numeric columns that it needs."""
        return self.encoder.named(NumericColumn) if isinstance(self.encoder, TableEncoder) else ()

    @property
    def categorical(self) -> tuple[str, ...]:
        """Names of the categorical columns that it needs."""
        return self.encoder.named(CategoryColumn) if isinstance(self.encoder, TableEncoder) else ()

    def inputs(self, examples: Examples, *, origin: str = "data") -> Float32:
        """Return the examples' inputs as the network reads them, float32 [N, *input_shape].

        Args:
            examples: Examples like those of training; extra columns are ignored.
            origin: Where they came from, for the text of errors.

        Raises:
            DataError: A column is missing, or shape, type or a value do not fit.
        """
        is_table = isinstance(examples.inputs, Mapping)
        if isinstance(self.encoder, TableEncoder) != is_table:
            came, wanted = ("a table", "arrays") if is_table else ("arrays", "a table")
            raise DataError(f"{origin}: is {came}, but training was on {wanted}")
        if isinstance(self.encoder, TableEncoder):
            columns = cast("dict[str, Array]", examples.inputs)
            return self.encoder.apply(columns, origin, examples.names)
        return self.encoder.apply(cast("Array", examples.inputs), origin)

    def targets(
        self,
        examples: Examples,
        *,
        classes: tuple[str, ...] | None = None,
        origin: str = "data",
    ) -> NDArray[np.int64] | Float32:
        """Return the examples' targets as the loss reads them.

        Args:
            examples: Examples with targets.
            classes: What the class indices in the examples mean, if they came from another
                source than training did: that source's ``classes``.
            origin: Where they came from, for the text of errors.

        Returns:
            [N] int64 class indices, or float32 z-scores [N] or [N, M].

        Raises:
            DataError: There are no targets, or one is missing, not a number or an unknown class.
        """
        if examples.targets is None:
            raise DataError(f"{origin}: no targets (column {self.target!r})")
        where = f"{origin}, target {self.target!r}"
        if isinstance(self.answers, ClassTargets):
            return self.answers.apply(examples.targets, classes, where)
        return self.answers.apply(examples.targets, where)

    def undo_targets(self, values: Array) -> Array:
        """Return class names for class indices, or numbers in the user's unit for z-scores.

        Raises:
            ShapeError: The values are not shaped like targets.
        """
        return self.answers.undo(np.asarray(values))

    def undo_inputs(self, inputs: Array) -> Array:
        """Return images or arrays in their original unit, float64.

        Raises:
            ArgumentError: The inputs are a table's, which cannot be had back exactly.
            ShapeError: The inputs have another shape than in training.
        """
        if isinstance(self.encoder, TableEncoder):
            raise ArgumentError("a table's columns cannot be had back from its features")
        if inputs.shape[1:] != self.input_shape:
            raise ShapeError(f"inputs {inputs.shape}, expected [N, {_times(self.input_shape)}]")
        return self.encoder.scaler.undo(inputs)

    def state_dict(self) -> dict[str, Any]:
        """Return everything as JSON (arrays as lists); reading it back gives the same bits."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "modality": self.modality,
            "kind": self.kind,
            "target": self.target,
            "inputs": self.encoder.state_dict(),
            "targets": self.answers.state_dict(),
            "notes": list(self.notes),
        }

    @classmethod
    def from_state(cls, value: object, where: str = "pipeline") -> Pipeline:
        """Rebuild a pipeline from its `state_dict`.

        Args:
            value: What the file held.
            where: Path of the file, for the text of errors.

        Raises:
            DataError: A key is missing, unknown or holds something impossible.
        """
        keys = ("format", "version", "modality", "kind", "target", "inputs", "targets", "notes")
        state = State(value, where, keys)
        state.text("format", (FORMAT,))
        state.integer("version", low=VERSION, high=VERSION)
        modality = cast("Modality", state.text("modality", get_args(Modality)))
        kind = cast("Kind", state.text("kind", get_args(Kind)))
        if not all(isinstance(note, str) for note in state.items("notes")):
            state.fail("notes", "a list of texts")
        inputs = (state.raw("inputs"), f"{where}, key 'inputs'")
        targets = (state.raw("targets"), f"{where}, key 'targets'")
        encoder = TableEncoder if modality == "table" else ArrayEncoder
        answers = ClassTargets if kind == "classification" else ValueTargets
        return cls(
            modality,
            kind,
            state.text("target"),
            encoder.from_state(*inputs),
            answers.from_state(*targets),
            tuple(state.items("notes")),
        )


def _expect_numbers(inputs: Array, what: str) -> None:
    if inputs.dtype.kind not in "biuf":
        raise DataError(f"{what}: elements are {inputs.dtype}, expected real numbers")


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _describe_scaling(encoder: ArrayEncoder, image: bool, method: str) -> str:
    shift, scale = encoder.scaler.shift, encoder.scaler.scale
    if not (image or encoder.pixels):
        return f"inputs: each of {shift.size} features {METHODS[method]}"
    words = ("mean", "deviation") if method == "zscore" else ("smallest", "range")
    pairs = zip(shift.ravel().tolist(), scale.ravel().tolist(), strict=True)
    shown = "; ".join(f"{words[0]} {a:.4g}, {words[1]} {b:.4g}" for a, b in pairs)
    return f"pixels: {'each channel' if image else 'all alike'} {METHODS[method]} ({shown})"
