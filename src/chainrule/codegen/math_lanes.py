"""Lanes: vectors of real numbers, whole numbers and masks, written as LLVM instructions.

Takes: a function being written, and how many numbers of which size a vector holds. Gives: values
with Python's operators, so that numerical methods read like their formulas.
The one idea: nothing here depends on the number of lanes, so vectors and scalars give the same
bits.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property

from chainrule.codegen.text import Function

Number = float | int


@dataclass(frozen=True, eq=False)
class Lanes:
    """Where vectors are written to, and what they hold.

    Attributes:
        function: The function being written.
        bits: Size of one number, 32 or 64.
        count: Numbers in a vector; 1 for LLVM's scalar types.
        fused: Whether the processor multiplies and adds in one instruction.
        short: Whether results are rounded to 24 bits afterwards, so that 64-bit methods may use
            fewer terms and may leave out corrections of the last bits.
    """

    function: Function
    bits: int
    count: int
    fused: bool
    short: bool = False

    @cached_property
    def real_type(self) -> str:
        """LLVM's name of the vector of real numbers."""
        return self._vector("double" if self.bits == 64 else "float")

    @cached_property
    def whole_type(self) -> str:
        """LLVM's name of the vector of whole numbers of the same size."""
        return self._vector(f"i{self.bits}")

    @cached_property
    def mask_type(self) -> str:
        """LLVM's name of the vector of truth values."""
        return self._vector("i1")

    @property
    def mantissa(self) -> int:
        """Number of bits of a real number that are stored behind its leading one."""
        return 52 if self.bits == 64 else 23

    @property
    def bias(self) -> int:
        """What is added to a real number's exponent when it is stored."""
        return 1023 if self.bits == 64 else 127

    def _vector(self, item: str) -> str:
        return item if self.count == 1 else f"<{self.count} x {item}>"

    def _literal(self, item: str, text: str) -> str:
        if self.count == 1:
            return text
        return "<" + ", ".join((f"{item} {text}",) * self.count) + ">"

    def real(self, value: Number | Real) -> Real:
        """Return a number in all lanes, rounded to their precision."""
        if isinstance(value, Real):
            return value
        if self.bits == 32:
            value = struct.unpack("f", struct.pack("f", value))[0]
        (pattern,) = struct.unpack("Q", struct.pack("d", value))
        item = "double" if self.bits == 64 else "float"
        return Real(self, self._literal(item, f"0x{pattern:016X}"))

    def whole(self, value: int | Whole) -> Whole:
        """Return a whole number in all lanes, modulo its size."""
        if isinstance(value, Whole):
            return value
        return Whole(self, self._literal(f"i{self.bits}", str(value % 2**self.bits)))

    def pattern(self, value: float) -> int:
        """Return the bits of a number."""
        kinds = ("Q", "d") if self.bits == 64 else ("I", "f")
        return int(struct.unpack(kinds[0], struct.pack(kinds[1], value))[0])

    def intrinsic(self, name: str, *operands: Real) -> Real:
        """Call an LLVM intrinsic of real numbers."""
        kind = f"f{self.bits}" if self.count == 1 else f"v{self.count}f{self.bits}"
        symbol = f"llvm.{name}.{kind}"
        types = ", ".join((self.real_type,) * len(operands))
        callee = self.function.module.declare(
            symbol, f"declare {self.real_type} @{symbol}({types})"
        )
        given = ", ".join(f"{self.real_type} {x.name}" for x in operands)
        return Real(self, self.function.value(f"call {self.real_type} {callee}({given})"))


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """A truth value in each lane."""

    at: Lanes
    name: str

    def __and__(self, other: Mask) -> Mask:
        return self._binary("and", other.name)

    def __or__(self, other: Mask) -> Mask:
        return self._binary("or", other.name)

    def __xor__(self, other: Mask) -> Mask:
        return self._binary("xor", other.name)

    def __invert__(self) -> Mask:
        return self._binary("xor", self.at._literal("i1", "true"))

    def _binary(self, operation: str, other: str) -> Mask:
        text = f"{operation} {self.at.mask_type} {self.name}, {other}"
        return Mask(self.at, self.at.function.value(text))

    def choose(self, yes: Number | Real, no: Number | Real) -> Real:
        """Return in each lane the first value where this holds, else the second."""
        at = self.at
        kind, a, b = at.real_type, at.real(yes).name, at.real(no).name
        text = f"select {at.mask_type} {self.name}, {kind} {a}, {kind} {b}"
        return Real(at, at.function.value(text))

    def choose_whole(self, yes: int | Whole, no: int | Whole) -> Whole:
        """Return in each lane the first value where this holds, else the second."""
        at = self.at
        kind, a, b = at.whole_type, at.whole(yes).name, at.whole(no).name
        text = f"select {at.mask_type} {self.name}, {kind} {a}, {kind} {b}"
        return Whole(at, at.function.value(text))


