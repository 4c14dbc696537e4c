"""Connectionist temporal classification: a loss for sequences without known alignment.

Takes: log-probabilities of each class at each time, and shorter label sequences. Gives: the loss.
The one idea: the probability of a label sequence is the sum over all paths that spell it when
repeats and blanks are taken out; dynamic programming over (time, place in the labels) sums them
(Graves et al. 2006, eq. 6-8), here as one `scan` in logarithms.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from chainrule.core.dtype import float32, float64
from chainrule.core.errors import (
    ArgumentError,
    ChainruleError,
    DTypeError,
    IndexRangeError,
    ShapeError,
)
from chainrule.graph.conversion import call
from chainrule.graph.foreign import expect_tensor
from chainrule.graph.op import composite
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor, as_tensor
from chainrule.graph.traced import is_traced, require
from chainrule.ops.elementwise import floating
from chainrule.ops.loops import scan
from chainrule.ops.loss_parts import reduced

__all__ = ["ctc_loss"]

# Stands for ln 0: sums of it stay finite, so that no derivative becomes NaN.
_NEVER = -1e30


def _samples() -> Iterable[Sample]:
    def whole(*values: object) -> In:
        return In(kind="int", values=values)

    scores = In((4, 2, 3), -3.0, -0.1)
    labels = whole((1, 2), (2, 2))
    return (
        sample(scores, labels, whole(4, 4), whole(2, 2)),
        sample(scores, labels, whole(3, 4), whole(1, 2), reduction="sum"),
        sample(scores, labels, whole(4, 3), whole(0, 2), reduction="none", name="empty labels"),
        sample(scores, whole((0, 1), (1, 0)), whole(4, 4), whole(2, 2), blank=2, name="blank 2"),
        sample(In((3, 3), -3.0, -0.1), whole(1, 2), whole(3), whole(2), name="one sequence"),
    )


@composite(_samples)
def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | Sequence[int],
    target_lengths: Tensor | Sequence[int],
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Return -ln of the probability that a sequence of outputs spells a sequence of labels.

    Args:
        log_probs: Logarithms of probabilities [T, N, K], as `log_softmax` gives them, or [T, K].
        targets: Labels [N, S], padded to one length; or the labels of all sequences one after
            the other, 1-d.
        input_lengths: How many times of each sequence count, [N].
        target_lengths: How many labels of each sequence count, [N].
        blank: The class that stands for no label.
        reduction: ``"mean"``: the mean over sequences of the loss divided by the number of
            labels; ``"sum"``, or ``"none"`` for a loss for each sequence.
        zero_infinity: Whether sequences too short for their labels, whose loss is infinite,
            count 0.

    Returns:
        The loss (Graves et al. 2006). Its derivative is that with respect to ``log_probs``
        themselves; PyTorch's is the one with respect to the scores before `log_softmax`.

    Raises:
        ShapeError: The shapes do not fit.
        ArgumentError: A length is longer than what is there, or a class number is wrong.
        IndexRangeError: A label is the blank, or no class.
        DTypeError: Targets or lengths are no integers.

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> even = chainrule.full((2, 1, 2), 0.5).log()  # four paths; three of them spell "1"
        >>> round(F.ctc_loss(even, chainrule.tensor([[1]]), [2], [1]).exp().item(), 4)
        1.3333
    """
    expect_tensor("ctc_loss", "log_probs", log_probs)
    expect_tensor("ctc_loss", "targets", targets)
    x = floating(log_probs)
    kept, single = x.dtype, x.ndim == 2
    x = x.unsqueeze(1) if single else x
    if x.ndim != 3 or not x.shape[0]:
        raise ShapeError(f"ctc_loss: log_probs {log_probs.spec}, expected [T, N, K] or [T, K]")
    x = x if kept in (float32, float64) else x.float()
    steps, batch, classes = x.shape
    if not 0 <= blank < classes:
        raise ArgumentError(f"ctc_loss: blank={blank}, expected a class from 0 to {classes - 1}")
    ends = _lengths("input_lengths", input_lengths, batch)
    counts = _lengths("target_lengths", target_lengths, batch)
    labels = _labels(targets, counts, batch, single)
    _check(labels, ends, counts, steps, classes, blank)
    losses = _limited(-_total(x, labels, ends, counts, blank), zero_infinity)
    losses = losses if kept is x.dtype else losses.to(kept)
    if reduction == "mean":
        losses = losses / call("clip", counts, 1, None).to(kept)
    return reduced("ctc_loss", losses.squeeze(0) if single else losses, reduction)


def _limited(losses: Tensor, zero_infinity: bool) -> Tensor:
    """Return losses with inf, or 0, in the place of those of impossible sequences."""
    return call("where", losses > -_NEVER / 2, 0.0 if zero_infinity else math.inf, losses)


