"""Scopes: which layer of which model is running, for errors and drawings.

Takes: modules as they are entered and left. Gives: a path such as ``model.head (Linear 4 -> 3)``.
The one idea: keep only references while the program runs; look names up when a text is needed.
"""

from __future__ import annotations

import threading
from typing import Protocol


class Scope(Protocol):
    """Something that is entered and left while a model runs: a module."""

    def scope_child_name(self, child: Scope) -> str:
        """Return the attribute path under which a directly or indirectly held child is found."""
        ...

    def scope_title(self) -> str:
        """Return a short description: ``Linear 4 -> 3``."""
        ...


class _Stack(threading.local):
    def __init__(self) -> None:
        self.scopes: list[Scope] = []


_stack = _Stack()


def scopes() -> list[Scope]:
    """Return the running scopes of this thread, outermost first; the live list, to push on."""
    return _stack.scopes


def scope_path() -> str:
    """Return the dotted path of the innermost running scope below the outermost one."""
    names = ["model"] if _stack.scopes else []
    for parent, child in zip(_stack.scopes, _stack.scopes[1:], strict=False):
        names.append(parent.scope_child_name(child) or type(child).__name__)
    return ".".join(names)


def describe_scope() -> str:
    """Return ``model.head (Linear 4 -> 3)`` for the innermost running scope, or nothing.

    A module that was called by itself, which may be a loss, is only ``Linear (4 -> 3)``.
    """
    if not _stack.scopes:
        return ""
    title = _stack.scopes[-1].scope_title()
    if len(_stack.scopes) > 1:
        return f"{scope_path()} ({title})"
    kind, _, sizes = title.partition(" ")
    return f"{kind} ({sizes})" if sizes else kind


class Changes:
    """How often an attribute of a module has been set, so that compiled functions look again."""

    number = 0


changes = Changes()
