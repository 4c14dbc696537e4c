"""Prepare: from a source to what a trainer needs.

Takes: a `Source`. Gives: a `Task`: three parts as numbers, and the pipeline that made them.
The one idea: split first, then fit the preprocessing on the training part alone, then apply it
to all three; every choice made on the way is written down in `Task.notes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from chainrule.core.errors import ArgumentError, DataError
from chainrule.data.examples import Examples, Kind, Modality, Source
from chainrule.data.pipeline import Pipeline
from chainrule.data.split import train_valid_test_split

__all__ = ["Split", "Task", "prepare"]

# With fewer examples, none of the three parts says anything.
LEAST_EXAMPLES = 10
# Beyond this size, a tenth is more than validation needs.
LARGE, LARGE_VALID = 50_000, 5_000
DEFAULT_VALID = 0.1


@dataclass(frozen=True)
class Split:
    """One part of a data set, as numbers and as it was.

    Args:
        inputs: [N, *input_shape] float32.
        targets: [N] int64 class indices, or float32 z-scores [N] or [N, M].
        raw: The examples before preprocessing.
    """

    inputs: NDArray[Any]
    targets: NDArray[Any]
    raw: Examples

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True)
class Task:
    """All that a trainer needs to know of a data set.

    Args:
        name: Short name of the source.
        origin: Its path or provider.
        modality: What an example is: image, row of a table or array.
        kind: Classification or regression.
        classes: Class names in index order; None for regression.
        target: Name of the target.
        train: The part to train on; preprocessing was fitted on it alone.
        valid: The part to choose the best epoch and the settings by.
        test: The part to judge by, once.
        pipeline: The fitted preprocessing.
        input_shape: Shape of one example as the network reads it.
        n_outputs: Number of values that the network must give.
        notes: Every default chosen and thing inferred, one sentence each.
    """

    name: str
    origin: str
    modality: Modality
    kind: Kind
    classes: tuple[str, ...] | None
    target: str
    train: Split
    valid: Split
    test: Split
    pipeline: Pipeline
    input_shape: tuple[int, ...]
    n_outputs: int
    notes: tuple[str, ...]


def prepare(
    source: Source,
    *,
    seed: int = 0,
    valid: float | None = None,
    test: float = 0.2,
    stratify: bool | None = None,
    scaling: str = "zscore",
) -> Task:
    """Split a source, fit the preprocessing on the training part, and apply it to all parts.

    Args:
        source: What `open_source` gave.
        seed: Decides who goes into which part.
        valid: Validation part: a fraction (float) or a number of examples (int). By default a
            tenth, but 5,000 of 50,000 examples or more.
        test: Test part, likewise; not used if the source brings its own.
        stratify: Whether each part holds each class's share; by default yes for classification.
        scaling: ``"zscore"`` or ``"minmax"``.

    Returns:
        The task, with notes on every choice.

    Raises:
        ArgumentError: A size makes no sense, or ``stratify`` is asked for without classes.
        DataError: There are too few examples, or some cannot be used.

    Example:
        >>> import numpy as np
        >>> x = np.arange(40.0).reshape(20, 2)
        >>> examples = Examples(x, np.arange(20) % 2)
        >>> task = prepare(
        ...     Source("demo", "demo.npz", "array", "classification", examples, None,
        ...            ("even", "odd"), "class")
        ... )
        >>> len(task.train), len(task.valid), len(task.test), task.input_shape, task.n_outputs
        (14, 2, 4, (2,), 2)
        >>> task.pipeline.undo_targets(task.valid.targets).tolist()
        ['odd', 'even']
    """
    stratified = source.kind == "classification" if stratify is None else stratify
    if stratified and source.kind == "regression":
        raise ArgumentError("stratify=True needs classes, but this is regression")
    _check(source, valid, test)
    raw = _split(source, seed, valid, test, stratified)
    how = _describe_split(source, raw, seed, stratified)
    return _task(source, raw, Pipeline.fit(raw[0], source, scaling=scaling), how)


def _task(source: Source, raw: Sequence[Examples], pipeline: Pipeline, how: str) -> Task:
    """Apply the pipeline to all parts."""
    parts = [
        Split(
            pipeline.inputs(examples, origin=source.origin),
            pipeline.targets(examples, origin=source.origin),
            examples,
        )
        for examples in raw
    ]
    return Task(
        name=source.name,
        origin=source.origin,
        modality=source.modality,
        kind=source.kind,
        classes=pipeline.classes,
        target=source.target,
        train=parts[0],
        valid=parts[1],
        test=parts[2],
        pipeline=pipeline,
        input_shape=pipeline.input_shape,
        n_outputs=pipeline.n_outputs,
        notes=(
            *source.notes,
            how,
            *pipeline.notes,
        ),
    )


def _check(source: Source, valid: float | None, test: float) -> None:
    """Refuse what cannot give three parts that mean something."""
    n = len(source.train)
    if n < LEAST_EXAMPLES:
        raise DataError(
            f"{source.origin}: {n} examples, too few to split into training, validation and test",
            hint=f"at least {LEAST_EXAMPLES} are needed",
        )
    for part in (source.train, source.test):
        if part is not None and part.targets is None:
            raise DataError(f"{source.origin}: examples without targets cannot be trained on")
    for name, size in (("valid", valid), ("test", test)):
        if size is not None and size == 0:
            raise ArgumentError(
                f"{name} is 0, expected a part to {'choose' if name == 'valid' else 'judge'} by",
                hint=f"{name}=0.1 for a tenth",
            )


def _split(
    source: Source, seed: int, valid: float | None, test: float, stratified: bool
) -> list[Examples]:
    """Return the raw examples of training, validation and test."""
    if valid is None:
        valid = LARGE_VALID if len(source.train) >= LARGE else DEFAULT_VALID
    index = train_valid_test_split(
        len(source.train),
        valid=valid,
        test=0 if source.test is not None else test,
        seed=seed,
        stratify=source.train.targets if stratified else None,
    )
    raw = [source.train.take(part) for part in index]
    if source.test is not None:
        raw[2] = source.test
    return raw


def _describe_split(source: Source, parts: Sequence[Examples], seed: int, stratified: bool) -> str:
    train, valid, test = (f"{len(part):,}" for part in parts)
    own = " (the set's own)" if source.test is not None else ""
    how = "stratified by class" if stratified else "at random"
    return (
        f"split: {train} examples to train, {valid} to validate, {test} to test{own}; "
        f"{how}, seed {seed}"
    )
