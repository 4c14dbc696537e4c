"""Arrays: which of the arrays in a file are inputs, and which are targets.

Takes: a .npz archive, or a .npy file with a partner beside it. Gives: a `Source`.
The one idea: pairs are recognised by the names that people use; anything else is an error
that lists what is there.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from chainrule.core.errors import ArgumentError, DataError, did_you_mean
from chainrule.data.decide import decide_targets, encode_targets
from chainrule.data.examples import Array, Examples, Modality, Source
from chainrule.data.npy import read_npy, read_npz

__all__ = ["array_examples", "array_inputs", "array_source", "read_arrays"]

# Names for inputs and targets, compared without case.
PAIRS = (
    ("x", "y"),
    ("inputs", "targets"),
    ("images", "labels"),
    ("data", "target"),
    ("data", "targets"),
    ("data", "labels"),
    ("features", "labels"),
    ("features", "targets"),
)
# How the parts of a set are marked: x_train, train_x, trainx; one train name, one test name.
PARTS = (("train", "test"), ("tr", "te"))
CLASS_NAMES = ("classes", "class_names", "target_names", "label_names")
CHANNELS = (1, 3, 4)


def read_arrays(path: Path) -> dict[str, Array]:
    """Read the arrays of a .npz file, or of a .npy file and its partner.

    The partner of ``x.npy`` is ``y.npy``, that of ``images_train.npy`` is
    ``labels_train.npy``, and so on through the known pairs of names.

    Raises:
        DataError: A file is missing or damaged.
    """
    if path.suffix.lower() != ".npy":
        return read_npz(path)
    arrays = {path.stem: read_npy(path)}
    for partner in _partners(path.stem):
        beside = path.with_name(partner + path.suffix)
        if beside.is_file():
            arrays[partner] = read_npy(beside)
    return arrays


def array_source(path: Path, *, target: str | None = None, kind: str | None = None) -> Source:
    """Read a file of arrays as a `Source`.

    Args:
        path: A .npz or .npy file.
        target: Name of the array of targets; None: recognised by name.
        kind: Classification or regression; None: inferred.

    Raises:
        ArgumentError: There is no array ``target``.
        DataError: The file is damaged, its arrays do not form a pair, or hold NaN.
    """
    arrays = read_arrays(path)
    notes: list[str] = []
    train_names, test_names = _find_pairs(arrays, target, path)
    what = f"array {train_names[1]!r}"
    names = _class_names(arrays, train_names, test_names)
    inputs, modality = array_inputs(arrays[train_names[0]], train_names[0], path, notes)
    raw = _flat_targets(arrays[train_names[1]], train_names[1], path, notes)
    _same_length(arrays, train_names, path)
    test_inputs = test_raw = None
    if test_names is not None:
        _same_length(arrays, test_names, path)
        test_inputs, _ = array_inputs(arrays[test_names[0]], test_names[0], path, [])
        if test_inputs.shape[1:] != inputs.shape[1:]:
            raise DataError(
                f"{path}: {train_names[0]!r} has examples of shape {list(inputs.shape[1:])}, "
                f"{test_names[0]!r} of {list(test_inputs.shape[1:])}"
            )
        test_raw = _flat_targets(arrays[test_names[1]], test_names[1], path, [])
    targets = decide_targets(raw, test_raw, kind=kind, what=what, origin=str(path), names=names)
    test = None
    own = ""
    if test_inputs is not None and test_names is not None:
        test = Examples(test_inputs, targets.test)
        own = f", and {len(test):,} of the set's own test part ({', '.join(test_names)})"
    pair = f"inputs {train_names[0]!r}, targets {train_names[1]!r}"
    each = "x".join(map(str, inputs.shape[1:]))
    head = f"data: {len(inputs):,} examples of shape {each}: {pair}{own}"
    used = {*train_names, *(test_names or ()), *_class_key(arrays)}
    if unused := [name for name in arrays if name not in used]:
        notes.append(f"arrays not used: {', '.join(unused)}")
    return Source(
        name=path.stem,
        origin=str(path),
        modality=modality,
        kind=targets.kind,
        train=Examples(inputs, targets.train),
        test=test,
        classes=targets.classes,
        target=train_names[1],
        notes=(head, *targets.notes, *notes),
    )


def array_examples(path: Path, *, target: str, classes: tuple[str, ...] | None) -> Examples:
    """Read arrays for a network that was trained already.

    A file of a single array holds inputs; of training and test parts the test part is taken.

    Args:
        path: A .npz or .npy file.
        target: Name of the array of targets in training.
        classes: Class names in index order; None: the targets are numbers.

    Raises:
        DataError: The file is damaged, its inputs are not clear, or a class is unknown.
    """
    arrays = read_arrays(path)
    if len(arrays) == 1:
        ((name, array),) = arrays.items()
        return Examples(array_inputs(array, name, path, [])[0])
    train, test = _find_pairs(arrays, target if target in arrays else None, path)
    inputs_name, name = test or train
    inputs = array_inputs(arrays[inputs_name], inputs_name, path, [])[0]
    _same_length(arrays, (inputs_name, name), path)
    raw = _flat_targets(arrays[name], name, path, [])
    if classes is None:
        if raw.dtype.kind not in "iuf":
            raise DataError(f"{path}, array {name!r}: type {raw.dtype}, expected numbers")
        return Examples(inputs, raw.astype(np.float64))
    values = raw.astype(str) if raw.dtype.kind == "b" else raw
    names = _class_names(arrays, train, test)
    return Examples(inputs, encode_targets(values, classes, f"array {name!r}", str(path), names))


def array_inputs(raw: Array, name: str, path: Path, notes: list[str]) -> tuple[Array, Modality]:
    """Bring an array of inputs into the form of `Examples`.

    Bytes with three or four axes are images and become uint8 [N, C, H, W]; a flat array
    becomes one column; channels behind the pixels are moved before them.

    Returns:
        The inputs and their modality.

    Raises:
        DataError: Text, no axis, no examples, or values that are not finite.
    """
    if raw.dtype.kind not in "biuf":
        raise DataError(f"{path}, array {name!r}: type {raw.dtype}, expected numbers")
    if raw.ndim == 0 or raw.size == 0:
        raise DataError(f"{path}, array {name!r}: shape {list(raw.shape)}: no examples")
    _refuse_non_finite(raw, name, path)
    if raw.ndim == 1:
        notes.append(f"array {name!r}: one number an example, read as one column")
        return raw[:, None], "array"
    inputs = raw
    if raw.ndim == 4 and raw.shape[3] in CHANNELS and raw.shape[1] not in CHANNELS:
        inputs = np.ascontiguousarray(raw.transpose(0, 3, 1, 2))
        notes.append(f"array {name!r}: channels moved from the last axis to the second")
    if not _looks_like_images(inputs):
        return inputs, "array"
    if inputs.ndim == 3:
        inputs = inputs[:, None]
    if inputs.dtype.kind == "b":
        inputs = inputs.astype(np.uint8) * np.uint8(255)
        notes.append(f"array {name!r}: true and false read as white and black")
    return inputs.astype(np.uint8, copy=False), "image"


def _looks_like_images(inputs: Array) -> bool:
    if inputs.ndim not in (3, 4) or (inputs.ndim == 4 and inputs.shape[1] not in CHANNELS):
        return False
    if inputs.dtype.kind == "b" or inputs.dtype == np.uint8:
        return True
    # Pixels saved as wider integers: the range shows it.
    wide = inputs.dtype.kind in "iu" and inputs.ndim == 4
    return wide and int(inputs.min()) >= 0 and 100 <= int(inputs.max()) <= 255


def _refuse_non_finite(raw: Array, name: str, path: Path) -> None:
    if raw.dtype.kind != "f":
        return
    finite = np.isfinite(raw)
    if not finite.all():
        place = [int(i) for i in np.argwhere(~finite)[0]]
        count = int(finite.size - finite.sum())
        index = ", ".join(map(str, place))
        raise DataError(
            f"{path}, array {name!r}: {name}[{index}] is {raw[tuple(place)]}, not a finite number "
            f"({count:,} such values)",
            hint=f"{name} = np.nan_to_num({name}), or leave those examples out",
        )


# --- finding the pair ---------------------------------------------------------------------

Names = tuple[str, str]


def _find_pairs(
    arrays: dict[str, Array], target: str | None, path: Path
) -> tuple[Names, Names | None]:
    """Return the names of inputs and targets, for training and (or None) for test."""
    pairs = _known_pairs({_fold(name): name for name in arrays})
    if target is not None and (pairs is None or pairs[0][1] != target):
        return _pair_with(arrays, target, path), None
    if pairs is not None:
        return pairs
    listing = ", ".join(f"{n} {a.dtype} {list(a.shape)}" for n, a in arrays.items())
    known = ", ".join(f"{left}/{right}" for left, right in PAIRS[:4])
    hint = f"np.savez('{path.stem}.npz', x=inputs, y=targets)"
    if path.suffix == ".npy":
        hint = f"put {_partners(path.stem)[0]}.npy beside it, or " + hint
    raise DataError(
        f"{path}: no inputs and targets recognised among: {listing}; known pairs: {known}, "
        "each also as x_train/y_train with x_test/y_test",
        hint=hint,
    )


def _known_pairs(folded: dict[str, str]) -> tuple[Names, Names | None] | None:
    for left, right in PAIRS:
        for train, test in PARTS:
            found = _marked(folded, left, right, train)
            if found is not None:
                return found, _marked(folded, left, right, test)
        if left in folded and right in folded:
            return (folded[left], folded[right]), None
    return None


def _fold(name: str) -> str:
    return name.lower().replace("-", "_").removesuffix("_arr")


def _marked(folded: dict[str, str], left: str, right: str, part: str) -> Names | None:
    for form in ("{0}_{1}", "{1}_{0}", "{0}{1}", "{1}{0}"):
        a, b = form.format(left, part), form.format(right, part)
        if a in folded and b in folded:
            return folded[a], folded[b]
    return None


def _pair_with(arrays: dict[str, Array], target: str, path: Path) -> Names:
    if target not in arrays:
        listing = ", ".join(arrays)
        guess = did_you_mean(target, arrays)
        raise ArgumentError(
            f"{path}: no array is named {target!r}", hint=f"{guess} arrays: {listing}".strip()
        )
    same = [
        name
        for name, array in arrays.items()
        if name != target and array.ndim > 0 and len(array) == len(np.atleast_1d(arrays[target]))
    ]
    if len(same) != 1:
        found = ", ".join(same) if same else "none"
        raise DataError(
            f"{path}: the inputs that belong to {target!r} are not clear: "
            f"arrays of the same length: {found}",
            hint="np.savez('data.npz', x=inputs, y=targets)",
        )
    return same[0], target


def _partners(stem: str) -> list[str]:
    """Names that the file of targets may have beside the file of inputs ``stem``."""
    partners = []
    for left, right in PAIRS:
        low = stem.lower()
        if low == left or low.startswith((f"{left}_", f"{left}-")):
            partners.append(right + stem[len(left) :])
        if low.endswith((f"_{left}", f"-{left}")):
            partners.append(stem[: -len(left)] + right)
    return partners or ["y"]


def _class_key(arrays: dict[str, Array]) -> list[str]:
    return [n for n in arrays if n.lower() in CLASS_NAMES and arrays[n].dtype.kind in "US"]


def _class_names(
    arrays: dict[str, Array], train: Names, test: Names | None
) -> tuple[str, ...] | None:
    for name in _class_key(arrays):
        if arrays[name].ndim == 1 and name not in (*train, *(test or ())):
            names = tuple(map(str, _as_text(arrays[name]).tolist()))
            return names if len(set(names)) == len(names) else None
    return None


def _as_text(array: Array) -> Array:
    return np.char.decode(array, "utf-8", "replace") if array.dtype.kind == "S" else array


def _same_length(arrays: dict[str, Array], pair: Names, path: Path) -> None:
    x, y = arrays[pair[0]], arrays[pair[1]]
    if len(x) != len(y):
        raise DataError(
            f"{path}: {pair[0]!r} has {len(x):,} examples, {pair[1]!r} has {len(y):,} targets",
            hint=f"each example needs one: len({pair[0]}) == len({pair[1]}) before np.savez(...)",
        )


def _flat_targets(raw: Array, name: str, path: Path, notes: list[str]) -> Array:
    """Bring an array of targets into the form [N]: text, integers, booleans or floats."""
    if raw.ndim == 0:
        raise DataError(f"{path}, array {name!r}: a single value, expected one target an example")
    targets = _as_text(raw)
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    if targets.ndim == 2 and targets.dtype.kind in "biuf" and targets.shape[1] > 1:
        one_hot = ((targets == 0) | (targets == 1)).all() and (targets.sum(axis=1) == 1).all()
        if one_hot:
            notes.append(f"array {name!r}: one-hot rows read as the index of the one")
            targets = targets.argmax(axis=1)
    if targets.ndim != 1:
        raise DataError(
            f"{path}, array {name!r}: shape {list(raw.shape)}, expected one target an example, [N]"
        )
    _refuse_non_finite(targets, name, path)
    return targets
