"""Batching: matrix products that rounds of a loop need not wait for each other with.

Takes: a loop over slices that is being simplified. Gives: the products of all rounds at once, in
front of the loop or behind it.
The one idea: a product of slices with a matrix is the product of the whole stack with it; and a
sum of products over rounds is one product whose depth has the rounds in it (so the gradient of a
weight costs one large product instead of many small ones).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from chainrule.compiler.program import Instruction, Program, Value
from chainrule.core.shape import Spec
from chainrule.graph.op import OPS

# Ops that only change where elements stand; done to a stack as well as to its slices.
_MOVING = frozenset(("reshape", "permute"))
# Bytes of a stack that is made for the sake of a product behind the loop, at most.
_LIMIT = 2**26


@dataclass(slots=True, eq=False)
class Batching:
    """Products of a loop's rounds, done at once.

    Attributes:
        body: A round.
        length: Number of rounds.
        stacks: For what stands for a slice, the stacked value outside.
        fixed: For what is the same in every round, the value outside.
        before: Instructions in front of the loop.
        after: Instructions behind the loop.
        slices: New slices: the stacked value outside, and what stands for a slice of it.
        results: New results: values of the body, and the stacked values outside.
    """

    body: Program
    length: int
    stacks: dict[Value, Value]
    fixed: dict[Value, Value]
    before: list[Instruction] = field(default_factory=list)
    after: list[Instruction] = field(default_factory=list)
    slices: list[tuple[Value, Value]] = field(default_factory=list)
    results: dict[Value, Value] = field(default_factory=dict)
    makers: dict[Value, Instruction] = field(default_factory=dict)
    uses: dict[Value, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.makers = {i.output: i for i in self.body.instructions}
        self.uses = self.body.uses()

    def take_products_of_slices(self) -> None:
        """Move products of slices with what is the same in every round in front of the loop."""
        kept = []
        for instruction in self.body.instructions:
            output = instruction.output
            if instruction.op.name == "matmul" and self._is_known(instruction):
                stack = self._product(instruction, self.before)
                self.slices.append((stack, output))
                self.stacks[output] = stack
                del self.makers[output]
            else:
                kept.append(instruction)
        self.body = replace(self.body, instructions=kept)

    def take_result(self, value: Value, output: Value) -> bool:
        """Make a stacked result behind the loop, if it is a product that no round needs.

        Args:
            value: What is stacked.
            output: The stacked value outside.
        """
        chain = self._chain(value)
        if not chain or not self._pays(chain[-1]):
            return False
        stack = self._product(chain[-1], self.after)
        for instruction in reversed(chain[:-1]):
            stack = self._moved(instruction, stack, self.after)
        self.after[-1] = replace(self.after[-1], output=output)
        return True

    def take_sum(self, carry: Value, init: Value, value: Value, output: Value) -> bool:
        """Make a sum over rounds behind the loop, if it is one of products.

        Args:
            carry: The sum so far.
            init: What it begins with.
            value: The next sum.
            output: The last sum, outside.
        """
        add = self._addition(carry, value)
        chain = self._chain(add.inputs[1 - add.inputs.index(carry)]) if add else []
        if add is None or not chain or not self._pays(chain[-1]):
            return False
        product = chain[-1]
        if any(len(v.spec.shape) != 2 for v in product.inputs):
            return False
        left, right = (self._lifted(v, self.after) for v in product.inputs)
        count, depth = product.inputs[0].spec.shape
        columns = product.inputs[1].spec.shape[1]
        joint = self.length * depth
        at = self.after
        rows = self._new("permute", at, product, left, axes=(1, 0, 2))
        rows = self._new("reshape", at, product, rows, shape=(count, joint))
        other = self._new("reshape", at, product, right, shape=(joint, columns))
        total = self._new("matmul", at, product, rows, other)
        self._added(add, init, total, chain, output)
        return True

    def take_sum_of_sums(self, carry: Value, init: Value, value: Value, output: Value) -> bool:
        """Make a sum over rounds behind the loop, if it is one of sums of what is stacked anyway.

        The gradient of a bias is one; the gradients of its gates are stacked for that of a weight.

        Args:
            carry: The sum so far.
            init: What it begins with.
            value: The next sum.
            output: The last sum, outside.
        """
        add = self._addition(carry, value)
        chain = self._chain(add.inputs[1 - add.inputs.index(carry)], "sum") if add else []
        if add is None or not chain:
            return False
        inner = chain[-1]
        root = self._root(inner.inputs[0])
        if root not in self.stacks and root not in self.results:
            return False
        at = self.after
        axes = (0, *(axis + 1 for axis in inner.attrs["axes"]))
        stack = self._lifted(inner.inputs[0], at)
        total = self._new("sum", at, inner, stack, axes=axes, keepdims=inner.attrs["keepdims"])
        if total.spec.shape != inner.output.spec.shape:
            total = self._new("reshape", at, inner, total, shape=inner.output.spec.shape)
        self._added(add, init, total, chain, output)
        return True

    def _added(
        self, add: Instruction, init: Value, total: Value, chain: list[Instruction], output: Value
    ) -> None:
        """Move a total as its parts were moved, and add it to what the sum begins with."""
        at = self.after
        for instruction in reversed(chain[:-1]):
            total = self._new(instruction.op.name, at, instruction, total, **instruction.attrs)
        self._new("add", at, add, init, total)
        at[-1] = replace(at[-1], output=output)

    # --- looking ------------------------------------------------------------------------------

    def _addition(self, carry: Value, value: Value) -> Instruction | None:
        """Return the instruction that makes the next sum of the last one, if nobody else reads."""
        add = self.makers.get(value)
        if add is None or add.op.name != "add" or carry not in add.inputs:
            return None
        alone = self.uses.get(carry) == 1 and self.uses.get(value) == 1
        return add if alone else None

    def _chain(self, value: Value, last: str = "matmul") -> list[Instruction]:
        """Return the product (or other op) that a value is made of by moving, with the moves first.

        Nothing else may use any of them.
        """
        chain: list[Instruction] = []
        while self.uses.get(value) == 1:
            maker = self.makers.get(value)
            if maker is None:
                return []
            chain.append(maker)
            if maker.op.name == last:
                return chain
            if maker.op.name not in _MOVING:
                return []
            value = maker.inputs[0]
        return []

    def _root(self, value: Value) -> Value:
        while value in self.makers and self.makers[value].op.name in _MOVING:
            value = self.makers[value].inputs[0]
        return value

    def _is_known(self, product: Instruction) -> bool:
        """Return whether a product is one of a slice and of what is the same in every round."""
        roots = [self._root(value) for value in product.inputs]
        sliced = [root in self.stacks for root in roots]
        fixed = [
            root in self.fixed and self._is_matrix(value)
            for root, value in zip(roots, product.inputs, strict=True)
        ]
        return (sliced[0] and fixed[1]) or (fixed[0] and sliced[1])

    @staticmethod
    def _is_matrix(value: Value) -> bool:
        """Return whether what is the same in every round meets all slices of a stack alike.

        Axes in front of a matrix would meet the rounds; and where the product has such axes, all
        rounds at once are no larger product, only more memory (the scores of attention, say).
        """
        return len(value.spec.shape) == 2

    def _pays(self, product: Instruction) -> bool:
        """Return whether the operands of a product are stacks, or may become some."""
        roots = [self._root(value) for value in product.inputs]
        pairs = zip(product.inputs, roots, strict=True)
        lifted = [len(v.spec.shape) for v, root in pairs if root not in self.fixed]
        fixed = [v for v, root in zip(product.inputs, roots, strict=True) if root in self.fixed]
        if len(set(lifted)) > 1 or not all(map(self._is_matrix, fixed)):
            return False
        return all(
            self._root(value) in self.stacks
            or self._root(value) in self.fixed
            or self._root(value) in self.results
            or self.length * value.spec.nbytes <= _LIMIT
            for value in product.inputs
        )

    # --- making -------------------------------------------------------------------------------

    def _product(self, product: Instruction, at: list[Instruction]) -> Value:
        inputs = []
        for value in product.inputs:
            if self._root(value) in self.fixed:
                inputs.append(self._same(value, at))
            else:
                inputs.append(self._lifted(value, at))
        return self._new("matmul", at, product, *inputs)

    def _same(self, value: Value, at: list[Instruction]) -> Value:
        """Return outside what is the same in every round."""
        if value in self.fixed:
            return self.fixed[value]
        maker = self.makers[value]
        source = self._same(maker.inputs[0], at)
        return self._new(maker.op.name, at, maker, source, **maker.attrs)

    def _lifted(self, value: Value, at: list[Instruction]) -> Value:
        """Return the stack of a value of all rounds."""
        if value in self.stacks:
            return self.stacks[value]
        if value in self.fixed:
            shape = (self.length, *value.spec.shape)
            spread = (1, *value.spec.shape)
            row = self._new("reshape", at, None, self.fixed[value], shape=spread)
            return self._new("expand", at, None, row, shape=shape)
        maker = self.makers.get(value)
        if maker is not None and maker.op.name in _MOVING:
            return self._moved(maker, self._lifted(maker.inputs[0], at), at)
        if value not in self.results:
            spec = Spec((self.length, *value.spec.shape), value.spec.dtype)
            self.results[value] = Value(spec)
        return self.results[value]

    def _moved(self, instruction: Instruction, stack: Value, at: list[Instruction]) -> Value:
        """Return a stack whose slices are moved."""
        if instruction.op.name == "permute":
            axes = (0, *(axis + 1 for axis in instruction.attrs["axes"]))
            return self._new("permute", at, instruction, stack, axes=axes)
        shape = (self.length, *instruction.attrs["shape"])
        return self._new("reshape", at, instruction, stack, shape=shape)

    def _new(
        self,
        name: str,
        at: list[Instruction],
        like: Instruction | None,
        *inputs: Value,
        **attrs: Any,
    ) -> Value:
        op = OPS[name]
        output = Value(op.infer(*(value.spec for value in inputs), **attrs))
        site, layer = (like.site, like.layer) if like else (None, "")
        at.append(Instruction(op, inputs, attrs, output, site, layer))
        return output
