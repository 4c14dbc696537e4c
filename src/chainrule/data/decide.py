"""Deciding the task: does the target hold classes or a quantity?

Takes: the raw values of the target. Gives: the kind of task, class indices or numbers, notes.
The one idea: the rule that tells classification from regression is in one place, is short
enough to be said in one sentence, and can be overruled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chainrule.core.errors import DataError, unknown_word
from chainrule.data.examples import Array, Kind

__all__ = ["Decision", "check_kind", "decide_targets", "encode_targets", "percent"]

# So many different whole numbers at most are taken for classes.
MAX_NUMBER_CLASSES = 20
# Labels 0..K-1 stored as integers are classes up to here (ImageNet has 1,000).
MAX_INDEX_CLASSES = 1000
LISTED_CLASSES = 10


@dataclass(frozen=True)
class Decision:
    """The kind of task, with targets ready for a `Source`.

    Args:
        kind: Classification or regression.
        classes: Class names in index order, or None.
        train: [N] int64 class indices or float64 values.
        test: The same for the set's own test part, or None.
        notes: Why this kind was chosen, and the classes or the range.
    """

    kind: Kind
    classes: tuple[str, ...] | None
    train: Array
    test: Array | None
    notes: tuple[str, ...]


def check_kind(kind: str | None) -> Kind | None:
    """Return ``kind`` if it is one (or None); otherwise raise with the nearest word."""
    if kind is None:
        return None
    known: dict[str, Kind] = {"classification": "classification", "regression": "regression"}
    if kind in known:
        return known[kind]
    raise unknown_word("kind of task", kind, known)


def decide_targets(
    train: Array,
    test: Array | None,
    *,
    kind: str | None,
    what: str,
    origin: str,
    names: tuple[str, ...] | None = None,
    usual: tuple[Kind, str] | None = None,
) -> Decision:
    """Decide between classification and regression, and encode the targets.

    Text is classes; so are at most 20 different whole numbers that come twice each on
    average, and integers that count 0 to K-1; everything else is a quantity.

    Args:
        train: [N] text, integers, booleans or floats, none missing.
        test: The same for the test part, or None.
        kind: Overrules the decision.
        what: How messages call the target: ``column 'income'``.
        origin: The path, for messages.
        names: Names of classes 0 to K-1, where the file has them.
        usual: The kind to take unless ``kind`` overrules it, and why.

    Raises:
        DataError: Only one value, text for a regression, or too many classes.

    Example:
        >>> d = decide_targets(np.array(["b", "a", "b"]), None, kind=None, what="y", origin="x.csv")
        >>> d.kind, d.classes, d.train.tolist()
        ('classification', ('a', 'b'), [1, 0, 1])
    """
    asked = check_kind(kind)
    values = train if train.dtype.kind != "b" else train.astype(str)
    other = test if test is None or test.dtype.kind != "b" else test.astype(str)
    if len(values) == 0:
        raise DataError(f"{origin}: {what}: no example has a target")
    distinct = np.unique(values)
    if len(distinct) == 1:
        raise DataError(
            f"{origin}: {what} holds a single value, {_name(distinct[0])!r}: nothing to learn",
            hint="choose another target",
        )
    chosen, reason = _decide(values, distinct, what) if usual is None else usual
    if asked is not None:
        chosen, reason = asked, "as asked"
    if chosen == "regression":
        return _quantity(values, other, distinct, what, origin, reason)
    return _classes(values, other, distinct, what, origin, reason, names)


def encode_targets(
    values: Array,
    classes: tuple[str, ...],
    what: str,
    origin: str,
    names: tuple[str, ...] | None = None,
) -> Array:
    """Return the class index [N] int64 of each value.

    Args:
        values: [N] text, integers, booleans or floats.
        classes: Class names in index order.
        what: How messages call the target.
        origin: The path, for messages.
        names: Where numbers stand for classes by position: the name of each number.

    Raises:
        DataError: A value is none of the classes.
    """
    distinct, inverse = np.unique(values, return_inverse=True)
    index = {name: i for i, name in enumerate(classes)}
    codes = []
    for value in distinct.tolist():
        by_number = names is not None and values.dtype.kind in "iuf" and value in range(len(names))
        name = names[int(value)] if names is not None and by_number else _name(value)
        if name not in index:
            raise DataError(
                f"{origin}: {what} holds {name!r}, which is none of the {len(classes)} classes",
                hint=f"classes: {', '.join(classes[:LISTED_CLASSES])}",
            )
        codes.append(index[name])
    return np.array(codes, np.int64)[inverse.reshape(len(values))]


def _quantity(
    values: Array, other: Array | None, distinct: Array, what: str, origin: str, reason: str
) -> Decision:
    if values.dtype.kind not in "iuf":
        raise DataError(
            f"{origin}: {what} holds text such as {str(distinct[0])!r}, expected numbers",
            hint="a regression predicts a number: choose another target, or kind 'classification'",
        )
    span = f"{distinct[0]:,.6g} to {distinct[-1]:,.6g}"
    note = f"task: regression, {reason}; {what} runs from {span}"
    numbers = None if other is None else other.astype(np.float64)
    return Decision("regression", None, values.astype(np.float64), numbers, (note,))


def _classes(
    values: Array,
    other: Array | None,
    distinct: Array,
    what: str,
    origin: str,
    reason: str,
    names: tuple[str, ...] | None,
) -> Decision:
    if len(distinct) > MAX_NUMBER_CLASSES and 2 * len(distinct) > len(values):
        raise DataError(
            f"{origin}: {what} holds {len(distinct):,} different values in {len(values):,} rows: "
            "too many to be classes",
            hint="choose another target",
        )
    everything = values if other is None else np.concatenate([values, other])
    classes = _class_names(np.unique(everything), names, what, origin)
    encoded = encode_targets(values, classes, what, origin, names)
    encoded_test = None if other is None else encode_targets(other, classes, what, origin, names)
    amounts = np.bincount(encoded, minlength=len(classes))
    note = f"task: classification, {reason}; {_list_classes(classes, amounts)}"
    return Decision("classification", classes, encoded, encoded_test, (note,))


def _decide(values: Array, distinct: Array, what: str) -> tuple[Kind, str]:
    if values.dtype.kind not in "iuf":
        return "classification", f"because {what} holds text"
    count = len(distinct)
    whole = bool(np.all(distinct == np.floor(distinct)))
    if whole and count <= MAX_NUMBER_CLASSES and 2 * count <= len(values):
        reason = f"because {what} holds {count} different whole numbers"
        if count > 2:
            reason += " (to predict the number itself, ask for kind 'regression')"
        return "classification", reason
    indices = values.dtype.kind in "iu" and distinct[0] == 0 and distinct[-1] == count - 1
    if indices and count <= MAX_INDEX_CLASSES and 2 * count <= len(values):
        return "classification", f"because {what} holds the integers 0 to {count - 1}"
    return "regression", f"because {what} holds {count:,} different numbers"


def _class_names(
    distinct: Array, names: tuple[str, ...] | None, what: str, origin: str
) -> tuple[str, ...]:
    if names is None or distinct.dtype.kind not in "iuf":
        return tuple(_name(value) for value in distinct.tolist())
    if distinct[0] < 0 or distinct[-1] >= len(names) or np.any(distinct != np.floor(distinct)):
        worst = distinct[0] if distinct[0] < 0 else distinct[-1]
        raise DataError(f"{origin}: {what} holds {worst}, but there are {len(names)} class names")
    return names


def _name(value: object) -> str:
    """A class's name: whole numbers without a point."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value)


def _list_classes(classes: tuple[str, ...], amounts: Array) -> str:
    total = int(amounts.sum())
    similar = int(amounts.max()) <= 1.5 * int(amounts.min())
    shown = [
        name if similar else f"{name} ({percent(int(n) / total)})"
        for name, n in zip(classes[:LISTED_CLASSES], amounts, strict=False)
    ]
    more = f" and {len(classes) - LISTED_CLASSES} more" if len(classes) > LISTED_CLASSES else ""
    kind = f"{len(classes)} classes" + (" of similar size" if similar else "")
    return f"{kind}: {', '.join(shown)}{more}"


def percent(share: float) -> str:
    """Return a share as text: ``24 %``, ``5.6 %``, ``0.024 %``."""
    value = 100 * share
    return f"{value:.0f} %" if value >= 10 else f"{value:.2g} %"
