"""Small parts that modules are made of: hook handles, attribute checks, texts.

Takes: a module's attributes. Gives: errors for what walking them would miss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Self

from chainrule.core.device import as_device, names_device
from chainrule.core.dtype import DType, DTypeLike, as_dtype
from chainrule.core.errors import ArgumentError, DTypeError, StateError, did_you_mean
from chainrule.graph.tensor import Tensor

# Attributes of a module's own machinery, which may hold modules and functions.
INTERNAL = frozenset({"_buffers", "_hooks", "_items", "_pre_hooks"})


class Handle:
    """A registered hook, which can be taken off again; also a context manager that does so."""

    def __init__(self, hooks: dict[int, Any], hook: Callable[..., Any]) -> None:
        self._hooks = hooks
        self._number = max(hooks, default=0) + 1
        hooks[self._number] = hook

    def remove(self) -> None:
        """Take the hook off; a second call does nothing."""
        self._hooks.pop(self._number, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def check_containers(
    path: str,
    attributes: Mapping[str, object],
    held: Callable[[], set[int]],
    types: tuple[type, ...],
) -> None:
    """Refuse plain containers whose modules or parameters no walk would find.

    Args:
        path: The owner's path for the message.
        attributes: The owner's attributes.
        held: Gives the identities of what is found in other ways; such aliases do no harm.
        types: What to look for.

    Raises:
        StateError: There is such a container.
    """
    for name, value in attributes.items():
        if name in INTERNAL or not isinstance(value, list | tuple | dict | set):
            continue
        items = [item for item in _items(value) if isinstance(item, types)]
        known = held() if items else set()
        lost = [item for item in items if id(item) not in known]
        if lost:
            raise StateError(
                f"{path}.{name}: {len(lost)} {type(lost[0]).__name__} in a plain "
                f"{type(value).__name__}, where they are found neither for training nor for saving",
                hint=_container_remedy(name, value, lost[0]),
            )


def _items(value: Any) -> Iterator[object]:
    yield from value.values() if isinstance(value, dict) else value


def _container_remedy(name: str, value: object, item: object) -> str:
    kind = "Parameter" if isinstance(item, Tensor) else "Module"
    if isinstance(value, dict):
        return f"self.{name} = nn.{kind}Dict({{...}})"
    return f"self.{name} = nn.{kind}List([...])"


def unknown_path(title: str, what: str, path: str, known: Iterable[str]) -> ArgumentError:
    """Build the error for a dotted name that leads nowhere."""
    names = list(known)
    guess = did_you_mean(path, names)
    listing = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return ArgumentError(f"{title}: has no {what} {path!r}", hint=guess or f"known: {listing}")


def target_dtype(target: DTypeLike | Tensor, dtype: DTypeLike | None) -> DType | None:
    """Return the dtype that the arguments of `Module.to` ask for, or None.

    Raises:
        DTypeError: It is not a floating-point one.
        ArgumentError: The device or dtype is unknown.
    """
    if isinstance(target, Tensor):
        wanted = target.dtype
    elif isinstance(target, str) and names_device(target):
        as_device(target)
        if dtype is None:
            return None
        wanted = as_dtype(dtype)
    else:
        wanted = as_dtype(target)
    if not wanted.is_floating:
        raise DTypeError(
            f"to: a module cannot be converted to {wanted.name}, only to floating-point types",
            hint="model.to(chainrule.float32)",
        )
    return wanted


def indented(text: str) -> str:
    """Indent every line but the first."""
    return text.replace("\n", "\n  ")
