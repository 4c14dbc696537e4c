"""What all recurrent layers have in common: layers on layers, directions, lengths, first states.

Takes: sequences [T, N, D], padded or packed. Gives: the state after each step, and the last one.
The one idea: inside there is one form, [T, N, D] with a mask of the steps that exist; every other
form is brought into it at the entrance and back at the exit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from chainrule.core.dtype import DTypeLike
from chainrule.core.errors import ArgumentError, DTypeError, ShapeError
from chainrule.core.shape import expect
from chainrule.graph.conversion import call
from chainrule.graph.foreign import expect_tensor
from chainrule.graph.tensor import Tensor, tensor
from chainrule.graph.traced import is_traced, require
from chainrule.nn import arguments
from chainrule.nn.recurrent_weights import Recurrent, RecurrentInit
from chainrule.nn.utils.rnn import PackedSequence, checked_lengths, packed_like, padded_steps
from chainrule.ops.caution import caution
from chainrule.ops.recurrent import Kind, State, Weights, recurrent_sequence
from chainrule.ops.regularization import dropout

Result = tuple[Any, Any]


class _Batch(NamedTuple):
    """What a call was given, in one form.

    Attributes:
        steps: [T, N, D].
        mask: [T, N, 1]: where there is a step; None: everywhere.
        packed: The packed sequences that it came as, or None.
        alone: Whether it was one sequence without a batch axis.
    """

    steps: Tensor
    mask: Tensor | None = None
    packed: PackedSequence | None = None
    alone: bool = False


class RNNBase(Recurrent):
    """Base class of `RNN`, `LSTM` and `GRU`: layers and directions around one step's formula.

    Attributes:
        input_size: D.
        hidden_size: H.
        num_layers: How many layers lie on each other.
        bias: Whether there are biases.
        batch_first: Whether input and output are [N, T, *] instead of [T, N, *].
        dropout: Probability of leaving out an element of a layer's output before the next layer.
        bidirectional: Whether each layer runs backwards too.
        proj_size: P, an LSTM's size of the state behind its projection; 0 for none.
    """

    num_layers: int
    batch_first: bool
    dropout: float
    bidirectional: bool
    proj_size: int

    def _set_up(
        self,
        kind: Kind,
        sizes: tuple[int, int, int],
        num_layers: int,
        flags: tuple[bool, bool, bool],
        dropout: float,
        recurrent_init: RecurrentInit,
        forget_bias: float | None,
        dtype: DTypeLike | None,
        device: str | None,
    ) -> None:
        """Check the arguments and make the weights.

        Args:
            kind: The formula of a step.
            sizes: D, H and P.
            num_layers: The number of layers.
            flags: ``bias``, ``batch_first`` and ``bidirectional``.
            dropout: Between layers.
            recurrent_init: How the weights of the state start.
            forget_bias: What an LSTM's forget gate starts with.
            dtype: Type of the weights.
            device: Where they live.
        """
        name = type(self).__name__
        self.kind = kind
        self.input_size = arguments.integer(name, "input_size", sizes[0])
        self.hidden_size = arguments.integer(name, "hidden_size", sizes[1])
        self.proj_size = arguments.integer(name, "proj_size", sizes[2], least=0)
        if self.proj_size >= self.hidden_size:
            raise ArgumentError(
                f"{name}: proj_size is {self.proj_size}, expected less than hidden_size="
                f"{self.hidden_size}"
            )
        self.num_layers = arguments.integer(name, "num_layers", num_layers)
        named = ("bias", "batch_first", "bidirectional")
        checked = [arguments.flag(name, n, flag) for n, flag in zip(named, flags, strict=True)]
        self.bias, self.batch_first, self.bidirectional = checked
        self.dropout = arguments.number(name, "dropout", dropout, low=0.0, high=1.0)
        if self.dropout and num_layers == 1:
            caution(
                f"{name}: dropout={dropout:g} lies between layers, but there is only one layer",
                hint="num_layers=2, or nn.Dropout behind it",
            )
        state = self.proj_size or self.hidden_size
        groups = []
        for layer in range(num_layers):
            wide = self.input_size if layer == 0 else state * self._directions
            groups += [(f"_l{layer}{suffix}", wide) for suffix in self._suffixes]
        self._make_weights(groups, state, recurrent_init, forget_bias, dtype, device)

    @property
    def mode(self) -> str:
        """The formula of a step, by PyTorch's name."""
        return self.kind.upper()

    @property
    def _suffixes(self) -> tuple[str, ...]:
        return ("", "_reverse") if self.bidirectional else ("",)

    @property
    def _directions(self) -> int:
        return len(self._suffixes)

    def flatten_parameters(self) -> None:
        """Do nothing: in PyTorch it arranges the weights for cuDNN."""

    def forward(self, input: Any, hx: Any = None, *, lengths: Any = None) -> Result:
        """Run all layers over sequences.

        Args:
            input: [T, N, D], [N, T, D] with ``batch_first``, [T, D] for one sequence, or a
                `nn.utils.rnn.PackedSequence`.
            hx: The first state: h, or (h, c) of an LSTM, each [layers · directions, N, H] (for
                one sequence without N); None: zeros.
            lengths: Of each sequence in a padded batch, [N], from 1 to T; None: all are whole.
                Steps behind the end leave the state as it is and give zeros; what stands there in
                the input is not looked at. Backwards each sequence begins at its own end.

        Returns:
            The states of the last layer after each step, [T, N, directions · H] like the input,
            and the last state of every layer and direction, like ``hx``.

        Raises:
            ShapeError: The input has another number of axes or features, no steps, or does not
                fit ``hx`` or ``lengths``.
            DTypeError: ``hx`` has another dtype.
            ArgumentError: A length is out of range, or ``hx`` is not what this layer takes.
        """
        batch = self._batch(input, lengths)
        count = batch.steps.shape[1]
        given = None if hx is None else self._given(hx, batch, count)
        steps, lasts = batch.steps, []
        for layer in range(self.num_layers):
            if layer and self.dropout:
                steps = dropout(steps, self.dropout, self.training)
            outputs = []
            for direction, suffix in enumerate(self._suffixes):
                weights = self._weights(f"_l{layer}{suffix}")
                number = layer * self._directions + direction
                state = self._first(steps, weights, given, number)
                out, last = recurrent_sequence(
                    self.kind, steps, state, weights, batch.mask, reverse=direction == 1
                )
                outputs.append(out)
                lasts.append(last)
            steps = outputs[0] if len(outputs) == 1 else call("concat", outputs, -1)
        last = tuple(call("stack", [state[n] for state in lasts]) for n in range(len(lasts[0])))
        return self._result(steps, last, batch)

    # --- what comes in and goes out -----------------------------------------------------------

    def _batch(self, input: Any, lengths: Any) -> _Batch:
        name = type(self).__name__
        if isinstance(input, PackedSequence):
            if lengths is not None:
                raise ArgumentError(
                    f"{name}: got lengths= with a PackedSequence, which has its own",
                    hint="leave lengths out, or pass the padded batch",
                )
            self._check_features(input.data, 2)
            steps = padded_steps(input)
            sizes = input.batch_sizes.numpy()
            known = (sizes[:, None] > range(int(sizes[0]))).sum(0)
            return _Batch(steps, self._mask(known, *steps.shape[:2]), input)
        expect_tensor(name, "input", input)
        alone = input.ndim == 2
        self._check_features(input, 2 if alone else 3)
        steps = input.unsqueeze(1) if alone else input
        if self.batch_first and not alone:
            steps = steps.transpose(0, 1)
        length, count = steps.shape[:2]
        if not length:
            raise ShapeError(
                f"{name}: input {input.spec} has no time steps",
                hint="leave empty sequences out; for sequences of different lengths pass lengths=",
            )
        mask = None if lengths is None else self._mask(lengths, length, count)
        if mask is not None:
            # A product with 0 keeps NaN, so what is not to be looked at is taken out first.
            steps = call("where", mask, steps, 0.0)
        return _Batch(steps, mask, None, alone)

    def _check_features(self, x: Tensor, axes: int) -> None:
        name = type(self).__name__
        layout = "[N, T, D]" if self.batch_first else "[T, N, D]"
        expect(
            x.ndim == axes,
            "{}: input {} has {} axes, expected {} for a batch or [T, D] for one sequence",
            *(name, x.spec, x.ndim, layout),
            hint="indices become vectors by nn.Embedding; numbers by x.unsqueeze(-1)",
        )
        expect(
            x.shape[-1] == self.input_size,
            "{}: input {} has {} features, expected input_size={}",
            *(name, x.spec, x.shape[-1], self.input_size),
            hint=f"nn.{name}({x.shape[-1]}, {self.hidden_size})",
        )
        self._expect_floating(x)

    def _mask(self, lengths: Any, steps: int, count: int) -> Tensor:
        """Return where there is a step: [T, N, 1]."""
        name = type(self).__name__
        if isinstance(lengths, Tensor) and is_traced(lengths):
            expect(
                lengths.shape == (count,) and lengths.dtype.kind in ("int", "uint"),
                "{}: lengths {} for {} sequences, expected one integer for each",
                *(name, lengths.spec, count),
            )
            right = (lengths >= 1) & (lengths <= steps)
            require(right.all(), ArgumentError(f"{name}: a length is not from 1 to {steps}"))
            known = lengths
        else:
            known = tensor(checked_lengths(name, lengths, count, steps))
        there: Tensor = call("arange", steps, dtype=known.dtype)[:, None] < known
        return there.unsqueeze(-1)

    def _given(self, hx: Any, batch: _Batch, count: int) -> State:
        """Return the first states that were passed: each [layers · directions, N, H]."""
        name = type(self).__name__
        parts = 2 if self.kind == "lstm" else 1
        state = tuple(hx) if isinstance(hx, tuple | list) else (hx,)
        if len(state) != parts or (parts == 1 and not isinstance(hx, Tensor)):
            raise ArgumentError(
                f"{name}: hx is {_what(hx)}, expected {'(h, c)' if parts == 2 else 'a tensor h'}",
                hint="the second result of an earlier call has the right form",
            )
        rows = self.num_layers * self._directions
        found = []
        for what, size, x in zip(
            "hc", (self.proj_size or self.hidden_size, self.hidden_size), state, strict=False
        ):
            expect_tensor(name, what, x)
            wanted = (rows, size) if batch.alone else (rows, count, size)
            expect(
                x.shape == wanted,
                "{}: {} {} must have the shape [layers · directions, {}features] = {}",
                *(name, what, x.spec, "" if batch.alone else "N, ", list(wanted)),
                hint="leave hx out to begin with zeros",
            )
            kind = self._state_dtype(batch.steps)
            if x.dtype is not kind:
                raise DTypeError(
                    f"{name}: {what} is {x.spec}, but the input is {batch.steps.dtype.name} and "
                    f"the weights are {self._weights('_l0').hh.dtype.name}",
                    hint=f"{what}.to(chainrule.{kind.name})",
                )
            x = x.unsqueeze(1) if batch.alone else x
            if batch.packed is not None and batch.packed.sorted_indices is not None:
                x = call("take", x, batch.packed.sorted_indices, 1)
            found.append(x)
        return tuple(found)

    def _first(self, steps: Tensor, weights: Weights, given: State | None, number: int) -> State:
        """Return the first state of a layer and direction."""
        if given is not None:
            return tuple(x[number] for x in given)
        count, kind = steps.shape[1], self._state_dtype(steps)
        sizes = (weights.hh.shape[1], self.hidden_size)[: 2 if self.kind == "lstm" else 1]
        return tuple(call("zeros", (count, size), dtype=kind) for size in sizes)

    def _result(self, steps: Tensor, last: State, batch: _Batch) -> Result:
        out: Any = steps
        if batch.packed is not None:
            out = packed_like(steps, batch.packed)
            if batch.packed.unsorted_indices is not None:
                last = tuple(call("take", x, batch.packed.unsorted_indices, 1) for x in last)
        elif batch.alone:
            out, last = steps[:, 0], tuple(x[:, 0] for x in last)
        elif self.batch_first:
            out = steps.transpose(0, 1)
        return out, last if self.kind == "lstm" else last[0]

    def scope_title(self) -> str:
        """Return ``LSTM 10 -> 20``."""
        return f"{type(self).__name__} {self.input_size} -> {self.hidden_size}"

    def extra_repr(self) -> str:
        """Return the arguments that are not the default."""
        text = f"{self.input_size}, {self.hidden_size}"
        for name, usual in (
            *(("proj_size", 0), ("num_layers", 1), ("bias", True)),
            *(("batch_first", False), ("dropout", 0.0), ("bidirectional", False)),
        ):
            value = getattr(self, name)
            text += "" if value == usual else f", {name}={value}"
        return text


def _what(hx: Any) -> str:
    if isinstance(hx, tuple | list):
        return f"a {type(hx).__name__} of {len(hx)}"
    return str(hx.spec) if isinstance(hx, Tensor) else f"a {type(hx).__name__}"