@dataclass(frozen=True, slots=True, eq=False)
class Whole:
    """A whole number in each lane, modulo its size."""

    at: Lanes
    name: str

    def _binary(self, operation: str, other: int | Whole) -> Whole:
        text = f"{operation} {self.at.whole_type} {self.name}, {self.at.whole(other).name}"
        return Whole(self.at, self.at.function.value(text))

    def __add__(self, other: int | Whole) -> Whole:
        return self._binary("add", other)

    def __sub__(self, other: int | Whole) -> Whole:
        return self._binary("sub", other)

    def __and__(self, other: int | Whole) -> Whole:
        return self._binary("and", other)

    def __or__(self, other: int | Whole) -> Whole:
        return self._binary("or", other)

    def __xor__(self, other: int | Whole) -> Whole:
        return self._binary("xor", other)

    def __lshift__(self, other: int) -> Whole:
        return self._binary("shl", other)

    def __rshift__(self, other: int) -> Whole:
        """Shift right as an unsigned number."""
        return self._binary("lshr", other)

    def equals(self, other: int | Whole) -> Mask:
        """Return where both are the same."""
        text = f"icmp eq {self.at.whole_type} {self.name}, {self.at.whole(other).name}"
        return Mask(self.at, self.at.function.value(text))

    def negative(self) -> Mask:
        """Return where the highest bit is set."""
        text = f"icmp slt {self.at.whole_type} {self.name}, {self.at.whole(0).name}"
        return Mask(self.at, self.at.function.value(text))

    def as_real(self) -> Real:
        """Return the real number with these bits."""
        text = f"bitcast {self.at.whole_type} {self.name} to {self.at.real_type}"
        return Real(self.at, self.at.function.value(text))


