"""Reading data for a run: to train on, or for a network that is trained already.

Takes: words that name data; a fitted pipeline. Gives: a task, or examples with answers where
there are any.
"""

from __future__ import annotations

from chainrule.cli.config import DataWords
from chainrule.core.errors import ChainruleError
from chainrule.data import Examples, Pipeline, Task, open_examples, open_source, prepare


def read_task(words: DataWords, seed: int, *, recorded: bool = False) -> Task:
    """Return data split and prepared to train on.

    Args:
        words: What names the data.
        seed: Decides who goes into which part.
        recorded: Whether the words come from a run folder and not from the command line.

    Raises:
        ArgumentError: No such set or column.
        DataError: The data are missing or damaged.
    """
    try:
        source = open_source(words.spec, target=words.target, kind=words.kind)
    except ChainruleError as error:
        if recorded:
            error.add_context("this is where the data of the run were when it began")
        raise
    return prepare(source, seed=seed)


def read_examples(spec: str, pipeline: Pipeline) -> Examples:
    """Return the examples of any data, in the columns, image size and classes of the training.

    Raises:
        DataError: They are damaged, or do not fit the training data.
    """
    images = pipeline.modality == "image" and len(pipeline.input_shape) == 3
    channels, height, width = pipeline.input_shape if images else (0, 0, 0)
    return open_examples(
        spec,
        modality=pipeline.modality,
        target=pipeline.target,
        kind=pipeline.kind,
        classes=pipeline.classes,
        numeric=pipeline.numeric,
        categorical=pipeline.categorical,
        image_shape=(channels, height, width) if images else None,
    )
