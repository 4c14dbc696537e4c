"""References of losses: PyTorch's functions, and formulas of papers where PyTorch has none.

Where PyTorch gives NaN or inf for want of a limit (0 times inf, the logarithm of a sum that
overflows), or has no derivative, the formula stands here in its exact form.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lazy_torch import F, torch

if TYPE_CHECKING:
    from torch import Tensor

Reference = Callable[..., Any]


def named(name: str) -> Reference:
    return lambda *xs, **attrs: getattr(F, name)(*xs, **attrs)


def reduced(losses: Tensor, reduction: str = "mean") -> Tensor:
    return {"none": lambda: losses, "mean": losses.mean, "sum": losses.sum}[reduction]()


def weighted(function: str) -> Reference:
    """Return a loss of PyTorch with weights, which it does not differentiate or broadcast."""

    def reference(
        x: Tensor,
        t: Tensor,
        weight: Tensor | None = None,
        *,
        reduction: str = "mean",
        half: bool = False,
        **attrs: Any,
    ) -> Tensor:
        losses = getattr(F, function)(x, t, reduction="none", **attrs) * (0.5 if half else 1.0)
        if weight is None:
            return reduced(losses, reduction)
        full = weight.expand(losses.shape)
        if reduction == "mean":
            return (losses * full).sum() / full.sum()
        return reduced(losses * full, reduction)

    return reference


def binary(function: str) -> Reference:
    def reference(
        x: Tensor,
        t: Tensor,
        weight: Tensor | None = None,
        reduction: str = "mean",
        **attrs: Any,
    ) -> Tensor:
        known = ~(x.isnan() | t.isnan())  # PyTorch refuses NaN as a probability
        given = torch.where(known, x, 0.5), torch.where(known, t, 0.5)
        losses = getattr(F, function)(*given, reduction="none", **attrs)
        losses = torch.where(known, losses, torch.nan)
        if function.endswith("logits"):
            # Certain and right costs nothing, certain and not quite right costs infinitely much.
            missed = torch.where(x > 0, 1 - t, t)
            limit = torch.where(missed == 0, 0.0, torch.where(missed > 0, torch.inf, missed))
            losses = torch.where(x.isinf(), limit, losses)
        return reduced(losses if weight is None else losses * weight, reduction)

    return reference


def cross_entropy(x: Tensor, t: Tensor, weight: Tensor | None = None, **attrs: Any) -> Tensor:
    from references_contraction import class_loss

    return class_loss("cross_entropy")(x, t, weight, **attrs)


def gaussian_nll(x: Tensor, t: Tensor, var: Tensor, **attrs: Any) -> Tensor:
    return F.gaussian_nll_loss(x, t, var, **attrs)


def kl_div(x: Tensor, t: Tensor, *, reduction: str = "mean", log_target: bool = False) -> Tensor:
    if log_target:
        terms = t.exp() * (t - x)
        terms = torch.where(t == -torch.inf, torch.zeros_like(terms), terms)
    else:
        terms = torch.xlogy(t, t) - t * x
        terms = torch.where((t == 0) & x.isinf(), torch.zeros_like(terms), terms)
    return terms.sum() / terms.shape[0] if reduction == "batchmean" else reduced(terms, reduction)


def signs(function: Reference) -> Reference:
    """Return a loss that gets integer targets in the type of the input."""

    def reference(*xs: Tensor, **attrs: Any) -> Tensor:
        *inputs, target = xs
        return function(*inputs, target.to(inputs[0].dtype), **attrs)

    return reference


def hinge(
    x: Tensor, t: Tensor, *, margin: float = 1.0, squared: bool = False, reduction: str = "mean"
) -> Tensor:
    losses = (margin - t * x).clamp(min=0)
    return reduced(losses**2 if squared else losses, reduction)


def soft_margin(x: Tensor, t: Tensor, *, reduction: str = "mean") -> Tensor:
    return reduced(F.softplus(-t * x, threshold=1e6), reduction)


def multilabel_soft_margin(
    x: Tensor, t: Tensor, weight: Tensor | None = None, *, reduction: str = "mean"
) -> Tensor:
    losses = binary("binary_cross_entropy_with_logits")(x, t, reduction="none")
    return reduced((losses if weight is None else losses * weight).mean(-1), reduction)


def multi_margin(
    x: Tensor, t: Tensor, *, p: int = 1, margin: float = 1.0, reduction: str = "mean"
) -> Tensor:
    if bool(x.isfinite().all()):
        return F.multi_margin_loss(x, t, p=p, margin=margin, reduction=reduction)
    # PyTorch leaves NaN out, since it is not above 0.
    right = x.gather(-1, t.unsqueeze(-1))
    losses = (margin - right + x).clamp(min=0) ** p
    other = torch.arange(x.shape[-1]) != t.unsqueeze(-1)
    return reduced(torch.where(other, losses, 0).sum(-1) / x.shape[-1], reduction)


def multilabel_margin(x: Tensor, t: Tensor, *, reduction: str = "mean") -> Tensor:
    if bool(x.isfinite().all()):
        return F.multilabel_margin_loss(x, t, reduction=reduction)
    losses = []
    for scores, labels in zip(x.reshape(-1, x.shape[-1]), t.reshape(-1, x.shape[-1]), strict=True):
        end = labels.tolist().index(-1) if -1 in labels else len(labels)
        chosen = labels[:end].tolist()
        rest = [i for i in range(len(scores)) if i not in chosen]
        terms = [(1 - scores[j] + scores[i]).clamp(min=0) for j in chosen for i in rest]
        losses.append(torch.stack([torch.zeros((), dtype=x.dtype), *terms]).sum() / len(scores))
    return reduced(torch.stack(losses).reshape(x.shape[:-1]), reduction)


def cosine_similarity(x: Tensor, y: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    return F.cosine_similarity(x, y, dim, eps)


def contrastive(
    x: Tensor, y: Tensor, t: Tensor, margin: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """Hadsell et al. 2006, eq. 4: (1 - Y) D² / 2 + Y max(0, m - D)² / 2."""
    different = (1 - t.to(x.dtype)) / 2
    distance = (x - y).norm(dim=-1)
    far = different * (margin - distance).clamp(min=0) ** 2 / 2
    return reduced((1 - different) * distance**2 / 2 + far, reduction)


def nt_xent(x: Tensor, y: Tensor, temperature: float = 0.5, reduction: str = "mean") -> Tensor:
    """Chen et al. 2020, algorithm 1, with its loops."""
    z = torch.cat((x, y))
    count = len(x)
    unit = z / z.norm(dim=1, keepdim=True).clamp(min=1e-8)
    s = unit @ unit.T
    losses = []
    for i in range(2 * count):
        j = (i + count) % (2 * count)
        below = torch.stack([s[i, k] / temperature for k in range(2 * count) if k != i])
        losses.append(torch.logsumexp(below, 0) - s[i, j] / temperature)
    return reduced(torch.stack(losses), reduction)


def sigmoid_focal(
    x: Tensor, t: Tensor, alpha: float = 0.25, gamma: float = 2.0, reduction: str = "none"
) -> Tensor:
    """Lin et al. 2017, eq. 5, as torchvision computes it."""
    p = torch.sigmoid(x)
    losses = binary("binary_cross_entropy_with_logits")(x, t, reduction="none")
    losses = losses * (1 - (p * t + (1 - p) * (1 - t))) ** gamma
    if alpha >= 0:
        losses = losses * (alpha * t + (1 - alpha) * (1 - t))
    return reduced(losses, reduction)


def focal(
    x: Tensor,
    t: Tensor,
    weight: Tensor | None = None,
    *,
    gamma: float = 2.0,
    reduction: str = "mean",
) -> Tensor:
    """Lin et al. 2017 for classes: -(1 - p)^gamma ln p, weighted like PyTorch's cross-entropy."""
    counted = t != -100
    classes = t.clamp(min=0)
    logarithm = F.log_softmax(x, 1).gather(1, classes.unsqueeze(1)).squeeze(1)
    share = torch.ones(x.shape[1], dtype=x.dtype) if weight is None else weight
    weights = torch.where(counted, share[classes], 0)
    losses = -((1 - logarithm.exp()) ** gamma) * logarithm * share[classes]
    losses = torch.where(counted, losses, 0)
    return losses.sum() / weights.sum() if reduction == "mean" else reduced(losses, reduction)


