"""Explanations: the line under an error that says where it happened and what came there.

Takes: an error on its way to the user, and the arguments of the function that raised it. Gives:
the same error with ``in model.head (Linear 4 -> 3), called at train.py:41; x comes from flatten at
train.py:38``, and a traceback that ends where the user's part of the story ends.
The one idea: while a program runs only references are kept; names are looked up on failure - the
function's own name of an argument in its signature, the user's in the frame that called.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType, FrameType, TracebackType
from typing import Any, TypeVar

from chainrule.core.config import debug
from chainrule.core.errors import PACKAGE_DIR, ChainruleError, describe_site
from chainrule.core.scope import describe_scope, scopes
from chainrule.core.site import user_frame

E = TypeVar("E", bound=ChainruleError)

# What rules call the operands of an operator, whatever its signature calls them.
_OPERANDS = ("x", "y")


def explain(
    error: ChainruleError, code: CodeType, args: tuple[object, ...], kwargs: Mapping[str, object]
) -> None:
    """Add the layer path, the user's line and the origin of the arguments to an error.

    Args:
        error: The error; its traceback is cut back to the public function unless
            ``CHAINRULE_DEBUG`` is set, since what lies below is not the user's.
        code: Of the function that raised it; its parameters name the arguments.
        args: Its positional arguments.
        kwargs: Its other arguments.
    """
    names = code.co_varnames[: code.co_argcount]
    if not debug() and _is_ours(error.__traceback__):
        error.__traceback__ = None
    error.add_context(_where(error.message, [*zip(names, args, strict=False), *kwargs.items()]))


def located(error: E, *args: object) -> E:
    """Return an error of a tensor's method with the user's line and the origin of arguments."""
    error.add_context(_where(error.message, zip(_OPERANDS, args, strict=False)))
    return error


def hide_own_frames(error: ChainruleError) -> None:
    """Leave in an error's traceback only the user's own functions, unless debugging."""
    if debug():
        return
    kept = None
    for entry in reversed(list(_entries(error.__traceback__))):
        if not entry.tb_frame.f_code.co_filename.startswith(PACKAGE_DIR):
            entry.tb_next = kept
            kept = entry
    error.__traceback__ = kept


def _entries(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def _is_ours(traceback: TracebackType | None) -> bool:
    while traceback is not None:
        if not traceback.tb_frame.f_code.co_filename.startswith(PACKAGE_DIR):
            return False
        traceback = traceback.tb_next
    return True


def _where(message: str, arguments: Iterable[tuple[str, object]]) -> str:
    frame = user_frame(3)
    layer = describe_scope()
    line = describe_site(None if frame is None else (frame.f_code, frame.f_lasti))
    place = [f"in {layer}" if layer else "", f"called at {line}" if line else ""]
    # A layer's own weights are named by its path; how they were made explains nothing.
    own = {id(value) for scope in scopes()[-1:] for value in vars(scope).values()}
    origins = [
        _origin(message, position, name, value, frame)
        for position, (name, value) in enumerate(arguments)
        if hasattr(value, "spec") and id(value) not in own
    ]
    return "; ".join(part for part in (", ".join(p for p in place if p), *origins) if part)


def _origin(
    message: str, position: int, parameter: str, value: Any, frame: FrameType | None
) -> str:
    """Return ``x comes from flatten at train.py:38``, or nothing if the rule names no ``x``."""
    label = _label(message, position, parameter, value)
    if not label:
        return ""
    name = _name_in(frame, value)
    known = value.site is not None and bool(value.origin)
    source = f"{value.origin} at {describe_site(value.site)}" if known else ""
    if name in ("", label):
        return f"{label} comes from {source}" if source else ""
    return f"{label} is {name}, from {source}" if source else f"{label} is {name}"


def _label(message: str, position: int, parameter: str, value: Any) -> str:
    """Return what the rule calls an argument: its name there, else its shape."""
    names = (parameter, *_OPERANDS[position : position + 1])
    shapes = (str(value.spec), str(list(value.spec.shape)))
    for name in names:
        if re.search(rf"(?<![\w.]){re.escape(name)}(?![\w(])", message):
            return name
    if position == 0 and "-d tensor:" in message:
        return shapes[0]  # a rule about axes alone does not say what tensor it is
    return next((shape for shape in shapes if shape in message), "")


def _name_in(frame: FrameType | None, value: object) -> str:
    """Return the name that a value has in the user's function or file, or nothing."""
    if frame is None:
        return ""
    for variables in (frame.f_locals, frame.f_globals):
        for name, held in list(variables.items()):
            if held is value and not name.startswith("_"):
                return name
    return ""
