"""NumPy's files: .npy and .npz, read without ever trusting them.

Takes: a .npy file or a .npz archive. Gives: arrays of numbers, booleans or text.
The one idea: the header is parsed first and refused if it asks for objects (pickles) or for
more bytes than the file holds; only then are exactly that many bytes read.

Format: NumPy enhancement proposal 1 (R. Kern, 2007); an .npz is a zip of .npy files.
"""

from __future__ import annotations

import io
import math
import struct
import tokenize
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.lib import format as npy_format

from chainrule.core.errors import DataError
from chainrule.core.files import read_bytes, read_error
from chainrule.data.examples import Array
from chainrule.data.gzipped import MAX_RATIO

__all__ = ["read_npy", "read_npz"]

# What a damaged header can make NumPy's header parser raise (it evaluates a literal).
_HEADER_ERRORS = (
    ValueError,
    TypeError,
    SyntaxError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    RecursionError,
    MemoryError,
    EOFError,
    struct.error,
    tokenize.TokenError,
)
# What a damaged archive can make zipfile raise; RuntimeError: an encrypted member.
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    KeyError,
    OverflowError,
    struct.error,
)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_AGAIN = "copy or download the file again"
_NO_PICKLES = (
    "objects would have to be unpickled, which can run any program; "
    "save numbers or text: np.savez('data.npz', x=x.astype('float32'), y=y)"
)


def read_npy(path: Path) -> Array:
    """Read a .npy file.

    Returns:
        The array, in native byte order.

    Raises:
        DataError: The file is missing, damaged, truncated, or holds objects.
    """
    return _parse(read_bytes(path), str(path))


def read_npz(path: Path) -> dict[str, Array]:
    """Read all arrays of a .npz archive.

    Returns:
        Name to array, in the order of the archive.

    Raises:
        DataError: The file is missing, damaged, encrypted, or a member holds objects.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_members(archive, path)
    except DataError:
        raise
    except OSError as error:
        if error.errno is not None and not isinstance(error, zipfile.BadZipFile):
            raise read_error(path, error) from error
        raise DataError(f"{path}: damaged npz archive: {error}", hint=_AGAIN) from error
    except (*_ZIP_ERRORS, MemoryError) as error:
        raise DataError(f"{path}: damaged npz archive: {error}", hint=_AGAIN) from error


def _read_members(archive: zipfile.ZipFile, path: Path) -> dict[str, Array]:
    arrays: dict[str, Array] = {}
    size = path.stat().st_size
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        place = f"{path}, array {name!r}"
        if not member.filename.endswith(".npy"):
            continue
        if name in arrays:
            raise DataError(f"{place}: there are two of that name")
        if member.compress_type not in _METHODS:
            raise DataError(f"{place}: compressed in a way that NumPy does not use")
        ratio = MAX_RATIO if member.compress_type == zipfile.ZIP_DEFLATED else 1
        if member.compress_size > size or member.file_size > ratio * member.compress_size + 64:
            raise DataError(f"{place}: damaged: {member.file_size:,} bytes cannot be in there")
        try:
            with archive.open(member) as stream:
                # Reading one byte more than promised makes zipfile check the checksum.
                content = stream.read(member.file_size + 1)
        except (*_ZIP_ERRORS, MemoryError) as error:
            raise DataError(f"{place}: damaged: {error}", hint=_AGAIN) from error
        arrays[name] = _parse(content, place)
    if not arrays:
        raise DataError(f"{path}: no arrays in this archive")
    return arrays


def _parse(content: bytes, place: str) -> Array:
    """Parse one .npy image; ``place`` begins the messages."""
    stream = io.BytesIO(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a damaged type code may be a deprecated one
            version = npy_format.read_magic(stream)
            if version == (1, 0):
                shape, fortran, dtype = npy_format.read_array_header_1_0(stream)
            elif version == (2, 0):
                shape, fortran, dtype = npy_format.read_array_header_2_0(stream)
            else:
                raise DataError(f"{place}: npy version {version[0]}.{version[1]}, expected 1 or 2")
    except DataError:
        raise
    except _HEADER_ERRORS as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise DataError(f"{place}: not a readable npy header: {reason}", hint=_AGAIN) from error
    _check_type(dtype, place)
    if any(type(n) is not int or n < 0 for n in shape) or len(shape) > 64:
        raise DataError(f"{place}: impossible shape {shape}")
    start, size = stream.tell(), math.prod(shape) * dtype.itemsize
    if len(content) - start != size:
        raise DataError(
            f"{place}: the header promises {dtype} {list(shape)} ({size:,} bytes), "
            f"but {len(content) - start:,} follow",
            hint=_AGAIN,
        )
    try:
        flat = np.frombuffer(content, dtype, offset=start)
        array = flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)
        # A copy: aligned, writable, and in this machine's byte order.
        return array.astype(dtype.newbyteorder("="), order="C", copy=True)
    except (ValueError, MemoryError, SystemError, UnicodeError) as error:
        raise DataError(f"{place}: damaged array {dtype} {list(shape)}: {error}") from error


def _check_type(dtype: np.dtype[np.generic], place: str) -> None:
    if dtype.hasobject:
        raise DataError(f"{place}: holds Python objects: refused", hint=_NO_PICKLES)
    if dtype.fields is not None or dtype.subdtype is not None:
        raise DataError(
            f"{place}: structured type {dtype}, expected plain numbers",
            hint="save each field as an array of its own, or write a CSV file",
        )
    if dtype.kind not in "biufUS" or dtype.itemsize == 0:
        raise DataError(f"{place}: type {dtype}, expected numbers, booleans or text")
