"""Limits: how many processors and how much memory this process may use.

Takes: what the operating system and the container say. Gives: two numbers.
The one idea: a container's limit counts, not the machine's size.
"""

from __future__ import annotations

import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_MEMORY_INFO = Path("/proc/meminfo")


def processors() -> int:
    """Return how many processors this process may keep busy, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quota = _processor_quota()
    # A quota of 1.5 processors: two threads would be halted for a quarter of the time.
    return max(1, count if quota is None else min(count, int(quota)))


def available_memory() -> int | None:
    """Return how many bytes could still be allocated without swapping, None where unknown."""
    known = [n for n in (_machine_memory(), *_cgroup_memory()) if n is not None]
    return min(known) if known else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _group_folders(controller: str) -> list[Path]:
    """Return this process's folders of a controller, up to the root, for both cgroup versions."""
    folders = []
    for line in _group_lines():
        _, names, path = line.split(":", 2)
        if not names:
            base = _CGROUPS
        elif controller in names.split(","):
            base = _CGROUPS / controller
        else:
            continue
        folder = base / path.strip("/")
        # Inside a container the path may be the host's; the root is the container's own then.
        while folder != base:
            folders.append(folder)
            folder = folder.parent
        folders.append(base)
    return folders


def _group_lines() -> list[str]:
    return _read(Path("/proc/self/cgroup")).splitlines()


def _processor_quota() -> float | None:
    quotas = []
    for folder in _group_folders("cpu"):
        parts = _read(folder / "cpu.max").split()  # "200000 100000" or "max 100000"
        if len(parts) != 2:
            parts = [_read(folder / f"cpu.cfs_{word}_us") for word in ("quota", "period")]
        quota, period = map(_number, parts)
        if quota and period:
            quotas.append(quota / period)
    return min(quotas, default=None)


def _machine_memory() -> int | None:
    for line in _read(_MEMORY_INFO).splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) * 1024
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _cgroup_memory() -> list[int]:
    left = []
    for folder in _group_folders("memory"):
        limit = _number(_read(folder / "memory.max"))
        used = _number(_read(folder / "memory.current"))
        if limit is None:
            limit = _number(_read(folder / "memory.limit_in_bytes"))
            used = _number(_read(folder / "memory.usage_in_bytes"))
        if limit is not None and used is not None and limit < 2**62:
            left.append(max(0, limit - used + _reclaimable(folder)))
    return left


def _reclaimable(folder: Path) -> int:
    """Return the bytes of file contents that the system drops when memory is short."""
    total = 0
    for line in _read(folder / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name in ("inactive_file", "active_file"):
            total += _number(value) or 0
    return total
