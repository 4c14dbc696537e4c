"""The command `chainrule predict`: answers for data without answers.

Takes: a run folder and data. Gives: a CSV table, a row for each example.
"""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path

import numpy as np

from chainrule.cli.assess import Array, probabilities
from chainrule.cli.build import file_of
from chainrule.cli.config import RunConfig
from chainrule.cli.evaluate import outputs_of, trained_model
from chainrule.cli.folder import find, read_pipeline
from chainrule.cli.own_model import own_errors
from chainrule.cli.reading import read_examples
from chainrule.cli.screen import emit, say
from chainrule.core.errors import ArgumentError, DataError
from chainrule.core.files import write_atomic
from chainrule.data import Examples, Pipeline


def run(given: argparse.Namespace) -> int:
    """Write a prediction for each example, to the screen or to a file."""
    out = None if given.out is None else Path(given.out).expanduser()
    if out is not None:
        _check_free(out, given)
    folder = find(given.run)
    config = RunConfig.read(folder.config)
    pipeline = read_pipeline(folder, config)
    raw = read_examples(given.data, pipeline)
    inputs = pipeline.inputs(raw, origin=given.data)
    model = trained_model(folder, config, pipeline)
    with own_errors(file_of(config.model)):
        text = table(outputs_of(model, inputs), raw, pipeline)
    if out is None:
        emit(text)
    else:
        write_atomic(out, text.encode())
        say(f"{len(raw):,} predictions: {out}")
    return 0


def table(outputs: Array, raw: Examples, pipeline: Pipeline) -> str:
    """Return predictions as CSV text.

    Columns: the example's name, the answer under the target's name; for classes also the
    probability of the answer and of every class.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = raw.names if raw.names is not None else tuple(map(str, range(len(raw))))
    if pipeline.classes is not None:
        p = probabilities(outputs)
        answers = p.argmax(axis=1)
        classes = [f"p({name})" for name in pipeline.classes]
        writer.writerow(["example", pipeline.target, "probability", *classes])
        for name, answer, row in zip(names, answers, p, strict=True):
            figures = [f"{value:.6f}" for value in (row[answer], *row)]
            writer.writerow([name, pipeline.classes[answer], *figures])
        return text.getvalue()
    single = outputs.shape[1] == 1
    values = np.asarray(pipeline.undo_targets(outputs[:, 0] if single else outputs))
    columns = values.reshape(len(values), -1)
    target = pipeline.target
    labels = [target] if single else [f"{target}[{k}]" for k in range(columns.shape[1])]
    writer.writerow(["example", *labels])
    for name, row in zip(names, columns, strict=True):
        writer.writerow([name, *(f"{value:.9g}" for value in row)])
    return text.getvalue()


def _check_free(out: Path, given: argparse.Namespace) -> None:
    """Refuse to replace a file that nobody said to replace, before anything is computed."""
    if not out.exists():
        return
    if Path(given.data).exists() and out.samefile(given.data):
        raise ArgumentError(f"predict --out: {out} holds the data themselves")
    if out.is_dir():
        raise DataError(f"{out}: is a folder, expected a file", hint=f"--out {out}/answers.csv")
    if not given.overwrite:
        raise DataError(f"{out}: exists already", hint="another name, or --overwrite")
