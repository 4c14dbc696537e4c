"""Restricted Boltzmann machines: energies, probabilities, likelihoods, missing entries.

Oracles: sums over all states written with NumPy, scikit-learn's BernoulliRBM, numeric integrals.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.core.errors import ArgumentError, DTypeError, ShapeError
from chainrule.models import RBM, annealed_log_partition
from chainrule.testing import gradcheck, gradgradcheck

V, H = 5, 3


def states(units: int) -> Any:
    return np.array(list(itertools.product((0.0, 1.0), repeat=units)))


def tiny(**options: Any) -> tuple[RBM, Any, Any, Any]:
    """Return a machine of 5 + 3 units in float64 and its weights."""
    rng = np.random.default_rng(0)
    rbm = RBM(V, H, dtype="float64", **options)
    values = (rng.normal(size=(H, V)), rng.normal(size=V), rng.normal(size=H))
    with cr.no_grad():
        for parameter, value in zip(
            (rbm.weight, rbm.visible_bias, rbm.hidden_bias), values, strict=True
        ):
            parameter.copy_(cr.tensor(value))
    return rbm, *values


def logsumexp(x: Any, axis: int | None = None) -> Any:
    return np.logaddexp.reduce(x, axis=axis) if axis is not None else np.logaddexp.reduce(x.ravel())


def table(W: Any, b: Any, c: Any) -> Any:
    """Return -E of all pairs of states [2^V, 2^H]."""
    v, h = states(V), states(H)
    return (v @ b)[:, None] + h @ c + v @ W.T @ h.T


def test_energies_are_sums_over_all_states() -> None:
    rbm, W, b, c = tiny()
    exponents = table(W, b, c)
    v, h = states(V), states(H)
    pairs = rbm.energy(cr.tensor(np.repeat(v, len(h), 0)), cr.tensor(np.tile(h, (len(v), 1))))
    np.testing.assert_allclose(pairs.numpy(), -exponents.ravel(), atol=1e-12)
    free = rbm.free_energy(cr.tensor(v)).numpy()
    np.testing.assert_allclose(free, -logsumexp(exponents, 1), atol=1e-12)
    log_z = logsumexp(exponents)
    assert rbm.log_partition().item() == pytest.approx(log_z, abs=1e-12)
    total = np.exp(rbm.log_likelihood(cr.tensor(v)).numpy()).sum()
    assert total == pytest.approx(1, abs=1e-12)


def test_conditionals_are_those_of_the_joint_distribution() -> None:
    rbm, W, b, c = tiny()
    joint = np.exp(table(W, b, c))
    v, h = states(V), states(H)
    on = joint @ h / joint.sum(1, keepdims=True)
    np.testing.assert_allclose(rbm(cr.tensor(v)).numpy(), on, atol=1e-12)
    means = joint.T @ v / joint.sum(0)[:, None]
    np.testing.assert_allclose(rbm.visible_means(cr.tensor(h)).numpy(), means, atol=1e-12)


def test_partition_is_summed_over_the_smaller_side() -> None:
    wide, deep = RBM(4, 30, init_std=0.3), RBM(30, 4, init_std=0.3)
    with cr.no_grad():
        deep.weight.copy_(wide.weight.mT)
    assert wide.log_partition().item() == pytest.approx(deep.log_partition().item(), abs=1e-4)
    with pytest.raises(ArgumentError, match=r"2\^21.*\n.*annealed_log_partition"):
        RBM(21, 21).log_partition()


def test_agrees_with_scikit_learn() -> None:
    neural = pytest.importorskip("sklearn.neural_network")
    rbm, W, b, c = tiny()
    theirs = neural.BernoulliRBM(n_components=H)
    theirs.components_, theirs.intercept_visible_, theirs.intercept_hidden_ = W, b, c
    v = np.random.default_rng(1).random((7, V))  # intensities, as scikit-learn allows
    x = cr.tensor(v)
    np.testing.assert_allclose(rbm.free_energy(x).numpy(), theirs._free_energy(v), atol=1e-12)
    np.testing.assert_allclose(rbm(x).numpy(), theirs.transform(v), atol=1e-12)
    theirs.random_state_ = theirs.random_state = np.random.RandomState(0)
    every = []
    for unit in range(V):  # its formula for each unit that it could have drawn
        flipped = v.copy()
        flipped[:, unit] = 1 - flipped[:, unit]
        raised = theirs._free_energy(flipped) - theirs._free_energy(v)
        every.append(-V * np.logaddexp(0, -raised))
    exact = rbm.pseudo_likelihood(x, exact=True).numpy()
    np.testing.assert_allclose(exact, np.mean(every, 0), atol=1e-12)
    drawn = rbm.pseudo_likelihood(x, generator=cr.Generator(0)).numpy()
    assert np.isclose(drawn, np.array(every)).any(0).all()
    many = rbm.pseudo_likelihood(cr.tensor(np.repeat(v[:1], 20_000, 0)), generator=cr.Generator(1))
    error = many.numpy().std() / np.sqrt(20_000)
    assert abs(many.numpy().mean() - exact[0]) < 4 * error
    scores = [theirs.score_samples(np.repeat(v[:1], 5000, 0)).mean()]
    assert abs(np.mean(scores) - exact[0]) < 8 * error


def test_pseudo_likelihood_is_the_sum_of_conditional_likelihoods() -> None:
    rbm, W, b, c = tiny()
    p = np.exp(logsumexp(table(W, b, c), 1))
    v = states(V)
    index = v @ (2 ** np.arange(V)[::-1])
    place = {int(number): row for row, number in enumerate(index)}
    expected = np.zeros(len(v))
    for unit in range(V):
        bit = 2 ** (V - 1 - unit)
        other = np.array([place[int(number) ^ bit] for number in index])
        expected += np.log(p / (p + p[other]))
    found = rbm.pseudo_likelihood(cr.tensor(v), exact=True).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_gibbs_frequencies_are_the_probabilities() -> None:
    """40,000 chains from the right distribution stay in it (chi-squared of 32 states)."""
    rbm, W, b, c = tiny()
    p = np.exp(logsumexp(table(W, b, c), 1))
    p /= p.sum()
    rng = np.random.default_rng(3)
    start = states(V)[rng.choice(len(p), 40_000, p=p)]
    end = rbm.gibbs(cr.tensor(start), 3, generator=cr.Generator(5)).numpy()
    counts = np.bincount((end @ (2 ** np.arange(V)[::-1])).astype(int), minlength=len(p))
    chi_squared = ((counts - 40_000 * p) ** 2 / (40_000 * p)).sum()
    assert chi_squared < 61.1  # 31 degrees of freedom, one in a thousand


@pytest.mark.parametrize("sigma", [1.0, (0.5, 1.0, 2.0, 1.5, 0.7)])
def test_gaussian_machine_against_numeric_integrals(sigma: Any) -> None:
    rbm, W, b, c = tiny(visible="gaussian", sigma=sigma)
    s = np.broadcast_to(sigma, V)
    h = states(H)
    # Given h each visible unit has a density of its own: integrate on a grid, unit by unit.
    log_z_h, means = h @ c, np.zeros((len(h), V))
    for unit in range(V):
        grid = np.linspace(b[unit] - 20 * s[unit], b[unit] + 20 * s[unit], 20_001)
        exponent = -((grid - b[unit]) ** 2) / (2 * s[unit] ** 2)
        density = np.exp(exponent + np.outer(h @ W[:, unit], grid / s[unit]))
        mass = np.trapezoid(density, grid)
        log_z_h = log_z_h + np.log(mass)
        means[:, unit] = np.trapezoid(density * grid, grid) / mass
    assert rbm.log_partition().item() == pytest.approx(logsumexp(log_z_h), abs=1e-9)
    np.testing.assert_allclose(rbm.visible_means(cr.tensor(h)).numpy(), means, atol=1e-9)
    v = np.random.default_rng(2).normal(size=(6, V))
    pairs = [rbm.energy(cr.tensor(v), cr.tensor(np.tile(row, (6, 1)))).numpy() for row in h]
    free = rbm.free_energy(cr.tensor(v)).numpy()
    np.testing.assert_allclose(free, -logsumexp(-np.array(pairs), 0), atol=1e-11)
    drawn = rbm.sample_visible(cr.tensor(np.tile(h[3], (20_000, 1))), generator=cr.Generator(0))
    np.testing.assert_allclose(drawn.numpy().mean(0), means[3], atol=5 * s.max() / 140)
    np.testing.assert_allclose(drawn.numpy().std(0), s, rtol=0.03)


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
def test_likelihood_can_be_differentiated_twice(visible: Any) -> None:
    options = {"learn_sigma": True, "sigma": 0.8} if visible == "gaussian" else {}
    rbm, *_ = tiny(visible=visible, **options)
    v = cr.tensor(states(V)[::5])
    named = dict(rbm.named_parameters())

    def likelihood(*values: cr.Tensor) -> cr.Tensor:
        for name, value in zip(named, values, strict=True):
            object.__setattr__(rbm, name, value)
        return rbm.log_likelihood(v).mean()

    inputs = tuple(parameter.detach() for parameter in named.values())
    assert gradcheck(likelihood, inputs)
    assert gradgradcheck(likelihood, inputs)


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
def test_annealed_estimate_holds_the_exact_partition(visible: Any) -> None:
    cr.manual_seed(0)
    rbm = RBM(20, 10, visible=visible, init_std=0.4)
    with cr.no_grad():
        rbm.visible_bias.copy_(cr.randn(20) * 0.5)
        rbm.hidden_bias.copy_(cr.randn(10) * 0.5)
    found = annealed_log_partition(
        rbm, steps=300, runs=100, base_bias=rbm.visible_bias * 0.5, generator=cr.Generator(1)
    )
    assert found.low < rbm.log_partition().item() < found.high
    assert found.high - found.low < 0.5
    assert found.log_weights.shape == (100,)


def test_missing_entries_are_imputed_by_their_conditional_mean() -> None:
    rbm, W, b, c = tiny()
    p = np.exp(logsumexp(table(W, b, c), 1))
    v = states(V)
    known = np.array([1, 0, 1, 0, 1])
    given = np.array([1.0, 0, 0, 0, 1])
    fits = ((v == given) | (known == 0)).all(1)
    expected = (p[fits, None] * v[fits]).sum(0) / p[fits].sum()
    rows = 2000
    x, mask = cr.tensor(np.tile(given, (rows, 1))), cr.tensor(np.tile(known, (rows, 1)))
    found = rbm.impute(x, mask, 30, 5, generator=cr.Generator(0)).numpy()
    np.testing.assert_array_equal(found[:, known == 1], np.tile(given[known == 1], (rows, 1)))
    np.testing.assert_allclose(found.mean(0), expected, atol=0.01)


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
def test_a_machine_with_unknown_entries_is_the_machine_without_those_units(visible: Any) -> None:
    rbm, W, b, c = tiny(visible=visible)
    known = np.array([1.0, 0, 1, 1, 0])
    kept = known == 1
    small = RBM(3, H, visible=visible, dtype="float64")
    with cr.no_grad():
        small.weight.copy_(cr.tensor(W[:, kept]))
        small.visible_bias.copy_(cr.tensor(b[kept]))
        small.hidden_bias.copy_(cr.tensor(c))
    v = states(V)
    mask = cr.tensor(np.tile(known, (len(v), 1)))
    part = cr.tensor(v[:, kept])
    found = rbm.free_energy(cr.tensor(v), mask).numpy()
    np.testing.assert_allclose(found, small.free_energy(part).numpy(), atol=1e-12)
    filled = rbm.predict_missing(cr.tensor(v), mask).numpy()
    np.testing.assert_array_equal(filled[:, kept], v[:, kept])
    expected = rbm.visible_means(small(part)).numpy()
    np.testing.assert_allclose(filled[:, ~kept], expected[:, ~kept], atol=1e-12)


def test_extreme_weights_give_no_nan() -> None:
    rbm = RBM(3, 2)
    with cr.no_grad():
        rbm.weight.copy_(cr.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]]))
    v = cr.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(rbm.free_energy(v).numpy(), [-1e4 - np.log(2), -2 * np.log(2)])
    np.testing.assert_array_equal(rbm(v).numpy()[1], [0.5, 0.5])
    loss = rbm.free_energy(v).sum() + rbm.pseudo_likelihood(v, exact=True).sum()
    loss.backward()
    assert rbm.weight.grad is not None
    assert np.isfinite(rbm.weight.grad.numpy()).all()
    assert rbm.free_energy(cr.zeros((0, 3))).shape == (0,)


def test_visible_biases_start_from_the_data() -> None:
    data = cr.tensor([[1.0, 0.0, 0.25], [1.0, 0.0, 0.75]])
    rbm = RBM(3, 2, init_std=0.0)
    rbm.start_from(data)
    means = rbm.visible_means(cr.zeros((1, 2))).numpy()[0]
    np.testing.assert_allclose(means, [2 / 3, 1 / 3, 0.5], rtol=1e-6)  # 1 / (N + 1) from the ends
    gaussian = RBM(3, 2, visible="gaussian")
    gaussian.start_from(data)
    np.testing.assert_allclose(gaussian.visible_bias.numpy(), [1, 0, 0.5])


def test_compiled_and_eager_agree() -> None:
    rbm = RBM(6, 4, init_std=0.5)
    x = cr.bernoulli(cr.full((9, 6), 0.5))

    def everything(v: cr.Tensor) -> tuple[cr.Tensor, ...]:
        return (
            rbm.free_energy(v),
            rbm.gibbs(v, 2),
            rbm.pseudo_likelihood(v),
            rbm.pseudo_likelihood(v, exact=True),
            rbm.reconstruct(v),
            rbm.log_partition(),
        )

    cr.manual_seed(4)
    eager = everything(x)
    cr.manual_seed(4)
    for ours, theirs in zip(cr.compile(everything)(x), eager, strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=2e-5)


def test_state_keys_and_text() -> None:
    assert list(RBM(3, 2).state_dict()) == ["weight", "visible_bias", "hidden_bias"]
    gaussian = RBM(3, 2, visible="gaussian", sigma=2.0)
    assert list(gaussian.state_dict())[-1] == "log_sigma"
    assert len(list(gaussian.parameters())) == 3
    assert len(list(RBM(3, 2, visible="gaussian", learn_sigma=True).parameters())) == 4
    assert repr(RBM(3, 2)) == "RBM(n_visible=3, n_hidden=2, visible='bernoulli')"
    assert gaussian.sigma is not None
    np.testing.assert_allclose(gaussian.sigma.numpy(), 2.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: RBM(0, 2), ArgumentError, "n_visible is 0"),
        (lambda: RBM(3, 2.5), ArgumentError, "n_hidden is 2.5"),
        (lambda: RBM(3, 2, visible="binary"), ArgumentError, "unknown visible units"),
        (lambda: RBM(3, 2, sigma=2.0), ArgumentError, "sigma is for Gaussian"),
        (lambda: RBM(3, 2, visible="gaussian", sigma=0.0), ArgumentError, "above 0"),
        (lambda: RBM(3, 2, visible="gaussian", sigma=[1.0]), ShapeError, r"shape \(1,\)"),
        (lambda: RBM(3, 2, dtype="int32"), DTypeError, "floating"),
        (lambda: RBM(3, 2)(cr.zeros((4, 5))), ShapeError, r"f32\[4,5\], expected \[..., 3\]"),
        (lambda: RBM(3, 2)(cr.zeros((4, 3), dtype="uint8")), DTypeError, "divided by 255"),
        (lambda: RBM(3, 2).visible_means(cr.zeros((4, 3))), ShapeError, "hidden states"),
        (lambda: RBM(3, 2).gibbs(cr.zeros((1, 3)), -1), ArgumentError, "steps is -1"),
        (
            lambda: RBM(3, 2, visible="gaussian").pseudo_likelihood(cr.zeros((1, 3))),
            ArgumentError,
            "cannot be flipped",
        ),
        (
            lambda: RBM(3, 2).predict_missing(cr.zeros((1, 3)), cr.zeros((3,))),
            ShapeError,
            "same shape",
        ),
    ],
)
def test_mistakes_are_named(make: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make()
