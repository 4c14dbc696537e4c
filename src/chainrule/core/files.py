"""Files: writing whole or not at all, reading with clear errors.

Takes: a path and bytes. Gives: a file that is complete on disk, or an error and no file.
The one idea: write a temporary file beside the target, fsync it, rename it over the target,
fsync the folder; a crash at any moment leaves the old file or the new one, never a mixture.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
from pathlib import Path
from typing import Any

from chainrule.core.errors import DataError

__all__ = ["read_bytes", "read_json", "write_atomic", "write_json_atomic"]

# A configuration or state file of ours is far below this; a larger one is damaged or foreign.
MAX_JSON_BYTES = 256 * 2**20


def write_atomic(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Write ``content`` to ``path`` whole or not at all.

    Args:
        path: Where to.
        content: What.
        durable: Whether to wait until it would outlive a failure of the machine.

    Raises:
        DataError: The folder is missing or cannot be written, or the disk is full.
    """
    temporary = ""
    try:
        temporary = str(path.parent / f".{path.name}.{secrets.token_hex(6)}.part")
        with open(temporary, "xb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
        if durable:
            _sync_folder(path.parent)
    except OSError as error:
        raise _write_error(path, error, len(content)) from error
    finally:
        # After a successful rename the temporary name no longer exists.
        if temporary:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)


def write_json_atomic(path: Path, value: Any) -> None:
    """Write ``value`` as indented UTF-8 JSON, whole or not at all (NaN and inf are refused)."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomic(path, (text + "\n").encode())


def read_bytes(path: Path, *, limit: int | None = None) -> bytes:
    """Read a whole file.

    Raises:
        DataError: It does not exist, is a folder, cannot be read, or exceeds ``limit`` bytes.
    """
    try:
        with open(path, "rb") as file:
            if limit is not None and os.fstat(file.fileno()).st_size > limit:
                size = os.fstat(file.fileno()).st_size
                raise DataError(f"{path}: {size:,} bytes, expected at most {limit:,}")
            return file.read()
    except OSError as error:
        raise read_error(path, error) from error


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: It cannot be read, or is not valid UTF-8 JSON (line and column are named).
    """
    raw = read_bytes(path, limit=MAX_JSON_BYTES)
    try:
        return json.loads(raw)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise DataError(f"{path}, {where}: not valid JSON: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}, byte {error.start}: not valid UTF-8") from error
    except RecursionError:
        raise DataError(f"{path}: JSON nested too deeply") from None
    except ValueError:  # Python refuses integers of more than 4,300 digits
        raise DataError(f"{path}: not valid JSON: a number of too many digits") from None


def read_error(path: Path, error: OSError) -> DataError:
    """Build the error for a file that cannot be read."""
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path}: no such file or folder")
    if isinstance(error, IsADirectoryError):
        return DataError(f"{path}: is a folder, expected a file")
    if isinstance(error, PermissionError):
        return DataError(f"{path}: no permission to read it")
    return DataError(f"{path}: cannot be read: {error.strerror or error}")


def _write_error(path: Path, error: OSError, size: int) -> DataError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DataError(
            f"{path}: the disk is full (writing {size:,} bytes); nothing was changed",
            hint="free some space and run the same command again",
        )
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path}: the folder {path.parent} does not exist")
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return DataError(f"{path}: no permission to write there")
    return DataError(f"{path}: cannot be written: {error.strerror or error}")


def _sync_folder(folder: Path) -> None:
    # Windows cannot open a folder; there the rename is durable by itself.
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
