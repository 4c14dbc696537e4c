"""Tensor files: named arrays as one file in the safetensors format.

Takes: arrays by name, and texts about them. Gives: bytes, and from bytes the same arrays.
The one idea: the format is a length, a JSON table and raw elements, so reading it cannot run
anything; every number of the table is checked before an element is touched.

Format (huggingface.co/docs/safetensors): 8 bytes length of the header, little endian; the header,
JSON, ``{"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...,
"__metadata__": {"key": "text"}}``; the elements, row by row, in order and without gaps.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

import numpy as np

from chainrule.core.dtype import (
    Array,
    DType,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from chainrule.core.errors import ArgumentError, DataError
from chainrule.graph.tensor import Tensor, make

__all__ = ["Contents", "decode", "encode"]

CODES = {
    "BOOL": bool_,
    "U8": uint8,
    "I8": int8,
    "U16": uint16,
    "I16": int16,
    "U32": uint32,
    "I32": int32,
    "U64": uint64,
    "I64": int64,
    "F16": float16,
    "BF16": bfloat16,
    "F32": float32,
    "F64": float64,
}
_CODE_OF = {dtype: code for code, dtype in CODES.items()}
_KEYS = {"dtype", "shape", "data_offsets"}

METADATA = "__metadata__"
# Our own entry among the texts: a digest over everything else in the file.
DIGEST = "chainrule.sha256"
# The format's own limit on a header, in bytes.
MAX_HEADER = 100_000_000
# Elements begin at a multiple of this, so that they can be mapped into memory as they lie.
ALIGNMENT = 8


class Contents(NamedTuple):
    """What a tensor file holds."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]


def encode(
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str] | None = None,
    *,
    sign: bool = True,
) -> bytes:
    """Return the file for tensors by name; the same tensors give the same bytes.

    Args:
        tensors: Of any dtype.
        metadata: Texts to keep with them.
        sign: Whether to add a digest over everything, which `decode` then checks.

    Raises:
        ArgumentError: A name is that of the metadata, or a text is none.
    """
    # Large elements first keeps every array aligned to the size of its elements.
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    table: dict[str, Any] = {}
    chunks: list[bytes] = []
    offset = 0
    for name in order:
        tensor = tensors[name]
        if name == METADATA:
            raise ArgumentError(f"tensor file: the name {METADATA!r} is reserved by the format")
        raw = _bytes_of(tensor.array)
        end = offset + len(raw)
        code = _CODE_OF[tensor.dtype]
        table[name] = {"dtype": code, "shape": list(tensor.shape), "data_offsets": [offset, end]}
        chunks.append(raw)
        offset = end
    texts = _checked_texts(metadata or {})
    if sign:
        texts[DIGEST] = _digest(table, texts, chunks)
    header = _json({METADATA: texts, **table} if texts else table)
    header += b" " * (-len(header) % ALIGNMENT)
    return b"".join([len(header).to_bytes(8, "little"), header, *chunks])


def decode(content: bytes, where: str) -> Contents:
    """Return the tensors and texts of a file.

    A file with a digest of ours is checked against it; others need only be well-formed.

    Args:
        content: The whole file.
        where: Its path, for the text of errors.

    Raises:
        DataError: It is truncated, damaged, or no file of this format.
    """
    table, start = _header(content, where)
    texts = table.pop(METADATA, {})
    if not isinstance(texts, dict) or not all(isinstance(v, str) for v in texts.values()):
        _fail(where, "its metadata are no texts")
    data = memoryview(content)[start:]
    places = sorted((_place(name, entry, where) for name, entry in table.items()), key=_by_begin)
    position = 0
    for place in places:
        if place.begin != position:
            _fail(where, f"tensor {place.name!r} begins at byte {place.begin}, not {position}")
        position = place.end
    if position != len(data):
        _fail(where, f"{len(data):,} bytes of elements, its header says {position:,}")
    if DIGEST in texts:
        rest = {key: text for key, text in texts.items() if key != DIGEST}
        if _digest(table, rest, [data]) != texts[DIGEST]:
            _fail(where, "the contents differ from the digest that was written with them")
        texts = rest
    return Contents({place.name: _tensor(place, data) for place in places}, texts)


class _Place(NamedTuple):
    name: str
    dtype: DType
    shape: tuple[int, ...]
    begin: int
    end: int


def _by_begin(place: _Place) -> tuple[int, int]:
    return place.begin, place.end


def _header(content: bytes, where: str) -> tuple[dict[str, Any], int]:
    if len(content) < 8:
        _fail(where, f"{len(content)} bytes are too few")
    length = int.from_bytes(content[:8], "little")
    if length > min(len(content) - 8, MAX_HEADER):
        _fail(where, f"a header of {length:,} bytes in a file of {len(content):,}")
    try:
        table = json.loads(content[8 : 8 + length], object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError) as error:
        _fail(where, f"its header is no JSON ({error})")
    if not isinstance(table, dict):
        _fail(where, "its header is no JSON object")
    return table, 8 + length


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _place(name: str, entry: object, where: str) -> _Place:
    if not isinstance(entry, dict) or set(entry) != _KEYS:
        _fail(where, f"tensor {name!r} has no dtype, shape and data_offsets")
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(code, str) or code not in CODES:
        _fail(where, f"tensor {name!r} has the dtype {code!r}, known are {', '.join(CODES)}")
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
        _fail(where, f"tensor {name!r} has the shape {shape!r} at {offsets!r}")
    size = math.prod(shape) * CODES[code].itemsize
    if offsets[1] - offsets[0] != size:
        _fail(
            where,
            f"tensor {name!r}, {code} {shape}, takes {size:,} bytes, "
            f"its place has {offsets[1] - offsets[0]:,}",
        )
    return _Place(name, CODES[code], tuple(shape), offsets[0], offsets[1])


def _are_sizes(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(size, int) and not isinstance(size, bool) and 0 <= size < 2**63 for size in value
    )


def _tensor(place: _Place, data: memoryview) -> Tensor:
    stored = place.dtype.storage.newbyteorder("<")
    flat = np.frombuffer(data[place.begin : place.end], dtype=stored)
    # A copy: aligned, in the machine's byte order, and independent of the file's bytes.
    return make(flat.reshape(place.shape).astype(place.dtype.storage), place.dtype)


def _bytes_of(array: Array) -> bytes:
    return np.asarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()


def _checked_texts(metadata: Mapping[str, str]) -> dict[str, str]:
    for key, text in metadata.items():
        if not isinstance(key, str) or not isinstance(text, str) or key == DIGEST:
            raise ArgumentError(f"tensor file: metadata {key!r}: {text!r} is no text under a name")
    return dict(metadata)


def _digest(
    table: Mapping[str, Any], texts: Mapping[str, str], chunks: list[bytes] | list[memoryview]
) -> str:
    digest = hashlib.sha256(_json([table, texts]))
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _fail(where: str, what: str) -> NoReturn:
    raise DataError(f"{where}: damaged, or not a safetensors file: {what}")
