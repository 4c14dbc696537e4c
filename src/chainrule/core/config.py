"""Configuration: the only reader of environment variables.

Takes: the process environment. Gives: paths and switches, read when asked for.
The one idea: a setting has one name, one place and one documented default.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_dir", "data_dir", "debug"]


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
