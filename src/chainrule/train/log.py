"""The log of a run: metrics.jsonl, one JSON object a line.

Takes: rows of figures. Gives: a file that only grows, safely on disk after each epoch.
The one idea: a checkpoint remembers how long the file was; going on from it cuts the file there,
so the rows of epochs that are trained again do not stand twice.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from chainrule.core.errors import DataError
from chainrule.core.files import read_bytes

__all__ = ["Row", "RunLog", "figures"]

Row = dict[str, Any]


def figures(values: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the values that are numbers; those that are not finite as None, which JSON has."""
    return {
        name: float(value) if math.isfinite(value) else None
        for name, value in values.items()
        if isinstance(value, int | float)
    }


class RunLog:
    """The file metrics.jsonl of a run folder.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, rows: Iterable[Row]) -> int:
        """Write rows and return the length of the file, in bytes.

        Raises:
            DataError: They cannot be written.
        """
        text = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
        try:
            with open(self.path, "ab") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
                return file.tell()
        except OSError as error:
            raise DataError(
                f"{self.path}: cannot be written: {error.strerror or error}",
                hint="free some space, then go on with fit(..., resume=True)",
            ) from error

    def cut(self, length: int) -> list[Row]:
        """Cut the file to a length, and return the rows that are left.

        Raises:
            DataError: It is shorter already, or damaged.
        """
        if not length and not self.path.exists():
            return []
        content = read_bytes(self.path)
        if len(content) < length:
            raise DataError(
                f"{self.path}: {len(content):,} bytes, but {length:,} at the last checkpoint",
                hint="restore the file, or train anew in another folder",
            )
        rows = self._rows(content[:length])
        if len(content) > length:
            try:
                with open(self.path, "r+b") as file:
                    file.truncate(length)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                reason = error.strerror or error
                raise DataError(f"{self.path}: cannot be written: {reason}") from error
        return rows

    def _rows(self, content: bytes) -> list[Row]:
        rows = []
        for number, line in enumerate(content.splitlines(), 1):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                raise DataError(f"{self.path}, line {number}: damaged: no JSON object")
            rows.append(row)
        return rows
