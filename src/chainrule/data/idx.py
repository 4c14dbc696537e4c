"""IDX: the format of MNIST and its successors.

Takes: an IDX file, plain or gzip. Gives: its array.
The one idea: the header says exactly how many bytes follow, so this is checked against what
the file can hold before anything of that size is allocated.

Format (Y. LeCun, "The MNIST database", 1998): two zero bytes, a type code, the number of
axes; one big-endian 32-bit size an axis; the elements, big-endian, last axis fastest.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np

from chainrule.core.errors import DataError
from chainrule.core.files import read_bytes
from chainrule.data.examples import Array
from chainrule.data.gzipped import MAX_RATIO, is_gzip, unpack

__all__ = ["idx_pair", "read_idx"]

IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
# NumPy's own limit is 64 axes; no data set has more than a handful.
MAX_AXES = 8


def read_idx(path: Path) -> Array:
    """Read an IDX file.

    Args:
        path: A file such as ``train-images-idx3-ubyte.gz``; gzip is recognised by content.

    Returns:
        The array, in native byte order.

    Raises:
        DataError: The file is missing, no IDX file, truncated, damaged, or longer than said.
    """
    raw = read_bytes(path)
    head = bytes(unpack(raw, path, limit=4 + 4 * 255))
    dtype, shape = _parse_header(head, path)
    start = 4 + 4 * len(shape)
    size = math.prod(shape) * dtype.itemsize
    described = f"{'x'.join(map(str, shape))} elements of {dtype.itemsize} byte(s)"
    largest = len(raw) * (MAX_RATIO if is_gzip(raw) else 1)
    if start + size > largest:
        raise DataError(
            f"{path}: truncated or damaged: the header promises {described} "
            f"({size:,} bytes), the file of {len(raw):,} bytes cannot hold them"
        )
    # One byte more than promised: so gzip reaches its end, where the checksum is.
    content = unpack(raw, path, limit=start + size + 1)
    if len(content) != start + size:
        count = "more" if len(content) > start + size else f"{max(0, len(content) - start):,}"
        raise DataError(
            f"{path}: the header promises {described} ({size:,} bytes), but {count} follow",
            hint="copy or download the file again",
        )
    try:
        array = np.frombuffer(content, dtype, offset=start).reshape(shape)
    except ValueError as error:
        raise DataError(f"{path}: impossible shape {shape}: {error}") from error
    return array.astype(dtype.newbyteorder("="), copy=False)


def idx_pair(images_path: Path, labels_path: Path) -> tuple[Array, Array]:
    """Read the two files of an MNIST-like part.

    Returns:
        Images uint8 [N, 1, H, W] and labels int64 [N].

    Raises:
        DataError: Either file is damaged, or the two do not belong together.
    """
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.ndim != 3 or images.dtype != np.uint8 or 0 in images.shape:
        raise DataError(
            f"{images_path}: {images.dtype} {list(images.shape)}, expected images uint8 [N, H, W]"
        )
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(
            f"{labels_path}: {labels.dtype} {list(labels.shape)}, expected labels uint8 [N]"
        )
    if len(images) != len(labels):
        raise DataError(
            f"{labels_path}: {len(labels):,} labels for {len(images):,} images in {images_path}"
        )
    return images[:, None], labels.astype(np.int64)


def _parse_header(head: bytes, path: Path) -> tuple[np.dtype[np.generic], tuple[int, ...]]:
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in IDX_TYPES:
        raise DataError(
            f"{path}, byte 0: not an IDX file: it begins with {head[:4].hex(' ') or 'nothing'}, "
            "expected 00 00, a type code (08, 09, 0b to 0e) and the number of axes"
        )
    axes = head[3]
    if not 1 <= axes <= MAX_AXES:
        raise DataError(f"{path}, byte 3: {axes} axes, expected 1 to {MAX_AXES}")
    if len(head) < 4 + 4 * axes:
        raise DataError(f"{path}, byte {len(head)}: truncated in the header")
    return np.dtype(IDX_TYPES[head[2]]), struct.unpack(f">{axes}I", head[4 : 4 + 4 * axes])
