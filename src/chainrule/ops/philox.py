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
from chainrule.ir.definition import Formulas, compute, read, read_flat, row_major
from chainrule.ir.expr import Axis, Expr, Position, Ref, call, cast, const, index_of, where

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

    def lower(self, state: Ref, *, shape: Shape, dtype: DType) -> Formulas | None:
        def block(at: Axis, lane: Axis) -> Expr:
            words = _words(state, at)
            if dtype is uint64:
                half = const(32, uint64)
                wide = [cast(word, uint64) for word in words]
                words = [
                    call("bitwise_or", low, call("bitwise_left_shift", high, half))
                    for low, high in zip(wide[::2], wide[1::2], strict=True)
                ]
            result = words[-1]
            for number in reversed(range(len(words) - 1)):
                chosen = call("equal", Position(index_of(lane)), const(number, int64))
                result = where(chosen, words[number], result)
            return result

        lanes = 16 // dtype.itemsize
        blocks = compute((blocks_for(shape, dtype), lanes), dtype, block, "words")

        def element(*at: Axis) -> Expr:
            return read_flat(blocks.target, row_major(at, shape))

        return blocks, compute(shape, dtype, element)

    def samples(self) -> Iterable[Sample]:
        start = In((3,), values=[42, 7, 0], kind="int")
        carry = In((3,), values=[-1, -1, 1], kind="int")  # the low half of the counter overflows
        return [
            *(sample(start, shape=(5,), dtype=uint32), sample(start, shape=(), dtype=uint64)),
            *(sample(carry, shape=(2, 3), dtype=uint64), sample(carry, shape=(3, 3), dtype=uint32)),
            sample(start, shape=(0, 2), dtype=uint32),
        ]


def _words(state: Ref, block: Axis) -> list[Expr]:
    """Return the four words of output for the counter of a block; see `philox` for the rest."""
    half = const(32, uint64)
    key, start, high = (cast(read(state, place), uint64) for place in range(3))
    low = call("add", start, cast(Position(index_of(block)), uint64))
    high = call("add", high, cast(call("less", low, start), uint64))  # the carry
    key_0, key_1 = cast(key, uint32), cast(call("bitwise_right_shift", key, half), uint32)
    c0, c1 = cast(low, uint32), cast(call("bitwise_right_shift", low, half), uint32)
    c2, c3 = cast(high, uint32), cast(call("bitwise_right_shift", high, half), uint32)
    factor_0, factor_1 = (const(int(m), uint32) for m in (_MULTIPLIER_0, _MULTIPLIER_1))
    for number in range(ROUNDS):
        step_0, step_1 = number * _WEYL_0 % 2**32, number * _WEYL_1 % 2**32
        round_0 = call("add", key_0, const(step_0, uint32))
        round_1 = call("add", key_1, const(step_1, uint32))
        top_0, top_1 = call("mulhi", c0, factor_0), call("mulhi", c2, factor_1)
        bottom_0, bottom_1 = call("multiply", c0, factor_0), call("multiply", c2, factor_1)
        c0 = call("bitwise_xor", call("bitwise_xor", top_1, c1), round_0)
        c2 = call("bitwise_xor", call("bitwise_xor", top_0, c3), round_1)
        c1, c3 = bottom_1, bottom_0
    return [c0, c1, c2, c3]


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
