"""A restricted Boltzmann machine on MNIST, beside scikit-learn's BernoulliRBM.

784 visible units (intensities from 0 to 1) and 256 hidden ones, persistent contrastive divergence
with batches of 100, the same number of epochs and rate for both. Of both the exact
pseudo-likelihood and the reconstruction error are measured with the same functions, on the 10,000
test images; ours must be at least as good. Then log Z is estimated by annealing, and pictures are
drawn: what each hidden unit looks for, what Gibbs chains dream up, and lower halves of digits that
were filled in.

Usage: python recipes/rbm.py [--epochs 10] [--out rbm-pictures]
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import chainrule as cr
from chainrule import optim
from chainrule.data import open_source
from chainrule.models import (
    RBM,
    ContrastiveDivergence,
    annealed_log_partition,
    draw_visible,
    fit_energy_model,
)

BATCH, RATE = 100, 0.05
# Images that are measured together.
MEASURED = 500


@dataclass
class Measured:
    """What a machine reaches on images that it has not seen."""

    title: str
    pseudo_likelihood: float
    reconstruction_error: float
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.title:<22} pseudo-likelihood {self.pseudo_likelihood:8.2f}   "
            f"reconstruction error {self.reconstruction_error:.5f}   {self.seconds:6.1f} s"
        )


def train_ours(images: Any, hidden: int, epochs: int, *, progress: bool = True) -> RBM:
    """Train with chainrule: plain SGD on the persistent contrastive divergence."""
    cr.manual_seed(0)
    rbm = RBM(images.shape[1], hidden)
    rbm.start_from(cr.from_numpy(images))
    objective = ContrastiveDivergence(rbm, chains=BATCH)
    optimizer = optim.SGD(rbm.parameters(), lr=RATE)
    fit_energy_model(
        objective, images, optimizer, epochs=epochs, batch_size=BATCH, progress=progress
    )
    return rbm


def train_theirs(images: Any, hidden: int, epochs: int) -> RBM:
    """Train with scikit-learn, and return the weights that it found in a machine of ours."""
    from sklearn.neural_network import BernoulliRBM

    theirs = BernoulliRBM(hidden, learning_rate=RATE, batch_size=BATCH, n_iter=epochs)
    theirs.random_state = 0
    theirs.fit(images)
    rbm = RBM(images.shape[1], hidden)
    with cr.no_grad():
        rbm.weight.copy_(cr.from_numpy(theirs.components_.astype(np.float32)))
        rbm.visible_bias.copy_(cr.from_numpy(theirs.intercept_visible_.astype(np.float32)))
        rbm.hidden_bias.copy_(cr.from_numpy(theirs.intercept_hidden_.astype(np.float32)))
    return rbm


def measure(title: str, rbm: RBM, images: Any, seconds: float) -> Measured:
    """Return the means over images."""

    @cr.compile
    def figures(v: cr.Tensor) -> tuple[cr.Tensor, cr.Tensor]:
        with cr.no_grad():
            likelihood = rbm.pseudo_likelihood(v, exact=True)
            return likelihood.mean(), rbm.reconstruction_error(v).mean()

    size = min(MEASURED, len(images))
    parts = [
        [figure.item() for figure in figures(cr.from_numpy(images[start : start + size]))]
        for start in range(0, len(images) - size + 1, size)
    ]
    likelihood, error = np.mean(parts, 0)
    return Measured(title, float(likelihood), float(error), seconds)


def tiles(rows: Any, columns: int, *, symmetric: bool = False) -> Any:
    """Return pictures [n, side²] as one grey picture; each by its own range if symmetric."""
    rows = np.asarray(rows, np.float32)
    side = round(rows.shape[1] ** 0.5)
    if symmetric:  # zero is grey
        rows = 0.5 + rows / (2 * np.abs(rows).max(1, keepdims=True) + 1e-12)
    count = -(-len(rows) // columns)
    sheet = np.full((count * (side + 1) + 1, columns * (side + 1) + 1), 0.35, np.float32)
    for number, row in enumerate(rows):
        y, x = (place * (side + 1) + 1 for place in divmod(number, columns))
        sheet[y : y + side, x : x + side] = row.reshape(side, side)
    return (sheet.clip(0, 1) * 255).astype(np.uint8)


def save(path: Path, sheet: Any) -> None:
    """Write a grey picture, twice as large (needs Pillow: the extra `full`)."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(sheet)
    picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.NEAREST).save(path)
    print(f"drawn: {path}")


def draw_all(rbm: RBM, images: Any, out: Path, steps: int) -> None:
    """Draw filters, samples, and digits whose lower half was filled in."""
    save(out / "filters.png", tiles(rbm.weight.detach().numpy()[:100], 10, symmetric=True))
    start = cr.from_numpy(images[:50])
    samples = draw_visible(rbm, 50, steps, start=start, generator=cr.Generator(1))
    save(out / "samples.png", tiles(samples.numpy(), 10))
    chosen = images[50:60]
    known = np.zeros_like(chosen)
    known[:, : known.shape[1] // 2] = 1
    with cr.no_grad():
        filled = rbm.impute(
            cr.from_numpy(chosen), cr.from_numpy(known), 200, 50, generator=cr.Generator(2)
        )
    save(out / "filled.png", tiles(np.concatenate([chosen, chosen * known, filled.numpy()]), 10))


def mnist() -> tuple[Any, Any]:
    """Return the training and test images [N, 784], from 0 to 1."""
    source = open_source("mnist")
    assert source.test is not None
    parts = (source.train.inputs, source.test.inputs)
    train, test = (np.asarray(part).reshape(-1, 784).astype(np.float32) / 255 for part in parts)
    return train, test


def main(words: list[str] | None = None) -> int:
    """Train both, print their figures, draw; return the exit status."""
    parser = argparse.ArgumentParser(description="RBM on MNIST beside scikit-learn's")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--out", type=Path, default=Path("rbm-pictures"))
    options = parser.parse_args(words)
    train, test = mnist()
    start = time.perf_counter()
    rbm = train_ours(train, options.hidden, options.epochs)
    ours = measure("chainrule", rbm, test, time.perf_counter() - start)
    print(ours, flush=True)
    draw_all(rbm, test, options.out, steps=1000)
    base = RBM(784, 1)
    base.start_from(cr.from_numpy(train))
    found = annealed_log_partition(rbm, steps=10_000, base_bias=base.visible_bias)
    binary = (test > 0.5).astype(np.float32)
    with cr.no_grad():
        likelihood = rbm.log_likelihood(cr.from_numpy(binary), found.log_partition).mean().item()
    print(
        f"log Z {found.log_partition:.1f} ({found.low:.1f} to {found.high:.1f}); "
        f"mean log-likelihood of the binarised test images: {likelihood:.1f} nats",
        flush=True,
    )
    start = time.perf_counter()
    other = train_theirs(train, options.hidden, options.epochs)
    theirs = measure("scikit-learn", other, test, time.perf_counter() - start)
    print(f"\n{ours}\n{theirs}")
    better = (
        ours.pseudo_likelihood >= theirs.pseudo_likelihood
        and ours.reconstruction_error <= theirs.reconstruction_error
    )
    print("reached" if better else "MISSED")
    return 0 if better else 1


if __name__ == "__main__":
    sys.exit(main())
