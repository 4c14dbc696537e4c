"""A model of the user's: a class in a Python file.

Takes: a file, the name of a class, the shape of the data. Gives: a module.
The one idea: whatever fails in the user's file is said with its line, without our frames round it.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chainrule import nn
from chainrule.core.errors import ArgumentError, ChainruleError, DataError, unknown_word

__all__ = ["make_own", "own_errors"]

Shape = tuple[int, ...]


@contextmanager
def own_errors(path: Path | None) -> Iterator[None]:
    """Say file and line of errors that a file of the user's raises in this block.

    Args:
        path: The file; None: there is none, and errors pass.

    Raises:
        DataError: Instead of the error, which is its cause.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        line = None if path is None else _line_in(path, error)
        if path is None or line is None or isinstance(error, MemoryError):
            raise
        if isinstance(error, ChainruleError):
            # It knows better than we do what is wrong; only the place may be missing.
            if f"{path.name}:{line}" not in str(error):
                error.add_context(f"{path}, line {line}")
            raise
        raise DataError(f"{path}, line {line}: {_said(error)}", hint=_hint(error)) from error


def make_own(path: Path, name: str, input_shape: Shape, n_outputs: int) -> nn.Module:
    """Return an object of a class in a file.

    The class is called with ``(input_shape, n_outputs)``, with one of them if it asks by that
    name for no more, or without arguments if it takes none.

    Raises:
        ArgumentError: The class does not exist, is no `nn.Module`, or takes other arguments.
        DataError: The file fails; the line is named.
    """
    with own_errors(path):
        make = _load_class(path, name)
        arguments = _arguments(make, f"{path}:{name}", input_shape, n_outputs)
        made = make(*arguments)
    if not isinstance(made, nn.Module):
        raise ArgumentError(
            f"{path}:{name}: gave {type(made).__name__}, expected an nn.Module",
            hint=f"class {name}(nn.Module):",
        )
    return made


def _load_class(path: Path, name: str) -> Callable[..., Any]:
    module_name = f"_own_model_{path.stem}"
    location = importlib.util.spec_from_file_location(module_name, path)
    if location is None or location.loader is None:
        raise DataError(f"{path}: cannot be read as Python")
    module = importlib.util.module_from_spec(location)
    # Dataclasses and others look their module up by name.
    sys.modules[module_name] = module
    try:
        location.loader.exec_module(module)
    except (SyntaxError, ValueError) as error:
        if _line_in(path, error) is None:  # no Python text at all
            raise DataError(f"{path}: cannot be read as Python: {_said(error)}") from error
        raise
    found: object = getattr(module, name, None)
    if not callable(found):
        own = [k for k, v in vars(module).items() if inspect.isclass(v)]
        mine = [k for k in own if getattr(module, k).__module__ == module_name]
        raise unknown_word(f"class in {path.name}", name, mine or own)
    return found


def _arguments(
    make: Callable[..., Any], spec: str, input_shape: Shape, n_outputs: int
) -> list[Any]:
    """Return what a class is called with, by what it requires."""
    parameters = inspect.signature(make).parameters.values()
    placed = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [q.name for q in parameters if q.kind in placed]
    required = [q.name for q in parameters if q.default is q.empty and q.kind in placed]
    keywords = [q.name for q in parameters if q.kind is q.KEYWORD_ONLY and q.default is q.empty]
    if not keywords and (names[:2] == ["input_shape", "n_outputs"] or len(required) == 2):
        return [input_shape, n_outputs]
    if not keywords and required in (["n_outputs"], ["input_shape"]):
        return [n_outputs if required == ["n_outputs"] else input_shape]
    if not keywords and not required:
        return []
    listed = ", ".join([*required, *keywords])
    raise ArgumentError(
        f"{spec}: takes ({listed}), expected (input_shape, n_outputs) or no arguments",
        hint="def __init__(self, input_shape, n_outputs): ..., with defaults for all others",
    )


def _line_in(path: Path, error: BaseException) -> int | None:
    """Return the last line of a file that an error came through."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno or 1
    frames = traceback.extract_tb(error.__traceback__)
    return next((f.lineno for f in reversed(frames) if f.filename == str(path)), None)


def _said(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _hint(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError):
        return "the file is loaded alone: install the module, or put everything into one file"
    if isinstance(error, TypeError) and "super" in str(error):
        return "super().__init__() comes first in __init__"
    return ""
