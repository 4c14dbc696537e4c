"""Element-wise methods: Python's operators, functions element by element, in-place forms.

Takes: tensors and Python numbers. Gives: what the public function of the same meaning gives.
The one idea: an in-place method computes a new tensor and rebinds its handle to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from chainrule.core.errors import unknown_word
from chainrule.graph.conversion import Conversions, Operand, call

if TYPE_CHECKING:
    from chainrule.graph.tensor import Tensor


class Operators(Conversions):
    """Operators and in-place methods."""

    __slots__ = ()

    # --- operators ------------------------------------------------------------------

    def __add__(self, other: Operand) -> Tensor:
        return call("add", self, other)

    def __radd__(self, other: Operand) -> Tensor:
        return call("add", other, self)

    def __sub__(self, other: Operand) -> Tensor:
        return call("subtract", self, other)

    def __rsub__(self, other: Operand) -> Tensor:
        return call("subtract", other, self)

    def __mul__(self, other: Operand) -> Tensor:
        return call("multiply", self, other)

    def __rmul__(self, other: Operand) -> Tensor:
        return call("multiply", other, self)

    def __truediv__(self, other: Operand) -> Tensor:
        return call("divide", self, other)

    def __rtruediv__(self, other: Operand) -> Tensor:
        return call("divide", other, self)

    def __floordiv__(self, other: Operand) -> Tensor:
        return call("floor_divide", self, other)

    def __rfloordiv__(self, other: Operand) -> Tensor:
        return call("floor_divide", other, self)

    def __mod__(self, other: Operand) -> Tensor:
        return call("remainder", self, other)

    def __rmod__(self, other: Operand) -> Tensor:
        return call("remainder", other, self)

    def __pow__(self, other: Operand) -> Tensor:
        return call("pow", self, other)

    def __rpow__(self, other: Operand) -> Tensor:
        return call("pow", other, self)

    def __matmul__(self, other: Operand) -> Tensor:
        return call("matmul", self, other)

    def __rmatmul__(self, other: Operand) -> Tensor:
        return call("matmul", other, self)

    def __and__(self, other: Operand) -> Tensor:
        return call("bitwise_and", self, other)

    def __rand__(self, other: Operand) -> Tensor:
        return call("bitwise_and", other, self)

    def __or__(self, other: Operand) -> Tensor:
        return call("bitwise_or", self, other)

    def __ror__(self, other: Operand) -> Tensor:
        return call("bitwise_or", other, self)

    def __xor__(self, other: Operand) -> Tensor:
        return call("bitwise_xor", self, other)

    def __rxor__(self, other: Operand) -> Tensor:
        return call("bitwise_xor", other, self)

    def __lshift__(self, other: Operand) -> Tensor:
        return call("bitwise_left_shift", self, other)

    def __rlshift__(self, other: Operand) -> Tensor:
        return call("bitwise_left_shift", other, self)

    def __rshift__(self, other: Operand) -> Tensor:
        return call("bitwise_right_shift", self, other)

    def __rrshift__(self, other: Operand) -> Tensor:
        return call("bitwise_right_shift", other, self)

    def __iadd__(self, other: Operand) -> Self:
        return self._rebind(call("add", self, other), "add_")

    def __isub__(self, other: Operand) -> Self:
        return self._rebind(call("subtract", self, other), "sub_")

    def __imul__(self, other: Operand) -> Self:
        return self._rebind(call("multiply", self, other), "mul_")

    def __itruediv__(self, other: Operand) -> Self:
        return self._rebind(call("divide", self, other), "truediv_")

    def __neg__(self) -> Tensor:
        return call("negative", self)

    def __pos__(self) -> Tensor:
        return call("positive", self)

    def __abs__(self) -> Tensor:
        return call("abs", self)

    def __invert__(self) -> Tensor:
        return call("bitwise_invert", self)

    def __lt__(self, other: Operand) -> Tensor:
        return call("less", self, other)

    def __le__(self, other: Operand) -> Tensor:
        return call("less_equal", self, other)

    def __gt__(self, other: Operand) -> Tensor:
        return call("greater", self, other)

    def __ge__(self, other: Operand) -> Tensor:
        return call("greater_equal", self, other)

    # None and text are never equal to numbers; Python then answers with False by itself.
    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]  # element-wise
        return (
            NotImplemented
            if other is None or isinstance(other, str)
            else call("equal", self, other)
        )

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]  # element-wise
        return (
            NotImplemented
            if other is None or isinstance(other, str)
            else call("not_equal", self, other)
        )

    def __getitem__(self, key: Any) -> Tensor:
        return call("getitem", self, key)

    def __setitem__(self, key: Any, value: Operand) -> None:
        self._rebind(call("setitem", self, key, value), "setitem")

    # --- element-wise ---------------------------------------------------------------

    def abs(self) -> Tensor:
        """See `chainrule.abs`."""
        return call("abs", self)

    def exp(self) -> Tensor:
        """See `chainrule.exp`."""
        return call("exp", self)

    def expm1(self) -> Tensor:
        """See `chainrule.expm1`."""
        return call("expm1", self)

    def log(self) -> Tensor:
        """See `chainrule.log`."""
        return call("log", self)

    def log2(self) -> Tensor:
        """See `chainrule.log2`."""
        return call("log2", self)

    def log10(self) -> Tensor:
        """See `chainrule.log10`."""
        return call("log10", self)

    def log1p(self) -> Tensor:
        """See `chainrule.log1p`."""
        return call("log1p", self)

    def sqrt(self) -> Tensor:
        """See `chainrule.sqrt`."""
        return call("sqrt", self)

    def rsqrt(self) -> Tensor:
        """See `chainrule.rsqrt`."""
        return call("rsqrt", self)

    def square(self) -> Tensor:
        """See `chainrule.square`."""
        return call("square", self)

    def reciprocal(self) -> Tensor:
        """See `chainrule.reciprocal`."""
        return call("reciprocal", self)

    def sin(self) -> Tensor:
        """See `chainrule.sin`."""
        return call("sin", self)

    def cos(self) -> Tensor:
        """See `chainrule.cos`."""
        return call("cos", self)

    def tan(self) -> Tensor:
        """See `chainrule.tan`."""
        return call("tan", self)

    def asin(self) -> Tensor:
        """See `chainrule.asin`."""
        return call("asin", self)

    def acos(self) -> Tensor:
        """See `chainrule.acos`."""
        return call("acos", self)

    def atan(self) -> Tensor:
        """See `chainrule.atan`."""
        return call("atan", self)

    def sinh(self) -> Tensor:
        """See `chainrule.sinh`."""
        return call("sinh", self)

    def cosh(self) -> Tensor:
        """See `chainrule.cosh`."""
        return call("cosh", self)

    def tanh(self) -> Tensor:
        """See `chainrule.tanh`."""
        return call("tanh", self)

    def asinh(self) -> Tensor:
        """See `chainrule.asinh`."""
        return call("asinh", self)

    def acosh(self) -> Tensor:
        """See `chainrule.acosh`."""
        return call("acosh", self)

    def atanh(self) -> Tensor:
        """See `chainrule.atanh`."""
        return call("atanh", self)

    def erf(self) -> Tensor:
        """See `chainrule.erf`."""
        return call("erf", self)

    def erfinv(self) -> Tensor:
        """See `chainrule.erfinv`."""
        return call("erfinv", self)

    def sigmoid(self) -> Tensor:
        """See `chainrule.sigmoid`."""
        return call("sigmoid", self)

    def relu(self) -> Tensor:
        """See `chainrule.relu`."""
        return call("relu", self)

    def sign(self) -> Tensor:
        """See `chainrule.sign`."""
        return call("sign", self)

    def floor(self) -> Tensor:
        """See `chainrule.floor`."""
        return call("floor", self)

    def ceil(self) -> Tensor:
        """See `chainrule.ceil`."""
        return call("ceil", self)

    def round(self, *, decimals: int = 0) -> Tensor:
        """See `chainrule.round`; to so many digits behind the point, or before it if negative."""
        if decimals == 0:
            return call("round", self)
        scale = 10.0 ** abs(decimals)
        if decimals < 0:
            return call("multiply", call("round", call("divide", self, scale)), scale)
        return call("divide", call("round", call("multiply", self, scale)), scale)

    def trunc(self) -> Tensor:
        """See `chainrule.trunc`."""
        return call("trunc", self)

    def isnan(self) -> Tensor:
        """See `chainrule.isnan`."""
        return call("isnan", self)

    def isinf(self) -> Tensor:
        """See `chainrule.isinf`."""
        return call("isinf", self)

    def isfinite(self) -> Tensor:
        """See `chainrule.isfinite`."""
        return call("isfinite", self)

    def logical_not(self) -> Tensor:
        """See `chainrule.logical_not`."""
        return call("logical_not", self)

    def neg(self) -> Tensor:
        """See `chainrule.negative`."""
        return call("negative", self)

    def add(self, other: Operand, *, alpha: float = 1) -> Tensor:
        """See `chainrule.add`; ``alpha`` times the other is added."""
        return call("add", self, other if alpha == 1 else call("multiply", other, alpha))

    def sub(self, other: Operand, *, alpha: float = 1) -> Tensor:
        """See `chainrule.subtract`; ``alpha`` times the other is taken away."""
        return call("subtract", self, other if alpha == 1 else call("multiply", other, alpha))

    def mul(self, other: Operand) -> Tensor:
        """See `chainrule.multiply`."""
        return call("multiply", self, other)

    def div(self, other: Operand, *, rounding_mode: str | None = None) -> Tensor:
        """See `chainrule.divide`; rounded by "floor", or by "trunc" towards 0."""
        if rounding_mode is None:
            return call("divide", self, other)
        if rounding_mode == "floor":
            return call("floor_divide", self, other)
        if rounding_mode != "trunc":
            raise unknown_word("rounding_mode", rounding_mode, ("floor", "trunc"))
        divisor = call("as_tensor", other, self)
        if self.spec.dtype.is_floating or divisor.spec.dtype.is_floating:
            return call("trunc", call("divide", self, other))
        signs = call("multiply", call("sign", self), call("sign", divisor))
        return call("multiply", signs, call("floor_divide", abs(self), abs(divisor)))

    def pow(self, other: Operand) -> Tensor:
        """See `chainrule.pow`."""
        return call("pow", self, other)

    def remainder(self, other: Operand) -> Tensor:
        """See `chainrule.remainder`."""
        return call("remainder", self, other)

    def matmul(self, other: Operand) -> Tensor:
        """See `chainrule.matmul`."""
        return call("matmul", self, other)

    def mm(self, other: Operand) -> Tensor:
        """See `chainrule.matmul`."""
        return call("matmul", self, other)

    def bmm(self, other: Operand) -> Tensor:
        """See `chainrule.matmul`."""
        return call("matmul", self, other)

    def dot(self, other: Operand) -> Tensor:
        """See `chainrule.matmul`."""
        return call("matmul", self, other)

    def mv(self, other: Operand) -> Tensor:
        """See `chainrule.matmul`."""
        return call("matmul", self, other)

    def maximum(self, other: Operand) -> Tensor:
        """See `chainrule.maximum`."""
        return call("maximum", self, other)

    def minimum(self, other: Operand) -> Tensor:
        """See `chainrule.minimum`."""
        return call("minimum", self, other)

    def eq(self, other: Operand) -> Tensor:
        """See `chainrule.equal`."""
        return call("equal", self, other)

    def ne(self, other: Operand) -> Tensor:
        """See `chainrule.not_equal`."""
        return call("not_equal", self, other)

    def lt(self, other: Operand) -> Tensor:
        """See `chainrule.less`."""
        return call("less", self, other)

    def le(self, other: Operand) -> Tensor:
        """See `chainrule.less_equal`."""
        return call("less_equal", self, other)

    def gt(self, other: Operand) -> Tensor:
        """See `chainrule.greater`."""
        return call("greater", self, other)

    def ge(self, other: Operand) -> Tensor:
        """See `chainrule.greater_equal`."""
        return call("greater_equal", self, other)

    def logical_and(self, other: Operand) -> Tensor:
        """See `chainrule.logical_and`."""
        return call("logical_and", self, other)

    def logical_or(self, other: Operand) -> Tensor:
        """See `chainrule.logical_or`."""
        return call("logical_or", self, other)

    def logical_xor(self, other: Operand) -> Tensor:
        """See `chainrule.logical_xor`."""
        return call("logical_xor", self, other)

    def clamp(self, min: Operand | None = None, max: Operand | None = None) -> Tensor:
        """See `chainrule.clip`."""
        return call("clip", self, min, max)

    def clip(self, min: Operand | None = None, max: Operand | None = None) -> Tensor:
        """See `chainrule.clip`."""
        return call("clip", self, min, max)

    def where(self, condition: Operand, other: Operand) -> Tensor:
        """Return this tensor where a condition holds, and ``other`` elsewhere."""
        return call("where", condition, self, other)

    def masked_fill(self, mask: Operand, value: Operand) -> Tensor:
        """Return this tensor with ``value`` where the mask holds."""
        return call("where", mask, value, self)

    def clone(self) -> Tensor:
        """See `chainrule.clone`."""
        return call("clone", self)

    # --- in-place: the handle is rebound ----------------------------------------------

    def copy_(self, source: Operand) -> Self:
        """Take over the elements of another tensor, broadcast to this shape."""
        return self._rebind(call("expand", call("as_tensor", source), self.spec.shape), "copy_")

    def fill_(self, value: float) -> Self:
        """Set every element to a value."""
        return self._rebind(call("full", self.spec.shape, value, dtype=self.spec.dtype), "fill_")

    def zero_(self) -> Self:
        """Set every element to 0."""
        return self.fill_(0)

    def clamp_(self, min: Operand | None = None, max: Operand | None = None) -> Self:
        """Limit every element to a range."""
        return self._rebind(call("clip", self, min, max), "clamp_")

    def normal_(self, mean: float = 0.0, std: float = 1.0) -> Self:
        """Fill with numbers from a normal distribution."""
        made = call("randn", self.spec.shape, dtype=self.spec.dtype)
        return self._rebind(call("add", call("multiply", made, std), mean), "normal_")

    def uniform_(self, low: float = 0.0, high: float = 1.0) -> Self:
        """Fill with numbers from a uniform distribution on [low, high)."""
        made = call("rand", self.spec.shape, dtype=self.spec.dtype)
        return self._rebind(call("add", call("multiply", made, high - low), low), "uniform_")

    def add_(self, other: Operand) -> Self:
        """In-place form of `chainrule.add`."""
        return self._rebind(call("add", self, other), "add_")

    def sub_(self, other: Operand) -> Self:
        """In-place form of `chainrule.subtract`."""
        return self._rebind(call("subtract", self, other), "sub_")

    def mul_(self, other: Operand) -> Self:
        """In-place form of `chainrule.multiply`."""
        return self._rebind(call("multiply", self, other), "mul_")

    def div_(self, other: Operand) -> Self:
        """In-place form of `chainrule.divide`."""
        return self._rebind(call("divide", self, other), "div_")
