"""Tracing: what changes in the graph's rooms while a function is recorded instead of computed.

Takes: applications of ops. Gives: values that stand for elements not known yet.
The one idea: one slot, the elements of a tensor, holds either an array or a `Value`; whoever
only hands elements on needs not know which.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from chainrule.core.errors import ChainruleError
from chainrule.core.shape import Spec
from chainrule.graph.explain import located

if TYPE_CHECKING:
    from chainrule.core.dtype import Array
    from chainrule.graph.node import Node
    from chainrule.graph.op import Op
    from chainrule.graph.tensor import Tensor


# One round of a loop: from a carry and slices to the next carry and results.
Step = Callable[["list[Tensor]", "list[Tensor]"], "tuple[list[Tensor], list[Tensor]]"]


class TraceError(ChainruleError):
    """A traced function does what only numbers known beforehand allow."""


class Value:
    """The elements of one tensor, not known yet.

    Attributes:
        spec: Shape and dtype.
        name: For people: where an input comes from ("" for results of instructions).
    """

    __slots__ = ("name", "spec")

    def __init__(self, spec: Spec, name: str = "") -> None:
        self.spec = spec
        self.name = name


class Tracer(Protocol):
    """What records a function."""

    def apply(self, op: Op, inputs: tuple[Tensor, ...], attrs: dict[str, Any], spec: Spec) -> Any:
        """Record an op applied to tensors; return the elements of its result."""

    def lift(self, tensor: Tensor) -> None:
        """Make a tensor from outside an input of the program."""

    def known(self, array: Array) -> Array:
        """Note that elements were made inside the function, and never change."""

    def given(self, spec: Spec, source: Callable[[], Any], name: str, key: object = None) -> Value:
        """Add an input whose elements are asked for at each call; one for all with a key."""

    def undo(self, owner: object, action: Callable[[], None]) -> None:
        """Do something when tracing has ended; only the first action of an owner counts."""

    def after(self, effect: Callable[[], None]) -> None:
        """Do something at each call, once it has succeeded."""

    def guard(self, condition: Callable[[], Any], name: str) -> None:
        """Trace anew when what this returns has changed."""

    def require(self, ok: Tensor, error: ChainruleError) -> None:
        """Let a call fail unless a tensor of one bool is true."""

    def made(self, tensor: Tensor) -> None:
        """Note the handle of a result: if it outlives the function, each call renews it."""

    def recorded(self, node: Node, result: Tensor) -> None:
        """Note where in the user's program a node was made."""

    def differentiating(self, node: Node | None) -> None:
        """Note that what follows belongs to the derivative of a node."""

    def accumulating(self, tensor: Tensor) -> None:
        """Note that a gradient is about to be put into a leaf's `.grad`."""

    def cleared(self, tensor: Tensor) -> None:
        """Note that a leaf's gradient was removed."""

    def scan(
        self, step: Step, carry: list[Tensor], xs: list[Tensor], length: int, *, reverse: bool
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Record a loop over slices; return the last carry and the stacked results."""

    def cond(
        self, condition: Tensor, true: Callable[[], list[Tensor]], false: Callable[[], list[Tensor]]
    ) -> list[Tensor]:
        """Record a branch; return the results of the function that is chosen."""

    def while_loop(
        self,
        condition: Callable[[list[Tensor]], Tensor],
        body: Callable[[list[Tensor]], list[Tensor]],
        carry: list[Tensor],
    ) -> list[Tensor]:
        """Record a loop that runs while a condition holds; return the last carry."""


def unknown_elements(spec: Spec, what: str = "") -> TraceError:
    """Build the error for elements that are read while a function is traced."""
    if what == "bool":
        return located(
            TraceError(
                f"compile: the truth of a traced tensor {spec} decides what Python does next, but "
                "it is known only when the compiled function runs",
                hint="choose elements with chainrule.where(condition, a, b), or parts of the "
                "computation with chainrule.cond(condition, f, g, *args)",
            )
        )
    return located(
        TraceError(
            f"compile: the elements of a traced tensor {spec} are read, but they are known only "
            "when the compiled function runs",
            hint="return the tensor and read it outside of the compiled function",
        )
    )
