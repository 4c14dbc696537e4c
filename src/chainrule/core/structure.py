"""Structures: nested tuples, lists and dictionaries, and what stands in them.

Takes: such a structure. Gives: its leaves in a row, and a form from which an equal structure is
built of other leaves.
The one idea: whoever works on many values at once works on a list; only the edges know names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple


class Form(NamedTuple):
    """The form of a structure.

    Attributes:
        kind: ``leaf``, ``none``, ``tuple``, ``list`` or ``dict``.
        keys: Of a dictionary, in its order.
        parts: The forms of what is inside.
        make: The class of a named tuple, else None.
    """

    kind: str
    keys: tuple[Any, ...] = ()
    parts: tuple[Form, ...] = ()
    make: Callable[..., Any] | None = None

    def __str__(self) -> str:
        inside = [str(part) for part in self.parts]
        if self.kind == "tuple":
            return f"({', '.join(inside)}{',' if len(inside) == 1 else ''})"
        if self.kind == "list":
            return f"[{', '.join(inside)}]"
        if self.kind == "dict":
            pairs = zip(self.keys, inside, strict=True)
            return "{" + ", ".join(f"{key!r}: {part}" for key, part in pairs) + "}"
        return "None" if self.kind == "none" else "*"


LEAF, NONE = Form("leaf"), Form("none")


def flatten(structure: Any) -> tuple[list[Any], Form]:
    """Return the leaves of a structure, in order, and its form; None has no leaves."""
    leaves: list[Any] = []
    return leaves, _form(structure, leaves)


def _form(item: Any, leaves: list[Any]) -> Form:
    if item is None:
        return NONE
    if isinstance(item, tuple):
        parts = tuple(_form(part, leaves) for part in item)
        return Form("tuple", (), parts, type(item) if hasattr(item, "_fields") else None)
    if isinstance(item, list):
        return Form("list", (), tuple(_form(part, leaves) for part in item))
    if isinstance(item, dict):
        return Form("dict", tuple(item), tuple(_form(part, leaves) for part in item.values()))
    leaves.append(item)
    return LEAF


def unflatten(form: Form, leaves: list[Any]) -> Any:
    """Return the structure of a form with these leaves."""
    return _built(form, iter(leaves))


def _built(form: Form, leaves: Iterator[Any]) -> Any:
    if form.kind == "none":
        return None
    if form.kind == "leaf":
        return next(leaves)
    parts = [_built(part, leaves) for part in form.parts]
    if form.kind == "dict":
        return dict(zip(form.keys, parts, strict=True))
    if form.kind == "list":
        return parts
    return tuple(parts) if form.make is None else form.make(*parts)


def arranged(structure: Any, form: Form) -> Any:
    """Return a structure with the keys of its dictionaries in the order of a form's, if equal."""
    if form.kind == "dict" and isinstance(structure, dict) and set(structure) == set(form.keys):
        pairs = zip(form.keys, form.parts, strict=True)
        return {key: arranged(structure[key], part) for key, part in pairs}
    if form.kind not in ("tuple", "list") or not isinstance(structure, tuple | list):
        return structure
    if len(structure) != len(form.parts) or hasattr(structure, "_fields"):
        return structure
    items = zip(structure, form.parts, strict=True)
    return type(structure)(arranged(item, part) for item, part in items)


def paths(form: Form, name: str) -> list[str]:
    """Return what a Python program calls each leaf: ``carry['h'][0]``."""
    if form.kind == "leaf":
        return [name]
    keys = form.keys if form.kind == "dict" else range(len(form.parts))
    inside = zip(keys, form.parts, strict=True)
    return [path for key, part in inside for path in paths(part, f"{name}[{key!r}]")]
