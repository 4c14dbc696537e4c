"""Generators of random numbers: a key, and a counter that moves on with each draw.

Takes: a seed. Gives: blocks of counters that are never given twice.
The one idea: the whole state is two whole numbers, so it is saved and restored as JSON.
"""

from __future__ import annotations

import operator
import os
import threading
from typing import Any, Self, SupportsIndex

import numpy as np

from chainrule.core.dtype import Array, uint64
from chainrule.core.errors import ArgumentError, DTypeError
from chainrule.core.shape import Spec
from chainrule.graph.node import mode
from chainrule.graph.tensor import Tensor
from chainrule.graph.traced import given


class Generator:
    """A source of random numbers: a key, and a counter that moves on with each draw.

    Args:
        seed: Any whole number (taken modulo 2^64); by default one from the operating system.

    Example:
        >>> import chainrule
        >>> first = chainrule.rand(2, generator=chainrule.Generator(0))
        >>> second = chainrule.rand(2, generator=chainrule.Generator(0))
        >>> bool((first == second).all())
        True
    """

    def __init__(self, seed: int | None = None) -> None:
        self._lock = threading.Lock()
        self._key = 0
        self._counter = 0
        if seed is None:
            self.seed()
        else:
            self.manual_seed(seed)

    def manual_seed(self, seed: int) -> Self:
        """Start the sequence that belongs to a seed.

        Raises:
            DTypeError: It is not a whole number.
        """
        if not isinstance(seed, SupportsIndex):
            raise DTypeError(f"manual_seed: got {seed!r}, expected a whole number", hint="seed=0")
        with self._lock:
            self._key = operator.index(seed) % 2**64
            self._counter = 0
        return self

    def seed(self) -> int:
        """Start a sequence from a seed of the operating system, and return the seed."""
        self.manual_seed(int.from_bytes(os.urandom(8), "little"))
        return self._key

    def initial_seed(self) -> int:
        """Return the seed that the sequence was started from."""
        return self._key

    def get_state(self) -> dict[str, int]:
        """Return the state, fit for JSON: ``{"key": ..., "counter": ...}``."""
        with self._lock:
            return {"key": self._key, "counter": self._counter}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a state that `get_state` returned.

        Raises:
            ArgumentError: It is not such a state.
        """
        key, counter = state.get("key"), state.get("counter")
        if not (_is_word(key, 64) and _is_word(counter, 128)):
            raise ArgumentError(
                f"Generator: not a state: {state!r}",
                hint='a state is {"key": integer, "counter": integer}',
            )
        with self._lock:
            self._key, self._counter = state["key"], state["counter"]

    def reserve(self, blocks: int) -> Tensor:
        """Return the state for a draw of so many counters, which no later draw uses again."""

        def words() -> Array:
            with self._lock:
                key, counter = self._key, self._counter
                self._counter = (counter + blocks) % 2**128
            return np.array([key, counter % 2**64, counter >> 64], np.uint64)

        if mode.tracer is None:
            return given(words, Spec((3,), uint64), "random state")
        # While tracing the counter moves on too, and is put back later: whoever sets it back to
        # draw the same numbers again (as `checkpoint` does) gets the same input of the program.
        key, counter = self._key, self._counter
        mode.tracer.undo(self, lambda: setattr(self, "_counter", counter))
        self._counter = (counter + blocks) % 2**128
        # Nothing drawn leaves the counter where it is, so the number drawn tells such draws apart.
        return given(words, Spec((3,), uint64), "random state", (id(self), key, counter, blocks))

    def __repr__(self) -> str:
        return f"Generator(key={self._key}, counter={self._counter})"


def _is_word(value: object, bits: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**bits


_default = Generator()


def default_generator() -> Generator:
    """Return the generator that functions use when none is given."""
    return _default


def manual_seed(seed: int) -> Generator:
    """Start the default generator's sequence that belongs to a seed; returns the generator."""
    return _default.manual_seed(seed)
