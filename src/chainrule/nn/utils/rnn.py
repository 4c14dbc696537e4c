"""Sequences of different lengths: padded to a common one, or packed without padding.

Takes: sequences [length, *], lists of them or padded batches. Gives: batches for recurrent layers.
The one idea: packed data holds step after step the rows of those sequences that are still running,
longest sequence first, so nothing is stored for a sequence that has ended.

Recurrent layers also take a padded batch with ``lengths=``, which works in compiled functions
with lengths that differ from call to call. Packing is for code that is written for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from chainrule.core.dtype import Array, DTypeLike
from chainrule.core.errors import ArgumentError, ShapeError
from chainrule.core.shape import expect
from chainrule.graph.conversion import call
from chainrule.graph.foreign import expect_tensor
from chainrule.graph.tensor import Tensor, tensor
from chainrule.graph.traced import is_traced
from chainrule.graph.tracing import TraceError

__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]


class PackedSequence(NamedTuple):
    """Sequences of different lengths without padding, as `pack_padded_sequence` returns them.

    For sequences abc, x, of lengths 3 and 1, ``data`` is a x b c and ``batch_sizes`` is 2, 1, 1.

    Attributes:
        data: [sum of the lengths, *]: the first steps of all sequences, then the second ones ...
        batch_sizes: For each step, how many sequences have it; integers.
        sorted_indices: Places in the batch of the sequences, longest first; None if they came so.
        unsorted_indices: Where each sequence of the batch is among the sorted ones, or None.
    """

    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None = None
    unsorted_indices: Tensor | None = None

    def to(self, target: DTypeLike | Tensor) -> PackedSequence:
        """Return the same with data of another dtype."""
        return self._replace(data=self.data.to(target))


class Layout(NamedTuple):
    """Where the rows of packed data belong.

    Attributes:
        lengths: Of the sequences, longest first.
        row: [T, N]: the row of each step, 0 where there is none.
        there: [T, N]: whether there is one.
    """

    lengths: Array
    row: Array
    there: Array


def layout_of(packed: PackedSequence) -> Layout:
    """Return where the rows of packed data belong.

    Raises:
        ShapeError: The batch sizes do not fit the data, or grow from a step to the next.
        TraceError: They are not known while a function is traced.
    """
    sizes = _numbers("PackedSequence", "batch_sizes", packed.batch_sizes)
    good = sizes.ndim == 1 and sizes.size > 0 and bool((sizes > 0).all())
    expect(
        good and bool((np.diff(sizes) <= 0).all()) and int(sizes.sum()) == len(packed.data),
        "PackedSequence: batch_sizes {} must not grow, and add up to the rows of data {}",
        *(sizes.tolist(), packed.data.spec),
        hint="make it with nn.utils.rnn.pack_padded_sequence or pack_sequence",
    )
    there = np.arange(int(sizes[0])) < sizes[:, None]
    first = np.cumsum(sizes) - sizes
    row = np.where(there, first[:, None] + np.arange(int(sizes[0])), 0)
    return Layout(there.sum(0), row, there)


def pack_padded_sequence(
    input: Tensor,
    lengths: Any,
    batch_first: bool = False,
    enforce_sorted: bool = True,
) -> PackedSequence:
    """Pack a padded batch.

    Args:
        input: [T, N, *], or [N, T, *] with ``batch_first``.
        lengths: Of each sequence, from 1 to T: a list or a tensor of integers.
        batch_first: Whether the batch is the first axis.
        enforce_sorted: Whether sequences must come with the longest first; if not, they are
            sorted, and the way back is kept.

    Returns:
        The rows that are no padding.

    Raises:
        ShapeError: There is not one length for each sequence.
        ArgumentError: A length is not from 1 to T, or sequences are not sorted.
        TraceError: The lengths are not known while a function is traced.

    Example:
        >>> import chainrule
        >>> from chainrule.nn.utils import rnn
        >>> x = chainrule.tensor([[1, 2, 3], [7, 0, 0]])
        >>> packed = rnn.pack_padded_sequence(x, [3, 1], batch_first=True)
        >>> packed.data.tolist(), packed.batch_sizes.tolist()
        ([1, 7, 2, 3], [2, 1, 1])
    """
    op = "pack_padded_sequence"
    expect_tensor(op, "input", input)
    expect(input.ndim >= 2, "{}: input {} must have the axes [T, N, *]", op, input.spec)
    count, steps = input.shape[:2] if batch_first else (input.shape[1], input.shape[0])
    known = checked_lengths(op, lengths, count, steps)
    order = np.argsort(-known, kind="stable")
    if enforce_sorted and not np.array_equal(order, np.arange(count)):
        raise ArgumentError(
            f"{op}: lengths {known.tolist()} are not sorted, longest first",
            hint="enforce_sorted=False, or pass the padded batch to the layer with lengths=",
        )
    long_first = known[order]
    there = np.arange(steps)[: int(long_first[0]), None] < long_first
    step, place = np.nonzero(there)
    at = order[place] * steps + step if batch_first else step * count + order[place]
    flat = input.reshape(count * steps, *input.shape[2:])
    data = call("take", flat, tensor(at.astype(np.int64)), 0)
    sizes = tensor(there.sum(1).astype(np.int64))
    if enforce_sorted:
        return PackedSequence(data, sizes)
    indices = tensor(order.astype(np.int64))
    return PackedSequence(data, sizes, indices, invert_permutation(indices))


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Return a padded batch of packed sequences, in the order in which they were packed.

    Args:
        sequence: Packed sequences.
        batch_first: Whether the batch shall be the first axis.
        padding_value: What stands behind the end of a sequence.
        total_length: T; by default the longest length.

    Returns:
        [T, N, *] (or [N, T, *]), and the lengths.

    Raises:
        ArgumentError: ``total_length`` is less than the longest length.

    Example:
        >>> import chainrule
        >>> from chainrule.nn.utils import rnn
        >>> packed = rnn.pack_sequence([chainrule.tensor([1, 2, 3]), chainrule.tensor([7])])
        >>> rnn.pad_packed_sequence(packed, batch_first=True)[0].tolist()
        [[1, 2, 3], [7, 0, 0]]
    """
    expect_packed("pad_packed_sequence", sequence)
    layout = layout_of(sequence)
    steps, count = layout.row.shape
    if total_length is not None and total_length < steps:
        raise ArgumentError(
            f"pad_packed_sequence: total_length is {total_length}, but the longest sequence has "
            f"{steps} steps"
        )
    more = (total_length or steps) - steps
    order = np.arange(count)
    if sequence.unsorted_indices is not None:
        order = _numbers("pad_packed_sequence", "unsorted_indices", sequence.unsorted_indices)
    row = np.pad(layout.row, ((0, more), (0, 0)))[:, order]
    there = np.pad(layout.there, ((0, more), (0, 0)))[:, order]
    if batch_first:
        row, there = row.T, there.T
    padded = _placed(sequence.data, row, there, padding_value)
    return padded, tensor(layout.lengths[order].astype(np.int64))


