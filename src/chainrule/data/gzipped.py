"""Gzip: unpacking with a bound and with errors that name file and place.

Takes: the bytes of a file that may be gzip. Gives: the unpacked bytes.
The one idea: unpack in pieces and stop as soon as more comes than was promised, so that no
damaged or hostile file can ask for more memory than its own content is worth.
"""

from __future__ import annotations

import zlib
from pathlib import Path

from chainrule.core.errors import DataError

__all__ = ["GZIP_MAGIC", "MAX_RATIO", "gunzip", "is_gzip", "unpack"]

GZIP_MAGIC = b"\x1f\x8b"
# Deflate cannot expand by more than this (zlib's technical details: 1032:1).
MAX_RATIO = 1032
# Bytes fed to and taken from the decompressor at a time.
PIECE = 1 << 20
_GZIP_WINDOW = 31  # zlib's code for "a gzip header, the largest window"


def is_gzip(raw: bytes) -> bool:
    """Return whether the bytes begin like a gzip file (names lie, magic numbers rarely do)."""
    return raw[:2] == GZIP_MAGIC


def unpack(raw: bytes, path: Path, *, limit: int | None = None) -> bytes | bytearray:
    """Return ``raw`` itself, or its content if it is gzip (see `gunzip`)."""
    return gunzip(raw, path, limit=limit) if is_gzip(raw) else raw


def gunzip(raw: bytes, path: Path, *, limit: int | None = None) -> bytearray:
    """Unpack gzip data of one or several members, checking every checksum.

    Args:
        raw: The whole compressed file.
        path: Its path, for messages.
        limit: Stop after that many unpacked bytes: the result is then cut there, and what
            follows is not examined. None: unpack and check everything.

    Returns:
        The unpacked bytes (a bytearray: an array made of it can be written to).

    Raises:
        DataError: The data is truncated or damaged, or something else follows it.
    """
    view, at, out = memoryview(raw), 0, bytearray()
    while at < len(view):
        if out and not any(view[at:]):
            break  # zero padding after the last member is legal
        if view[at : at + 2] != GZIP_MAGIC:
            raise DataError(f"{path}, byte {at:,}: {len(view) - at:,} bytes after the gzip data")
        at = _gunzip_member(view, at, out, path, limit)
        if limit is not None and len(out) >= limit:
            break
    return out if limit is None or len(out) <= limit else out[:limit]


def _gunzip_member(view: memoryview, at: int, out: bytearray, path: Path, limit: int | None) -> int:
    """Append one member to ``out``; returns the offset behind it."""
    member = zlib.decompressobj(_GZIP_WINDOW)
    while not member.eof:
        feed = member.unconsumed_tail or view[at : at + PIECE]
        if not member.unconsumed_tail:
            at += len(feed)
        if not feed:
            raise DataError(
                f"{path}: truncated: the gzip data ends after {len(out):,} unpacked bytes",
                hint="copy or download the file again",
            )
        try:
            out += member.decompress(feed, PIECE)
        except zlib.error as error:
            raise DataError(
                f"{path}: damaged gzip data after {len(out):,} unpacked bytes ({error})",
                hint="copy or download the file again",
            ) from error
        if limit is not None and len(out) >= limit:
            break
    return at - len(member.unused_data)
