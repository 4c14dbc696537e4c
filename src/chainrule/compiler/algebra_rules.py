"""Rules of algebra: each says when an instruction equals something simpler.

Takes: an instruction and what made its inputs. Gives: a value, another op, or None.
The one idea: a rule holds for every input or is not here. So x + 0 stays (it turns -0.0 into
0.0) and x + -0.0 goes; x · 0 stays (NaN, infinity) and x · 1 goes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache

from chainrule.compiler.conv_rules import RULES as CONVOLUTIONS
from chainrule.compiler.program import Instruction, Value
from chainrule.compiler.rewriting import Made, Rewriter, Rule, made, spread
from chainrule.core.dtype import DType
from chainrule.graph.op import Op
from chainrule.ops.elementwise import Binary, Comparison, Unary

Answer = Value | Made | None

# Smallest normal number 2^e of each floating type; numbers below may be slow.
_LOWEST = {"float16": -14, "bfloat16": -126, "float32": -126, "float64": -1022}
# Bits of the whole numbers that a floating type holds exactly.
_WHOLE = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}

# Blocks of a sum that are looked at.
_BLOCKS = 16


# --- numbers -----------------------------------------------------------------------------------


def neutral(number: float, integer: float, *positions: int) -> Rule:
    """Return the rule that an operand with no effect goes: ``number``; ``integer`` in integers."""

    def rule(at: Instruction, program: Rewriter) -> Answer:
        floating = at.output.spec.dtype.is_floating
        for position in positions:
            if program.is_number(at.inputs[position], number if floating else integer):
                return spread(at.inputs[1 - position], at.output.spec.shape)
        return None

    return rule


def times_minus_one(at: Instruction, program: Rewriter) -> Answer:
    """X · -1 is -x."""
    if at.output.spec.dtype.kind in ("float", "int"):
        for x, y in (at.inputs, at.inputs[::-1]):
            if x.spec == at.output.spec and program.is_number(y, -1):
                return made("negative", x)
    return None


def minus_zero_less(at: Instruction, program: Rewriter) -> Answer:
    """-0.0 - x is -x; in integers 0 - x."""
    x, y = at.inputs
    zero = -0.0 if y.spec.dtype.is_floating else 0
    if y.spec == at.output.spec and program.is_number(x, zero):
        return made("negative", y)
    return None


def over_power_of_two(at: Instruction, program: Rewriter) -> Answer:
    """X / 2^n is x · 2^-n, rounded from the same real number."""
    x, y = at.inputs
    divisor = program.number(y)
    if not divisor or not math.isfinite(divisor):
        return None
    mantissa, exponent = math.frexp(divisor)
    lowest = _LOWEST[y.spec.dtype.name]
    if abs(mantissa) != 0.5 or not lowest <= 1 - exponent <= -lowest:
        return None
    inverse = program.constant(1.0 / divisor, y.spec.dtype)
    if y.spec.shape and x.spec.shape != at.output.spec.shape:
        inverse = program.new("expand", inverse, shape=y.spec.shape)
    return made("multiply", x, inverse)


def small_power(at: Instruction, program: Rewriter) -> Answer:
    """X^0 is 1, x^1 is x, x² is x · x (NumPy, too, computes the latter as a product)."""
    x, y = at.inputs
    exponent, shape = program.number(y), at.output.spec.shape
    if exponent == 0:
        return made("full", shape=shape, value=1, dtype=x.spec.dtype)
    if exponent == 1:
        return spread(x, shape)
    if exponent == 2 and x.spec.shape == shape:
        return made("multiply", x, x)
    return None


def no_bound(at: Instruction, program: Rewriter) -> Answer:
    """Limits at infinity limit nothing; with one limit it is a maximum or minimum."""
    x, low, high = at.inputs
    if x.spec != at.output.spec or not x.spec.dtype.is_floating:
        return None
    if program.is_number(low, -math.inf):
        return x if program.is_number(high, math.inf) else made("minimum", x, high)
    return made("maximum", x, low) if program.is_number(high, math.inf) else None


def chosen(at: Instruction, program: Rewriter) -> Answer:
    """A choice whose condition is known, or between a value and itself, is none."""
    condition, x, y = at.inputs
    if x is y:
        return spread(x, at.output.spec.shape)
    known = program.number(condition)
    return None if known is None else spread(x if known else y, at.output.spec.shape)


def inverted_choice(at: Instruction, program: Rewriter) -> Answer:
    """Where not c then x else y is where c then y else x."""
    condition, x, y = at.inputs
    inverted = program.maker(condition, "bitwise_invert")
    return made("where", inverted.inputs[0], y, x) if inverted else None


# --- signs -------------------------------------------------------------------------------------


def twice(at: Instruction, program: Rewriter) -> Answer:
    """--x is x."""
    inner = program.maker(at.inputs[0], at.op.name)
    return inner.inputs[0] if inner else None


def plus_negative(at: Instruction, program: Rewriter) -> Answer:
    """X + -y is x - y."""
    for x, y in (at.inputs, at.inputs[::-1]):
        negative = program.maker(y, "negative")
        if negative:
            return made("subtract", x, negative.inputs[0])
    return None


def less_negative(at: Instruction, program: Rewriter) -> Answer:
    """X - -y is x + y."""
    negative = program.maker(at.inputs[1], "negative")
    return made("add", at.inputs[0], negative.inputs[0]) if negative else None


def both_negative(at: Instruction, program: Rewriter) -> Answer:
    """-x · -y is x · y, and so for quotients."""
    x, y = (program.maker(value, "negative") for value in at.inputs)
    return made(at.op.name, x.inputs[0], y.inputs[0]) if x and y else None


def sign_unseen(at: Instruction, program: Rewriter) -> Answer:
    """|-x| is |x|."""
    negative = program.maker(at.inputs[0], "negative")
    return made(at.op.name, negative.inputs[0]) if negative else None


# --- twice is once -----------------------------------------------------------------------------


def of_itself(at: Instruction, program: Rewriter) -> Answer:
    """An op that changes nothing in its own result."""
    return at.inputs[0] if program.maker(at.inputs[0], at.op.name) else None


def with_itself(at: Instruction, program: Rewriter) -> Answer:
    """The larger of x and x is x."""
    return at.inputs[0] if at.inputs[0] is at.inputs[1] else None


def unchanged(at: Instruction, program: Rewriter) -> Answer:
    """A copy is what it copies."""
    return at.inputs[0]


# --- dtypes ------------------------------------------------------------------------------------


def cast_to_same(at: Instruction, program: Rewriter) -> Answer:
    """A cast to the type that x has is x."""
    return at.inputs[0] if at.inputs[0].spec.dtype is at.attrs["dtype"] else None


def cast_of_cast(at: Instruction, program: Rewriter) -> Answer:
    """A cast by way of a type that holds every x is a cast."""
    inner = program.maker(at.inputs[0], "astype")
    if inner is None:
        return None
    source, middle = inner.inputs[0].spec.dtype, inner.output.spec.dtype
    target: DType = at.attrs["dtype"]
    # Floating to integer beyond the integer's range is unspecified, and varies with the type.
    risky = middle.is_floating and not target.is_floating and target.kind != "bool"
    if not holds(middle, source) or (risky and not holds(target, source)):
        return None
    return made("astype", inner.inputs[0], dtype=target)


def holds(wide: DType, narrow: DType) -> bool:
    """Return whether a type holds every value of another one."""
    if wide is narrow or narrow.kind == "bool":
        return True
    if narrow.is_floating:
        return wide.is_floating and wide.bits > narrow.bits
    bits = narrow.bits - (narrow.kind == "int")  # of the magnitude
    if wide.is_floating:
        return _WHOLE[wide.name] >= bits
    return wide.bits - (wide.kind == "int") >= bits and (
        wide.kind == narrow.kind or wide.kind == "int"
    )


# --- shapes ------------------------------------------------------------------------------------


def same_shape(at: Instruction, program: Rewriter) -> Answer:
    """Into the shape that x has: x."""
    return at.inputs[0] if at.inputs[0].spec.shape == at.output.spec.shape else None


def of_same_kind(at: Instruction, program: Rewriter) -> Answer:
    """A reshape of a reshape is one, and so for expand."""
    inner = program.maker(at.inputs[0], at.op.name)
    return made(at.op.name, inner.inputs[0], **at.attrs) if inner else None


def permute_nothing(at: Instruction, program: Rewriter) -> Answer:
    """A permutation that keeps the order of axes longer than 1 is a reshape."""
    x, axes = at.inputs[0], at.attrs["axes"]
    long = [axis for axis in axes if x.spec.shape[axis] != 1]
    return made("reshape", x, shape=at.output.spec.shape) if long == sorted(long) else None


def permute_of_permute(at: Instruction, program: Rewriter) -> Answer:
    """A permutation of a permutation is one."""
    inner = program.maker(at.inputs[0], "permute")
    if inner is None:
        return None
    first = inner.attrs["axes"]
    return made("permute", inner.inputs[0], axes=tuple(first[axis] for axis in at.attrs["axes"]))


def flip_nothing(at: Instruction, program: Rewriter) -> Answer:
    """Axes of size 1 have no reverse; two reversals are none."""
    x, axes = at.inputs[0], at.attrs["axes"]
    if all(x.spec.shape[axis] == 1 for axis in axes):
        return x
    inner = program.maker(x, "flip")
    return inner.inputs[0] if inner and set(inner.attrs["axes"]) == set(axes) else None


def whole_slice(at: Instruction, program: Rewriter) -> Answer:
    """A slice of everything, or zeros all overwritten by x, is x."""
    shape = at.output.spec.shape
    whole = tuple((0, size, 1) for size in shape)
    if at.inputs[0].spec.shape != shape:
        return None
    return at.inputs[0] if _same_ranges(at.attrs["ranges"], whole) else None


def _same_ranges(ranges: Iterable[tuple[int, int, int]], whole: Iterable[object]) -> bool:
    # The step of a range of one element means nothing.
    return tuple((s, n, 1 if n == 1 else d) for s, n, d in ranges) == whole


def slice_of_slice(at: Instruction, program: Rewriter) -> Answer:
    """A slice of a slice is one."""
    inner = program.maker(at.inputs[0], "slice")
    if inner is None or 0 in at.output.spec.shape:
        return None
    pairs = zip(inner.attrs["ranges"], at.attrs["ranges"], strict=True)
    ranges = tuple((s0 + s1 * d0, n1, d0 * d1) for (s0, _, d0), (s1, n1, d1) in pairs)
    return made("slice", inner.inputs[0], ranges=ranges)


def pad_nothing(at: Instruction, program: Rewriter) -> Answer:
    """A margin of no width is none."""
    return None if any(map(any, at.attrs["widths"])) else at.inputs[0]


def pad_of_pad(at: Instruction, program: Rewriter) -> Answer:
    """A margin round a margin of the same number is a wider one."""
    inner = program.maker(at.inputs[0], "pad")
    if inner is None:
        return None
    widths, within = at.attrs["widths"], inner.attrs["widths"]
    old, new = inner.attrs["value"], at.attrs["value"]
    same = old == new and math.copysign(1, old) == math.copysign(1, new)
    if not same or min((n for w in (*widths, *within) for n in w), default=0) < 0:
        return None
    wider = tuple((a + c, b + d) for (a, b), (c, d) in zip(widths, within, strict=True))
    return made("pad", inner.inputs[0], widths=wider, value=new)


def laid_together(at: Instruction, program: Rewriter) -> Answer:
    """A sum of blocks in zeros that fill the whole, each in its place, is these side by side.

    Such are the gradients of what is cut into pieces. Zeros turn -0.0 into 0.0, as in the sum.
    """
    shape, dtype = at.output.spec.shape, at.output.spec.dtype
    waiting = list(at.inputs)
    blocks: list[Instruction] = []
    while waiting:
        value = waiting.pop()
        inner = program.maker(value, "add", "unslice")
        if inner is None or value.spec != at.output.spec or len(blocks) + len(waiting) > _BLOCKS:
            return None
        if inner.op.name == "add":
            waiting.extend(inner.inputs)
        else:
            blocks.append(inner)
    whole = [(0, size) for size in shape]
    cut = {n for b in blocks for n, (s, c, _) in enumerate(b.attrs["ranges"]) if (s, c) != whole[n]}
    if len(cut) != 1 or any(d != 1 for b in blocks for _, n, d in b.attrs["ranges"] if n != 1):
        return None
    axis = cut.pop()
    blocks.sort(key=lambda block: block.attrs["ranges"][axis][0])
    end = 0
    for block in blocks:
        start, count, _ = block.attrs["ranges"][axis]
        if start != end:
            return None
        end += count
    if end != shape[axis]:
        return None
    parts = [block.inputs[0] for block in blocks]
    if dtype.is_floating:
        parts = [program.new("add", x, program.constant(0.0, dtype)) for x in parts]
    return made("concat", *parts, axis=axis)


def single_part(at: Instruction, program: Rewriter) -> Answer:
    """One part laid after nothing is that part."""
    return at.inputs[0] if len(at.inputs) == 1 else None


def reduce_nothing(at: Instruction, program: Rewriter) -> Answer:
    """A reduction over axes of size 1 is a reshape, of integers' sums also a cast.

    A sum begins with 0.0, so it turns -0.0 into 0.0.
    """
    x, axes = at.inputs[0], at.attrs["axes"]
    spec = at.output.spec
    if any(x.spec.shape[axis] != 1 for axis in axes):
        return None
    if spec.dtype is not x.spec.dtype:
        x = program.new("astype", x, dtype=spec.dtype)
    elif at.op.name == "sum" and spec.dtype.is_floating:
        x = program.new("add", x, program.constant(0.0, spec.dtype))
    return made("reshape", x, shape=spec.shape)


def use_unexpanded(at: Instruction, program: Rewriter) -> Answer:
    """An operand that broadcasts by itself need not be expanded first."""
    inputs = list(at.inputs)
    for position, value in enumerate(at.inputs):
        expansion = program.maker(value, "expand")
        if expansion:
            inputs[position] = expansion.inputs[0]
            if at.op.infer(*(v.spec for v in inputs), **at.attrs) != at.output.spec:
                inputs[position] = value  # it alone has the result's shape
    return None if inputs == list(at.inputs) else made(at.op.name, *inputs, **at.attrs)


def expand_later(at: Instruction, program: Rewriter) -> Answer:
    """An op on repeated elements: once on each, repeated afterwards."""
    large = [value for value in at.inputs if value.spec.shape]
    expansion = program.maker(large[0], "expand") if len(large) == 1 else None
    if expansion is None or large[0].spec.shape != at.output.spec.shape:
        return None
    small = expansion.inputs[0]
    if small.spec.size >= at.output.spec.size:
        return None
    inputs = (small if value is large[0] else value for value in at.inputs)
    result = program.new(at.op.name, *inputs, **at.attrs)
    return made("expand", result, shape=at.output.spec.shape)


# --- the table ---------------------------------------------------------------------------------

SPECIFIC: dict[str, tuple[Rule, ...]] = {
    "add": (neutral(-0.0, 0, 0, 1), plus_negative, laid_together),
    "subtract": (neutral(0.0, 0, 1), minus_zero_less, less_negative),
    "multiply": (neutral(1, 1, 0, 1), times_minus_one, both_negative),
    "divide": (neutral(1, 1, 1), both_negative, over_power_of_two),
    "pow": (small_power,),
    "maximum": (neutral(-math.inf, -math.inf, 0, 1), with_itself),
    "minimum": (neutral(math.inf, math.inf, 0, 1), with_itself),
    "clip": (no_bound,),
    "where": (chosen, inverted_choice),
    "bitwise_and": (with_itself,),
    "bitwise_or": (with_itself,),
    "bitwise_invert": (twice,),
    "negative": (twice,),
    "abs": (of_itself, sign_unseen),
    **dict.fromkeys(("relu", "sign", "floor", "ceil", "trunc", "round"), (of_itself,)),
    "clone": (unchanged,),
    "astype": (cast_to_same, cast_of_cast),
    "reshape": (same_shape, of_same_kind),
    "expand": (same_shape, of_same_kind),
    "permute": (permute_of_permute, permute_nothing),
    "flip": (flip_nothing,),
    "slice": (whole_slice, slice_of_slice),
    "unslice": (whole_slice,),
    "pad": (pad_nothing, pad_of_pad),
    "concat": (single_part,),
    **dict.fromkeys(("sum", "max", "min", "prod"), (reduce_nothing,)),
    **CONVOLUTIONS,
}


@cache
def rules_of(op: Op) -> tuple[Rule, ...]:
    """Return the rules of an op: its own, then those of all element-wise ops if it is one."""
    own = SPECIFIC.get(op.name, ())
    if isinstance(op, Unary) or op.name == "astype":
        return (*own, expand_later)
    if isinstance(op, Binary | Comparison) or op.name in ("where", "clip"):
        return (*own, use_unexpanded, expand_later)
    return own
