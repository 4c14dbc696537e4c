"""Resuming: a training that was stopped, wherever, ends in the same bits as one left alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule import nn, optim
from chainrule.core.errors import ChainruleError, DataError
from chainrule.data.dataset import TensorDataset
from chainrule.data.loader import DataLoader
from chainrule.graph.tensor import Tensor
from chainrule.ops.generator import default_generator, manual_seed
from chainrule.train import Event, Trainer
from chainrule.train.saved import random_state

KILL_RESUME = Path(__file__).parent.parent / "recipes" / "kill_resume.py"
EPOCHS = 3
STEPS = 5  # an epoch


def points(n: int, seed: int) -> TensorDataset:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 6)).astype(np.float32)
    return TensorDataset(x, (x[:, 0] * x[:, 1] > 0).astype(np.int64))


class Run:
    """A training with everything that has a state."""

    def __init__(self, out: Path | None, *, seed: int, **options: Any) -> None:
        manual_seed(seed)
        np.random.seed(seed)
        self.model = nn.Sequential(
            nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.3), nn.Linear(12, 2)
        )
        self.optimizer = optim.AdamW(self.model.parameters(), lr=0.02)
        self.schedule = optim.lr_scheduler.CosineAnnealingLR(self.optimizer, EPOCHS)
        options = {"checkpoint_seconds": None, "patience": 2} | options
        self.trainer = Trainer(
            self.model,
            nn.CrossEntropyLoss(),
            self.optimizer,
            metrics=["accuracy", "f1"],
            watch={"mse": lambda output, target: (output.softmax(1) ** 2).mean()},
            schedule=self.schedule,
            clip_norm=0.5,
            out=out,
            progress=False,
            **options,
        )
        self.train = DataLoader(points(70, 0), 16, shuffle=True, seed=5)
        self.valid = DataLoader(points(30, 1), 16, shuffle=True, seed=6)

    def fit(self, *, resume: bool = False, restore_best: bool = False) -> None:
        self.trainer.fit(
            self.train, self.valid, epochs=EPOCHS, resume=resume, restore_best=restore_best
        )

    def everything(self) -> dict[str, Any]:
        """Return all that a training leaves, clocks excepted, as comparable values."""
        rows = [{k: v for k, v in r.items() if k != "seconds"} for r in self.trainer.history.rows]
        state = self.optimizer.state_dict()["state"]
        return {
            "model": {k: v.array.tobytes() for k, v in self.model.state_dict().items()},
            "optimizer": {
                (number, key): value.array.tobytes() if isinstance(value, Tensor) else value
                for number, kept in state.items()
                for key, value in kept.items()
            },
            "schedule": self.schedule.state_dict(),
            "rate": self.trainer.rate,
            "rows": rows,
            "random": default_generator().get_state(),
            "numpy": random_state()["numpy"][1].tobytes(),
            "best": (self.trainer.history.best, self.trainer.history.best_epoch),
            "steps": self.trainer.steps_done,
        }


def stop_at(part: str, number: int) -> Callable[[Trainer], None]:
    def plan(trainer: Trainer) -> None:
        trainer.on(part, lambda event: event.trainer.stop(), once=number)

    return plan


def undisturbed(tmp_path: Path, **options: Any) -> dict[str, Any]:
    run = Run(tmp_path / "undisturbed", seed=1, **options)
    run.fit()
    return run.everything()


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    for key, value in expected.items():
        assert found[key] == value, key


@pytest.mark.parametrize(("seconds", "every"), [(None, 1), (0.0, 4)])
def test_a_stop_after_any_step_changes_nothing(
    tmp_path: Path, seconds: float | None, every: int
) -> None:
    expected = undisturbed(tmp_path, checkpoint_seconds=seconds)
    assert expected["steps"] == EPOCHS * STEPS
    for step in range(1, EPOCHS * STEPS + 1, every):
        out = tmp_path / str(step)
        first = Run(out, seed=1, checkpoint_seconds=seconds)
        stop_at("batch_end", step)(first.trainer)
        first.fit()
        assert first.trainer.steps_done == step
        assert first.trainer.interrupted
        second = Run(out, seed=99)  # other weights and random numbers: all must come back
        second.fit(resume=True)
        assert_same(second.everything(), expected)


def test_a_stop_in_a_validation_changes_nothing(tmp_path: Path) -> None:
    expected = undisturbed(tmp_path)
    for epoch in (1, 3):
        out = tmp_path / str(epoch)
        first = Run(out, seed=1)

        def stop(event: Event[Trainer], at: int = epoch) -> None:
            if event.epoch == at:
                np.random.rand(3)
                event.trainer.stop()

        first.trainer.on("validation_batch_end", stop, once=1)
        first.fit()
        assert first.trainer.interrupted
        assert first.trainer.epochs_done == epoch - 1
        second = Run(out, seed=99)
        second.fit(resume=True)
        assert_same(second.everything(), expected)


def test_many_stops_change_nothing(tmp_path: Path) -> None:
    expected = undisturbed(tmp_path)
    out = tmp_path / "often"
    for attempt in range(EPOCHS * STEPS + 5):
        run = Run(out, seed=attempt if attempt else 1)
        run.trainer.on("batch_end", lambda event: event.trainer.stop())
        run.fit(resume=True)
        if not run.trainer.interrupted:
            break
    assert_same(run.everything(), expected)


def test_an_error_in_mid_epoch_changes_nothing_after_a_resume(tmp_path: Path) -> None:
    """Rows and checkpoints written after the last one that is complete are taken back."""
    expected = undisturbed(tmp_path)
    for place, number in (("batch_end", 8), ("validation_end", 2), ("checkpoint_begin", 10)):
        out = tmp_path / place
        first = Run(out, seed=1)

        def fail(event: Event[Trainer]) -> None:
            raise ZeroDivisionError

        first.trainer.on(place, fail, once=number)
        with pytest.raises(ZeroDivisionError):
            first.fit()
        second = Run(out, seed=99)
        second.fit(resume=True)
        assert_same(second.everything(), expected)
        rows = (out / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(row) for row in rows] == second.trainer.history.rows


def test_early_stopping_goes_on_counting(tmp_path: Path) -> None:
    """Stopped by patience alone, with the wait running across the resume."""

    class Frozen(Run):
        def __init__(self, out: Path | None, *, seed: int, **options: Any) -> None:
            super().__init__(out, seed=seed, min_delta=100.0, **options)  # nothing is better

    whole = Frozen(tmp_path / "whole", seed=1)
    whole.fit()
    assert whole.trainer.history.ended == "patience"
    assert whole.trainer.epochs_done == 3
    first = Frozen(tmp_path / "stopped", seed=1)
    stop_at("batch_end", 8)(first.trainer)
    first.fit()
    second = Frozen(tmp_path / "stopped", seed=99)
    second.fit(resume=True)
    assert_same(second.everything(), whole.everything())
    # A finished training stays as it is.
    third = Frozen(tmp_path / "stopped", seed=98)
    third.fit(resume=True)
    assert_same(third.everything(), whole.everything())


def test_the_best_weights_survive_a_resume(tmp_path: Path) -> None:
    whole = Run(tmp_path / "whole", seed=1)
    whole.fit(restore_best=True)
    first = Run(tmp_path / "stopped", seed=1)
    stop_at("batch_end", EPOCHS * STEPS - 2)(first.trainer)
    first.fit(restore_best=True)
    second = Run(tmp_path / "stopped", seed=99)
    second.fit(resume=True, restore_best=True)
    assert_same(second.everything(), whole.everything())


def test_a_schedule_by_steps_and_worker_threads_go_on(tmp_path: Path) -> None:
    def make(out: Path, seed: int) -> Run:
        run = Run(out, seed=seed, schedule_every="step", checkpoint_seconds=0.0)
        run.train = DataLoader(points(70, 0), 16, shuffle=True, seed=5, num_workers=2)
        return run

    whole = make(tmp_path / "whole", 1)
    whole.fit()
    first = make(tmp_path / "stopped", 1)
    stop_at("batch_end", 12)(first.trainer)
    first.fit()
    second = make(tmp_path / "stopped", 99)
    second.fit(resume=True)
    assert_same(second.everything(), whole.everything())


def test_a_loader_without_a_state_begins_at_the_batch_that_was_left(tmp_path: Path) -> None:
    batches = list(DataLoader(points(70, 0), 16))

    def fit(run: Run, *, resume: bool) -> None:
        run.trainer.fit(batches, run.valid, epochs=EPOCHS, resume=resume)

    whole = Run(tmp_path / "whole", seed=1)
    fit(whole, resume=False)
    first = Run(tmp_path / "stopped", seed=1)
    stop_at("batch_end", 13)(first.trainer)
    fit(first, resume=False)
    second = Run(tmp_path / "stopped", seed=99)
    fit(second, resume=True)
    assert_same(second.everything(), whole.everything())


def test_gradients_that_a_step_accumulates_are_kept(tmp_path: Path) -> None:
    def every_third(trainer: Trainer, inputs: Any, targets: Any) -> tuple[Any, Tensor]:
        output = trainer.model(inputs)
        loss = trainer.loss(output, targets)
        trainer.backward(loss)
        if trainer.steps_done % 3 == 2:
            trainer.update()
            trainer.optimizer.zero_grad()
        return output, loss

    whole = Run(tmp_path / "whole", seed=1, step=every_third)
    whole.fit()
    for step in (7, 8):
        first = Run(tmp_path / str(step), seed=1, step=every_third)
        stop_at("batch_end", step)(first.trainer)
        first.fit()
        second = Run(tmp_path / str(step), seed=99, step=every_third)
        second.fit(resume=True)
        assert_same(second.everything(), whole.everything())


def test_resume_brings_everything_back_before_fit(tmp_path: Path) -> None:
    first = Run(tmp_path, seed=1)
    stop_at("batch_end", 7)(first.trainer)
    first.fit()
    second = Run(None, seed=99)
    second.trainer.resume(tmp_path)
    assert second.trainer.steps_done == 7
    assert second.trainer.epochs_done == 1
    found, expected = second.everything(), first.everything()
    for key in ("model", "optimizer", "schedule", "rate", "rows", "random", "steps"):
        assert found[key] == expected[key], key
    second.fit()
    whole = undisturbed(tmp_path / "other")
    assert_same(second.everything(), whole)


def test_a_damaged_checkpoint_is_refused_and_the_one_before_leads_to_the_same_end(
    tmp_path: Path,
) -> None:
    expected = undisturbed(tmp_path)
    out = tmp_path / "damaged"
    first = Run(out, seed=1)
    stop_at("batch_end", 12)(first.trainer)
    first.fit()
    last = json.loads((out / "checkpoints" / "last.json").read_text())
    path = out / "checkpoints" / last["file"]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError) as caught:
        Run(out, seed=99).fit(resume=True)
    assert str(path) in str(caught.value)
    _, source, target = caught.value.hint.rsplit(" ", 2)
    Path(source).replace(target)
    again = Run(out, seed=99)
    again.fit(resume=True)
    assert_same(again.everything(), expected)


def changed(run: Run, **parts: Any) -> Callable[[], None]:
    for name, part in parts.items():
        setattr(run, name, part)
    return lambda: run.fit(resume=True)


def other_model(out: Path) -> Callable[[], object]:
    model = nn.Sequential(nn.Linear(6, 12), nn.Linear(12, 2))
    optimizer = optim.AdamW(model.parameters(), lr=0.02)
    trainer = Trainer(
        model,
        nn.CrossEntropyLoss(),
        optimizer,
        metrics=["accuracy", "f1"],
        watch={"mse": lambda o, t: (o**2).mean()},
        schedule=optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS),
        patience=2,
        out=out,
        progress=False,
    )
    return trainer.resume


def other_parts(out: Path, **options: Any) -> Callable[[], object]:
    run = Run(None, seed=1)
    parts: dict[str, Any] = {
        "optimizer": run.optimizer,
        "metrics": ["accuracy", "f1"],
        "schedule": run.schedule,
        "monitor": "loss",
    }
    if options.get("optimizer") is optim.SGD:
        optimizer = optim.SGD(run.model.parameters(), lr=0.1)
        options = {
            "optimizer": optimizer,
            "schedule": optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS),
        }
    parts |= options
    optimizer = parts.pop("optimizer")
    trainer = Trainer(
        run.model, nn.CrossEntropyLoss(), optimizer, patience=2, out=out, progress=False, **parts
    )
    return trainer.resume


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (other_model, "1.weight"),
        (lambda out: other_parts(out, optimizer=optim.SGD), "the optimizer was AdamW, now it is"),
        (lambda out: other_parts(out, schedule=None), "the schedule was CosineAnnealingLR, now"),
        (lambda out: other_parts(out, metrics=["accuracy"]), "holds the metrics"),
        (lambda out: other_parts(out, monitor="accuracy"), "the training watched 'loss', now it"),
        (
            lambda out: changed(Run(out, seed=1), train=DataLoader(points(70, 0), 8, True, seed=5)),
            "batch_size was 16",
        ),
        (
            lambda out: changed(Run(out, seed=1), train=DataLoader(points(71, 0), 16, True)),
            "examples was 70",
        ),
    ],
)
def test_other_parts_than_those_saved_are_refused(
    tmp_path: Path, make: Callable[[Path], Callable[[], object]], text: str
) -> None:
    first = Run(tmp_path, seed=1)
    stop_at("batch_end", 7)(first.trainer)
    first.fit()
    with pytest.raises(ChainruleError) as caught:
        make(tmp_path)()
    assert text in str(caught.value)
    if "was" not in text or "now" in text:
        assert isinstance(caught.value, DataError)
        assert str(tmp_path) in str(caught.value)


def test_a_log_that_has_lost_rows_is_refused(tmp_path: Path) -> None:
    first = Run(tmp_path, seed=1)
    stop_at("batch_end", 7)(first.trainer)
    first.fit()
    log = tmp_path / "metrics.jsonl"
    log.write_bytes(log.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"metrics\.jsonl: \d+ bytes, but"):
        Run(tmp_path, seed=1).fit(resume=True)


def test_resume_in_an_empty_folder_begins_a_training(tmp_path: Path) -> None:
    expected = undisturbed(tmp_path)
    run = Run(tmp_path / "new", seed=1)
    run.fit(resume=True)
    assert_same(run.everything(), expected)


def test_trainings_killed_at_random_moments_end_in_the_same_bits() -> None:
    """A few of the twenty moments of the recipe, which is run in full by hand."""
    command = [sys.executable, str(KILL_RESUME), "--kills", "3", "--epochs", "4", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "3 trainings killed and resumed, 0 differ"
