"""Workloads: the networks whose steps are timed, as data.

Takes: nothing. Gives: `WORKLOADS`, a table of networks, batches, losses and optimizers.
The one idea: a network is a nested tuple of layers, from which every peer builds its own; so all
of them compute the same thing.

Layers: ("linear", in, out), ("conv", in, out, kernel, stride, padding, bias), ("max_pool", size),
("mean_pool",) over all positions, ("batch_norm1d", n), ("batch_norm2d", n), ("layer_norm", n),
("dropout", p), ("flatten",), ("relu",), ("sigmoid",), ("tanh",), ("gelu",), ("softmax",) over the
last axis, and ("residual", layers, layers of the shortcut), whose sum passes through a ReLU.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any, Literal

Layer = tuple[Any, ...]
Layers = tuple[Layer, ...]
Kind = Literal["train", "infer", "gradient", "fit"]
LossName = Literal["cross_entropy", "bce", "mse", "weighted", "none"]

# Examples in an epoch of the workload `fit`: as many as MNIST has.
EPOCH = 60_000


@dataclass(frozen=True)
class Workload:
    """What is timed.

    Attributes:
        name: Short, for the command line.
        title: For the table.
        layers: The network.
        shape: Of one example.
        batch: Examples in a batch.
        loss: ``weighted`` is the sum of the outputs times given numbers; ``none`` for inference.
        optimizer: "sgd" or "adam", "" for none.
        settings: Of the optimizer, named as in PyTorch.
        kind: ``train`` (forward, backward, update), ``infer`` (forward, in evaluation mode),
            ``gradient`` (forward and backward, also to the input) or ``fit`` (a whole epoch from
            the framework's own loader).
        target: Times faster than PyTorch eager that are aimed at.
        case: File in `benchmarks/cases` whose `build` makes the steps, for what is not layers in
            a row; ``layers``, ``shape``, ``loss`` and ``optimizer`` then only fill their places.
        work: Floating-point operations and bytes of a step of a case.
        draws: Whether a step depends on random numbers, so that losses of peers differ.
    """

    name: str
    title: str
    layers: Layers
    shape: tuple[int, ...]
    batch: int
    loss: LossName
    optimizer: Literal["sgd", "adam", ""] = ""
    settings: dict[str, float] = field(default_factory=dict)
    kind: Kind = "train"
    target: float = 1.3
    case: str = ""
    work: tuple[int, int] = (0, 0)
    draws: bool = False


def case(
    name: str,
    title: str,
    file: str,
    batch: int,
    target: float,
    *,
    products: int,
    parameters: int,
    draws: bool = False,
) -> Workload:
    """Return a workload of its own file.

    Args:
        name: Short, for the command line.
        title: For the table.
        file: In `benchmarks/cases`.
        batch: Examples in a batch.
        target: Times faster than PyTorch eager that are aimed at.
        products: Multiplications of a step, all passes.
        parameters: Numbers that are updated; with their gradients and Adam's memory they are
            the bytes that a step moves at least.
        draws: Whether a step depends on random numbers.
    """
    work = (2 * products, 4 * 7 * parameters)
    told: dict[str, Any] = {"target": target, "case": file, "work": work, "draws": draws}
    return Workload(name, title, (), (), batch, "none", **told)


def mlp(*widths: int, activation: str = "relu", last: Layers = ()) -> Layers:
    """Return linear layers with an activation between them."""
    layers: list[Layer] = []
    for before, after in itertools.pairwise(widths):
        layers += [("linear", before, after), (activation,)]
    return (*layers[:-1], *last)


def _convolution(before: int, after: int, stride: int = 1) -> Layers:
    return (
        ("conv", before, after, 3, stride, 1, False),
        ("batch_norm2d", after),
    )


def vgg() -> Layers:
    """Return a small network in the style of VGG (Simonyan & Zisserman 2015)."""
    layers: list[Layer] = []
    channels = 3
    for filters in (64, 128, 256):
        for _ in range(2):
            layers += [("conv", channels, filters, 3, 1, 1, True), ("relu",)]
            channels = filters
        layers.append(("max_pool", 2))
    return (*layers, ("flatten",), *mlp(256 * 4 * 4, 256, 10))


def resnet20() -> Layers:
    """Return ResNet-20 for images of 32x32 (He et al. 2016), 1x1 convolutions in shortcuts."""
    layers: list[Layer] = [*_convolution(3, 16), ("relu",)]
    channels = 16
    for filters, first_stride in ((16, 1), (32, 2), (64, 2)):
        for stride in (first_stride, 1, 1):
            main = (
                *_convolution(channels, filters, stride),
                ("relu",),
                *_convolution(filters, filters),
            )
            projection = ("conv", channels, filters, 1, stride, 0, False)
            changed = stride != 1 or channels != filters
            layers.append(
                ("residual", main, (projection, ("batch_norm2d", filters)) if changed else ())
            )
            channels = filters
    return (*layers, ("mean_pool",), ("linear", 64, 10))


SIMPLE_CONV_NET: Layers = (
    *(("conv", 1, 30, 5, 1, 0, True), ("relu",), ("max_pool", 2), ("flatten",)),
    *mlp(30 * 12 * 12, 100, 10),
)
WIDE: Layers = (
    *(("linear", 784, 2048), ("batch_norm1d", 2048), ("relu",), ("dropout", 0.5)),
    *(("linear", 2048, 2048), ("batch_norm1d", 2048), ("relu",), ("dropout", 0.5)),
    ("linear", 2048, 10),
)
AUTOENCODER = mlp(784, 1000, 500, 250, 30, 250, 500, 1000, 784, last=(("sigmoid",),))
NORMED: Layers = (("layer_norm", 1024), ("gelu",), ("softmax",))

# Products of an image: from 100 numbers to 7x7, 14x14 and 28x28, and back.
_GENERATOR = 100 * 128 * 49 + 49 * 128 * 64 * 16 + 196 * 64 * 16
_DISCRIMINATOR = 196 * 64 * 16 + 49 * 64 * 128 * 16 + 6272
_ADAM = {"lr": 1e-3}
_MOMENTUM = {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4}
_IMAGE, _SMALL_IMAGE = (3, 32, 32), (1, 28, 28)

_ALL = (
    Workload(
        *("W1", "MLP 784-100-10, sigmoid, SGD", mlp(784, 100, 10, activation="sigmoid")),
        *((784,), 100, "cross_entropy", "sgd", {"lr": 0.1}, "train", 3.0),
    ),
    Workload(
        *("W2", "MLP 784-512-512-10, ReLU, Adam", mlp(784, 512, 512, 10)),
        *((784,), 100, "cross_entropy", "adam", _ADAM, "train", 1.7),
    ),
    Workload(
        *("W3", "MLP 784-2048-2048-10, batch norm, dropout", WIDE),
        *((784,), 256, "cross_entropy", "adam", _ADAM),
    ),
    Workload(
        *("W4", "SimpleConvNet, Adam", SIMPLE_CONV_NET),
        *(_SMALL_IMAGE, 100, "cross_entropy", "adam", _ADAM, "train", 4.0),
    ),
    Workload(
        *("W5", "VGG-like, 3x32x32", vgg()),
        *(_IMAGE, 64, "cross_entropy", "sgd", _MOMENTUM, "train", 1.4),
    ),
    Workload(
        *("W6", "ResNet-20, 3x32x32", resnet20()),
        *(_IMAGE, 64, "cross_entropy", "sgd", _MOMENTUM, "train", 1.4),
    ),
    # Two layers of 4 x 256 gates from 256 inputs and 256 states, and 65 outputs, three passes.
    case(
        *("W7", "LSTM 2x256, 65 characters, 64 steps, Adam", "lstm", 32, 2.0),
        products=3 * 32 * 64 * (4 * 256 * 1024 + 256 * 65),
        parameters=65 * 256 + 2 * (512 * 1024 + 2048) + 257 * 65,
    ),
    # Per token and layer 12 x 128^2 weights and 2 x 128 x 128 for scores and means.
    case(
        *("W8", "GPT, 4 layers of width 128, context 128, AdamW", "gpt", 16, 1.5),
        products=3 * 16 * 128 * (4 * (12 * 128**2 + 2 * 128 * 128) + 128 * 65),
        parameters=4 * 12 * 128**2 + (65 + 128 + 65) * 128,
    ),
    # Generator G: 6.3 million products an image, discriminator D: 1.8; the steps take both
    # forward once or twice, and backward: G 3 times, D 8 times.
    case(
        *("W9", "DCGAN 28x28, alternating steps, Adam", "dcgan", 64, 1.5),
        products=64 * (3 * _GENERATOR + 8 * _DISCRIMINATOR),
        parameters=100 * 128 * 49 + 128 * 64 * 16 + 64 * 16 + 64 * 16 + 64 * 128 * 16 + 6272,
    ),
    # Hidden, visible, hidden, and the two outer products of the gradient.
    case(
        *("W10", "RBM 784-256, CD-1, SGD", "rbm", 100, 3.0),
        products=5 * 100 * 784 * 256,
        parameters=784 * 256,
        draws=True,
    ),
    Workload(
        *("W11", "autoencoder 784-1000-500-250-30", AUTOENCODER),
        *((784,), 100, "mse", "adam", _ADAM),
    ),
    Workload(
        *("W12", "XOR, MLP 2-16-1", mlp(2, 16, 1, activation="tanh")),
        *((2,), 4, "bce", "sgd", {"lr": 0.5}, "train", 20.0),
    ),
    Workload(
        *("W14", "layer norm, GELU, softmax of 4096x1024", NORMED),
        *((1024,), 4096, "weighted", "", {}, "gradient"),
    ),
    *(
        Workload(
            f"I{number}-{batch}",
            f"inference, {title}, batch {batch}",
            *(layers, shape, batch, "none", "", {}, "infer"),
        )
        for number, title, layers, shape in (
            (4, "SimpleConvNet", SIMPLE_CONV_NET, _SMALL_IMAGE),
            (6, "ResNet-20", resnet20(), _IMAGE),
        )
        for batch in (1, 64)
    ),
    Workload(
        *("F1", "epoch of fit, 60,000 x 784, MLP 784-100-10", mlp(784, 100, 10)),
        *((784,), 100, "cross_entropy", "adam", _ADAM, "fit", 3.0),
    ),
)
WORKLOADS = {workload.name: workload for workload in _ALL}