def _placed(data: Tensor, row: Array, there: Array, padding_value: float) -> Tensor:
    """Return rows of data in new places, and a number where there is none."""
    found = call("take", data, tensor(np.ascontiguousarray(row, np.int64)), 0)
    if there.all():
        return found
    shape = (*there.shape, *(1 for _ in data.shape[1:]))
    padding = call("full", (), padding_value, dtype=data.dtype)
    return call("where", tensor(there.reshape(shape)), found, padding)


def padded_steps(packed: PackedSequence) -> Tensor:
    """Return packed sequences as [T, N, *], longest first, zeros behind their ends."""
    layout = layout_of(packed)
    return _placed(packed.data, layout.row, layout.there, 0.0)


def packed_like(steps: Tensor, packed: PackedSequence) -> PackedSequence:
    """Return [T, N, *], longest sequence first, packed as other data is."""
    layout = layout_of(packed)
    step, place = np.nonzero(layout.there)
    flat = steps.reshape(layout.there.size, *steps.shape[2:])
    at = tensor((step * layout.there.shape[1] + place).astype(np.int64))
    return packed._replace(data=call("take", flat, at, 0))


def pad_sequence(
    sequences: Sequence[Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: Literal["right", "left"] = "right",
) -> Tensor:
    """Return sequences as one batch, the shorter ones padded.

    Args:
        sequences: [length, *] each, equal but for the length.
        batch_first: Whether the batch shall be the first axis.
        padding_value: What the shorter ones are filled up with.
        padding_side: "right": behind the end; "left": before the beginning.

    Returns:
        [T, N, *], or [N, T, *] with ``batch_first``.

    Raises:
        ArgumentError: There are no sequences, or the side is unknown.
        ShapeError: They differ in more than the length.

    Example:
        >>> import chainrule
        >>> from chainrule.nn.utils import rnn
        >>> batch = [chainrule.tensor([1, 2, 3]), chainrule.tensor([7])]
        >>> rnn.pad_sequence(batch, batch_first=True).tolist()
        [[1, 2, 3], [7, 0, 0]]
    """
    op = "pad_sequence"
    if padding_side not in ("right", "left"):
        raise ArgumentError(f"{op}: padding_side is {padding_side!r}, expected 'right' or 'left'")
    given = _sequences(op, sequences)
    steps = max(len(x) for x in given)
    rows = []
    for x in given:
        rest = [(steps - len(x), *x.shape[1:])] if len(x) < steps else []
        padding = [call("full", shape, padding_value, dtype=x.dtype) for shape in rest]
        rows.append(call("concat", [x, *padding] if padding_side == "right" else [*padding, x]))
    return call("stack", rows, 0 if batch_first else 1)


def unpad_sequence(
    padded_sequences: Tensor, lengths: Any, batch_first: bool = False
) -> list[Tensor]:
    """Return the sequences of a padded batch.

    Args:
        padded_sequences: [T, N, *], or [N, T, *] with ``batch_first``.
        lengths: Of each sequence, from 1 to T.
        batch_first: Whether the batch is the first axis.

    Returns:
        N sequences [length, *].

    Raises:
        ArgumentError: A length is not from 1 to T.

    Example:
        >>> import chainrule
        >>> from chainrule.nn.utils import rnn
        >>> x = chainrule.tensor([[1, 2, 3], [7, 0, 0]])
        >>> [s.tolist() for s in rnn.unpad_sequence(x, [3, 1], batch_first=True)]
        [[1, 2, 3], [7]]
    """
    x = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    known = checked_lengths("unpad_sequence", lengths, x.shape[0], x.shape[1])
    return [x[n, :length] for n, length in enumerate(known.tolist())]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences [length, *]; see `pack_padded_sequence`.

    Args:
        sequences: At least one, none of them empty.
        enforce_sorted: Whether they must come with the longest first.

    Raises:
        ArgumentError: There are none, one is empty, or they are not sorted.

    Example:
        >>> import chainrule
        >>> from chainrule.nn.utils import rnn
        >>> packed = rnn.pack_sequence([chainrule.tensor([1, 2, 3]), chainrule.tensor([7])])
        >>> packed.data.tolist()
        [1, 7, 2, 3]
    """
    given = _sequences("pack_sequence", sequences)
    lengths = [len(x) for x in given]
    return pack_padded_sequence(pad_sequence(given), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """Return the sequences [length, *] of packed ones, in the order in which they were packed."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """Return for each number where it stands in a permutation of 0 to N - 1."""
    if permutation is None:
        return None
    return tensor(np.argsort(_numbers("invert_permutation", "permutation", permutation)))


def expect_packed(op: str, sequence: object) -> None:
    """Raise `ArgumentError` unless something is a packed sequence."""
    if not isinstance(sequence, PackedSequence):
        raise ArgumentError(
            f"{op}: got a {type(sequence).__name__}, expected a PackedSequence",
            hint="nn.utils.rnn.pack_padded_sequence(x, lengths)",
        )


def checked_lengths(op: str, lengths: Any, count: int, steps: int) -> Array:
    """Return lengths, one for each sequence of a batch and from 1 to ``steps``.

    Raises:
        ShapeError: There is not one for each.
        ArgumentError: One is no integer or out of range.
        TraceError: They are not known while a function is traced.
    """
    known = _numbers(op, "lengths", lengths)
    expect(
        known.shape == (count,),
        "{}: lengths of shape {} for {} sequences, expected one for each",
        *(op, list(known.shape), count),
    )
    if known.size and not (known.min() >= 1 and known.max() <= steps):
        bad = int(np.argmax((known < 1) | (known > steps)))
        remedy = "leave empty sequences out" if known[bad] < 1 else "pad the batch to the longest"
        raise ArgumentError(
            f"{op}: length {int(known[bad])} of sequence {bad} is not from 1 to {steps}",
            hint=remedy,
        )
    return known


def _numbers(op: str, name: str, value: Any) -> Array:
    """Return integers as an array."""
    if isinstance(value, Tensor):
        if is_traced(value):
            raise TraceError(
                f"{op}: {name} {value.spec} is not known while a function is traced, but shapes "
                "of packed data depend on it",
                hint="pass the padded batch to the layer with lengths=, or pack before the call",
            )
        value = value.numpy()
    numbers = np.asarray(value)
    if numbers.size and numbers.dtype.kind not in "iu":
        raise ArgumentError(f"{op}: {name} holds {numbers.dtype}, expected integers")
    return numbers.astype(np.int64)


def _sequences(op: str, sequences: Sequence[Tensor]) -> list[Tensor]:
    """Return sequences that may stand in one batch."""
    if isinstance(sequences, Tensor) and not sequences.ndim:
        raise ShapeError(f"{op}: got {sequences.spec}, expected a list of sequences")
    given = list(sequences)
    if not given:
        raise ArgumentError(f"{op}: there are no sequences", hint="pass at least one")
    for n, x in enumerate(given):
        expect_tensor(op, f"sequence {n}", x)
        expect(x.ndim >= 1, "{}: sequence {} is {}, expected the axes [length, *]", op, n, x.spec)
        expect(
            x.shape[1:] == given[0].shape[1:],
            "{}: sequences may differ only in their length: the first is {}, number {} is {}",
            *(op, given[0].spec, n, x.spec),
        )
    return given
