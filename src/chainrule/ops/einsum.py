"""Einstein summation: any sum of products, written as a pattern of axis names.

Takes: an equation such as ``"bij,bjk->bik"`` and tensors. Gives: one tensor.
The one idea: parse once into lists of labels, then contract two tensors at a time; each such
step is a permutation, a batched matrix product and a reshape, so gradients come for nothing.

The order of steps is np.einsum_path's (greedy after Smith & Gray 2018, "opt_einsum").
"""

from __future__ import annotations

import math
import string
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from chainrule.core.errors import ArgumentError, DTypeError, ShapeError
from chainrule.graph.op import COMPOSITES, Composite, public
from chainrule.graph.sample import Sample, sample
from chainrule.graph.tensor import Tensor, common
from chainrule.ops.contraction import matmul
from chainrule.ops.indexing import getitem

__all__ = ["einsum"]

# A label is a letter, or "0", "1", ... for the axes of an ellipsis, counted from the last one.
Labels = list[str]

# np.einsum_path tries every order up to this many operands, and is greedy beyond.
_EXHAUSTIVE = 4


@dataclass
class Term:
    """A tensor with a name for each axis."""

    value: Tensor
    labels: Labels


@public
def einsum(equation: str, *operands: Tensor | Sequence[Tensor]) -> Tensor:
    """Return a sum of products over axes that are named by letters.

    A letter that stands in several operands names a common axis: it is multiplied along. Letters
    that are missing in the output are summed over. A letter that an operand holds twice takes its
    diagonal. ``...`` stands for any number of axes, which broadcast. Sizes of 1 broadcast.

    Args:
        equation: Letters of each operand, separated by commas, then ``->`` and those of the
            output. Without ``->`` the output has the axes of ``...``, then every letter that
            occurs once, in alphabetical order.
        operands: The tensors, or one list of them.

    Returns:
        A tensor with the axes that the output names.

    Raises:
        ArgumentError: The equation is malformed; the text names the subscript.
        ShapeError: An operand has another number of axes than its letters say, or a letter has
            two sizes.

    Example:
        >>> import chainrule
        >>> x = chainrule.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> chainrule.einsum("ii", x).item()
        5.0
        >>> chainrule.einsum("ij,kj->ik", x, x).tolist()
        [[5.0, 11.0], [11.0, 25.0]]
    """
    if len(operands) == 1 and not isinstance(operands[0], Tensor):
        operands = tuple(operands[0])
    if not operands:
        raise ArgumentError(f"einsum {equation!r}: no operands were given")
    tensors = common(*operands)
    inputs, output = _split(equation, len(tensors))
    numbered = zip(inputs, tensors, range(1, len(tensors) + 1), strict=True)
    labels = [_label_axes(equation, text, x, position) for text, x, position in numbered]
    result = _output_labels(equation, output, labels)
    sizes = _sizes(equation, labels, tensors)
    terms = [_prepared(x, names, sizes) for x, names in zip(tensors, labels, strict=True)]
    if tensors[0].dtype.kind == "bool" and len(tensors) > 1:
        raise DTypeError(
            f"einsum {equation!r}: Booleans cannot be multiplied and summed",
            hint="convert them first: x.float() or x.long()",
        )
    for step in _path(terms, result):
        _contract_group(terms, step, result)
    return _finish(terms[0], result)


def _samples() -> Iterable[Sample]:
    return (
        sample((2, 3), (3, 4), equation="ij,jk->ik"),
        sample((2, 3), (3, 4), equation="ij,jk", name="implicit"),
        sample((3, 3), equation="ii", name="trace"),
        sample((3, 3), equation="ii->i", name="diagonal"),
        sample((2, 3, 2), equation="iji->j", name="diagonal apart"),
        sample((2, 3), equation="ba", name="implicit transpose"),
        sample((2, 3), equation="ij->", name="total"),
        sample((2, 2, 3), (2, 3, 2), equation="bij,bjk->bik", name="batch"),
        sample((2, 1, 2, 3), (3, 2), equation="...ij,jk->...ik", name="ellipsis"),
        sample((2, 3), (1, 3), equation="ij,ij->i", name="size 1 broadcasts"),
        sample((2, 1, 3), (4, 3), equation="...a,...a->...", name="ellipses broadcast"),
        sample((2,), (3,), equation="i,j->ji", name="outer"),
        sample((2, 3), (3, 2), (2, 4), equation="ij,jk,kl->il", name="chain"),
        sample((2, 3), (2, 2), (2,), equation="ij,ik,i->jk", name="three share one"),
        sample((2, 3), (2, 3), equation="ij,ij->", name="inner product"),
        sample((2, 2, 3), (4,), equation="aab,c->", name="sums apart"),
        sample((), (2,), equation=",i->i", name="scalar"),
        sample((0, 3), (3, 2), equation="ij,jk->ik", name="empty"),
        sample((2, 0), (0, 2), equation="ij,jk->ik", name="nothing to sum"),
    )


