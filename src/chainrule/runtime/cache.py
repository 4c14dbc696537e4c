"""Cache: machine code kept on disk between processes.

Takes: what a piece of code depends on, as text. Gives: the code, if it was kept before.
The one idea: a key names everything that the code depends on, so an entry is either right or
damaged; a digest tells, and a damaged entry is as good as none.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from chainrule.codegen import machine
from chainrule.core import config
from chainrule.core.errors import ChainruleError
from chainrule.core.files import write_atomic

_SUFFIX = ".code"
_DIGEST_BYTES = hashlib.sha256().digest_size
# After the limit is passed, so much of it is kept.
_KEPT_SHARE = 0.8
# Unfinished files of processes that were killed.
_STALE_SECONDS = 3600
# The rooms whose source text decides what code becomes of a kernel, and what plan of a program.
_CODE_ROOMS = ("ir", "codegen")
_PLAN_ROOMS = ("core", "graph", "ops", "compiler", "runtime", *_CODE_ROOMS)


def key_of(kind: str, text: str) -> str:
    """Return the name of an entry: a digest of what the code depends on."""
    rooms = _PLAN_ROOMS if kind == "plan" else _CODE_ROOMS
    whole = "\0".join((kind, _surroundings(rooms), text))
    return hashlib.sha256(whole.encode()).hexdigest()


def fetch(key: str) -> bytes | None:
    """Return what was kept under a key, or None; a damaged entry is removed."""
    path = _path(key)
    if path is None:
        return None
    try:
        raw = path.read_bytes()
    except OSError:
        return None
    digest, content = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
    sound = hashlib.sha256(content).digest() == digest
    with contextlib.suppress(OSError):
        if sound:
            os.utime(path)  # the entries used longest ago are removed first
        else:
            path.unlink()
    return content if sound else None


def store(key: str, content: bytes) -> None:
    """Keep code under a key; a folder that cannot be written is no error."""
    path = _path(key)
    limit = config.code_cache_bytes()
    if path is None or len(content) > limit:
        return
    with contextlib.suppress(OSError, ChainruleError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # An entry that a failure of the machine spoils is found out by its digest.
        write_atomic(path, hashlib.sha256(content).digest() + content, durable=False)
        _shrink(path.parent, limit)


def kept(kind: str, text: str, make: Callable[[], bytes]) -> bytes:
    """Return the code that belongs to a text, from the cache or made anew."""
    key = key_of(kind, text)
    code = fetch(key)
    if code is None:
        code = make()
        store(key, code)
    return code


def _path(key: str) -> Path | None:
    """Return where an entry is kept; None: nowhere."""
    if not config.code_cache_bytes():
        return None
    try:
        return config.cache_dir() / "code" / f"{key}{_SUFFIX}"
    except RuntimeError:  # there is no home folder
        return None


@lru_cache
def _surroundings(rooms: tuple[str, ...]) -> str:
    """Return what all code depends on: this version's source files, LLVM, the processor."""
    package = Path(__file__).parent.parent
    sources = []
    for room in rooms:
        for entry in sorted(os.scandir(package / room), key=lambda e: e.name):
            if entry.name.endswith(".py"):
                status = entry.stat()
                sources.append(f"{entry.name} {status.st_size} {status.st_mtime_ns}")
    return "\n".join((machine.identity(), *sources))


def _shrink(folder: Path, limit: int) -> None:
    """Remove the entries used longest ago if all together are larger than the limit."""
    entries, total = [], 0
    for entry in os.scandir(folder):
        with contextlib.suppress(OSError):
            status = entry.stat()
            if entry.name.endswith(_SUFFIX):
                entries.append((status.st_mtime, status.st_size, entry.path))
                total += status.st_size
            elif entry.name.endswith(".part") and time.time() - status.st_mtime > _STALE_SECONDS:
                os.unlink(entry.path)
    if total <= limit:
        return
    for _, size, path in sorted(entries):
        with contextlib.suppress(OSError):
            os.unlink(path)
        total -= size
        if total <= limit * _KEPT_SHARE:
            return
