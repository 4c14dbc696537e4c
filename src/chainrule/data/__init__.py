"""Takes: a named set, a table, arrays or a folder of images, as files or downloads.
Gives: examples, split and preprocessed by rules fitted on training data alone, in batches.
Next room: train.
"""

from __future__ import annotations

from chainrule.data.dataset import Dataset, Subset, TensorDataset
from chainrule.data.examples import Columns, Examples, Source
from chainrule.data.loader import DataLoader
from chainrule.data.mixing import CutMix, MixedLoader, MixUp
from chainrule.data.named import NAMED_SETS
from chainrule.data.open import open_examples, open_source
from chainrule.data.pipeline import Pipeline
from chainrule.data.prepare import Split, Task, prepare
from chainrule.data.split import kfold, train_valid_test_split

__all__ = [
    "NAMED_SETS",
    "Columns",
    "CutMix",
    "DataLoader",
    "Dataset",
    "Examples",
    "MixUp",
    "MixedLoader",
    "Pipeline",
    "Source",
    "Split",
    "Subset",
    "Task",
    "TensorDataset",
    "kfold",
    "open_examples",
    "open_source",
    "prepare",
    "train_valid_test_split",
]
