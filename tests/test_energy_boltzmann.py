"""Boltzmann machines: exact sums, sampling, learning. Oracle: all states, with NumPy."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import optim
from chainrule.core.errors import ArgumentError, ShapeError
from chainrule.models import BoltzmannLearning, BoltzmannMachine, fit_energy_model


def states(units: int) -> Any:
    """Return all states; bit i of a state's number is unit i."""
    return np.array([bits[::-1] for bits in itertools.product((0.0, 1.0), repeat=units)])


def made(n_visible: int, n_hidden: int, connections: Any = None) -> tuple[BoltzmannMachine, Any]:
    """Return a machine in float64 with random couplings, and -E of all its states."""
    rng = np.random.default_rng(0)
    machine = BoltzmannMachine(n_visible, n_hidden, connections=connections, dtype="float64")
    n = n_visible + n_hidden
    J, b = np.triu(rng.normal(size=(n, n)), 1), rng.normal(size=n)
    if connections is not None:
        J = J * connections
    with cr.no_grad():
        machine.weight.copy_(cr.tensor(J))
        machine.bias.copy_(cr.tensor(b))
    s = states(n)
    return machine, ((s @ J) * s).sum(1) + s @ b


def grid(side: int) -> Any:
    """Return the connections of a square grid."""
    at = np.array(list(itertools.product(range(side), repeat=2)))
    return np.abs(at[:, None] - at).sum(-1) == 1


def test_exact_quantities_are_sums_over_all_states() -> None:
    machine, exponents = made(4, 2)
    s = states(6)
    np.testing.assert_allclose(machine(cr.tensor(s)).numpy(), -exponents, atol=1e-12)
    log_z = np.logaddexp.reduce(exponents)
    assert machine.log_partition().item() == pytest.approx(log_z, abs=1e-12)
    by_hidden = exponents.reshape(4, 16)  # the hidden units are the highest bits
    marginal = np.exp(by_hidden - log_z).sum(0)
    np.testing.assert_allclose(machine.probabilities().numpy(), marginal, atol=1e-12)
    found = machine.log_likelihood(cr.tensor(states(4))).numpy()
    np.testing.assert_allclose(found, np.log(marginal), atol=1e-12)


def test_couplings_are_symmetric_without_a_diagonal() -> None:
    machine, _ = made(4, 2)
    with cr.no_grad():
        machine.weight.copy_(cr.randn(6, 6, dtype="float64"))  # what is below does not count
    J = machine.couplings.numpy()
    np.testing.assert_array_equal(J, J.T)
    np.testing.assert_array_equal(np.diag(J), 0)


@pytest.mark.parametrize(
    ("visible", "hidden", "connections", "blocks"), [(5, 1, None, 6), (9, 0, grid(3), 2)]
)
def test_sampling_frequencies_are_the_probabilities(
    visible: int, hidden: int, connections: Any, blocks: int
) -> None:
    """One by one and by parity; compiled. The bound: one chi-squared in some 10,000."""
    machine, exponents = made(visible, hidden, connections)
    assert len(machine.blocks) == blocks
    n, count = machine.n_units, 40_000
    p = np.exp(exponents - np.logaddexp.reduce(exponents))
    rng = np.random.default_rng(3)
    start = states(n)[rng.choice(len(p), count, p=p)]
    sweep = cr.compile(lambda s: machine.sweep(s, 2, generator=generator))
    generator = cr.Generator(7)
    end = sweep(cr.tensor(start)).numpy()
    counts = np.bincount((end @ 2 ** np.arange(n)).astype(int), minlength=len(p))
    expected = count * p
    common = expected > 5
    chi_squared = ((counts - expected) ** 2 / expected)[common].sum()
    freedom = common.sum() - 1
    assert chi_squared < freedom + 4 * np.sqrt(2 * freedom)
    # It also gets there from elsewhere.
    state = cr.zeros((4000, n), dtype="float64")
    for _ in range(25):
        state = sweep(state)
    means = (p[:, None] * states(n)).sum(0)
    np.testing.assert_allclose(state.numpy().mean(0), means, atol=5 * 0.5 / np.sqrt(4000))


def test_clamped_units_stay_and_hidden_ones_follow() -> None:
    machine, exponents = made(4, 2)
    v = np.array([1.0, 0, 1, 1])
    number = int(v @ 2 ** np.arange(4))
    p = np.exp(exponents.reshape(4, 16)[:, number])
    p /= p.sum()
    s = np.tile(np.concatenate([v, [0, 0]]), (20_000, 1))
    end = machine.sweep(cr.tensor(s), 10, clamped=True, generator=cr.Generator(0)).numpy()
    np.testing.assert_array_equal(end[:, :4], s[:, :4])
    counts = np.bincount((end[:, 4:] @ [1, 2]).astype(int), minlength=4)
    np.testing.assert_allclose(counts / 20_000, p, atol=0.02)