def _operands_first(*operands: Tensor, equation: str) -> Tensor:
    return einsum(equation, *operands)


# Samples hold tensors in order and attributes by name; here the attribute comes first.
COMPOSITES["einsum"] = Composite(_operands_first, _samples)


def _split(equation: str, count: int) -> tuple[list[str], str | None]:
    """Return the subscripts of each operand, and of the output if they are given."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    inputs = left.split(",")
    if "->" in right:
        raise ArgumentError(f"einsum {equation!r}: more than one '->'")
    if len(inputs) != count:
        raise ArgumentError(
            f"einsum {equation!r}: names {len(inputs)} operands, got {count}",
            hint="separate the operands' subscripts by commas",
        )
    for text in [*inputs, right]:
        wrong = [c for c in text.replace("...", "", 1) if c not in string.ascii_letters]
        if wrong:
            raise ArgumentError(
                f"einsum {equation!r}: {wrong[0]!r} in {text!r} is not a subscript",
                hint="use letters, '...' at most once in each, commas, and '->'",
            )
    return inputs, right if arrow else None


def _label_axes(equation: str, text: str, x: Tensor, position: int) -> Labels:
    """Return a label for each axis of an operand."""
    before, dots, after = text.partition("...")
    named = len(before) + len(after)
    covered = x.ndim - named
    if covered < 0 or (covered > 0 and not dots):
        raise ShapeError(
            f"einsum {equation!r}: subscripts {text!r} of operand {position} name {named} axes, "
            f"but it has {x.ndim}: {x.spec}",
            hint="" if dots or covered < 0 else f"'...{text}' lets further axes come before",
        )
    return [*before, *(str(i) for i in reversed(range(covered))), *after]


def _output_labels(equation: str, output: str | None, labels: list[Labels]) -> Labels:
    counts = Counter(label for names in labels for label in names)
    dots = sorted((label for label in counts if label.isdigit()), key=int, reverse=True)
    if output is None:
        return [*dots, *sorted(a for a, n in counts.items() if n == 1 and not a.isdigit())]
    before, found, after = output.partition("...")
    result = [*before, *(dots if found else ()), *after]
    for label, count in Counter(result).items():
        if label not in counts:
            raise ArgumentError(
                f"einsum {equation!r}: subscript {label!r} of the output is in no operand"
            )
        if count > 1:
            raise ArgumentError(
                f"einsum {equation!r}: subscript {label!r} stands {count} times in the output"
            )
    return result


def _sizes(equation: str, labels: list[Labels], tensors: Sequence[Tensor]) -> dict[str, int]:
    """Return the size of each label; sizes of 1 give way."""
    sizes: dict[str, int] = {}
    origin: dict[str, int] = {}
    for position, (names, x) in enumerate(zip(labels, tensors, strict=True)):
        for label, size in zip(names, x.shape, strict=True):
            known = sizes.get(label, 1)
            if size not in (1, known) and known != 1:
                first = origin[label]
                name = f"axis {-1 - int(label)} of '...'" if label.isdigit() else repr(label)
                raise ShapeError(
                    f"einsum {equation!r}: subscript {name} has size {known} in operand "
                    f"{first + 1} {tensors[first].spec} but {size} in operand {position + 1} "
                    f"{x.spec}"
                )
            if label not in sizes or (size != 1 and known == 1):
                sizes[label], origin[label] = size, position
    return sizes


def _prepared(x: Tensor, labels: Labels, sizes: dict[str, int]) -> Term:
    """Return a term in which each label stands once, with its full size."""
    for axis in reversed(range(x.ndim)):
        if x.shape[axis] == 1 and sizes[labels[axis]] != 1:  # broadcasts: as if it were absent
            x = x.squeeze(axis)
            labels = labels[:axis] + labels[axis + 1 :]
    for label in [a for a, n in Counter(labels).items() if n > 1]:
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            x, labels = _diagonal(x, labels, first, second)
    return Term(x, labels)


def _diagonal(x: Tensor, labels: Labels, first: int, second: int) -> tuple[Tensor, Labels]:
    """Return the diagonal of two axes of one size, as the last axis."""
    size = x.shape[first]
    others = [axis for axis in range(x.ndim) if axis not in (first, second)]
    square = x.permute([*others, first, second])
    flat = square.reshape([*(x.shape[a] for a in others), size * size])
    diagonal = getitem(flat, (..., slice(None, None, size + 1)))
    return diagonal, [*(labels[a] for a in others), labels[first]]


def _path(terms: list[Term], output: Labels) -> list[tuple[int, ...]]:
    """Return which terms to contract, step by step; a result is appended to those that remain."""
    if len(terms) < 3:
        return [tuple(range(len(terms)))] if len(terms) == 2 else []
    letters = dict(
        zip(
            dict.fromkeys(label for term in terms for label in term.labels),
            string.ascii_letters,
            strict=False,
        )
    )
    if any(label not in letters for term in terms for label in term.labels):
        return [(0, 1)] * (len(terms) - 1)  # more than 52 labels: from left to right
    inputs = ",".join("".join(letters[label] for label in term.labels) for term in terms)
    equation = f"{inputs}->{''.join(letters[label] for label in output)}"
    shapes = [np.broadcast_to(np.float32(0), term.value.shape) for term in terms]
    strategy = "optimal" if len(terms) <= _EXHAUSTIVE else "greedy"
    path = np.einsum_path(equation, *shapes, optimize=strategy)[0]
    return [tuple(step) for step in path[1:]]


def _contract_group(terms: list[Term], step: tuple[int, ...], output: Labels) -> None:
    group = [terms.pop(position) for position in sorted(step, reverse=True)][::-1]
    while len(group) > 1:
        first, second = group.pop(0), group.pop(0)
        kept = {*output, *(a for term in (*terms, *group) for a in term.labels)}
        group.insert(0, _contract(first, second, kept))
    terms.append(group[0])


def _contract(a: Term, b: Term, kept: set[str]) -> Term:
    """Multiply two terms, and sum over what nobody needs any more."""
    a = _sum_out(a, kept | set(b.labels))
    b = _sum_out(b, kept | set(a.labels))
    shared = [label for label in a.labels if label in b.labels]
    batch = [label for label in shared if label in kept]
    inner = [label for label in shared if label not in kept]
    free_a = [label for label in a.labels if label not in shared]
    free_b = [label for label in b.labels if label not in shared]
    sizes = dict(zip(a.labels, a.value.shape, strict=True))
    sizes |= zip(b.labels, b.value.shape, strict=True)
    labels = [*batch, *free_a, *free_b]
    if not inner:
        left = _ordered(a, [*batch, *free_a]).reshape(_shape([*batch, *free_a], sizes, free_b))
        right = _ordered(b, [*batch, *free_b])
        right = right.reshape([*_shape(batch, sizes), *(1 for _ in free_a), *_shape(free_b, sizes)])
        return Term(left * right, labels)
    count = math.prod(_shape(inner, sizes))
    rows = math.prod(_shape(free_a, sizes))
    columns = math.prod(_shape(free_b, sizes))
    lead = _shape(batch, sizes)
    left = _ordered(a, [*batch, *free_a, *inner]).reshape([*lead, rows, count])
    right = _ordered(b, [*batch, *inner, *free_b]).reshape([*lead, count, columns])
    return Term(matmul(left, right).reshape(_shape(labels, sizes)), labels)


def _shape(labels: Labels, sizes: dict[str, int], ones: Labels | None = None) -> list[int]:
    """Return the sizes of labels, then a 1 for each of others."""
    return [*(sizes[label] for label in labels), *(1 for _ in ones or ())]


def _ordered(term: Term, labels: Labels) -> Tensor:
    """Return a term's tensor with its axes in the order of the labels."""
    if term.labels == labels:
        return term.value
    return term.value.permute([term.labels.index(label) for label in labels])


def _sum_out(term: Term, needed: set[str]) -> Term:
    axes = [axis for axis, label in enumerate(term.labels) if label not in needed]
    if not axes:
        return term
    return Term(term.value.sum(axes), [label for label in term.labels if label in needed])


def _finish(term: Term, output: Labels) -> Tensor:
    return _ordered(_sum_out(term, set(output)), output)
