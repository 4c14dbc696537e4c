"""Folders of images: one sub-folder a class.

Takes: a folder, with or without a level ``train`` / ``valid`` / ``test`` above the classes.
Gives: a `Source` of uint8 images [N, C, H, W], all of one size.
The one idea: the headers of all files are read first, so that size, colour and every damaged
header are settled before the first picture is decoded.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chainrule.core.errors import ArgumentError, DataError
from chainrule.core.files import read_error
from chainrule.data.examples import Array, Examples, Source
from chainrule.data.picture import (
    IMAGE_SUFFIXES,
    PictureInfo,
    inspect_picture,
    load_picture,
    quiet_pillow,
    require_pillow,
)

__all__ = ["find_pictures", "image_source", "load_pictures"]

TRAIN_NAMES = ("train", "training")
VALID_NAMES = ("valid", "val", "validation", "dev")
TEST_NAMES = ("test", "testing")
# Files that systems and programs leave in folders.
IGNORED = ("thumbs.db", "desktop.ini", "__macosx", "__pycache__")
# Images are held in memory as bytes; above this they are scaled down, and that is said.
MAX_BYTES = 2 * 2**30
LISTED_CLASSES = 10


@dataclass
class _Part:
    """The files of one part of the set: path and class name each, in a fixed order."""

    files: list[tuple[Path, str]]
    strangers: list[Path]
    empty: list[str]


def image_source(
    folder: Path, *, kind: str | None = None, size: tuple[int, int] | None = None
) -> Source:
    """Read a folder of images as a `Source`.

    Args:
        folder: Its sub-folders are the classes, or train/valid/test with classes below.
        kind: Only ``classification`` makes sense.
        size: Width and height that all images are brought to; None: the most common size.

    Raises:
        ArgumentError: ``kind`` is ``regression``.
        DataError: No images, no classes, or a damaged image.
        MissingExtraError: Pillow is not installed.
    """
    require_pillow()
    if kind not in (None, "classification"):
        raise ArgumentError(f"{folder}: a folder of images gives classes, not kind {kind!r}")
    notes: list[str] = []
    train, test = _find_parts(folder, notes)
    classes = tuple(sorted({name for _, name in train.files}))
    _check_classes(folder, classes, train, test, notes)
    files = train.files + (test.files if test else [])
    shape, grey = _choose_form([path for path, _ in files], size, notes)
    index = {name: i for i, name in enumerate(classes)}
    parts: list[Examples | None] = []
    for part in (train, test):
        if part is None:
            parts.append(None)
            continue
        paths = [path for path, _ in part.files]
        targets = np.array([index[name] for _, name in part.files], np.int64)
        names = tuple(path.relative_to(folder).as_posix() for path in paths)
        parts.append(Examples(load_pictures(paths, size=shape, grey=grey), targets, names))
    examples, own_test = parts
    assert examples is not None
    counts = np.bincount(np.asarray(examples.targets), minlength=len(classes))
    own = "" if own_test is None else f", and {len(own_test):,} of the set's own test part"
    form = f"{'1' if grey else '3'}x{shape[1]}x{shape[0]} ({'grey' if grey else 'colour'})"
    head = f"data: {len(examples):,} images of {form}{own}"
    shown = [f"{name} ({n:,})" for name, n in zip(classes, counts, strict=True)]
    more = f" and {len(shown) - LISTED_CLASSES} more" if len(shown) > LISTED_CLASSES else ""
    listed = ", ".join(shown[:LISTED_CLASSES]) + more
    task = f"task: classification; {len(classes)} classes from the names of the folders: {listed}"
    return Source(
        name=folder.resolve().name,
        origin=str(folder),
        modality="image",
        kind="classification",
        train=examples,
        test=own_test,
        classes=classes,
        target="class",
        notes=(head, task, *notes),
    )


def find_pictures(folder: Path) -> list[Path]:
    """Return the image files of a folder and its sub-folders, in a fixed order.

    Raises:
        DataError: The folder cannot be read, or holds no images.
    """
    pictures = [path for path in _walk(folder) if path.suffix.lower() in IMAGE_SUFFIXES]
    if not pictures:
        raise DataError(f"{folder}: no images in this folder", hint=_formats())
    return pictures


def load_pictures(paths: Sequence[Path], *, size: tuple[int, int], grey: bool) -> Array:
    """Decode many image files to one size, several at a time.

    Args:
        paths: The files.
        size: Width and height in pixels.
        grey: One channel instead of three.

    Returns:
        Pixels uint8 [N, C, H, W].

    Raises:
        DataError: A file is damaged (the first in order is named).
    """
    out = np.empty((len(paths), 1 if grey else 3, size[1], size[0]), np.uint8)
    workers = min(8, os.cpu_count() or 1)
    with quiet_pillow(), ThreadPoolExecutor(max_workers=workers) as pool:
        # In order, so that the first damaged file is always the one that is reported.
        pixels = pool.map(lambda path: load_picture(path, size=size, grey=grey), paths)
        for i, picture in enumerate(pixels):
            out[i] = picture
    return out


# --- which files, which class -------------------------------------------------------------


def _find_parts(folder: Path, notes: list[str]) -> tuple[_Part, _Part | None]:
    tops = {path.name: path for path in _entries(folder) if path.is_dir()}
    train = _pick(tops, TRAIN_NAMES)
    known = {*TRAIN_NAMES, *VALID_NAMES, *TEST_NAMES}
    if train is None or any(name.lower() not in known for name in tops):
        return _collect(folder, notes), None
    part = _collect(train, notes)
    if (valid := _pick(tops, VALID_NAMES)) is not None:
        extra = _collect(valid, notes)
        part.files += extra.files
        notes.append(
            f"validation: the {len(extra.files):,} images of {valid.name!r} were added to the "
            "training images, from which the validation part is drawn anew"
        )
    test = _pick(tops, TEST_NAMES)
    return part, None if test is None else _collect(test, notes)


def _pick(tops: dict[str, Path], names: tuple[str, ...]) -> Path | None:
    for name, path in tops.items():
        if name.lower() in names:
            return path
    return None


def _collect(folder: Path, notes: list[str]) -> _Part:
    """Find the images below each class folder of ``folder``."""
    part = _Part([], [], [])
    loose: list[Path] = []
    for entry in _entries(folder):
        if not entry.is_dir():
            (loose if entry.suffix.lower() in IMAGE_SUFFIXES else part.strangers).append(entry)
            continue
        found = _walk(entry)
        pictures = [path for path in found if path.suffix.lower() in IMAGE_SUFFIXES]
        part.strangers += [path for path in found if path.suffix.lower() not in IMAGE_SUFFIXES]
        part.files += [(path, entry.name) for path in pictures]
        if not pictures:
            part.empty.append(entry.name)
    if not part.files:
        raise _no_images(folder, loose, part)
    if loose:
        notes.append(
            f"files: {len(loose):,} images directly in {folder.name!r} belong to no class "
            f"and were left out, such as {loose[0].name!r}"
        )
    if part.empty:
        notes.append(f"folders without images: {', '.join(part.empty[:LISTED_CLASSES])}")
    if part.strangers:
        notes.append(
            f"files: {len(part.strangers):,} that are no images were left out, "
            f"such as {part.strangers[0].name!r}"
        )
    return part


def _no_images(folder: Path, loose: list[Path], part: _Part) -> DataError:
    if loose:
        return DataError(
            f"{folder}: {len(loose):,} images, but no sub-folder names their class",
            hint="one sub-folder a class: flowers/rose/1.png, flowers/tulip/2.png",
        )
    if part.strangers:
        example = part.strangers[0].relative_to(folder).as_posix()
        count = len(part.strangers)
        return DataError(
            f"{folder}: no images among its {count:,} files, such as {example}", hint=_formats()
        )
    if part.empty:
        names = ", ".join(part.empty[:LISTED_CLASSES])
        return DataError(f"{folder}: its sub-folders hold no images: {names}", hint=_formats())
    return DataError(f"{folder}: the folder is empty", hint=_formats())


def _formats() -> str:
    return f"images are files that end in {', '.join(IMAGE_SUFFIXES[:6])}; one sub-folder a class"


def _entries(folder: Path) -> list[Path]:
    """Return what a folder holds, by name, without hidden files."""
    try:
        entries = sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError as error:
        raise read_error(folder, error) from error
    return [p for p in entries if p.name[0] != "." and p.name.lower() not in IGNORED]


def _walk(folder: Path) -> list[Path]:
    """Return all files below a folder, in a fixed order; links to folders are not followed."""
    files = []
    for entry in _entries(folder):
        if entry.is_dir():
            files += [] if entry.is_symlink() else _walk(entry)
        elif entry.is_file():
            files.append(entry)
    return files


def _check_classes(
    folder: Path, classes: tuple[str, ...], train: _Part, test: _Part | None, notes: list[str]
) -> None:
    if len(classes) == 1:
        inner = folder / classes[0]
        below = {
            path.relative_to(inner).parts[0] for path, _ in train.files if path.parent != inner
        }
        hint = "put the images of each class into a folder of its own"
        if len(below) > 1:
            hint = f"the classes seem to be one level deeper: use {inner}"
        raise DataError(
            f"{folder}: only one class, {classes[0]!r}: nothing to tell apart", hint=hint
        )
    if test is None:
        return
    for path, name in test.files:
        if name not in classes:
            raise DataError(
                f"{path}: class {name!r} occurs in the test part alone",
                hint=f"classes to train on: {', '.join(classes[:LISTED_CLASSES])}",
            )
    if unseen := sorted(set(classes) - {name for _, name in test.files}):
        notes.append(f"classes without test images: {', '.join(unseen[:LISTED_CLASSES])}")


# --- one form for all ---------------------------------------------------------------------


def _choose_form(
    paths: list[Path], size: tuple[int, int] | None, notes: list[str]
) -> tuple[tuple[int, int], bool]:
    """Return the width and height, and whether one channel is enough."""
    with quiet_pillow():
        infos = [inspect_picture(path) for path in paths]
    greys = sum(info.grey for info in infos)
    grey = greys == len(infos)
    if 0 < greys < len(infos):
        notes.append(f"colour: {greys:,} grey images among {len(infos):,}: all read as colour")
    if transparent := sum(info.transparent for info in infos):
        notes.append(f"transparency: {transparent:,} images with it were laid on white")
    if moving := sum(info.frames > 1 for info in infos):
        notes.append(f"animations: {moving:,} files; of each the first frame is used")
    sizes = Counter(info.size for info in infos)
    if size is not None:
        if min(size) < 1 or _bytes(infos, size, grey) > 8 * MAX_BYTES:
            raise ArgumentError(f"image size {size[0]} x {size[1]}: out of range")
        shape, reason = size, "as asked"
    else:
        # On a tie the smallest: scaling down loses less than scaling up invents.
        shape = min(sizes, key=lambda s: (-sizes[s], s[0] * s[1], s))
        reason = "the most common size"
        if (total := _bytes(infos, shape, grey)) > MAX_BYTES:
            factor = (MAX_BYTES / total) ** 0.5
            shape = (max(1, int(shape[0] * factor)), max(1, int(shape[1] * factor)))
            reason = f"so that all fit into {MAX_BYTES / 2**30:.0f} GiB of memory"
    if others := len(infos) - sizes[shape]:
        notes.append(
            f"size: {others:,} of {len(infos):,} images were brought to "
            f"{shape[0]} x {shape[1]} pixels, {reason} (scaled, then cut equally on both sides)"
        )
    return shape, grey


def _bytes(infos: list[PictureInfo], size: tuple[int, int], grey: bool) -> int:
    return len(infos) * size[0] * size[1] * (1 if grey else 3)