def dice(x: Tensor, t: Tensor, smooth: float = 1.0, reduction: str = "mean") -> Tensor:
    x, t = x.flatten(1), t.flatten(1)
    return reduced(1 - (2 * (x * t).sum(1) + smooth) / ((x + t).sum(1) + smooth), reduction)


def ctc(
    x: Tensor,
    labels: Tensor,
    input_lengths: Tensor,
    target_lengths: Tensor,
    blank: int = 0,
    reduction: str = "mean",
) -> Tensor:
    """Graves et al. 2006, eq. 3, word for word: the sum over every path that spells the labels."""
    if x.ndim == 2:
        x, labels = x.unsqueeze(1), labels.unsqueeze(0)
    losses = []
    lengths = zip(input_lengths.reshape(-1).tolist(), target_lengths.reshape(-1), strict=True)
    for n, (steps, count) in enumerate(lengths):
        wanted = labels[n, :count].tolist()
        paths = []
        for path in itertools.product(range(x.shape[2]), repeat=steps):
            spelled = [k for k, _ in itertools.groupby(path) if k != blank]
            if spelled == wanted:
                paths.append(sum(x[t, n, k] for t, k in enumerate(path)))
        loss = -torch.logsumexp(torch.stack(paths), 0)
        losses.append(loss / max(int(count), 1) if reduction == "mean" else loss)
    return reduced(torch.stack(losses), reduction)


REFERENCES: dict[str, Reference] = {
    "mse_loss": weighted("mse_loss"),
    "l1_loss": weighted("l1_loss"),
    "smooth_l1_loss": named("smooth_l1_loss"),
    "huber_loss": named("huber_loss"),
    "cross_entropy": cross_entropy,
    "focal_loss": focal,
    "binary_cross_entropy_with_logits": binary("binary_cross_entropy_with_logits"),
    "binary_cross_entropy": binary("binary_cross_entropy"),
    "sigmoid_focal_loss": sigmoid_focal,
    "dice_loss": dice,
    "gaussian_nll_loss": gaussian_nll,
    "poisson_nll_loss": named("poisson_nll_loss"),
    "kl_div": kl_div,
    "hinge_loss": signs(hinge),
    "hinge_embedding_loss": signs(named("hinge_embedding_loss")),
    "margin_ranking_loss": signs(named("margin_ranking_loss")),
    "soft_margin_loss": signs(soft_margin),
    "multilabel_soft_margin_loss": multilabel_soft_margin,
    "multi_margin_loss": multi_margin,
    "multilabel_margin_loss": multilabel_margin,
    "cosine_similarity": cosine_similarity,
    "pairwise_distance": named("pairwise_distance"),
    "cosine_embedding_loss": signs(named("cosine_embedding_loss")),
    "contrastive_loss": contrastive,
    "triplet_margin_loss": named("triplet_margin_loss"),
    "triplet_margin_with_distance_loss": named("triplet_margin_with_distance_loss"),
    "nt_xent_loss": nt_xent,
    "ctc_loss": ctc,
}
