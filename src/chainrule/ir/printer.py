"""Printer: formulas, kernels and plans as text.

Takes: any of them. Gives: text that a person reads, or the canonical text of a kernel.
The one idea: one writer for both; they differ only in how axes and buffers are named.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chainrule.ir.definition import Definition, Formulas, Prefix
from chainrule.ir.expr import (
    Acc,
    Axis,
    Buffer,
    Call,
    Const,
    Expr,
    Index,
    Inside,
    Load,
    Position,
    Read,
    Ref,
    Within,
    children,
    walk,
)
from chainrule.ir.kernel import (
    Accumulate,
    Branch,
    Check,
    Contraction,
    Declare,
    HostCall,
    Kernel,
    Launch,
    Loop,
    Plan,
    Repeat,
    Statement,
    Step,
    Store,
    While,
)

_INFIX = {
    "add": "+",
    "subtract": "-",
    "multiply": "*",
    "divide": "/",
    "less": "<",
    "less_equal": "<=",
    "greater": ">",
    "greater_equal": ">=",
    "equal": "==",
    "not_equal": "!=",
    "logical_and": "and",
    "logical_or": "or",
}
_INDENT = "  "


def formulas_text(formulas: Formulas) -> str:
    """Return formulas as text, one line for each and one for each shared part."""
    writer = _Writer()
    for formula in formulas:
        target = writer.name(formula.target)
        axes = writer.axes(formula.axes)
        writer.line(f"{target} : {_spec(formula.target)}")
        writer.depth += 1
        if isinstance(formula, Definition):
            reduced = writer.axes(formula.reduced)
            over = f"{formula.fn} over {reduced} of " if formula.fn else ""
            body = writer.value(formula.body)
            writer.line(f"[{axes}] = {over}{body}")
        elif isinstance(formula, Prefix):
            body = writer.value(formula.body)
            along = writer.name(formula.axes[formula.axis])
            writer.line(f"[{axes}] = running {formula.fn} along {along} of {body}")
        else:
            places = ", ".join(
                writer.place(index, formula.dynamic[n] if n < len(formula.dynamic) else None)
                for n, index in enumerate(formula.position)
            )
            body = writer.value(formula.body)
            initial = writer.name(formula.initial)
            sign = "+=" if formula.fn == "add" else "="
            writer.line(f"= {initial}, then for {axes}: [{places}] {sign} {body}")
        writer.depth -= 1
    return writer.text


def kernel_text(kernel: Kernel | Contraction) -> str:
    """Return a kernel as text."""
    return _kernel(kernel, _Writer(), f"{kernel.name} ")


def fingerprint(kernel: Kernel | Contraction) -> str:
    """Return a text that is equal for kernels that may share machine code.

    Names of kernels, buffers, axes and reductions do not matter; everything else does.
    """
    return _kernel(kernel, _Writer(canonical=True), "")


def plan_text(plan: Plan) -> str:
    """Return a plan as text: where its buffers live, its steps, and each kernel once."""
    writer = _Writer()
    writer.line(f"plan {plan.name}: arena of {plan.arena} bytes")
    writer.depth += 1
    for word, buffers in (("input", plan.inputs), ("output", plan.outputs)):
        for buffer in buffers:
            writer.line(f"{word} {writer.name(buffer)} : {_spec(buffer)}")
    for buffer in plan.constants:
        writer.line(f"constant {writer.name(buffer)} : {_spec(buffer)}")
    for buffer, offset in plan.temporaries.items():
        writer.line(f"temporary {writer.name(buffer)} : {_spec(buffer)} at {offset}")
    kernels: dict[Kernel | Contraction, str] = {}
    writer.steps(plan.steps, kernels)
    bodies = (_kernel(kernel, _Writer(), f"{name} ") for kernel, name in kernels.items())
    return "\n".join((writer.text, *bodies))


def _kernel(kernel: Kernel | Contraction, writer: _Writer, name: str) -> str:
    buffers = []
    for buffer in kernel.buffers:
        out = "out " if buffer in kernel.written else ""
        buffers.append(f"{out}{writer.name(buffer)}: {_spec(buffer)}")
    header = f"{name}({', '.join(buffers)})"
    if isinstance(kernel, Contraction):
        writer.line(f"contraction {header}")
        writer.depth += 1
        for word in ("batch", "rows", "columns", "depth"):
            writer.line(f"{word} {writer.axes(getattr(kernel, word))}".rstrip())
        product = f"{writer.value(kernel.left)} * {writer.value(kernel.right)}"
        over = ", ".join(map(writer.name, kernel.depth))
        writer.line(f"{writer.name(kernel.acc)} : {_acc(kernel.acc)} over {over} of {product}")
        writer.body(kernel.stores)
        return writer.text
    writer.line(f"kernel {header}")
    writer.depth += 1
    writer.line(f"grid {writer.axes(kernel.grid)} grain {kernel.grain}".replace("  ", " "))
    for buffer in kernel.scratch:
        writer.line(f"scratch {writer.name(buffer)}: {_spec(buffer)}")
    writer.body(kernel.body)
    return writer.text


def _spec(memory: Ref | Buffer) -> str:
    sizes = memory.shape if isinstance(memory, Ref) else (memory.size,)
    return f"{memory.dtype.short}[{','.join(map(str, sizes))}]"


def _acc(acc: Acc) -> str:
    return f"{acc.fn} {acc.dtype.short}"


class _Writer:
    """Lines of text, and the names that stand for objects in them."""

    def __init__(self, *, canonical: bool = False) -> None:
        self.canonical = canonical
        self.lines: list[str] = []
        self.depth = 0
        self._names: dict[object, str] = {}
        self._taken: set[str] = set()
        self._temporaries = 0

    @property
    def text(self) -> str:
        """All lines."""
        return "\n".join(self.lines) + "\n"

    def line(self, text: str) -> None:
        """Add a line."""
        self.lines.append(_INDENT * self.depth + text)

    def name(self, thing: Axis | Buffer | Ref | Acc) -> str:
        """Return the name of an object: its own, with a number where two have the same."""
        if thing not in self._names:
            kind = {Axis: "i", Acc: "r"}.get(type(thing), "b")
            base = f"{kind}{len(self._names)}" if self.canonical else thing.name or kind
            name, number = base, 2
            while name in self._taken:
                name, number = f"{base}.{number}", number + 1
            self._taken.add(name)
            self._names[thing] = name
        return self._names[thing]

    def axes(self, axes: Sequence[Axis]) -> str:
        """Return axes with their extents."""
        return ", ".join(f"{self.name(axis)}<{axis.extent}>" for axis in axes)

    def index(self, index: Index) -> str:
        """Return an index."""
        parts = []
        for axis, factor in index.terms:
            parts.append(self.name(axis) if factor == 1 else f"{factor}*{self.name(axis)}")
        if index.offset or not parts:
            parts.append(str(index.offset))
        return "+".join(parts).replace("+-", "-")

    def bounds(self, bounds: Iterable[Within]) -> str:
        """Return conditions."""
        return " and ".join(f"0 <= {self.index(i)} < {size}" for i, size in bounds)

    def place(self, index: Index, dynamic: Expr | None) -> str:
        """Return an index with an expression added to it."""
        if dynamic is None:
            return self.index(index)
        added = self.value(dynamic)
        return added if index == Index(()) else f"{self.index(index)} + {added}"

    def value(self, root: Expr) -> str:
        """Return an expression; parts that are used twice get lines of their own before it."""
        uses: dict[int, int] = {}
        parts = list(walk(root))
        for part in parts:
            for child in children(part):
                uses[id(child)] = uses.get(id(child), 0) + 1
        texts: dict[int, str] = {}
        for part in parts:
            text = self._part(part, texts)
            if uses.get(id(part), 0) > 1 and isinstance(part, Call | Load):
                self.line(f"t{self._temporaries} = {text}")
                text, self._temporaries = f"t{self._temporaries}", self._temporaries + 1
            texts[id(part)] = text
        return texts[id(root)]

    def _part(self, part: Expr, texts: dict[int, str]) -> str:
        if isinstance(part, Const):
            return f"{part.value!r}:{part.dtype.short}"
        if isinstance(part, Position):
            return f"({self.index(part.index)})"
        if isinstance(part, Inside):
            return f"({self.bounds(part.bounds) or 'true'})"
        if isinstance(part, Read):
            return self.name(part.acc)
        if isinstance(part, Load):
            return self._load(part, texts)
        args = [texts[id(a)] for a in part.args]
        if part.fn in _INFIX:
            return f"({args[0]} {_INFIX[part.fn]} {args[1]})"
        kind = f"<{part.dtype.short}>" if part.fn in ("cast", "bitcast") else ""
        return f"{part.fn}{kind}({', '.join(args)})"

    def _load(self, load: Load, texts: dict[int, str]) -> str:
        places = []
        for n, index in enumerate(load.indices):
            dynamic = load.dynamic[n] if n < len(load.dynamic) else None
            added = "" if dynamic is None else f" + {texts[id(dynamic)]}"
            places.append(self.index(index) + added)
        guards = f" if {self.bounds(load.guards)}" if load.guards else ""
        text = f"{self.name(load.source)}[{', '.join(places)}]{guards}"
        return f"({text})" if guards else text

    def body(self, statements: Iterable[Statement]) -> None:
        """Write statements."""
        for statement in statements:
            if isinstance(statement, Declare):
                self.line(f"{self.name(statement.acc)} : {_acc(statement.acc)}")
            elif isinstance(statement, Accumulate):
                value = self.value(statement.value)
                self.line(f"{self.name(statement.acc)} {statement.acc.fn}= {value}")
            elif isinstance(statement, Store):
                place = self.place(statement.index, statement.dynamic)
                sign = "+=" if statement.adds else "="
                value = self.value(statement.value)
                guards = f" if {self.bounds(statement.guards)}" if statement.guards else ""
                self.line(f"{self.name(statement.buffer)}[{place}] {sign} {value}{guards}")
            else:
                self._loop(statement)

    def _loop(self, loop: Loop) -> None:
        how = " vector" if loop.vector else ""
        unroll = f" unroll {loop.unroll}" if loop.unroll != 1 else ""
        self.line(f"for {self.axes((loop.axis,))}{how}{unroll}")
        self.depth += 1
        self.body(loop.body)
        self.depth -= 1

    def steps(self, steps: Iterable[Step], kernels: dict[Kernel | Contraction, str]) -> None:
        """Write steps of a plan, and name their kernels."""
        for step in steps:
            if isinstance(step, Launch):
                name = kernels.setdefault(step.kernel, f"{step.kernel.name}#{len(kernels)}")
                given = ", ".join(map(self.name, step.arguments))
                self.line(f"launch {name}({given})")
            elif isinstance(step, HostCall):
                given = ", ".join(f"{self.name(b)}:{','.join(map(str, s))}" for b, s in step.inputs)
                attrs = "".join(f" {k}={v!r}" for k, v in step.attrs.items())
                self.line(f"host {self.name(step.output[0])} = {step.op.name}({given}){attrs}")
            elif isinstance(step, Check):
                self.line(f"check {self.name(step.ok)}: {step.message}")
            elif isinstance(step, Branch):
                for word, inside in (("if", step.true), ("if not", step.false)):
                    self.line(f"{word} {self.name(step.condition)}")
                    self._indented(inside, kernels)
            elif isinstance(step, While):
                self.line(f"while {self.name(step.ok)}, written by")
                self._indented(step.test, kernels)
                self.line("do")
                self._indented(step.steps, kernels, step.carried)
            else:
                self._repeat(step, kernels)

    def _repeat(self, step: Repeat, kernels: dict[Kernel | Contraction, str]) -> None:
        self.line(f"repeat {step.count} times")
        self.depth += 1
        for inner, outer, first, stride in step.views:
            place = f"{self.name(outer)}[{first} + t*{stride}..]"
            self.line(f"view {self.name(inner)} : {_spec(inner)} = {place}")
        self.depth -= 1
        self._indented(step.steps, kernels, step.carried)

    def _indented(
        self,
        steps: Iterable[Step],
        kernels: dict[Kernel | Contraction, str],
        carried: Iterable[tuple[Buffer, Buffer]] = (),
    ) -> None:
        self.depth += 1
        self.steps(steps, kernels)
        for source, target in carried:
            self.line(f"carry {self.name(source)} -> {self.name(target)}")
        self.depth -= 1
