"""Devices: where a tensor's elements live.

Takes: a device as the user wrote it. Gives: its canonical name.
"""

from __future__ import annotations

from chainrule.core.errors import ArgumentError

# Kinds of devices that other libraries know: these words are devices, not misspelt dtypes.
_KINDS = frozenset({"cpu", "cuda", "gpu", "mps", "xpu"})


def names_device(word: str) -> bool:
    """Return whether a word is that of a device, such as ``cpu`` or ``cuda:0``."""
    return word.partition(":")[0] in _KINDS


def as_device(device: str) -> str:
    """Return the canonical name of a device.

    Raises:
        ArgumentError: The device is not one that tensors can live on.
    """
    if device in ("cpu", "cpu:0"):
        return "cpu"
    raise ArgumentError(
        f"device {device!r} is not available: tensors live on 'cpu'",
        hint="leave the device out, or give 'cpu': this version computes on the CPU alone",
    )
