"""LLVM IR as text: functions written line by line.

Takes: instructions as strings. Gives: the text of a module.
The one idea: a text emitter is five times faster than building objects and can be read as is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

# Lines in order; a list inside is a place that more lines may be put into later.
Lines = list["str | Lines"]


class Module:
    """Functions, declarations and constant data that are compiled together."""

    def __init__(self) -> None:
        self.functions: dict[str, str] = {}
        self.declarations: dict[str, str] = {}
        self.data: dict[str, str] = {}

    def declare(self, name: str, text: str) -> str:
        """Declare an intrinsic or outside function once; returns ``@name``."""
        self.declarations.setdefault(name, text)
        return f"@{name}"

    @property
    def text(self) -> str:
        """The module in LLVM's assembly language."""
        parts = (*self.data.values(), *self.declarations.values(), *self.functions.values())
        return "\n".join(parts) + "\n"


class Function:
    """One function being written: a list of lines, one block after the other.

    Args:
        module: Where it belongs.
        name: Its symbol.
        params: Its parameters: ``("ptr noalias %args", "i64 %begin")``.
        result: LLVM type of its result.
        attributes: Linkage words before, and attributes after the signature.
    """

    def __init__(
        self,
        module: Module,
        name: str,
        params: Sequence[str],
        result: str = "void",
        *,
        linkage: str = "",
        attributes: str = "nounwind",
    ) -> None:
        self.module = module
        self.name = name
        self.head = f"define {linkage} {result} @{name}({', '.join(params)}) {attributes} {{"
        self.allocas: list[str] = []
        self.lines: Lines = []
        self.label = "entry"
        self._count = 0
        self._loops = 0

    def value(self, text: str) -> str:
        """Write an instruction with a result; returns the result's name."""
        name = f"%v{self._count}"
        self._count += 1
        self.lines.append(f"  {name} = {text}")
        return name

    def effect(self, text: str) -> None:
        """Write an instruction without a result."""
        self.lines.append(f"  {text}")

    def hidden(self, kind: str, value: str) -> str:
        """Write a copy of a value that LLVM does not know to be one; no instruction comes of it.

        Loops count with such copies: LLVM's strength reduction, which would take a third of all
        time of code generation to rewrite addresses that the processor adds up anyway, passes over
        loops whose counters it does not recognise.
        """
        return self.value(f'call {kind} asm "", "=r,0"({kind} {value})')

    def alloca(self, kind: str, *, align: int = 64) -> str:
        """Reserve memory on the stack, at the function's entry; returns the pointer's name."""
        name = f"%s{self._count}"
        self._count += 1
        self.allocas.append(f"  {name} = alloca {kind}, align {align}")
        return name

    def new_label(self, hint: str) -> str:
        """Return a label that is not in use yet."""
        self._count += 1
        return f"{hint}{self._count}"

    def begin(self, label: str) -> None:
        """Begin a block; the one before must have been ended by a branch."""
        self.lines.append(f"{label}:")
        self.label = label

    def place(self) -> Lines:
        """Reserve a place here for instructions that are written later with `writing_at`."""
        place: Lines = []
        self.lines.append(place)
        return place

    @contextmanager
    def writing_at(self, place: Lines) -> Iterator[None]:
        """Write straight-line instructions (no labels) at a place that was reserved before."""
        lines, self.lines = self.lines, place
        try:
            yield
        finally:
            self.lines = lines

    @contextmanager
    def loop(
        self,
        start: str | int,
        stop: str | int,
        step: int = 1,
        *,
        entered: bool = False,
        strided: bool = False,
    ) -> Iterator[str]:
        """Write a loop round what is written inside; gives the name of its i64 counter.

        It runs while the counter is below ``stop``. ``entered``: it surely runs once, so that
        the first test is left out. ``strided``: its rounds are short and lie apart in memory, so
        that LLVM's strength reduction pays, if there is no loop inside.
        """
        self._loops += 1
        loops = self._loops
        head, end, done = self.new_label("loop"), self.new_label("next"), self.new_label("done")
        if not entered:
            test = self.value(f"icmp slt i64 {start}, {stop}")
            self.effect(f"br i1 {test}, label %{head}, label %{done}")
        else:
            self.effect(f"br label %{head}")
        before = self.label
        self.begin(head)
        phi, counter = self.place(), f"%{head}.i"
        yield counter
        self.effect(f"br label %{end}")
        self.begin(end)
        following = self.value(f"add nsw i64 {counter}, {step}")
        if not strided or self._loops > loops:
            following = self.hidden("i64", following)
        phi.append(f"  {counter} = phi i64 [ {start}, %{before} ], [ {following}, %{end} ]")
        test = self.value(f"icmp slt i64 {following}, {stop}")
        self.effect(f"br i1 {test}, label %{head}, label %{done}")
        self.begin(done)

    def finish(self) -> None:
        """Put the function into its module."""
        body = "\n".join((self.head, "entry:", *self.allocas, *_flat(self.lines), "}"))
        self.module.functions[self.name] = body


def _flat(lines: Lines) -> Iterator[str]:
    for line in lines:
        if isinstance(line, str):
            yield line
        else:
            yield from _flat(line)
