"""MNIST and its successors: four IDX files that form one data set.

Takes: a folder with the files, under any of their usual names. Gives: a `Source`.
The one idea: the many sets published in this form differ only in file-name prefixes, in
punctuation and in whether they are packed.
"""

from __future__ import annotations

from pathlib import Path

from chainrule.core.errors import DataError
from chainrule.data.decide import decide_targets
from chainrule.data.examples import Examples, Source
from chainrule.data.idx import idx_pair

__all__ = ["find_idx_files", "idx_source"]

# What to look for in a file name, for each of the four files.
_ROLES = {
    "train images": (("train",), "images", "idx3"),
    "train labels": (("train",), "labels", "idx1"),
    "test images": (("t10k", "test"), "images", "idx3"),
    "test labels": (("t10k", "test"), "labels", "idx1"),
}


def find_idx_files(folder: Path) -> dict[str, Path]:
    """Return the IDX files of a folder by role: ``train images`` to ``test labels``.

    Raises:
        DataError: Two files claim the same role.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        name = path.name.lower()
        if name.startswith(".") or not path.is_file():
            continue
        for role, (parts, content, code) in _ROLES.items():
            if content in name and code in name and any(part in name for part in parts):
                # The packed and the unpacked form of one file may lie side by side.
                if role in found and found[role].name.removesuffix(".gz") != name.removesuffix(
                    ".gz"
                ):
                    raise DataError(
                        f"{folder}: two files for the {role}: {found[role].name}, {path.name}",
                        hint="put each data set into a folder of its own",
                    )
                found.setdefault(role, path)
    return found


def idx_source(
    files: dict[str, Path],
    *,
    name: str,
    origin: str,
    kind: str | None = None,
    classes: tuple[str, ...] | None = None,
) -> Source:
    """Read a set of IDX files as a `Source`.

    Args:
        files: Paths by role, as `find_idx_files` returns them; the test files may be absent.
        name: Name of the source.
        origin: Where it comes from.
        kind: Classification or regression; None: inferred.
        classes: Class names in label order; None: the labels themselves.

    Raises:
        DataError: A file is missing or damaged, or two do not belong together.
    """
    for role in ("train images", "train labels"):
        if role not in files:
            raise DataError(f"{origin}: the IDX file of the {role} is missing")
    images, labels = idx_pair(files["train images"], files["train labels"])
    test_images = test_labels = None
    if "test images" in files and "test labels" in files:
        test_images, test_labels = idx_pair(files["test images"], files["test labels"])
        if test_images.shape[1:] != images.shape[1:]:
            raise DataError(
                f"{files['test images']}: images of {list(test_images.shape[2:])} pixels, "
                f"those to train on have {list(images.shape[2:])}"
            )
    targets = decide_targets(
        labels,
        test_labels,
        kind=kind,
        what="the label",
        origin=origin,
        names=classes,
        usual=("classification", "as usual for images"),
    )
    test = None if test_images is None else Examples(test_images, targets.test)
    own = "" if test is None else f", and {len(test):,} of the set's own test part"
    form = f"1x{images.shape[2]}x{images.shape[3]} (grey)"
    return Source(
        name=name,
        origin=origin,
        modality="image",
        kind=targets.kind,
        train=Examples(images, targets.train),
        test=test,
        classes=targets.classes,
        target="class",
        notes=(f"data: {len(images):,} images of {form}{own}", *targets.notes),
    )
