"""CIFAR-10 in the layouts in which it is found, none of which needs a pickle.

Takes: a folder with the official binary files, the official archive of them, or packed
batches. Gives: images uint8 [N, 3, 32, 32] and labels int64 [N].
The one idea: all layouts are read in place; the archive is never unpacked onto the disk.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. A record
of the binary version is one label byte and 3,072 pixel bytes (red, green, blue planes).
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from chainrule.core.errors import DataError
from chainrule.core.files import read_bytes, read_error
from chainrule.data.examples import Array
from chainrule.data.npy import read_npz
from chainrule.data.packed import unpack_images

__all__ = ["ARCHIVE", "CIFAR_CLASSES", "find_cifar", "read_cifar"]

CIFAR_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
ARCHIVE = "cifar-10-binary.tar.gz"
_INNER = "cifar-10-batches-bin"
_TRAIN = tuple(f"data_batch_{i}" for i in range(1, 6))
_TEST = "test_batch"
_RECORD = 1 + 3 * 32 * 32
_BATCH = 10_000  # images in each official batch

Part = tuple[Array, Array]  # images, labels


def find_cifar(folder: Path) -> Path | None:
    """Return the place inside ``folder`` that holds CIFAR-10 in a known layout, or None."""
    for inner in (folder / _INNER, folder):
        if (inner / f"{_TEST}.bin").is_file():
            return inner
    if (folder / ARCHIVE).is_file():
        return folder / ARCHIVE
    return folder if (folder / f"{_TEST}.npz").is_file() else None


def read_cifar(place: Path) -> tuple[Part, Part, int]:
    """Read CIFAR-10 from a place that `find_cifar` returned.

    Returns:
        Training part, test part, and how many of the five training batches were there.

    Raises:
        DataError: A file is missing, truncated or damaged.
    """
    if place.is_file():
        batches = _from_archive(place)
    elif (place / f"{_TEST}.bin").is_file():
        files = {name: place / f"{name}.bin" for name in (*_TRAIN, _TEST)}
        batches = {
            name: _parse_records(read_bytes(path, limit=_RECORD * _BATCH), path)
            for name, path in files.items()
            if path.is_file()
        }
    else:
        files = {name: place / f"{name}.npz" for name in (*_TRAIN, _TEST)}
        there = {name: path for name, path in files.items() if path.is_file()}
        with ThreadPoolExecutor(max_workers=2) as pool:
            arrays = [_read_packed(path) for path in there.values()]
            batches = dict(zip(there, pool.map(_unpack, arrays, there.values()), strict=True))
    train = [batches[name] for name in _TRAIN if name in batches]
    if not train or _TEST not in batches:
        raise DataError(
            f"{place}: no training batch beside {_TEST}", hint="data_batch_1 to data_batch_5"
        )
    images = np.concatenate([images for images, _ in train])
    labels = np.concatenate([labels for _, labels in train])
    return (images, labels), batches[_TEST], len(train)


def _parse_records(raw: bytes, path: Path | str) -> Part:
    if len(raw) == 0 or len(raw) % _RECORD:
        whole, rest = divmod(len(raw), _RECORD)
        raise DataError(
            f"{path}: truncated or damaged: {whole:,} records of {_RECORD:,} bytes "
            f"and {rest:,} bytes more",
            hint="copy or download the file again",
        )
    records = np.frombuffer(raw, np.uint8).reshape(-1, _RECORD)
    labels = records[:, 0].astype(np.int64)
    if labels.max() >= len(CIFAR_CLASSES):
        at = int(np.argmax(labels >= len(CIFAR_CLASSES)))
        raise DataError(f"{path}, byte {at * _RECORD:,}: class {labels[at]}, expected 0 to 9")
    return records[:, 1:].reshape(-1, 3, 32, 32).copy(), labels


def _from_archive(path: Path) -> dict[str, Part]:
    """Read the batches out of the official archive without writing anything to disk."""
    wanted = {f"{_INNER}/{name}.bin": name for name in (*_TRAIN, _TEST)}
    batches: dict[str, Part] = {}
    try:
        # As a stream: members are met in order, and no name inside is ever used as a path.
        with tarfile.open(path, mode="r|gz") as archive:
            for member in archive:
                name = wanted.get(member.name)
                if name is None or not member.isreg() or name in batches:
                    continue
                if member.size != _RECORD * _BATCH:
                    raise DataError(
                        f"{path}, {member.name}: {member.size:,} bytes, "
                        f"expected {_RECORD * _BATCH:,}"
                    )
                stream = archive.extractfile(member)
                raw = b"" if stream is None else stream.read()
                batches[name] = _parse_records(raw, f"{path}, {member.name}")
    except DataError:
        raise
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
        raise DataError(
            f"{path}: damaged archive: {error}", hint="copy or download the file again"
        ) from error
    except OSError as error:
        raise read_error(path, error) from error
    return batches


def _read_packed(path: Path) -> dict[str, Array]:
    arrays = read_npz(path)
    labels = arrays.get("labels")
    if labels is None or labels.ndim != 1 or labels.dtype != np.uint8 or not len(labels):
        raise DataError(f"{path}: no labels uint8 [N]")
    if labels.max() >= len(CIFAR_CLASSES):
        raise DataError(f"{path}: class {labels.max()}, expected 0 to 9")
    return arrays


def _unpack(arrays: dict[str, Array], path: Path) -> Part:
    labels = arrays["labels"]
    return unpack_images(arrays, len(labels), path), labels.astype(np.int64)
