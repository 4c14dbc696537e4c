"""Configuration: the only reader of environment variables.

Takes: the process environment. Gives: paths and switches, read when asked for.
The one idea: a setting has one name, one place and one documented default.
"""

from __future__ import annotations

import os
from pathlib import Path

from chainrule.core.errors import ArgumentError

__all__ = ["cache_dir", "code_cache_bytes", "data_dir", "debug", "dump_dir", "num_threads"]


def data_dir() -> Path | None:
    """Return the folder of ready data sets named by ``CHAINRULE_DATA``, or None."""
    value = os.environ.get("CHAINRULE_DATA", "")
    return Path(value).expanduser() if value else None


def cache_dir() -> Path:
    """Return the folder for downloads: ``CHAINRULE_CACHE``, else the user's cache folder."""
    value = os.environ.get("CHAINRULE_CACHE", "")
    if value:
        return Path(value).expanduser()
    base = os.environ.get("XDG_CACHE_HOME", "") or os.environ.get("LOCALAPPDATA", "")
    return (Path(base) if base else Path.home() / ".cache") / "chainrule"


def debug() -> bool:
    """Return whether ``CHAINRULE_DEBUG`` asks for tracebacks instead of short messages."""
    return os.environ.get("CHAINRULE_DEBUG", "") not in ("", "0")


def num_threads() -> int | None:
    """Return the number of threads that ``CHAINRULE_NUM_THREADS`` asks for, or None.

    Raises:
        ArgumentError: It is not a whole number from 1 on.
    """
    return _whole_number("CHAINRULE_NUM_THREADS", least=1)


def code_cache_bytes() -> int:
    """Return how large the cache of machine code may grow: ``CHAINRULE_CODE_CACHE_MB``, else 256.

    Raises:
        ArgumentError: It is not a whole number from 0 on.
    """
    megabytes = _whole_number("CHAINRULE_CODE_CACHE_MB", least=0)
    return (256 if megabytes is None else megabytes) * 2**20


def dump_dir() -> Path | None:
    """Return the folder that ``CHAINRULE_DUMP`` names for the compiler's stages, or None."""
    value = os.environ.get("CHAINRULE_DUMP", "")
    return Path(value).expanduser() if value else None


def _whole_number(name: str, least: int) -> int | None:
    value = os.environ.get(name, "")
    if not value:
        return None
    if not value.isdecimal() or int(value) < least:
        raise ArgumentError(f"{name}={value}: expected a whole number from {least} on")
    return int(value)
