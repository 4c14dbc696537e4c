"""Named sets: well-known data that `chainrule train NAME` finds by itself.

Takes: a name. Gives: a `Source`.
The one idea: one table says for each set which files it needs, where they can be had and how
they are read. A file is looked for in ``CHAINRULE_DATA``, then in the user's cache; only then
is it downloaded, into the cache, and proved by its sha256.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chainrule.core import config
from chainrule.core.errors import ArgumentError, DataError, missing_extra, unknown_word
from chainrule.data.cifar import ARCHIVE, CIFAR_CLASSES, find_cifar, read_cifar
from chainrule.data.decide import check_kind, decide_targets
from chainrule.data.download import RemoteFile, download
from chainrule.data.examples import Examples, Kind, Source
from chainrule.data.idx_set import idx_source
from chainrule.data.table import RawTable, read_table, table_source

__all__ = ["NAMED_SETS", "NamedSet", "open_named"]

Fetch = Callable[[RemoteFile, Path], Path]
Reader = Callable[["NamedSet", str | None, str | None, Fetch], Source]

_IMAGE_TASK: tuple[Kind, str] = ("classification", "as usual for this set")
_UCI = "https://archive.ics.uci.edu/ml/machine-learning-databases"
_MNIST_HOSTS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_FASHION_HOSTS = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
)
_IDX_NAMES = {
    "train images": "train-images-idx3-ubyte.gz",
    "train labels": "train-labels-idx1-ubyte.gz",
    "test images": "t10k-images-idx3-ubyte.gz",
    "test labels": "t10k-labels-idx1-ubyte.gz",
}
_FASHION_CLASSES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
# The attributes as `adult.names` lists them; the class there has no name of its own.
_ADULT_COLUMNS = (
    "age",
    "workclass",
    "fnlwgt",
    "education",
    "education-num",
    "marital-status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "capital-gain",
    "capital-loss",
    "hours-per-week",
    "native-country",
    "income",
)


@dataclass(frozen=True)
class NamedSet:
    """An entry of the table of named sets.

    Args:
        name: What the user types.
        summary: What it is, in a few words.
        files: The files to download; empty if none is needed.
        read: Reads the set.
        classes: Class names in label order, where the files do not hold them.
    """

    name: str
    summary: str
    files: tuple[RemoteFile, ...]
    read: Reader
    classes: tuple[str, ...] | None = None


def open_named(
    name: str, *, target: str | None = None, kind: str | None = None, fetch: Fetch = download
) -> Source:
    """Open a named set.

    Args:
        name: One of `NAMED_SETS`.
        target: For tables: another target column than the usual one.
        kind: Classification or regression; None: as usual for the set.
        fetch: Brings a remote file into a folder and returns its path.

    Raises:
        ArgumentError: No set is called that, or a set of images was given a target.
        DataError: A file is damaged, or cannot be downloaded.
        MissingExtraError: A library that the set needs is not installed.
    """
    if name not in NAMED_SETS:
        raise unknown_word("data set", name, NAMED_SETS)
    check_kind(kind)
    try:
        return NAMED_SETS[name].read(NAMED_SETS[name], target, kind, fetch)
    except DataError as error:
        cached = str(config.cache_dir() / name)
        if error.message.startswith(cached) and "download" not in error.message:
            error.hint = f"delete {cached} and run again: it will be downloaded anew"
        raise


# --- finding files ------------------------------------------------------------------------


def _folders(name: str) -> list[Path]:
    """Where files of a set may already lie, in order of preference."""
    ready = config.data_dir()
    if ready is not None and not ready.is_dir():
        raise DataError(
            f"{ready}: no such folder, although CHAINRULE_DATA names it",
            hint="unset CHAINRULE_DATA, or set it to the folder that holds the data sets",
        )
    return [] if ready is None else [ready / name]


def _locate(entry: NamedSet, file: RemoteFile, fetch: Fetch) -> Path:
    """Return the path of a file of the set, packed or not; downloads it if it is nowhere."""
    plain = file.name.removesuffix(".gz")
    folders = [*_folders(entry.name), config.cache_dir() / entry.name]
    for folder in folders:
        for name in (file.name, plain, f"{plain}.gz"):
            if (folder / name).is_file():
                return folder / name
    return fetch(file, folders[-1])


def _no_target(entry: NamedSet, target: str | None) -> None:
    if target not in (None, "class"):
        raise ArgumentError(
            f"{entry.name!r} holds images: there is no column {target!r}",
            hint="leave the target out",
        )


# --- the readers --------------------------------------------------------------------------


def _read_digits(entry: NamedSet, target: str | None, kind: str | None, fetch: Fetch) -> Source:
    _no_target(entry, target)
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise missing_extra("scikit-learn", "the set 'digits'") from None
    bunch = load_digits()
    # 0..16 steps of ink to 0..255, as in every other image set.
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = np.asarray(bunch.target, np.int64)
    targets = decide_targets(
        labels, None, kind=kind, what="the label", origin="digits", usual=_IMAGE_TASK
    )
    return Source(
        name="digits",
        origin="scikit-learn's load_digits",
        modality="image",
        kind=targets.kind,
        train=Examples(images, targets.train),
        test=None,
        classes=targets.classes,
        target="class",
        notes=(
            f"data: {len(images):,} images of 1x8x8 (grey), handwritten digits",
            *targets.notes,
            "pixels: ink in 0 to 16 was scaled to 0 to 255, as in other images",
        ),
    )


def _read_idx(entry: NamedSet, target: str | None, kind: str | None, fetch: Fetch) -> Source:
    _no_target(entry, target)
    by_name = {file.name: file for file in entry.files}
    paths = {role: _locate(entry, by_name[name], fetch) for role, name in _IDX_NAMES.items()}
    origin = str(paths["train images"].parent)
    return idx_source(paths, name=entry.name, origin=origin, kind=kind, classes=entry.classes)


def _read_cifar10(entry: NamedSet, target: str | None, kind: str | None, fetch: Fetch) -> Source:
    _no_target(entry, target)
    folders = [*_folders(entry.name), config.cache_dir() / entry.name]
    place = next((p for folder in folders if (p := find_cifar(folder)) is not None), None)
    if place is None:
        place = fetch(entry.files[0], folders[-1])
    (images, labels), (test_images, test_labels), batches = read_cifar(place)
    targets = decide_targets(
        labels,
        test_labels,
        kind=kind,
        what="the label",
        origin=str(place),
        names=entry.classes,
        usual=_IMAGE_TASK,
    )
    notes = [
        f"data: {len(images):,} images of 3x32x32 (colour), "
        f"and {len(test_images):,} of the set's own test part",
        *targets.notes,
    ]
    if batches < 5:
        notes.append(
            f"training batches: only {batches} of 5 are in {place}, so results cannot be "
            "compared with published ones"
        )
    return Source(
        name=entry.name,
        origin=str(place),
        modality="image",
        kind=targets.kind,
        train=Examples(images, targets.train),
        test=Examples(test_images, targets.test),
        classes=targets.classes,
        target="class",
        notes=tuple(notes),
    )


def _aim(table: RawTable, target: str | None, usual: str) -> tuple[RawTable, str]:
    """Return the table and its target; a target that was not asked for is noted."""
    if target is not None:
        return table, target
    note = f"target: column {usual!r} (as usual for this set)"
    return dataclasses.replace(table, notes=(*table.notes, note)), usual


def _read_adult(entry: NamedSet, target: str | None, kind: str | None, fetch: Fetch) -> Source:
    train_path, test_path = (_locate(entry, file, fetch) for file in entry.files)
    train = read_table(train_path, names=_ADULT_COLUMNS)
    # The test file begins with a line "|1x3 Cross validator", and its classes end in a stop.
    test = read_table(test_path, names=_ADULT_COLUMNS, comment="|")
    answers = [str(cell).removesuffix(".") for cell in test.columns["income"]]
    test = dataclasses.replace(test, columns={**test.columns, "income": answers})
    train = dataclasses.replace(
        train, notes=("read: no header line; the columns are named as in adult.names",)
    )
    train, goal = _aim(train, target, "income")
    origin = str(train_path.parent)
    return table_source(train, test=test, name=entry.name, origin=origin, target=goal, kind=kind)


def _read_housing(entry: NamedSet, target: str | None, kind: str | None, fetch: Fetch) -> Source:
    path = _locate(entry, entry.files[0], fetch)
    table, goal = _aim(read_table(path), target, "median_house_value")
    # Otherwise a column asked for, such as ocean_proximity, decides by itself.
    usual: Kind | None = "regression" if goal == "median_house_value" else None
    return table_source(
        table, name=entry.name, origin=str(path), target=goal, kind=kind, usual=usual
    )


def _read_wine(entry: NamedSet, target: str | None, kind: str | None, fetch: Fetch) -> Source:
    red, white = (read_table(_locate(entry, file, fetch)) for file in entry.files)
    columns: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]] | list[str]] = {
        "colour": ["red"] * len(red.places) + ["white"] * len(white.places)
    }
    for name, cells in red.columns.items():
        columns[name] = [*map(str, cells), *map(str, white.columns[name])]
    folder = red.path.parent
    note = "read: the red and the white wines, with their colour as a further column"
    places = range(1, len(columns["colour"]) + 1)
    both = RawTable(folder, columns, places, "row", red.delimiter, (note,))
    both, goal = _aim(both, target, "quality")
    # Cortez et al. (2009) model the grade as a number: 5 is nearer to 6 than to 9.
    usual: Kind | None = "regression" if goal == "quality" else None
    return table_source(
        both, name=entry.name, origin=str(folder), target=goal, kind=kind, usual=usual
    )


# --- the table ----------------------------------------------------------------------------


def _remote(hosts: tuple[str, ...], name: str, size: int, sha256: str) -> RemoteFile:
    return RemoteFile(name, tuple(host + name for host in hosts), size, sha256)


_ENTRIES = (
    NamedSet(
        "digits",
        "1,797 handwritten digits of 8x8 pixels (needs no network)",
        (),
        _read_digits,
    ),
    NamedSet(
        "mnist",
        "70,000 handwritten digits of 28x28 pixels",
        (
            _remote(
                _MNIST_HOSTS,
                "train-images-idx3-ubyte.gz",
                9_912_422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            ),
            _remote(
                _MNIST_HOSTS,
                "train-labels-idx1-ubyte.gz",
                28_881,
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            ),
            _remote(
                _MNIST_HOSTS,
                "t10k-images-idx3-ubyte.gz",
                1_648_877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            ),
            _remote(
                _MNIST_HOSTS,
                "t10k-labels-idx1-ubyte.gz",
                4_542,
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
        ),
        _read_idx,
        tuple(map(str, range(10))),
    ),
    NamedSet(
        "fashion-mnist",
        "70,000 pictures of clothing of 28x28 pixels",
        (
            _remote(
                _FASHION_HOSTS,
                "train-images-idx3-ubyte.gz",
                26_421_880,
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            ),
            _remote(
                _FASHION_HOSTS,
                "train-labels-idx1-ubyte.gz",
                29_515,
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            ),
            _remote(
                _FASHION_HOSTS,
                "t10k-images-idx3-ubyte.gz",
                4_422_102,
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            ),
            _remote(
                _FASHION_HOSTS,
                "t10k-labels-idx1-ubyte.gz",
                5_148,
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            ),
        ),
        _read_idx,
        _FASHION_CLASSES,
    ),
    NamedSet(
        "cifar10",
        "60,000 colour photographs of 32x32 pixels in 10 classes",
        (
            _remote(
                ("https://www.cs.toronto.edu/~kriz/",),
                ARCHIVE,
                170_052_171,
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            ),
        ),
        _read_cifar10,
        CIFAR_CLASSES,
    ),
    NamedSet(
        "adult",
        "48,842 people of the 1994 census: income above 50,000 dollars or not",
        (
            _remote(
                (f"{_UCI}/adult/",),
                "adult.data",
                3_974_305,
                "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",
            ),
            _remote(
                (f"{_UCI}/adult/",),
                "adult.test",
                2_003_153,
                "a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05",
            ),
        ),
        _read_adult,
    ),
    NamedSet(
        "california-housing",
        "20,640 districts of the 1990 census: median house value in dollars",
        (
            _remote(
                ("https://raw.githubusercontent.com/ageron/handson-ml2/master/datasets/housing/",),
                "housing.csv",
                1_423_529,
                "8a3727f4cf54ac1a327f69b1d5b4db54c5834ea81c6e4efc0d163300022a685e",
            ),
        ),
        _read_housing,
    ),
    NamedSet(
        "wine-quality",
        "6,497 Portuguese wines: grade from 11 measurements",
        (
            _remote(
                (f"{_UCI}/wine-quality/",),
                "winequality-red.csv",
                84_199,
                "4a402cf041b025d4566d954c3b9ba8635a3a8a01e039005d97d6a710278cf05e",
            ),
            _remote(
                (f"{_UCI}/wine-quality/",),
                "winequality-white.csv",
                264_426,
                "76c3f809815c17c07212622f776311faeb31e87610d52c26d87d6e361b169836",
            ),
        ),
        _read_wine,
    ),
)
NAMED_SETS: dict[str, NamedSet] = {entry.name: entry for entry in _ENTRIES}
