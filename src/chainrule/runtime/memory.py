"""Memory: whether a program fits, said before anything is allocated.

Takes: a plan and the bytes it needs. Gives: an error that names what takes the room.
The one idea: a compiled program's memory is known before it runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from chainrule.core.errors import OutOfMemoryError
from chainrule.ir.expr import Buffer
from chainrule.ir.kernel import HostCall, Launch, Plan, Step, steps_inside
from chainrule.runtime.limits import available_memory

_NAMED = 5


def expect_room(plan: Plan, size: int) -> None:
    """Check that so many bytes for a plan's temporaries can be had, and its outputs besides.

    Raises:
        OutOfMemoryError: They cannot.
    """
    available = available_memory()
    size += sum(map(_bytes, plan.outputs))
    if available is None or size <= available:
        return
    origins = dict(_made_by(plan.steps))
    largest = sorted((*plan.temporaries, *plan.outputs), key=_bytes, reverse=True)[:_NAMED]
    raise OutOfMemoryError(
        f"{plan.name}: needs {human(size)} of memory for results, intermediate ones too, "
        f"{human(available)} are available; nothing was allocated",
        context=[_describe(buffer, origins.get(buffer, ())) for buffer in largest],
        hint="a smaller batch needs proportionally less; so do fewer or narrower layers",
    )


def human(size: int) -> str:
    """Return a number of bytes for people: ``1.5 GB``."""
    value = float(size)
    for unit in ("bytes", "KB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}" if unit != "bytes" else f"{size} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def _bytes(buffer: Buffer) -> int:
    return buffer.size * buffer.dtype.itemsize


def _describe(buffer: Buffer, origin: tuple[str, ...]) -> str:
    where = f", made by {'; '.join(origin)}" if origin else ""
    text = f"{buffer.name}: {human(_bytes(buffer))}"
    return f"{text} ({buffer.size:,} elements of {buffer.dtype.name}){where}"


def _made_by(steps: Iterable[Step]) -> Iterator[tuple[Buffer, tuple[str, ...]]]:
    for step in steps:
        yield from _made_by(steps_inside(step))
        if isinstance(step, Launch):
            for inner, buffer in zip(step.kernel.buffers, step.arguments, strict=True):
                if inner in step.kernel.written:
                    yield buffer, step.origin
        elif isinstance(step, HostCall):
            yield step.output[0], step.origin
