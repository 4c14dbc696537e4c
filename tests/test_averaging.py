"""Averages of weights: against PyTorch's, compiled, in the trainer, resumed; ensembles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim, train
from chainrule.optim import swa_utils

torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")


def network(library: Any) -> Any:
    layers = library.nn if library is torch else nn
    return layers.Sequential(layers.Linear(3, 4), layers.BatchNorm1d(4), layers.Linear(4, 2))


RULES: dict[str, Any] = {
    "default": lambda m: {},
    "swa": lambda m: {"avg_fn": m.get_swa_avg_fn()},
    "swa-all": lambda m: {"multi_avg_fn": m.get_swa_multi_avg_fn()},
    "ema": lambda m: {"avg_fn": m.get_ema_avg_fn(0.9)},
    "ema-all": lambda m: {"multi_avg_fn": m.get_ema_multi_avg_fn(0.9)},
    "own": lambda m: {"avg_fn": lambda a, p, n: 0.3 * a + 0.7 * p},
}


@pytest.mark.parametrize(
    ("rule", "buffers"),
    # PyTorch's own rule for lists cannot average num_batches_tracked, which is an integer.
    [
        (rule, buffers)
        for rule in RULES
        for buffers in (False, True)
        if rule[:3] != "swa" or not buffers
    ],
)
def test_average_agrees_with_pytorch_eager_and_compiled(rule: str, buffers: bool) -> None:
    model, other = network(cr), network(torch)
    ours = [
        swa_utils.AveragedModel(model, use_buffers=buffers, **RULES[rule](swa_utils))
        for _ in range(2)
    ]
    theirs = torch.optim.swa_utils.AveragedModel(
        other, use_buffers=buffers, **RULES[rule](torch.optim.swa_utils)
    )
    compiled = cr.compile(lambda: ours[1].update_parameters(model))
    rng = np.random.default_rng(0)
    for _ in range(5):
        values = {k: rng.normal(size=v.shape) for k, v in other.state_dict().items()}
        state = {k: torch.tensor(v).to(other.state_dict()[k].dtype) for k, v in values.items()}
        other.load_state_dict(state)
        model.load_state_dict({k: cr.tensor(v.numpy()) for k, v in state.items()})
        ours[0].update_parameters(model)
        compiled()
        theirs.update_parameters(other)
    assert len(compiled.causes) == 1
    for averaged in ours:
        found = averaged.state_dict()
        assert list(found) == list(theirs.state_dict())
        for key, value in theirs.state_dict().items():
            np.testing.assert_allclose(found[key].numpy(), value.numpy(), rtol=1e-5, atol=1e-6)


def test_averaged_model_is_a_copy_and_checks_what_it_is_given() -> None:
    model = network(cr)
    averaged = swa_utils.AveragedModel(model)
    before = averaged.module[0].weight.numpy()
    with cr.no_grad():
        model[0].weight.fill_(7.0)
    np.testing.assert_array_equal(averaged.module[0].weight.numpy(), before)
    with pytest.raises(cr.StateError, match="are not those of the copy"):
        averaged.update_parameters(nn.Linear(2, 2))
    one = swa_utils.get_swa_avg_fn()
    with pytest.raises(cr.ArgumentError, match="got both avg_fn and multi_avg_fn"):
        swa_utils.AveragedModel(model, avg_fn=one, multi_avg_fn=swa_utils.get_swa_multi_avg_fn())
    for make in (swa_utils.get_ema_avg_fn, swa_utils.get_ema_multi_avg_fn):
        with pytest.raises(cr.ArgumentError, match=r"decay is 1\.5"):
            make(1.5)


def test_running_statistics_are_computed_anew_as_pytorchs() -> None:
    model, other = network(cr), network(torch)
    model.load_state_dict({k: cr.tensor(v.numpy()) for k, v in other.state_dict().items()})
    batches = [np.random.default_rng(s).normal(size=(8, 3)).astype(np.float32) for s in range(4)]
    model.eval()
    other.eval()
    swa_utils.update_bn([(cr.tensor(x), None) for x in batches], model)
    torch.optim.swa_utils.update_bn([torch.tensor(x) for x in batches], other)
    for key in ("1.running_mean", "1.running_var", "1.num_batches_tracked"):
        found, expected = model.state_dict()[key].numpy(), other.state_dict()[key].numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert not model.training
    assert model[1].momentum == 0.1


# --- in the trainer -----

X = np.random.default_rng(0).normal(size=(32, 5)).astype(np.float32)
T = (X[:, 0] + X[:, 1] > 0).astype(np.int64)
BATCHES = [(cr.tensor(X[i : i + 8]), cr.tensor(T[i : i + 8])) for i in range(0, 32, 8)]


def trained(average: Any, *, compile: bool = True, **options: Any) -> tuple[Any, Any, Any]:
    cr.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 2))
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    averaging = average(model)
    trainer = train.Trainer(
        model, nn.CrossEntropyLoss(), optimizer, average=averaging, progress=False,
        compile=compile, **options,
    )  # fmt: skip
    return model, trainer, averaging


def history_of_weights(model: nn.Module, trainer: Any, event: str) -> list[np.ndarray]:
    weights: list[np.ndarray] = []
    trainer.on(event, lambda _: weights.append(model[0].weight.numpy()))
    return weights


@pytest.mark.parametrize("compile", [False, True])
def test_trainer_averages_steps_and_measures_the_average(compile: bool) -> None:
    model, trainer, averaging = trained(lambda m: train.ema(m, 0.8, start=1), compile=compile)
    weights = history_of_weights(model, trainer, "batch_end")
    history = trainer.fit(BATCHES, BATCHES, epochs=3)
    expected = weights[4]  # the first epoch does not enter
    for weight in weights[5:]:
        expected = 0.8 * expected + 0.2 * weight
    mean = averaging.model.module
    np.testing.assert_allclose(mean[0].weight.numpy(), expected, rtol=1e-5, atol=1e-7)
    last = [row for row in history.rows if row["split"] == "valid"][-1]["loss"]
    measured = train.evaluate(mean, BATCHES, nn.CrossEntropyLoss())["loss"]
    assert last == pytest.approx(measured, rel=1e-6)
    assert last != train.evaluate(model, BATCHES, nn.CrossEntropyLoss())["loss"]
    assert trainer.evaluate(BATCHES)["loss"] == pytest.approx(measured, rel=1e-6)
    np.testing.assert_allclose(trainer.predict(X), mean(cr.tensor(X)).numpy(), rtol=1e-5)


def test_trainer_averages_epochs_and_saves_the_average(tmp_path: Path) -> None:
    model, trainer, averaging = trained(lambda m: train.swa(m, start=2), out=tmp_path)
    weights: list[np.ndarray] = []
    trainer.on("validation_begin", lambda _: weights.append(model[0].weight.numpy()))
    trainer.fit(BATCHES, BATCHES, epochs=6, restore_best=True)
    assert averaging.model.n_averaged.item() == 4
    mean = averaging.model.module[0].weight.numpy()
    np.testing.assert_allclose(mean, np.mean(weights[2:], axis=0), rtol=1e-5, atol=1e-7)
    best = train.load_best(tmp_path)
    np.testing.assert_array_equal(best["0.weight"].numpy(), mean)
    np.testing.assert_array_equal(model[0].weight.numpy(), mean)


def test_average_goes_on_after_a_resume(tmp_path: Path) -> None:
    def run(out: Path, epochs: list[int]) -> np.ndarray:
        for number, end in enumerate(epochs):
            _, trainer, averaging = trained(lambda m: train.ema(m, 0.8), out=out)
            trainer.fit(BATCHES, epochs=end, resume=number > 0)
        return averaging.model.module[0].weight.numpy()

    np.testing.assert_array_equal(run(tmp_path / "a", [4]), run(tmp_path / "b", [2, 4]))
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 2))
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    plain = train.Trainer(
        model, nn.CrossEntropyLoss(), optimizer, out=tmp_path / "a", progress=False
    )
    with pytest.raises(cr.core.errors.DataError, match="weights were averaged"):
        plain.fit(BATCHES, epochs=5, resume=True)


def test_trainer_refuses_what_is_no_average_of_its_model() -> None:
    model = nn.Linear(5, 2)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    for average, text in (
        (swa_utils.AveragedModel(model), "average is AveragedModel, expected an Averaging"),
        (train.ema(nn.Linear(2, 2)), "average was made from another model"),
    ):
        with pytest.raises(cr.ArgumentError, match=text):
            train.Trainer(model, nn.CrossEntropyLoss(), optimizer, average=average)
    with pytest.raises(cr.ArgumentError, match="unknown every: 'batch'"):
        train.Averaging(swa_utils.AveragedModel(model), every="batch")  # type: ignore[arg-type]


# --- ensembles -----


@pytest.mark.parametrize("mean", ["probabilities", "logits", "values"])
def test_ensemble_averages_predictions(mean: Any) -> None:
    models = [nn.Linear(5, 3) for _ in range(4)]
    x = cr.tensor(X)
    outputs = np.stack([model(x).numpy() for model in models]).astype(np.float64)
    expected = outputs.mean(0)
    if mean == "probabilities":
        shares = np.exp(outputs) / np.exp(outputs).sum(-1, keepdims=True)
        expected = np.log(shares.mean(0))
    ensemble = nn.Ensemble(models, mean)
    for run in (ensemble, cr.compile(ensemble)):
        np.testing.assert_allclose(run(x).numpy(), expected, rtol=1e-4, atol=1e-6)
    assert len(list(ensemble.parameters())) == 8


def test_ensemble_of_sure_models_keeps_small_probabilities() -> None:
    one, two = nn.Identity(), nn.Identity()
    logits = cr.tensor([[1e4, -1e4]])
    np.testing.assert_allclose(nn.Ensemble([one, two])(logits).numpy(), [[0.0, -2e4]])


def test_ensemble_refuses_what_it_cannot_average() -> None:
    with pytest.raises(cr.ArgumentError, match="got no models"):
        nn.Ensemble([])
    with pytest.raises(cr.ArgumentError, match="got str, expected models"):
        nn.Ensemble(["a"])  # type: ignore[list-item]
    with pytest.raises(cr.ArgumentError, match="unknown mean: 'median'"):
        nn.Ensemble([nn.Identity()], "median")  # type: ignore[arg-type]
