"""Random bits: the counter-based generator Philox4x32-10.

Takes: a key and a counter. Gives: words in which no structure is known to show.
The one idea: word i is a function of (key, counter + i) alone, so any part of a sequence can be
computed anywhere, in any order, with the same bits (Salmon, Moraes, Dror & Shaw 2011, "Parallel
random numbers: as easy as 1, 2, 3"). Ten rounds of two 32 x 32 -> 64 bit products each turn four
words of counter into four words of output; only integer arithmetic is used, so the bits are
the same on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from chainrule.core.dtype import Array, DType, DTypeLike, as_dtype, int64, uint32, uint64
from chainrule.core.errors import DTypeError
from chainrule.core.shape import Shape, Spec, expect, normalize_shape
from chainrule.graph.op import Op, public, register
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor, apply

ROUNDS = 10
_MULTIPLIER_0, _MULTIPLIER_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL_0, _WEYL_1 = 0x9E3779B9, 0xBB67AE85  # the key's steps from round to round
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
# Long enough to hide the cost of a NumPy call, short enough for the cache (measured).
_CHUNK = 16384


@register
class RandomBits(Op):
    """Uniform unsigned integers from a state: key, low and high half of the counter.

    uint32: word i is word i mod 4 of Philox(key, counter + ⌊i / 4⌋); uint64: words 2i (low) and
    2i + 1 (high) of that sequence.
    """

    name = "random_bits"
    differentiable = False
    flops_per_element = 25

    def infer(self, state: Spec, *, shape: Shape, dtype: DType) -> Spec:
        expect(
            state.dtype in (uint64, int64) and state.shape == (3,),
            "random_bits: state {}, expected u64[3]: key, low and high half of the counter",
            state,
        )
        if dtype not in (uint32, uint64):
            raise DTypeError(f"random_bits: got dtype {dtype.name}, expected uint32 or uint64")
        return Spec(shape, dtype)

    def eval(self, state: Array, *, shape: Shape, dtype: DType) -> Array:
        key, low, high = (int(word) % 2**64 for word in state)
        words = philox(key, high << 64 | low, blocks_for(shape, dtype))
        if dtype is uint64:
            pairs = words.reshape(-1, 2).astype(np.uint64)
            flat: Array = pairs[:, 1] << _HALF | pairs[:, 0]
        else:
            flat = words.reshape(-1)
        return flat[: math.prod(shape)].reshape(shape)

    def samples(self) -> Iterable[Sample]:
        start = In((3,), values=[42, 7, 0], kind="int")
        carry = In((3,), values=[-1, -1, 1], kind="int")  # the low half of the counter overflows
        return [
            *(sample(start, shape=(5,), dtype=uint32), sample(start, shape=(), dtype=uint64)),
            *(sample(carry, shape=(2, 3), dtype=uint64), sample(carry, shape=(3, 3), dtype=uint32)),
            sample(start, shape=(0, 2), dtype=uint32),
        ]


_RANDOM_BITS = RandomBits()


def blocks_for(shape: Shape, dtype: DType) -> int:
    """Return how many counters a draw of this shape and dtype uses up: one for 16 bytes."""
    return -(-math.prod(shape) * dtype.itemsize // 16)


@public
def random_bits(state: Tensor, shape: Sequence[int], *, dtype: DTypeLike = uint32) -> Tensor:
    """Return uniform unsigned integers, a function of the state alone.

    Args:
        state: Key, low and high half of the counter: uint64 [3].
        shape: Shape of the result.
        dtype: uint32 or uint64.

    Example:
        >>> import chainrule
        >>> state = chainrule.tensor([0, 0, 0], dtype="uint64")
        >>> hex(chainrule.random_bits(state, (1,)).item())
        '0x6627e8d5'
    """
    return apply(
        _RANDOM_BITS, state, shape=normalize_shape("random_bits", shape), dtype=as_dtype(dtype)
    )


def philox(key: int, counter: int, count: int) -> Array:
    """Return Philox4x32-10 of consecutive counters.

    Args:
        key: From 0 to 2^64 - 1.
        counter: First of the counters, from 0 to 2^128 - 1; after the last comes 0.
        count: How many.

    Returns:
        The words, uint32 [count, 4].
    """
    out = np.empty((count, 4), np.uint32)
    work = np.empty((6, min(count, _CHUNK)), np.uint64)
    start = 0
    while start < count:
        low = (counter + start) % 2**64
        # A chunk ends where the low half of the counter would overflow.
        size = min(_CHUNK, count - start, 2**64 - low)
        chunk = work[:, :size]
        _load(chunk, low, (counter + start) // 2**64 % 2**64)
        _rounds(chunk, key)
        for word in range(4):
            out[start : start + size, word] = chunk[word]
        start += size
    return out


def _load(chunk: Array, low: int, high: int) -> None:
    """Fill in the counters: words 0 to 3 of each, 32 bits in 64."""
    c0, c1, c2, c3, index = chunk[:5]
    index[:] = np.arange(index.size, dtype=np.uint64)
    index += np.uint64(low)
    np.bitwise_and(index, _LOW, out=c0)
    np.right_shift(index, _HALF, out=c1)
    c2[:] = high % 2**32
    c3[:] = high >> 32


def _rounds(chunk: Array, key: int) -> None:
    """Apply ten rounds in place: each word mixes a product's half with another word and the key."""
    c0, c1, c2, c3, product_0, product_1 = chunk
    key_0, key_1 = key % 2**32, key >> 32
    for _ in range(ROUNDS):
        np.multiply(c0, _MULTIPLIER_0, out=product_0)
        np.multiply(c2, _MULTIPLIER_1, out=product_1)
        np.right_shift(product_1, _HALF, out=c0)
        c0 ^= c1
        c0 ^= np.uint64(key_0)
        np.right_shift(product_0, _HALF, out=c2)
        c2 ^= c3
        c2 ^= np.uint64(key_1)
        np.bitwise_and(product_1, _LOW, out=c1)
        np.bitwise_and(product_0, _LOW, out=c3)
        key_0, key_1 = (key_0 + _WEYL_0) % 2**32, (key_1 + _WEYL_1) % 2**32