@dataclass(frozen=True, slots=True, eq=False)
class Real:
    """A real number in each lane."""

    at: Lanes
    name: str

    def _binary(self, operation: str, a: Real, b: Real) -> Real:
        text = f"{operation} {self.at.real_type} {a.name}, {b.name}"
        return Real(self.at, self.at.function.value(text))

    def __add__(self, other: Number | Real) -> Real:
        return self._binary("fadd", self, self.at.real(other))

    def __sub__(self, other: Number | Real) -> Real:
        return self._binary("fsub", self, self.at.real(other))

    def __rsub__(self, other: Number) -> Real:
        return self._binary("fsub", self.at.real(other), self)

    def __mul__(self, other: Number | Real) -> Real:
        return self._binary("fmul", self, self.at.real(other))

    def __truediv__(self, other: Number | Real) -> Real:
        return self._binary("fdiv", self, self.at.real(other))

    def __rtruediv__(self, other: Number) -> Real:
        return self._binary("fdiv", self.at.real(other), self)

    def __neg__(self) -> Real:
        return Real(self.at, self.at.function.value(f"fneg {self.at.real_type} {self.name}"))

    def _compare(self, condition: str, other: Number | Real) -> Mask:
        b = self.at.real(other).name
        text = f"fcmp {condition} {self.at.real_type} {self.name}, {b}"
        return Mask(self.at, self.at.function.value(text))

    def __lt__(self, other: Number | Real) -> Mask:
        return self._compare("olt", other)

    def __le__(self, other: Number | Real) -> Mask:
        return self._compare("ole", other)

    def __gt__(self, other: Number | Real) -> Mask:
        return self._compare("ogt", other)

    def __ge__(self, other: Number | Real) -> Mask:
        return self._compare("oge", other)

    def equals(self, other: Number | Real) -> Mask:
        """Return where both are the same number; NaN is none."""
        return self._compare("oeq", other)

    def unordered(self, other: Number | Real = 0.0) -> Mask:
        """Return where one of both is NaN."""
        return self._compare("uno", other)

    def at_most(self, limit: float) -> Real:
        """Return the smaller of this and a limit; NaN stays."""
        return (self > limit).choose(limit, self)

    def at_least(self, limit: float) -> Real:
        """Return the larger of this and a limit; NaN stays."""
        return (self < limit).choose(limit, self)

    def bits(self) -> Whole:
        """Return the bits as a whole number."""
        text = f"bitcast {self.at.real_type} {self.name} to {self.at.whole_type}"
        return Whole(self.at, self.at.function.value(text))

    def size(self) -> Real:
        """Return the absolute value."""
        return self.at.intrinsic("fabs", self)

    def root(self) -> Real:
        """Return the square root, correctly rounded."""
        return self.at.intrinsic("sqrt", self)

    def truncated(self) -> Real:
        """Return the whole number next to this towards 0."""
        return self.at.intrinsic("trunc", self)

    def with_sign_of(self, other: Real) -> Real:
        """Return this with the sign bit of another."""
        return self.at.intrinsic("copysign", self, other)

    def converted(self, to: Lanes) -> Real:
        """Return the same numbers with more or fewer bits."""
        operation = "fpext" if to.bits > self.at.bits else "fptrunc"
        text = f"{operation} {self.at.real_type} {self.name} to {to.real_type}"
        return Real(to, to.function.value(text))


def multiply_add(a: Real, b: Number | Real, c: Number | Real) -> Real:
    """Return a * b + c, rounded once where the processor can."""
    if a.at.fused:
        return a.at.intrinsic("fma", a, a.at.real(b), a.at.real(c))
    return a * b + c


def polynomial(x: Real, coefficients: tuple[float, ...]) -> Real:
    """Return c0 + c1 x + c2 x² + ... by Horner's rule: loops overlap, so latency is hidden."""
    result = x.at.real(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        result = multiply_add(x, result, coefficient)
    return result


def two_sum(a: Real, b: Real) -> tuple[Real, Real]:
    """Return a + b as a rounded sum and its exact error (Knuth)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def fast_two_sum(a: Real, b: Real) -> tuple[Real, Real]:
    """Return a + b as a rounded sum and its exact error, where |a| >= |b| (Dekker)."""
    total = a + b
    return total, b - (total - a)


def two_product(a: Real, b: Number | Real) -> tuple[Real, Real]:
    """Return a * b as a rounded product and its exact error."""
    other = a.at.real(b)
    product = a * other
    if a.at.fused:
        return product, a.at.intrinsic("fma", a, other, -product)
    (a1, a2), (b1, b2) = _halves(a), _halves(other)
    return product, ((a1 * b1 - product) + a1 * b2 + a2 * b1) + a2 * b2


def _halves(x: Real) -> tuple[Real, Real]:
    """Return two numbers of half the bits whose sum this is (Veltkamp)."""
    scaled = x * float(2 ** ((x.at.mantissa + 2) // 2) + 1)
    high = scaled - (scaled - x)
    return high, x - high


def exact_multiply_add(a: Real, b: Number | Real, c: Real) -> Real:
    """Return a * b + c as if rounded once, where the method needs that on every processor."""
    if a.at.fused:
        return a.at.intrinsic("fma", a, a.at.real(b), c)
    product, rest = two_product(a, b)
    total, error = two_sum(product, c)
    return total + (error + rest)