def _total(x: Tensor, labels: Tensor, ends: Tensor, counts: Tensor, blank: int) -> Tensor:
    """Return the logarithm of the summed probability of all paths, for each sequence."""
    steps, batch, _ = x.shape
    size = labels.shape[1]
    used = call("arange", size) < counts.unsqueeze(1)
    labels = call("where", used, labels, blank)
    gaps = call("full_like", labels, blank)
    # Labels with a blank before, between and behind: [N, 2S + 1].
    path = call("stack", (gaps, labels), 2).reshape(batch, 2 * size)
    path = call("concat", (path, call("full", (batch, 1), blank, dtype=path.dtype)), 1)
    places = call("arange", 2 * size + 1)
    # A label may follow the one before without a blank between, unless they are the same.
    earlier = call("concat", (path[:, :2] * 0 + blank, path[:, :-2]), 1) if size else path
    skips = (path != blank) & (path != earlier) & (places > 1)
    index = path.unsqueeze(0).expand(steps, batch, 2 * size + 1)
    scores = call("clip", call("take_along_axis", x, index, 2), _NEVER, None)
    first = call("where", places < 2, scores[0], _NEVER)
    running = (call("arange", 1, steps).unsqueeze(1) < ends).unsqueeze(2)  # [T - 1, N, 1]

    def advance(before: Tensor, now: tuple[Tensor, Tensor]) -> tuple[Tensor, None]:
        score, runs = now
        one = _shifted(before, 1)
        two = call("where", skips, _shifted(before, 2), _NEVER)
        reached = call("logaddexp", call("logaddexp", before, one), two)
        reached = call("clip", reached + score, _NEVER, None)
        return call("where", runs, reached, before), None

    last, _ = scan(advance, first, (scores[1:], running))
    final = (2 * counts).unsqueeze(1)
    by_blank = call("take_along_axis", last, final, 1)
    by_label = call("take_along_axis", last, call("clip", final - 1, 0, None), 1)
    by_label = call("where", final > 0, by_label, _NEVER)
    return call("logaddexp", by_blank, by_label).squeeze(1)


def _shifted(x: Tensor, by: int) -> Tensor:
    """Return the columns moved to the right, with ln 0 moved in."""
    width = x.shape[1]
    if width <= by:
        return call("full_like", x, _NEVER)
    edge = call("full", (x.shape[0], by), _NEVER, dtype=x.dtype)
    return call("concat", (edge, x[:, : width - by]), 1)


# --- arguments --------------------------------------------------------------------------------


def _lengths(name: str, value: Tensor | Sequence[int], batch: int) -> Tensor:
    made = as_tensor(value)
    if made.dtype.is_floating or made.dtype.kind == "bool":
        raise DTypeError(f"ctc_loss: {name} {made.spec}, expected integers")
    made = made.long().reshape(-1)
    if made.shape != (batch,):
        raise ShapeError(
            f"ctc_loss: {name} {made.spec}, expected one length for each of {batch} sequences"
        )
    return made


def _labels(targets: Tensor, counts: Tensor, batch: int, single: bool) -> Tensor:
    """Return the labels as [N, S]."""
    if targets.dtype.is_floating or targets.dtype.kind == "bool":
        raise DTypeError(
            f"ctc_loss: targets {targets.spec}, expected integers", hint="targets.long()"
        )
    whole = targets.long()
    if whole.ndim == 1 and single:
        return whole.unsqueeze(0)
    if whole.ndim == 2 and whole.shape[0] == batch:
        return whole
    if whole.ndim != 1:
        raise ShapeError(f"ctc_loss: targets {targets.spec}, expected [N, S] with N = {batch}")
    if is_traced(counts):
        raise ArgumentError(
            "ctc_loss: in a compiled function labels that stand one after the other need lengths "
            "that are known",
            hint="pad the targets to [N, S], or give target_lengths as a list",
        )
    sizes = np.asarray(counts)
    if int(sizes.sum()) != whole.shape[0]:
        raise ShapeError(
            f"ctc_loss: targets {targets.spec} hold {whole.shape[0]} labels, target_lengths sum "
            f"up to {int(sizes.sum())}"
        )
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1])) if batch else sizes
    width = int(sizes.max(initial=0))
    index = np.minimum(starts[:, None] + np.arange(width), max(whole.shape[0] - 1, 0))
    return call("take", whole, as_tensor(index), 0)


def _check(
    labels: Tensor, ends: Tensor, counts: Tensor, steps: int, classes: int, blank: int
) -> None:
    """Check lengths and labels."""
    size = labels.shape[1]
    used = call("arange", size) < counts.unsqueeze(1)
    good = (labels >= 0) & (labels < classes) & (labels != blank)
    checks: tuple[tuple[Tensor, ChainruleError], ...] = (
        (
            ((ends >= 1) & (ends <= steps)).all(),
            ArgumentError(f"ctc_loss: an input length is not from 1 to T = {steps}"),
        ),
        (
            ((counts >= 0) & (counts <= size)).all(),
            ArgumentError(f"ctc_loss: a target length is not from 0 to S = {size}"),
        ),
        (
            (good | ~used).all(),
            IndexRangeError(
                f"ctc_loss: a label is not one of {classes} classes, or is the blank {blank}",
                hint=f"labels 1 to {classes - 1} beside a blank of 0" if blank == 0 else "",
            ),
        ),
    )
    for ok, error in checks:
        if is_traced(ok):
            require(ok, error)
        elif not ok.item():
            raise error
