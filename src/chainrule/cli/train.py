"""The command `chainrule train`: from data to a run folder with a report.

Takes: the command line. Gives: config.json, pipeline.json, metrics.jsonl, checkpoints,
evaluation.json and report.html in one folder.
The one idea: whatever can be known to be wrong is said before anything is written.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from chainrule import nn, optim
from chainrule.cli.assemble import report_contents, require_report_extras
from chainrule.cli.build import build_model, check_model, file_of, try_model
from chainrule.cli.config import DataWords, ModelWords, RunConfig, digest, fingerprint
from chainrule.cli.evaluate import evaluate_part, headline, trained_model
from chainrule.cli.folder import (
    RunFolder,
    discard,
    find,
    make,
    new_path,
    read_history,
    read_pipeline,
)
from chainrule.cli.own_model import own_errors
from chainrule.cli.reading import read_task
from chainrule.cli.screen import fill, say, screen_width
from chainrule.cli.settings import NAMES, Settings, choose, describe, shown
from chainrule.cli.versions import versions
from chainrule.core.errors import ArgumentError, DataError
from chainrule.core.files import write_json_atomic
from chainrule.data import NAMED_SETS, DataLoader, Split, Task, TensorDataset
from chainrule.graph.tensor import Tensor
from chainrule.ops.random import manual_seed
from chainrule.report import write_report
from chainrule.runtime.profile import profile
from chainrule.train import DivergenceError, Trainer
from chainrule.train.checkpoint import Checkpoints

INTERRUPTED = 130


@dataclass(frozen=True)
class Run:
    """Everything that one training is made of."""

    folder: RunFolder
    config: RunConfig
    task: Task
    trainer: Trainer
    train: DataLoader[Tensor]
    valid: DataLoader[Tensor]


def run(given: argparse.Namespace) -> int:
    """Train, evaluate on the test part, write the report."""
    started = time.perf_counter()
    require_report_extras()
    made = _go_on(given) if given.resume else _begin(given)
    if made.trainer.interrupted:
        return INTERRUPTED
    with _remedies(made):
        _finish(made, started)
    return 0


def _begin(given: argparse.Namespace) -> Run:
    """Begin a training and run it to its end."""
    if given.data is None:
        sets = ", ".join(NAMED_SETS)
        raise ArgumentError("train: which data?", hint=f"chainrule train digits (or: {sets})")
    if given.out is not None:
        new_path(given.out, "")
    model = None if given.model is None else check_model(given.model)
    words = DataWords(given.data, given.target, given.kind)
    task = read_task(words, given.seed or 0)
    settings = choose(task, given)
    model = model or check_model(settings["model"])
    manual_seed(settings["seed"])
    network = build_model(model, task.input_shape, task.n_outputs, settings)
    try_model(model, network, task)
    folder = RunFolder(new_path(given.out, task.name))
    made = _assemble(folder, _config(words, settings, model, task), task, network)
    _announce(made.config, network)
    missing = make(folder.path)
    try:
        write_json_atomic(folder.pipeline, task.pipeline.state_dict())
        made.config.write(folder.config)
        say(f"run: {folder.path}")
        _fit(made, resume=False, profiled=given.profile)
    except BaseException:
        if not made.trainer.steps_done:
            discard(folder.path, missing)
        raise
    return made


def _go_on(given: argparse.Namespace) -> Run:
    """Go on with a training where it stopped, if it is not complete."""
    if given.out is None:
        raise ArgumentError("train --resume: which run?", hint="chainrule train --out RUN --resume")
    folder = find(given.out)
    config = RunConfig.read(folder.config)
    _refuse_changes(given, config)
    if folder.pipeline.exists():
        read_pipeline(folder, config)
    words = config.data
    if given.data is not None:
        # The same data may have moved; whether they are the same, their numbers tell.
        words = replace(words, spec=given.data)
    task = read_task(words, config.settings["seed"], recorded=given.data is None)
    if fingerprint(task) != config.fingerprint:
        raise DataError(
            f"{words.spec}: these are not the data that {folder.path} began with",
            hint="restore the data, or train anew in another folder",
        )
    if words.absolute() != config.data:
        config = replace(config, data=words.absolute())
        config.write(folder.config)
    if not folder.pipeline.exists():
        write_json_atomic(folder.pipeline, task.pipeline.state_dict())
    manual_seed(config.settings["seed"])
    network = build_model(config.model, task.input_shape, task.n_outputs, config.settings)
    made = _assemble(folder, config, task, network)
    if Checkpoints(folder.path).exist():
        made.trainer.resume()
    if _is_complete(made):
        say(f"{folder.path}: the training is complete; evaluation and report are written anew")
        return made
    say(f"run: {folder.path}, resumed")
    _fit(made, resume=True, profiled=given.profile)
    return made


def _finish(made: Run, started: float) -> None:
    """Evaluate the best weights on the test part, and write the report."""
    task, folder = made.task, made.folder
    model = trained_model(folder, made.config, task.pipeline)
    evaluation = evaluate_part(model, task.test, task.pipeline)
    write_json_atomic(folder.evaluation, {"split": "test", **evaluation.results})
    contents = report_contents(
        made.config,
        task,
        model,
        evaluation,
        history=read_history(folder),
        best_epoch=made.trainer.history.best_epoch,
        seconds=time.perf_counter() - started,
    )
    write_report(folder.report, contents)
    say(f"test: {headline(evaluation.results)}")
    say(f"report: {folder.report}")


def _config(words: DataWords, settings: Settings, model: ModelWords, task: Task) -> RunConfig:
    return RunConfig(
        data=words.absolute(),
        settings=settings,
        model=model,
        fingerprint=fingerprint(task),
        pipeline=digest(task.pipeline.state_dict()),
        notes=task.notes,
        versions=versions(),
    )


def _refuse_changes(given: argparse.Namespace, config: RunConfig) -> None:
    """A resumed run goes on as it began; a changed setting would make it another one."""
    recorded = {name: config.settings[name] for name in NAMES if name in config.settings}
    recorded |= {"target": config.data.target, "kind": config.data.kind}
    recorded["model"] = config.model.spec
    for name in ("target", "kind", *NAMES):
        new, old = getattr(given, name, None), recorded.get(name)
        if isinstance(new, tuple):
            new = list(new)
        elif name == "model" and isinstance(new, str):
            new = check_model(new).spec
        if new is not None and new != old:
            raise ArgumentError(
                f"train --resume: --{name} is {shown(new)}, but the run began with {shown(old)}",
                hint=f"leave --{name} out, or train anew in another folder",
            )


def _announce(config: RunConfig, model: nn.Module) -> None:
    say("data")
    for note in config.notes:
        say(fill(note, screen_width()))
    say("settings")
    for line in describe(config.settings):
        say(line)
    parameters = sum(p.numel() for p in model.parameters())
    say(f"model: {type(model).__name__}, {parameters:,} parameters")


def _assemble(folder: RunFolder, config: RunConfig, task: Task, model: nn.Module) -> Run:
    """Put the parts of a training together; nothing is written yet."""
    settings = config.settings
    batch, seed = settings["batch"], settings["seed"]
    rate, decay = settings["lr"], settings["weight_decay"]
    optimizer = optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)
    classification = task.kind == "classification"
    trainer = Trainer(
        model,
        nn.CrossEntropyLoss() if classification else nn.MSELoss(),
        optimizer,
        metrics=["accuracy"] if classification else ["r2"],
        schedule=optim.lr_scheduler.CosineAnnealingLR(optimizer, settings["epochs"]),
        patience=settings["patience"],
        out=folder.path,
        compile=not settings.get("eager", False),
    )
    train = DataLoader(_dataset(task.train, task), batch_size=batch, shuffle=True, seed=seed)
    valid = DataLoader(_dataset(task.valid, task), batch_size=max(batch, 256))
    return Run(folder, config, task, trainer, train, valid)


def _dataset(split: Split, task: Task) -> TensorDataset:
    targets = split.targets
    if task.kind == "regression":
        targets = targets.reshape(len(targets), -1).astype(np.float32)
    return TensorDataset(split.inputs, targets)


def _is_complete(made: Run) -> bool:
    trainer = made.trainer
    all_epochs = trainer.epochs_done >= made.config.settings["epochs"]
    return all_epochs or trainer.history.ended == "patience"


def _fit(made: Run, *, resume: bool, profiled: bool) -> None:
    """Run the training, to its end or until Ctrl-C."""
    epochs = made.config.settings["epochs"]

    def fit() -> None:
        made.trainer.fit(made.train, made.valid, epochs=epochs, resume=resume)

    with _remedies(made), own_errors(file_of(made.config.model)):
        if not profiled:
            fit()
            return
        found = profile(fit)
    found.save(made.folder.profile)
    say(str(found))
    say(f"profile: {made.folder.profile}")


@contextmanager
def _remedies(made: Run) -> Iterator[None]:
    """Say what to type now, where errors of other rooms speak of Python."""
    trainer, again = made.trainer, made.folder.resume_command
    try:
        yield
    except DivergenceError as error:
        if not trainer.steps_done:
            error.context.clear()  # the checkpoint that it names is taken away again
        if "in the data" not in error.hint:
            lower = f"train anew with a lower learning rate: --lr {trainer.rate / 10:.1g}"
            first = "look for a division by zero or a logarithm of zero in the model"
            error.hint = lower if trainer.steps_done else first
        raise
    except DataError as error:
        if "resume=True" in error.hint or "same command" in error.hint:
            error.hint = f"free some space, then: {again if trainer.steps_done else 'try again'}"
        raise
    except KeyboardInterrupt:
        if trainer.steps_done and Checkpoints(made.folder.path).exist():
            say(f"go on with: {again}", to=sys.stderr)
        raise
