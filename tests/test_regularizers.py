"""Penalties, max-norm, noise; alone, in the trainer, compiled; schedules and presets there."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim, train
from chainrule.optim import lr_scheduler


def network() -> nn.Sequential:
    cr.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 2))


def test_penalties_are_those_of_weights_alone() -> None:
    model = network()
    arrays = [model[0].weight.numpy(), model[3].weight.numpy()]
    ones, twos = (sum((abs(a) ** p).sum() for a in arrays) for p in (1, 2))
    utils = nn.utils
    assert utils.l1_penalty(model, 0.1).item() == pytest.approx(0.1 * ones, rel=1e-6)
    assert utils.l2_penalty(model, 0.1).item() == pytest.approx(0.05 * twos, rel=1e-6)
    expected = 0.1 * ones + 0.15 * twos
    assert utils.elastic_penalty(model, 0.1, 0.3).item() == pytest.approx(expected, rel=1e-6)
    # Tensors that are given are taken as they are, biases too.
    bias = cr.tensor([1.0, -3.0], requires_grad=True)
    utils.l1_penalty([bias], 0.5).backward()
    assert np.asarray(bias.grad).tolist() == [0.5, -0.5]


def test_l2_penalty_is_weight_decay() -> None:
    models = [network(), network()]
    x = cr.tensor(X)
    for number, model in enumerate(models):
        weights, others = nn.utils.decay_groups(model, 0.0 if number else 0.1)
        optimizer = optim.SGD([weights, others], lr=0.5)
        loss = model(x).sum()
        (loss + nn.utils.l2_penalty(model, 0.1) if number else loss).backward()
        optimizer.step()
    for p, q in zip(models[0].parameters(), models[1].parameters(), strict=True):
        np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=1e-5, atol=1e-7)


def test_penalties_refuse_what_makes_no_sense() -> None:
    with pytest.raises(cr.ArgumentError, match="l1_penalty: strength is -1"):
        nn.utils.l1_penalty(network(), -1)
    with pytest.raises(cr.ArgumentError, match="no weights of two or more axes"):
        nn.utils.l2_penalty(nn.BatchNorm1d(3), 0.1)
    with pytest.raises(cr.ArgumentError, match="max_norm is 0"):
        nn.utils.max_norm_(network(), 0)
    for make in (train.L1, train.L2, train.WeightNoise, train.MaxNorm, train.GradientNoise):
        with pytest.raises(cr.ArgumentError, match=r"is -1(\.0)?"):
            make(-1.0)


def test_max_norm_is_pytorchs_renorm() -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ConvTranspose2d(6, 4, 3), nn.Linear(5, 8))
    before = [layer.weight.numpy() for layer in model]
    biases = [layer.bias.numpy() for layer in model]
    nn.utils.max_norm_(model, 0.4)
    for layer, weight, bias, axis in zip(model, before, biases, (0, 1, 0), strict=True):
        expected = torch.renorm(torch.tensor(weight), 2, axis, 0.4).numpy()
        np.testing.assert_allclose(layer.weight.numpy(), expected, rtol=1e-5)
        np.testing.assert_array_equal(layer.bias.numpy(), bias)
    zero = cr.zeros((2, 3), requires_grad=True)
    nn.utils.max_norm_([zero], 1.0)
    assert zero.tolist() == [[0.0] * 3] * 2


# --- in the trainer -----

X = np.random.default_rng(0).normal(size=(32, 5)).astype(np.float32)
T = (X[:, 0] + X[:, 1] > 0).astype(np.int64)
BATCHES = [(cr.tensor(X[i : i + 8]), cr.tensor(T[i : i + 8])) for i in range(0, 32, 8)]


def trainer_for(model: nn.Module, **options: Any) -> train.Trainer:
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    return train.Trainer(model, nn.CrossEntropyLoss(), optimizer, **({"progress": False} | options))


@pytest.mark.parametrize("compile", [False, True])
def test_penalty_and_projection_act_in_each_step(compile: bool) -> None:
    model, expected = network(), network()
    regularizers = [train.Elastic(0.01, 0.02), train.MaxNorm(0.5)]
    trainer = trainer_for(model, regularizers=regularizers, compile=compile)
    history = trainer.fit(BATCHES, epochs=2)
    optimizer = optim.SGD(expected.parameters(), lr=0.1)
    losses: list[float] = []
    expected.train()
    for x, t in BATCHES * 2:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(expected(x), t)
        losses.append(loss.item())
        (loss + nn.utils.elastic_penalty(expected, 0.01, 0.02)).backward()
        optimizer.step()
        nn.utils.max_norm_(expected, 0.5)
    for p, q in zip(model.parameters(), expected.parameters(), strict=True):
        np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=1e-4, atol=1e-6)
    # What is logged is the loss without penalty.
    assert history.rows[-1]["loss"] == pytest.approx(np.mean(losses[4:]), rel=1e-5)


@pytest.mark.parametrize("compile", [False, True])
def test_noise_on_weights_is_taken_off_again(compile: bool) -> None:
    model = nn.Linear(5, 2, bias=False)
    begin = model.weight.numpy()
    seen: list[np.ndarray] = []
    trainer = trainer_for(model, regularizers=[train.WeightNoise(0.5)], compile=compile, seed=1)
    trainer.on("batch_end", lambda event: seen.append(event.output.numpy()))
    for group in trainer.optimizer.param_groups:
        group["lr"] = 0.0
    trainer.fit(BATCHES, epochs=20)
    np.testing.assert_array_equal(model.weight.numpy(), begin)
    # The output's deviation from the clean one is noise of variance 0.25 ‖x‖².
    clean = [x.numpy() @ begin.T for x, _ in BATCHES]
    size = [np.linalg.norm(x.numpy(), axis=1, keepdims=True) for x, _ in BATCHES]
    parts = [(s - clean[i % 4]) / size[i % 4] for i, s in enumerate(seen)]
    assert np.std(parts) == pytest.approx(0.5, rel=0.15)
    assert np.abs(parts[0] - parts[4]).max() > 0.01  # new noise in each step


@pytest.mark.parametrize("compile", [False, True])
def test_noise_on_gradients_fades(compile: bool, tmp_path: Path) -> None:
    model = nn.Linear(20_000, 2, bias=False)
    noise = train.GradientNoise(eta=0.25, gamma=1.0)
    trainer = trainer_for(model, regularizers=[noise], compile=compile, seed=1, out=tmp_path)
    places = [model.weight.numpy()]
    trainer.on("batch_end", lambda _: places.append(model.weight.numpy()))
    zeros = cr.zeros((4, 20_000))  # no gradient of its own
    trainer.fit([(zeros, cr.tensor([0, 1, 0, 1]))], epochs=4)
    found = [np.std(b - a) / 0.1 for a, b in itertools.pairwise(places)]
    expected = [math.sqrt(0.25 / (1 + step)) for step in range(4)]
    # The deviation of 40,000 numbers is known to 0.35 %: these are over four times as much.
    np.testing.assert_allclose(found, expected, rtol=0.015)
    again = train.GradientNoise(eta=0.25, gamma=1.0)
    resumed = trainer_for(model, regularizers=[again], out=tmp_path)
    resumed.fit([(zeros, cr.tensor([0, 1, 0, 1]))], epochs=5, resume=True)
    assert again.step == 5
    other = trainer_for(model, regularizers=[train.L1(0.1)], out=tmp_path)
    with pytest.raises(cr.core.errors.DataError, match=r"the regularizers were \['GradientNoise'"):
        other.fit([(zeros, cr.tensor([0, 1, 0, 1]))], epochs=6, resume=True)


def test_regularizer_of_the_users_own_and_one_that_is_none() -> None:
    class Bias(train.Regularizer):
        def penalty(self, model: nn.Module) -> cr.Tensor:
            return (model.bias**2).sum() * 100.0

    model = nn.Linear(5, 2)
    trainer_for(model, regularizers=[Bias()], clip_norm=1.0).fit(BATCHES, epochs=30)
    assert np.abs(model.bias.numpy()).max() < 0.1
    with pytest.raises(cr.ArgumentError, match=r"regularizers has 0\.1, expected regularizers"):
        trainer_for(model, regularizers=[0.1])


# --- schedules in the trainer -----


def test_plateau_gets_the_monitored_figure() -> None:
    model = network()
    optimizer = optim.SGD(model.parameters(), lr=1e-6)  # so that nothing improves
    schedule = lr_scheduler.ReduceLROnPlateau(optimizer, patience=1, factor=0.5, eps=0.0)
    trainer = train.Trainer(
        model, nn.CrossEntropyLoss(), optimizer, schedule=schedule, progress=False
    )
    history = trainer.fit(BATCHES, BATCHES, epochs=6)
    figures = [row["loss"] for row in history.rows if row["split"] == "valid"]
    other = optim.SGD(network().parameters(), lr=1e-6)
    expected = lr_scheduler.ReduceLROnPlateau(other, patience=1, factor=0.5, eps=0.0)
    for figure in figures:
        expected.step(figure)
    assert optimizer.param_groups[0]["lr"] == other.param_groups[0]["lr"]
    with pytest.raises(cr.ArgumentError, match="waits for a figure, which there is once an epoch"):
        trainer_for(network(), schedule=schedule, schedule_every="step")


def test_one_cycle_in_steps_does_not_retrace() -> None:
    model = network()
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule = lr_scheduler.OneCycleLR(optimizer, 0.5, epochs=5, steps_per_epoch=4)
    trainer = train.Trainer(
        model, nn.CrossEntropyLoss(), optimizer, schedule=schedule, schedule_every="step",
        progress=False,
    )  # fmt: skip
    rates: list[float] = []
    trainer.on("batch_begin", lambda _: rates.append(trainer.rate))
    trainer.fit(BATCHES, epochs=5)
    expected = [schedule.lr_at(step, 0.5 / 25, 0) for step in range(20)]
    np.testing.assert_allclose(rates, expected, rtol=1e-12)
    assert len(trainer._fast_step._compiled.causes) == 1  # type: ignore[union-attr]


# --- presets -----


def test_companions_of_batch_norm_are_the_papers() -> None:
    given = {
        "lr": 0.0015, "dropout": 0.4, "weight_decay": 5e-4, "lr_decay_epochs": 12,
        "local_response_norm": True, "photometric_distortion": 0.2, "epochs": 30,
    }  # fmt: skip
    preset = train.batch_norm_companions(given)
    assert preset.configuration == {
        "lr": pytest.approx(0.0075), "dropout": 0.0, "weight_decay": pytest.approx(1e-4),
        "lr_decay_epochs": 2, "local_response_norm": False, "photometric_distortion": 0.1,
        "epochs": 30, "batch_norm": True, "shuffle": True,
    }  # fmt: skip
    assert given["lr"] == 0.0015
    assert len(preset.changes) == 8  # batch norm and its seven companions
    assert train.batch_norm_companions(given, rate_factor=30).configuration["lr"] == 0.045
    for wrong, text in (({"lr": -1}, "lr is -1"), ({"drop_out": 0.5}, "unknown setting")):
        with pytest.raises(cr.ArgumentError, match=text):
            train.batch_norm_companions(wrong)
    with pytest.raises(cr.ArgumentError, match=r"rate_factor is 0\.5"):
        train.batch_norm_companions({}, rate_factor=0.5)
