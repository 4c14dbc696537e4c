"""Packed images: small colour pictures, losslessly predicted and then deflated.

Takes: the arrays of a packed batch. Gives: its images uint8 [N, 3, 32, 32].
The one idea: each pixel was predicted from neighbours that the reader has already decoded;
stored is (pixel - prediction) mod 256, in one of K streams, chosen by how restless the
neighbourhood is. All arithmetic is on integers, so decoding is exact everywhere.

Arrays: ``weights`` int32 [3, 17], predictor of each channel in 1/4096; ``limits`` int32
[3, K-1], bounds between streams; ``sizes`` int64 [3, K], bytes of each stream; ``payload``
uint8, the streams, raw deflate. Channels are stored in the order green, red, blue.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from chainrule.core.errors import DataError
from chainrule.data.examples import Array

__all__ = ["unpack_images"]

SIDE = 32
PIXELS = SIDE * SIDE
ORDER = (1, 0, 2)  # green first, for it predicts the other two best
SHIFT = 12
MAX_STREAMS = 256
# Above this a prediction could leave 32 bits: 17 weights x 255 x 2^17 < 2^31.
MAX_WEIGHT = 1 << 17


def unpack_images(arrays: dict[str, Array], count: int, path: Path) -> Array:
    """Decode a packed batch.

    Args:
        arrays: The arrays ``weights``, ``limits``, ``sizes`` and ``payload``.
        count: Number of images.
        path: Where they came from, for messages.

    Returns:
        Images uint8 [N, 3, 32, 32].

    Raises:
        DataError: An array is missing or of another shape, or a stream is damaged.
    """
    weights, limits, streams = _check(arrays, count, path)
    neighbours = _neighbours()
    # [channel, pixel, image]; the last pixel is a constant plane that stands for "outside".
    planes = np.full((3, PIXELS + 1, count), 128, np.int32)
    restless = np.zeros((3, PIXELS + 1, count), np.int32)
    used = np.zeros((3, limits.shape[1] + 1), np.int64)
    for p in range(PIXELS):
        around = neighbours[p]
        for k, channel in enumerate(ORDER):
            activity = _activity(planes, restless, k, p, around)
            which = np.searchsorted(limits[k], activity, side="right").astype(np.uint8)
            symbols = _take_symbols(streams[k], used[k], which)
            if symbols is None:
                raise DataError(f"{path}: damaged: a stream of channel {k} is too short")
            predicted = _predict(planes, weights[k], k, p, around)
            planes[channel, p] = (predicted + symbols) & 255
            restless[channel, p] = np.minimum(symbols, 256 - symbols)
    pixels = planes[:, :PIXELS].transpose(2, 0, 1).astype(np.uint8)
    return pixels.reshape(count, 3, SIDE, SIDE)


def _check(
    arrays: dict[str, Array], count: int, path: Path
) -> tuple[Array, Array, list[list[Array]]]:
    for name, dtype, axes in (
        ("weights", np.int32, 2),
        ("limits", np.int32, 2),
        ("sizes", np.int64, 2),
        ("payload", np.uint8, 1),
    ):
        array = arrays.get(name)
        if array is None or array.dtype != dtype or array.ndim != axes:
            raise DataError(f"{path}: no array {name!r} of {np.dtype(dtype)} with {axes} axes")
    weights, limits, sizes = arrays["weights"], arrays["limits"], arrays["sizes"]
    k = sizes.shape[1]
    shapes_fit = weights.shape == (3, 17) and limits.shape == (3, k - 1) and len(sizes) == 3
    shapes_fit = shapes_fit and bool(np.all((weights > -MAX_WEIGHT) & (weights < MAX_WEIGHT)))
    if not shapes_fit or not 1 <= k <= MAX_STREAMS or np.any(np.diff(limits, axis=1) < 0):
        raise DataError(f"{path}: damaged: the arrays of the packed images do not fit together")
    payload = arrays["payload"].tobytes()
    if np.any(sizes < 0) or np.any(sizes > len(payload)) or int(sizes.sum()) != len(payload):
        raise DataError(f"{path}: damaged: the sizes of the streams do not add up")
    streams: list[list[Array]] = []
    at = 0
    for row in sizes.tolist():
        streams.append([])
        for size in row:
            streams[-1].append(_inflate(payload[at : at + size], count, path))
            at += size
        total = sum(map(len, streams[-1]))
        if total != PIXELS * count:
            raise DataError(f"{path}: damaged: {total:,} pixels for {count:,} images")
    return weights, limits, streams


def _inflate(raw: bytes, count: int, path: Path) -> Array:
    stream = zlib.decompressobj(-15)
    try:
        content = stream.decompress(raw, PIXELS * count + 1)
    except zlib.error as error:
        raise DataError(f"{path}: damaged stream: {error}") from error
    return np.frombuffer(content, np.uint8)


def _neighbours() -> list[tuple[int, ...]]:
    """Positions west, north, north-west, north-east, two west and two north of each pixel."""
    table: list[tuple[int, ...]] = []
    for p in range(PIXELS):
        y, x = divmod(p, SIDE)
        above = p - SIDE if y else PIXELS
        west = p - 1 if x else above
        north = p - SIDE if y else west
        north_west = p - SIDE - 1 if x and y else (west if x else north)
        north_east = p - SIDE + 1 if y and x < SIDE - 1 else north
        far_west = p - 2 if x > 1 else west
        far_north = p - 2 * SIDE if y > 1 else north
        table.append((west, north, north_west, north_east, far_west, far_north))
    return table


def _predict(planes: Array, weights: Array, k: int, p: int, around: tuple[int, ...]) -> Array:
    own = planes[ORDER[k]]
    features = [own[i] for i in around]
    for channel in ORDER[:k]:
        features.append(planes[channel, p])
        features += [planes[channel, i] for i in around[:4]]
    total = np.full(planes.shape[2], 128 * int(weights[16]) + (1 << (SHIFT - 1)), np.int32)
    for feature, weight in zip(features, weights, strict=False):
        total += feature * weight
    result: Array = np.clip(total >> SHIFT, 0, 255)
    return result


def _activity(planes: Array, restless: Array, k: int, p: int, around: tuple[int, ...]) -> Array:
    west, north, north_west, north_east = around[:4]
    own, rough = planes[ORDER[k]], restless[ORDER[k]]
    total = np.abs(own[west] - own[north_west]) + np.abs(own[north] - own[north_west])
    total += np.abs(own[north] - own[north_east])
    total += 2 * (rough[west] + rough[north]) + rough[north_west] + rough[north_east]
    for i, channel in enumerate(ORDER[:k]):
        total += (6 if i == k - 1 else 3) * restless[channel, p]
    result: Array = total
    return result


def _take_symbols(streams: list[Array], used: Array, which: Array) -> Array | None:
    """Return the next symbol [N] for each image from the stream that is its turn."""
    order = np.argsort(which, kind="stable")
    counts = np.bincount(which, minlength=len(streams))
    parts = [
        stream[start : start + n]
        for stream, start, n in zip(streams, used.tolist(), counts.tolist(), strict=True)
    ]
    ordered = np.concatenate(parts)
    if len(ordered) != len(which):
        return None
    used += counts
    symbols = np.empty(len(which), np.int32)
    symbols[order] = ordered
    return symbols
