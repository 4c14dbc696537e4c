"""A deep belief network on MNIST: pre-trained layer by layer, then fine-tuned as a classifier.

784-500-500-2000 units (Hinton, Osindero & Teh 2006), 10 epochs of CD-1 for each machine, without
labels. Then the stack becomes a multi-layer perceptron with ten outputs and is trained by
backpropagation (Adam, the rate falling to 0 along a cosine). How much dropout it gets is decided
by 5,000 training images that are held out for validation; the 10,000 test images are looked at
once, at the end. The figure: at least 98.5 % of them right.

Usage: python recipes/dbn.py [--pretrain 10] [--epochs 20] [--out dbn-pictures]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from rbm import save, tiles

import chainrule as cr
from chainrule import nn, optim
from chainrule.data import DataLoader, TensorDataset, open_source
from chainrule.models import DBN
from chainrule.train import Trainer, evaluate

STATED = 0.985
SIZES = (784, 500, 500, 2000)
DROPOUTS = (0.0, 0.3)
VALIDATION = 5_000
BATCH, RATE = 100, 1e-3
# Of Gibbs sampling in the top machine, one row of the picture each. CD-1 only ever sees the first:
# long chains leave the data for states (blank images) that it never learned to avoid.
ROUNDS = (1, 10, 50, 200)


def fine_tune(
    dbn: DBN, train: TensorDataset, valid: TensorDataset, dropout: float, epochs: int
) -> tuple[nn.Sequential, float]:
    """Return the classifier of the best epoch and its accuracy on the validation images."""
    cr.manual_seed(1)
    model = dbn.to_mlp(10, dropout=dropout)
    optimizer = optim.Adam(model.parameters(), lr=RATE)
    trainer = Trainer(
        *(model, nn.CrossEntropyLoss(), optimizer),
        metrics=["accuracy"],
        schedule=optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs),
        monitor="valid.accuracy",
    )
    loader = DataLoader(train, BATCH, shuffle=True, seed=1)
    trainer.fit(loader, DataLoader(valid, 500), epochs=epochs, restore_best=True)
    return model, accuracy(model, valid)


def accuracy(model: nn.Module, data: TensorDataset) -> float:
    """Return the share of right answers."""
    loader = DataLoader(data, min(500, len(data)))
    found = evaluate(model, loader, nn.CrossEntropyLoss(), metrics=["accuracy"])
    return float(found["accuracy"])


def mnist() -> tuple[TensorDataset, TensorDataset]:
    """Return training and test set: images [N, 784] from 0 to 1, and labels."""
    source = open_source("mnist")
    assert source.test is not None
    parts = []
    for part in (source.train, source.test):
        images = np.asarray(part.inputs).reshape(-1, 784).astype(np.float32) / 255
        parts.append(TensorDataset(images, np.asarray(part.targets)))
    return parts[0], parts[1]


def split(data: TensorDataset, held_out: int) -> tuple[TensorDataset, TensorDataset]:
    """Return all but some examples, chosen by chance, and these."""
    order = np.random.default_rng(0).permutation(len(data))
    kept, taken = order[held_out:], order[:held_out]
    return TensorDataset(*data[kept]), TensorDataset(*data[taken])


def run(
    data: tuple[TensorDataset, TensorDataset],
    sizes: tuple[int, ...],
    held_out: int,
    pretrain: int,
    epochs: int,
) -> tuple[DBN, float]:
    """Train all of it; return the network and the accuracy on the test images."""
    train, valid = split(data[0], held_out)
    cr.manual_seed(0)
    dbn = DBN(sizes)
    start = time.perf_counter()
    dbn.pretrain(train.tensors[0], epochs=pretrain, batch_size=BATCH)
    print(f"pre-trained in {time.perf_counter() - start:.0f} s", flush=True)
    tried: list[tuple[float, float, Any]] = []
    for dropout in DROPOUTS:
        start = time.perf_counter()
        model, reached = fine_tune(dbn, train, valid, dropout, epochs)
        tried.append((reached, dropout, model))
        seconds = time.perf_counter() - start
        print(f"dropout {dropout}: validation {reached:.4f} in {seconds:.0f} s", flush=True)
    _, dropout, model = max(tried, key=lambda one: one[0])
    reached = accuracy(model, data[1])
    print(f"chosen: dropout {dropout}; test accuracy {reached:.4f}", flush=True)
    return dbn, reached


def main(words: list[str] | None = None) -> int:
    """Train, draw what the network dreams, print the figure; return the exit status."""
    parser = argparse.ArgumentParser(description="DBN on MNIST")
    parser.add_argument("--pretrain", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("dbn-pictures"))
    options = parser.parse_args(words)
    data = mnist()
    dbn, reached = run(data, SIZES, VALIDATION, options.pretrain, options.epochs)
    images = data[1].tensors[0][:20]
    start = cr.from_numpy(images)
    rows = [dbn.generate(20, n, start=start, generator=cr.Generator(0)).numpy() for n in ROUNDS]
    save(options.out / "samples.png", tiles(np.concatenate([images, *rows]), 20))
    print(f"{reached:.4f} (stated: at least {STATED})")
    return 0 if reached >= STATED else 1


if __name__ == "__main__":
    sys.exit(main())
