"""Promises of the mission that are one test each: A1, A4, A5, A6, A7.

The numbers name rows of the mission: computation graph, gradient check, the chain-rule exercise,
matrix form of backpropagation, perceptrons.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.testing import gradcheck, gradgradcheck


def test_a1_graph_is_built_while_the_program_runs() -> None:
    """Python decides, line by line, what the graph becomes."""
    x = cr.tensor(2.0, requires_grad=True)
    y = x * x if x.item() > 0 else -x
    assert y.origin == "multiply"
    assert y.node is not None
    assert y.node.inputs == (x.node, x.node)
    z = cr.tensor(-2.0, requires_grad=True)
    y = z * z if z.item() > 0 else -z
    assert y.origin == "negative"


@pytest.mark.parametrize("seed", range(20))
def test_a5_chain_rule_exercise(seed: int) -> None:
    """u = x² + 2y, x = r sin t, y = sin² t: du/dr = 2 r sin² t, du/dt = (r² + 2) sin 2t."""
    rng = np.random.default_rng(seed)
    r = cr.tensor(rng.normal(), dtype="float64", requires_grad=True)
    t = cr.tensor(rng.normal(), dtype="float64", requires_grad=True)
    x = r * t.sin()
    y = t.sin() ** 2
    u = x**2 + 2 * y
    u.backward()
    assert r.grad is not None
    assert t.grad is not None
    assert r.grad.item() == pytest.approx(2 * r.item() * np.sin(t.item()) ** 2, rel=1e-12)
    assert t.grad.item() == pytest.approx((r.item() ** 2 + 2) * np.sin(2 * t.item()), rel=1e-12)


def test_a6_matrix_form_of_one_layer() -> None:
    """Y = X W: dX = dY Wᵀ and dW = Xᵀ dY."""
    rng = np.random.default_rng(0)
    X = cr.tensor(rng.normal(size=(5, 4)), requires_grad=True)
    W = cr.tensor(rng.normal(size=(4, 3)), requires_grad=True)
    dY = rng.normal(size=(5, 3))
    (X @ W).backward(cr.tensor(dY))
    np.testing.assert_allclose(np.asarray(X.grad), dY @ np.asarray(W).T, rtol=1e-13)
    np.testing.assert_allclose(np.asarray(W.grad), np.asarray(X).T @ dY, rtol=1e-13)


@pytest.mark.parametrize("layers", [1, 2, 5])
def test_a6_network_trained_by_hand_written_loops_agrees(layers: int) -> None:
    """Forward and backward sums written element by element, 20 steps of gradient descent."""
    rng = np.random.default_rng(layers)
    sizes = [3, *[4] * (layers - 1), 2]
    weights = [rng.normal(size=(a, b)) for a, b in itertools.pairwise(sizes)]
    X, D = rng.normal(size=(6, 3)), rng.normal(size=(6, 2))
    ours = [cr.tensor(w, requires_grad=True) for w in weights]
    rate = 0.05
    for _ in range(20):
        z = cr.tensor(X)
        for w in ours:
            z = (z @ w).sigmoid()
        loss = ((z - cr.tensor(D)) ** 2).sum() / (2 * len(X))
        loss.backward()
        with cr.no_grad():
            for w in ours:
                w -= rate * w.grad
                w.grad = None
        assert loss.item() == pytest.approx(step_by_hand(weights, X, D, rate), rel=1e-10)
    for w, expected in zip(ours, weights, strict=True):
        np.testing.assert_allclose(np.asarray(w), expected, rtol=1e-9)


def step_by_hand(weights: list[np.ndarray], X: np.ndarray, D: np.ndarray, rate: float) -> float:
    """One step of gradient descent with nothing but loops; changes the weights."""
    gradients = [np.zeros_like(w) for w in weights]
    loss = 0.0
    for x, d in zip(X, D, strict=True):
        outputs = [x]
        for w in weights:
            z = np.zeros(w.shape[1])
            for j in range(w.shape[1]):
                u = sum(outputs[-1][i] * w[i, j] for i in range(w.shape[0]))
                z[j] = 1 / (1 + np.exp(-u))
            outputs.append(z)
        loss += sum((outputs[-1][j] - d[j]) ** 2 for j in range(len(d))) / (2 * len(X))
        delta = (outputs[-1] - d) / len(X) * outputs[-1] * (1 - outputs[-1])
        for layer in reversed(range(len(weights))):
            w, z = weights[layer], outputs[layer]
            for i in range(w.shape[0]):
                for j in range(w.shape[1]):
                    gradients[layer][i, j] += z[i] * delta[j]
            back = np.zeros(w.shape[0])
            for i in range(w.shape[0]):
                back[i] = sum(w[i, j] * delta[j] for j in range(w.shape[1]))
            delta = back * z * (1 - z)
    for w, g in zip(weights, gradients, strict=True):
        w -= rate * g
    return loss


INPUTS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float32)
GATES = {"and": [0, 0, 0, 1], "or": [0, 1, 1, 1], "xor": [0, 1, 1, 0]}


def perceptron_errors(targets: list[int], epochs: int = 100) -> int:
    """Train a threshold unit by Rosenblatt's rule (1958); return how many cases stay wrong."""
    w, b = cr.zeros(2), cr.zeros(())
    for _ in range(epochs):
        for x, d in zip(INPUTS, targets, strict=True):
            y = ((cr.tensor(x) * w).sum() + b > 0).float()
            w = w + (d - y) * cr.tensor(x)
            b = b + (d - y)
    y = (cr.tensor(INPUTS) @ w + b > 0).int()
    return int((y != cr.tensor(targets, dtype="int32")).sum())


def test_a7_perceptron_learns_and_and_or_but_not_xor() -> None:
    assert perceptron_errors(GATES["and"]) == 0
    assert perceptron_errors(GATES["or"]) == 0
    assert perceptron_errors(GATES["xor"]) > 0


@pytest.mark.parametrize("gate", GATES)
def test_a7_mlp_learns_every_gate(gate: str) -> None:
    cr.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    targets = cr.tensor(GATES[gate], dtype="float32")
    for _ in range(200):
        optimizer.zero_grad()
        logits = model(cr.tensor(INPUTS)).squeeze(1)
        nn.functional.binary_cross_entropy_with_logits(logits, targets).backward()
        optimizer.step()
    assert ((model(cr.tensor(INPUTS)).squeeze(1) > 0).float() == targets).all()


def test_a7_stacked_linear_layers_equal_one_linear_layer() -> None:
    cr.manual_seed(0)
    stack = nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 6), nn.Linear(6, 3)).double()
    weight, bias = cr.eye(5, dtype="float64"), cr.zeros(5, dtype="float64")
    for layer in stack:
        weight, bias = layer.weight @ weight, layer.weight @ bias + layer.bias
    x = cr.randn(10, 5, dtype="float64")
    one = nn.functional.linear(x, weight, bias)
    np.testing.assert_allclose(np.asarray(stack(x)), np.asarray(one), rtol=1e-12)


def test_a4_gradcheck_passes_on_a_whole_network() -> None:
    """Every op, layer and loss is checked in its own tests; here all of them at once."""
    cr.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.GELU(), nn.AvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(12, 4), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 3)),
    ).double()
    target = cr.tensor([0, 2, 1])

    def loss(x: cr.Tensor) -> cr.Tensor:
        return nn.functional.cross_entropy(model(x), target, label_smoothing=0.1)

    x = cr.randn(3, 2, 4, 4, dtype="float64")
    assert gradcheck(loss, x)
    assert gradgradcheck(loss, x)
