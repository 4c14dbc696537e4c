"""Order: random permutations that are the same on every machine.

Takes: a length and a key (seed, purpose, number). Gives: a permutation of 0 ... n-1.
The one idea: NumPy promises the raw 64-bit output of PCG64 and of SeedSequence for good, but not
the algorithm of `Generator.permutation`; so we sort raw words, which any NumPy does alike.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chainrule.core.errors import ArgumentError

if TYPE_CHECKING:
    from typing import SupportsIndex

__all__ = ["EPOCH", "FOLD", "SPLIT", "Index", "check_seed", "permutation"]

Index = NDArray[np.int64]

# Purposes: one seed serves them all without the permutations having anything to do with another.
SPLIT = 1
FOLD = 2
EPOCH = 3

SEED_LIMIT = 2**64


def check_seed(seed: SupportsIndex) -> int:
    """Return the seed as a Python integer.

    Raises:
        ArgumentError: It is not an integer in [0, 2**64).
    """
    try:
        number = operator.index(seed)
    except TypeError:
        number = -1
    if not 0 <= number < SEED_LIMIT:
        raise ArgumentError(f"seed is {seed!r}, expected an integer from 0 to 2**64 - 1")
    return number


def permutation(n: int, *, seed: int, purpose: int, number: int = 0) -> Index:
    """Return a random permutation, a pure function of its arguments.

    The high bits of each 64-bit word are random and the low ones hold the index, so the words
    differ and every sorting algorithm puts them in the same order.

    Args:
        n: Length, at most 2**32 (beyond, too few random bits would be left).
        seed: The user's seed.
        purpose: What it is for (`SPLIT`, `FOLD`, `EPOCH`).
        number: The how-manieth of this purpose: the epoch.

    Returns:
        [n] int64, each of 0 ... n-1 once.

    Raises:
        ArgumentError: Length or seed is out of range.

    Example:
        >>> permutation(6, seed=0, purpose=EPOCH, number=0).tolist()
        [5, 1, 3, 0, 2, 4]
    """
    if not 0 <= n <= 2**32:
        raise ArgumentError(f"cannot shuffle {n:,} examples, expected at most 2**32")
    sequence = np.random.SeedSequence(check_seed(seed), spawn_key=(purpose, number))
    words = np.random.PCG64(sequence).random_raw(n).astype(np.uint64, copy=False)
    low_bits = np.uint64((1 << max(n - 1, 0).bit_length()) - 1)
    words &= ~low_bits
    words |= np.arange(n, dtype=np.uint64)
    words.sort()
    words &= low_bits
    return words.astype(np.int64)
