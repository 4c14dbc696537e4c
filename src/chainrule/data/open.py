"""Opening data: one word or path in, a `Source` or `Examples` out.

Takes: a named set, a table, a file of arrays, a folder of images. Gives: a `Source` to train
on, or bare `Examples` for a network that is trained already.
The one idea: the user names data in one way everywhere; what it is, is seen from the path.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from chainrule.core.errors import ArgumentError, DataError, did_you_mean
from chainrule.data.arrays import array_examples, array_source
from chainrule.data.decide import check_kind, encode_targets
from chainrule.data.examples import Array, Examples, Kind, Modality, Source
from chainrule.data.idx_set import find_idx_files, idx_source
from chainrule.data.images import find_pictures, image_source, load_pictures
from chainrule.data.named import NAMED_SETS, open_named
from chainrule.data.picture import IMAGE_SUFFIXES, require_pillow
from chainrule.data.table import TABLE_SUFFIXES, read_table, table_examples, table_source

__all__ = ["open_examples", "open_source"]

ARRAY_SUFFIXES = (".npz", ".npy")
# What people also try, and what to do about it.
_ADVICE = {
    ".xlsx": 'in the spreadsheet, save as "CSV UTF-8"',
    ".xls": 'in the spreadsheet, save as "CSV UTF-8"',
    ".ods": 'in the spreadsheet, save as "CSV UTF-8"',
    ".json": "pandas.read_json(path).to_parquet('data.parquet')",
    ".jsonl": "pandas.read_json(path, lines=True).to_parquet('data.parquet')",
    ".feather": "pandas.read_feather(path).to_parquet('data.parquet')",
    ".arrow": "pandas.read_feather(path).to_parquet('data.parquet')",
    ".mat": "np.savez('data.npz', **{k: m[k] for k in ('x', 'y')}), m = scipy.io.loadmat(path)",
    ".h5": "np.savez('data.npz', x=file['x'][:], y=file['y'][:])",
    ".hdf5": "np.savez('data.npz', x=file['x'][:], y=file['y'][:])",
    ".pkl": "pickles can run any program and are never read; save arrays: np.savez(...)",
    ".pickle": "pickles can run any program and are never read; save arrays: np.savez(...)",
    ".pt": "np.savez('data.npz', x=x.numpy(), y=y.numpy())",
    ".zip": "unpack it and give the folder",
    ".tar": "unpack it and give the folder",
    ".tgz": "unpack it and give the folder",
    ".txt": "if it is a table, rename it to .csv; the delimiter is found out",
}


def open_source(
    spec: str,
    *,
    target: str | None = None,
    kind: str | None = None,
    size: tuple[int, int] | None = None,
) -> Source:
    """Open data to train on.

    Args:
        spec: A named set (``digits``, ``mnist``, ...), a .csv, .tsv, .data or .parquet table
            (text also as .gz), a .npz or .npy file, a folder of images with one sub-folder a
            class, or a folder of IDX files. A name wins over a path; ``./mnist`` is a path.
        target: Name of the target column or array; None: the last column, the known name.
        kind: ``classification`` or ``regression``; None: inferred.
        size: Width and height for a folder of images; None: the most common size.

    Returns:
        The source; its notes say everything that was inferred.

    Raises:
        ArgumentError: No such set, column or kind, or an unsupported kind of file.
        DataError: The data is missing or damaged; path and place are named.
        MissingExtraError: A library that this format needs is not installed.

    Example:
        >>> source = open_source("digits")
        >>> source.train.inputs.shape, source.kind
        ((1797, 1, 8, 8), 'classification')
    """
    check_kind(kind)
    path = Path(spec).expanduser()
    if spec in NAMED_SETS:
        source = open_named(spec, target=target, kind=kind)
    elif path.is_dir():
        source = _open_folder(path, target, kind, size)
    else:
        suffix = _file_suffix(path, spec)
        if suffix in TABLE_SUFFIXES:
            table = read_table(path, known=() if target is None else (target,))
            name = Path(path.name.removesuffix(".gz")).stem
            source = table_source(table, name=name, origin=spec, target=target, kind=kind)
        elif suffix in ARRAY_SUFFIXES:
            source = array_source(path, target=target, kind=kind)
        else:
            raise _unsupported(path, suffix)
    if size is not None and (spec in NAMED_SETS or not path.is_dir()):
        raise ArgumentError(f"{spec}: a size can only be asked for with a folder of images")
    return source


def open_examples(
    spec: str,
    *,
    modality: Modality,
    target: str,
    kind: Kind,
    classes: tuple[str, ...] | None = None,
    numeric: Sequence[str] = (),
    categorical: Sequence[str] = (),
    image_shape: tuple[int, int, int] | None = None,
) -> Examples:
    """Open data for a network that is trained already: to predict, or to evaluate.

    Nothing is inferred here: columns, image size and classes are those of the training. The
    targets are read where the data holds them, and are None otherwise.

    Args:
        spec: As for `open_source`; also a single image, a folder of images without classes,
            a table without its target column, a .npy file of inputs alone. Of a named set
            the test part is taken, where it has one of its own.
        modality: What the network was trained on.
        target: Name of the target column or array.
        kind: Classification or regression.
        classes: Class names in index order.
        numeric: Input columns that are numbers.
        categorical: Input columns that are categories.
        image_shape: Channels, height and width that images are brought to.

    Returns:
        The examples; images uint8 [N, C, H, W].

    Raises:
        ArgumentError: No such set, or an unsupported kind of file.
        DataError: The data is missing, damaged, or does not fit the network.
    """
    path = Path(spec).expanduser()
    if spec in NAMED_SETS:
        source = open_named(spec, target=target if modality == "table" else None, kind=kind)
        if source.modality != modality or source.classes != classes:
            raise DataError(
                f"{spec}: {_task(source.modality, source.classes)}, but the network "
                f"was trained on {_task(modality, classes)}"
            )
        return source.test or source.train
    if modality == "image" and (path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES):
        if path.is_dir() and (files := find_idx_files(path)):
            source = idx_source(files, name=path.name, origin=spec, kind=kind, classes=classes)
            return source.test or source.train
        return _picture_examples(path, classes or (), image_shape)
    suffix = _file_suffix(path, spec)
    if modality == "table" and suffix in TABLE_SUFFIXES:
        table = read_table(path, known=(*numeric, *categorical, target))
        return table_examples(
            table, numeric=numeric, categorical=categorical, target=target, classes=classes
        )
    if modality in ("array", "image") and suffix in ARRAY_SUFFIXES:
        return array_examples(path, target=target, classes=classes)
    raise DataError(f"{spec}: not {_task(modality, classes)}, which the network was trained on")


def _task(modality: Modality, classes: tuple[str, ...] | None) -> str:
    what = {"image": "images", "table": "a table", "array": "arrays"}[modality]
    return what if classes is None else f"{what} of {len(classes)} classes"


def _open_folder(
    path: Path, target: str | None, kind: str | None, size: tuple[int, int] | None
) -> Source:
    if target not in (None, "class"):
        raise ArgumentError(
            f"{path}: a folder of images has no column {target!r}", hint="leave the target out"
        )
    files = find_idx_files(path)
    if "train images" in files:
        return idx_source(files, name=path.resolve().name, origin=str(path), kind=kind)
    tables = [p.name for p in sorted(path.glob("*")) if _suffix(p) in TABLE_SUFFIXES]
    if tables and not any(p.is_dir() and p.name[0] != "." for p in path.iterdir()):
        raise DataError(
            f"{path}: a folder with tables, but no images",
            hint=f"give one of the files: {', '.join(str(path / t) for t in tables[:3])}",
        )
    return image_source(path, kind=kind, size=size)


def _picture_examples(
    path: Path, classes: tuple[str, ...], shape: tuple[int, int, int] | None
) -> Examples:
    """Read one image or a folder of them; sub-folders with names of classes give targets."""
    require_pillow()
    if shape is None:
        raise ArgumentError("image_shape is needed to read images: (channels, height, width)")
    paths = find_pictures(path) if path.is_dir() else [path]
    pixels = load_pictures(paths, size=(shape[2], shape[1]), grey=shape[0] == 1)
    if not path.is_dir():
        return Examples(pixels, None, (path.name,))
    parts = [p.relative_to(path).parts[:-1] for p in paths]
    found = [next((part for part in folders if part in classes), None) for folders in parts]
    targets: Array | None = None
    if all(name is not None for name in found):
        labels = np.array([name or "" for name in found])
        targets = encode_targets(labels, classes, "the folder's name", str(path))
    return Examples(pixels, targets, tuple(p.relative_to(path).as_posix() for p in paths))


def _suffix(path: Path) -> str:
    return Path(path.name.lower().removesuffix(".gz")).suffix


def _file_suffix(path: Path, spec: str) -> str:
    """Return the suffix of an existing file, without ``.gz``; explain a path that is not there."""
    if path.is_file():
        return _suffix(path)
    known = ", ".join(NAMED_SETS)
    if path.suffix or len(path.parts) > 1:
        beside = []
        if path.parent.is_dir():
            beside = [entry.name for entry in path.parent.iterdir() if entry.name[0] != "."]
        guess = _guess(path.name, beside)
        raise DataError(
            f"{spec}: no such file or folder",
            hint=guess or f"current folder: {Path.cwd()}; named sets: {known}",
        )
    guess = _guess(spec, NAMED_SETS)
    raise ArgumentError(
        f"unknown data set: {spec!r}, and there is no file or folder of that name",
        hint=f"{guess} named sets: {known}".strip(),
    )


def _guess(word: str, known: Iterable[str]) -> str:
    by_lower = {name.lower(): name for name in known}
    guess = did_you_mean(word, by_lower)
    for low, name in by_lower.items():
        guess = guess.replace(repr(low), repr(name))
    return guess


def _unsupported(path: Path, suffix: str) -> ArgumentError:
    if suffix in IMAGE_SUFFIXES:
        return ArgumentError(
            f"{path}: a single image is nothing to train on",
            hint="give a folder with one sub-folder a class",
        )
    if "ubyte" in path.name or suffix == ".idx":
        return ArgumentError(
            f"{path}: one file of an IDX set", hint=f"give the folder: {path.parent}"
        )
    supported = ", ".join((*TABLE_SUFFIXES, *ARRAY_SUFFIXES))
    advice = _ADVICE.get(suffix, "")
    return ArgumentError(
        f"{path}: files {f'of kind {suffix!r}' if suffix else 'without a suffix'} are not read; "
        f"supported: {supported} (text also as .gz), and folders of images",
        hint=advice,
    )
