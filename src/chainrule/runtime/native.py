"""Native functions: the driver's machine code in this process, and memory for it.

Takes: the driver's LLVM IR. Gives: addresses of its functions, function objects for Python,
aligned memory, and the rate of its clock.
The one idea: made once, when the first program is loaded.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import numpy.typing as npt

from chainrule.codegen import machine
from chainrule.codegen.driver import Layout, driver_text
from chainrule.core.errors import StateError
from chainrule.runtime import cache

Words = npt.NDArray[np.int64]

_SYMBOLS = ("call", "worker", "region", "resize", "spin", "ticks")
_METH_O = 0x8
# The clock's rate is measured over this many seconds at least.
_CLOCK_TIME = 2e-3


class _MethodDef(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


@dataclass(frozen=True, slots=True)
class Native:
    """The driver.

    Attributes:
        addresses: Of its functions, by name.
        rate: Ticks of its clock in a second.
        method: How Python calls it; the definition must outlive every function object.
    """

    addresses: dict[str, int]
    rate: float
    method: _MethodDef


def aligned(size: int, alignment: int = 64) -> npt.NDArray[np.uint8]:
    """Return memory that is not initialised, at an address that is a multiple of a number."""
    memory = np.empty(size + alignment, np.uint8)
    skip = -address(memory) % alignment
    return memory[skip : skip + size]


def words(count: int, alignment: int = 64) -> Words:
    """Return ``count`` zeros of 8 bytes at an aligned address."""
    memory: Words = aligned(8 * count, alignment).view(np.int64)
    memory.fill(0)
    return memory


def address(array: npt.NDArray[Any]) -> int:
    """Return where an array's elements begin."""
    pointer: int = array.__array_interface__["data"][0]
    return pointer


@lru_cache(maxsize=1)
def native() -> Native:
    """Return the driver, compiled for this processor."""
    text = driver_text(llvm.get_process_triple(), _layout())
    code = cache.kept("driver", text, lambda: machine.assemble(text))
    addresses = machine.load(code, _SYMBOLS, "chainrule driver")
    method = _MethodDef(b"call", addresses["call"], _METH_O, b"Run the program on arrays.")
    return Native(addresses, _clock_rate(addresses["ticks"]), method)


@contextmanager
def begun() -> Iterator[None]:
    """Make the driver while something else is done, since LLVM works without Python's lock."""

    def make() -> None:
        with suppress(Exception):  # whoever needs the driver meets the error again
            native()

    thread = threading.Thread(target=make, name="chainrule driver", daemon=True)
    started = False
    if not native.cache_info().currsize:
        with suppress(RuntimeError):  # no more threads here
            thread.start()
            started = True
    try:
        yield
    finally:
        if started:
            thread.join()


def function_object(state: Words, owner: object) -> Callable[[list[Any]], int]:
    """Return a function object that runs the program of a state; it keeps both objects alive.

    It takes the list of NumPy arrays, and returns 0 or the number of the check that failed.
    """
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype = ctypes.py_object
    make.argtypes = (ctypes.POINTER(_MethodDef), ctypes.py_object, ctypes.py_object)
    function: Callable[[list[Any]], int] = make(native().method, state, owner)
    return function


def _layout() -> Layout:
    """Look into an array where this Python and this NumPy keep its type and its pointer."""
    sample = np.zeros(3, np.float32)
    inside = (ctypes.c_size_t * (np.ndarray.__basicsize__ // 8)).from_address(id(sample))
    found = list(inside)
    try:
        return Layout(8 * found.index(id(np.ndarray)), 8 * found.index(address(sample)))
    except ValueError:
        raise StateError(
            "compiled programs: this build of Python or NumPy keeps arrays in an unknown way",
            hint="run eagerly, without chainrule.compile; please report the versions",
        ) from None


def _clock_rate(function: int) -> float:
    ticks = ctypes.CFUNCTYPE(ctypes.c_int64)(function)
    start, first = time.perf_counter(), ticks()
    while True:
        elapsed, last = time.perf_counter() - start, ticks()
        if elapsed > _CLOCK_TIME:
            return float(last - first) / elapsed
