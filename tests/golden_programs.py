"""Thirty functions whose compiled form is kept as text (see test_golden.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import chainrule
import chainrule.nn.functional as F
from chainrule import nn, optim
from chainrule.graph.tensor import Tensor

Made = tuple[Callable[..., Any], tuple[Tensor, ...]]
PROGRAMS: dict[str, Callable[[], Made]] = {}


def golden(make: Callable[[], Made]) -> Callable[[], Made]:
    """Add a program; its maker returns the function and its arguments."""
    PROGRAMS[make.__name__] = make
    return make


def training(model: nn.Module, rule: optim.Optimizer, *inputs: Tensor) -> Made:
    """Return a training step of a classifier."""

    def step(x: Tensor, y: Tensor) -> Tensor:
        rule.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        rule.step()
        return loss

    return step, (*inputs, chainrule.zeros(inputs[0].shape[0], dtype=chainrule.int64))


def differentiated(function: Callable[..., Tensor], *inputs: Tensor) -> Made:
    """Return a function that returns its value and leaves gradients in its arguments."""

    def run(*given: Tensor) -> Tensor:
        for x in given:
            x.grad = None
        result = function(*given)
        result.sum().backward()
        return result

    return run, tuple(x.requires_grad_() for x in inputs)


def numbers(*shape: int) -> Tensor:
    return chainrule.ones(*shape)


@golden
def element_wise() -> Made:
    return lambda x, y: F.gelu(x * y + 1.0) - x.exp(), (numbers(64, 32), numbers(32))


@golden
def element_wise_gradient() -> Made:
    return differentiated(lambda x, y: (x * y).tanh().exp(), numbers(64, 32), numbers(32))


@golden
def views() -> Made:
    def f(x: Tensor) -> Tensor:
        return chainrule.flip(x.permute(2, 0, 1)[1:, :, ::2].reshape(-1, 4), (0,)) + 1.0

    return f, (numbers(3, 4, 5),)


@golden
def concatenation() -> Made:
    return lambda x, y: chainrule.cat([x, y * 2.0, x], 1).relu(), (numbers(8, 3), numbers(8, 5))


@golden
def padding() -> Made:
    return lambda x: F.pad(x.exp(), (1, 2, 0, 1)) * 3.0, (numbers(4, 6, 7),)


@golden
def sums() -> Made:
    return lambda x: (x.sum(), x.sum(0), x.sum(1), x.mean((0, 2))), (numbers(32, 16, 40),)


@golden
def large_sum() -> Made:
    return lambda x: (x * x).sum(), (numbers(1000, 1000),)


@golden
def variance() -> Made:
    return differentiated(lambda x: x.var(1), numbers(64, 100))


@golden
def softmax() -> Made:
    return differentiated(lambda x: F.softmax(x, 1) * x, numbers(64, 100))


@golden
def softmax_cross_entropy() -> Made:
    def step(x: Tensor, y: Tensor) -> Tensor:
        x.grad = None
        loss = F.cross_entropy(x, y)
        loss.backward()
        return loss

    return step, (numbers(64, 10).requires_grad_(), chainrule.zeros(64, dtype=chainrule.int64))


@golden
def layer_norm() -> Made:
    return differentiated(
        lambda x, w, b: F.layer_norm(x, (96,), w, b), numbers(64, 96), numbers(96), numbers(96)
    )


@golden
def batch_norm() -> Made:
    layer = nn.BatchNorm2d(6)
    return differentiated(lambda x: layer(x).relu(), numbers(8, 6, 5, 5))


@golden
def matmul() -> Made:
    return lambda x, w: x @ w, (numbers(64, 128), numbers(128, 96))


@golden
def linear_epilogue() -> Made:
    layer = nn.Linear(128, 96)
    return lambda x: layer(x).relu(), (numbers(64, 128),)


@golden
def linear_gradient() -> Made:
    layer = nn.Linear(128, 96)
    return differentiated(lambda x: layer(x).tanh(), numbers(64, 128))


@golden
def batched_matmul() -> Made:
    return differentiated(lambda x, y: x @ y, numbers(6, 16, 24), numbers(6, 24, 8))


@golden
def attention() -> Made:
    def f(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    return differentiated(f, *(numbers(2, 4, 16, 8) for _ in range(3)))


@golden
def convolution() -> Made:
    layer = nn.Conv2d(3, 8, 3, padding=1)
    return lambda x: layer(x).relu(), (numbers(4, 3, 12, 12),)


@golden
def convolution_gradient() -> Made:
    layer = nn.Conv2d(4, 8, 3, stride=2, padding=1)
    return differentiated(lambda x: layer(x), numbers(4, 4, 12, 12))


@golden
def tiled_convolution() -> Made:
    layer = nn.Conv2d(64, 64, 3, padding=1, bias=False)
    return differentiated(lambda x: layer(x), numbers(16, 64, 16, 16))


@golden
def grouped_convolution() -> Made:
    layer = nn.Conv2d(8, 8, 3, padding=1, groups=4)
    return lambda x: layer(x), (numbers(2, 8, 9, 9),)


@golden
def transposed_convolution() -> Made:
    layer = nn.ConvTranspose2d(6, 4, 3, stride=2)
    return lambda x: layer(x), (numbers(2, 6, 5, 5),)


@golden
def max_pooling() -> Made:
    return differentiated(lambda x: F.max_pool2d(x, 2), numbers(4, 3, 8, 8))


@golden
def average_pooling() -> Made:
    return differentiated(lambda x: F.avg_pool2d(x, 3, stride=2, padding=1), numbers(4, 3, 8, 8))


@golden
def dropout() -> Made:
    return differentiated(lambda x: F.dropout(x, 0.5), numbers(64, 32))


@golden
def random_normal() -> Made:
    return lambda: chainrule.randn(300), ()


@golden
def embedding() -> Made:
    table = nn.Embedding(50, 16)

    def step(at: Tensor) -> Tensor:
        table.weight.grad = None
        loss = table(at).square().sum()
        loss.backward()
        return loss

    return step, (chainrule.zeros(8, 5, dtype=chainrule.int64),)


@golden
def running_sum() -> Made:
    return differentiated(lambda x: x.cumsum(1), numbers(16, 40))


@golden
def sorting() -> Made:
    return lambda x: chainrule.sort(x * 2.0), (numbers(8, 20),)


@golden
def half_precision() -> Made:
    return lambda x: ((x * 3.0).exp() + x).half().sum(), (numbers(64, 32).bfloat16(),)


@golden
def scan() -> Made:
    cell = nn.Linear(12, 8)

    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        h = cell(chainrule.cat([h, x], 1)).tanh()
        return h, h

    def f(xs: Tensor) -> Tensor:
        xs.grad = None
        _, hs = chainrule.scan(step, chainrule.zeros(3, 8), xs)
        loss = hs.sum()
        loss.backward()
        return loss

    return f, (numbers(10, 3, 4).requires_grad_(),)


@golden
def adam() -> Made:
    layers = nn.Sequential(nn.Linear(20, 30), nn.Linear(30, 10))
    rule = optim.AdamW(layers.parameters(), lr=0.01)
    return training(layers, rule, numbers(16, 20))


@golden
def mlp_step() -> Made:
    model = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Dropout(0.2), nn.Linear(30, 10))
    return training(model, optim.SGD(model.parameters(), lr=0.1), numbers(16, 20))


@golden
def convolutional_step() -> Made:
    model = nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU()),
        *(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 10)),
    )
    rule = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return training(model, rule, numbers(8, 1, 8, 8))


@golden
def residual_block() -> Made:
    first, second = (nn.Conv2d(4, 4, 3, padding=1, bias=False) for _ in range(2))
    norms = [nn.BatchNorm2d(4), nn.BatchNorm2d(4)]

    def f(x: Tensor) -> Tensor:
        return (x + norms[1](second(norms[0](first(x)).relu()))).relu()

    return differentiated(f, numbers(4, 4, 8, 8))