def test_eager_and_compiled_sweeps_are_the_same() -> None:
    for machine in (made(4, 2)[0], made(9, 0, grid(3))[0]):
        s = machine.random_states(50, generator=cr.Generator(1))
        eager = machine.sweep(s, generator=cr.Generator(2))
        compiled = cr.compile(lambda s, m=machine: m.sweep(s, generator=cr.Generator(2)))
        np.testing.assert_array_equal(compiled(s).numpy(), eager.numpy())


def test_cold_machine_falls_into_its_lowest_state() -> None:
    machine, exponents = made(6, 0)
    generator = cr.Generator(0)
    s = machine.random_states(200, generator=generator)
    for temperature in np.geomspace(4, 0.05, 30):
        s = machine.sweep(s, 3, temperature=temperature, generator=generator)
    best = states(6)[exponents.argmax()]
    assert (s.numpy() == best).all(1).mean() > 0.8


def test_gradient_is_positive_phase_minus_negative_phase() -> None:
    """∂ log p(v) / ∂Jᵢⱼ = ⟨sᵢ sⱼ⟩ with v clamped - ⟨sᵢ sⱼ⟩, exactly and by sampling."""
    machine, exponents = made(4, 2)
    s = states(6)
    data = states(4)[[3, 9, 9, 12]]
    p = np.exp(exponents - np.logaddexp.reduce(exponents))
    negative = (p[:, None] * s).T @ s
    positive = np.zeros((6, 6))
    for v in data:
        q = np.where((s[:, :4] == v).all(1), p, 0)
        positive += ((q / q.sum())[:, None] * s).T @ s / len(data)
    machine.log_likelihood(cr.tensor(data)).mean().backward()
    assert machine.weight.grad is not None
    assert machine.bias.grad is not None
    exact = np.triu(positive - negative, 1)
    np.testing.assert_allclose(machine.weight.grad.numpy(), exact, atol=1e-12)
    np.testing.assert_allclose(machine.bias.grad.numpy(), np.diag(positive - negative), atol=1e-12)
    machine.zero_grad()
    generator = cr.Generator(0)
    objective = BoltzmannLearning(machine, chains=20_000, sweeps=15, generator=generator)
    (-objective(cr.tensor(np.tile(data, (5000, 1)))).mean()).backward()
    np.testing.assert_allclose(machine.weight.grad.numpy(), exact, atol=0.02)


def test_learned_distribution_approaches_that_of_the_data() -> None:
    """Parity of three bits: their pairs are independent, so only hidden units can tell it."""
    cr.manual_seed(0)
    visible = states(3)
    target = np.where(visible.sum(1) % 2 == 0, 0.2, 0.05)
    data = np.repeat(visible, (target * 400).round().astype(int), 0).astype(np.float32)
    machine = BoltzmannMachine(3, 4, init_std=1.0)

    def divergence() -> float:
        """Return the divergence of Kullback and Leibler."""
        return float((target * np.log(target / machine.probabilities().numpy())).sum())

    without_hidden_units = (target * np.log(target * 8)).sum()  # 0.193: independent fair coins
    objective = BoltzmannLearning(machine, chains=500, sweeps=2)
    optimizer = optim.Adam(machine.parameters(), lr=0.02)
    fit_energy_model(objective, data, optimizer, epochs=1500, batch_size=400, progress=False)
    assert divergence() < 0.4 * without_hidden_units


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: BoltzmannMachine(0), ArgumentError, "n_visible is 0"),
        (lambda: BoltzmannMachine(2, connections=np.eye(2)), ArgumentError, "zero diagonal"),
        (lambda: BoltzmannMachine(2, connections=np.eye(3)), ShapeError, r"expected \(2, 2\)"),
        (lambda: BoltzmannMachine(21).log_partition(), ArgumentError, r"2\^21"),
        (lambda: BoltzmannMachine(2).energy(cr.zeros((1, 3))), ShapeError, "2 visible"),
        (
            lambda: BoltzmannMachine(2).sweep(cr.zeros((1, 2)), temperature=0.0),
            ArgumentError,
            "temperature is 0",
        ),
        (lambda: BoltzmannLearning(3), ArgumentError, "is a int"),
    ],
)
def test_mistakes_are_named(make: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make()
