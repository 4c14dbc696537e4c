"""Devices: where a tensor's elements live.

Takes: a device as the user wrote it. Gives: its canonical name.
"""

from __future__ import annotations

from chainrule.core.errors import ArgumentError


def as_device(device: str) -> str:
    """Return the canonical name of a device.

    Raises:
        ArgumentError: The device is not one that tensors can live on.
    """
    if device in ("cpu", "cpu:0"):
        return "cpu"
    raise ArgumentError(
        f"device {device!r} is not available: tensors live on 'cpu'",
        hint="leave the argument out, or pass device='cpu'",
    )
