"""What is wrong with newcomers' data, and what they are told, word by word.

A backslash at the end of a line joins it to the next one.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from mistakes import Mistake, by_name, check

MISTAKES = [
    Mistake(
        "unequal_numbers_of_inputs_and_targets",
        """
data.DataLoader(data.TensorDataset(np.ones((10, 2)), np.ones(9)), batch_size=4)
""",
        "ShapeError",
        """
TensorDataset: shapes [10, 2], [9] need equal first axes: one entry an example
  hint: see which examples lack a target; x[:9] keeps the first 9
""",
    ),
    Mistake(
        "batch_of_no_examples",
        """
data.DataLoader(data.TensorDataset(np.ones((10, 2))), batch_size=0)
""",
        "ArgumentError",
        """
DataLoader: batch_size is 0, expected an integer from 1
""",
    ),
    Mistake(
        "infinite_number_in_a_table",
        """
write("houses.csv", "rooms,price\\n" + "3,200\\n" * 6 + "inf,300\\n")
data.open_source("houses.csv")
""",
        "DataError",
        """
houses.csv, line 8, column 'rooms': 'inf' is not a finite number
  hint: correct the cell, or leave it empty if the value is missing
""",
    ),
    Mistake(
        "ragged_table",
        """
write("houses.csv", "rooms,area,price\\n3,80,200\\n4,90\\n")
data.open_source("houses.csv")
""",
        "DataError",
        """
houses.csv, line 3: 2 cells, expected 3 as in the header, line 1
  hint: a cell that contains the delimiter must be put in double quotes
""",
    ),
    Mistake(
        "misspelt_column",
        """
write("houses.csv", "rooms,area,price\\n3,80,200\\n4,90,250\\n")
data.open_source("houses.csv", target="prize")
""",
        "ArgumentError",
        """
houses.csv: no column is named 'prize'
  hint: did you mean 'price'? columns: rooms, area, price
""",
    ),
    Mistake(
        "text_as_a_number_to_predict",
        """
write("houses.csv", "rooms,town\\n" + "3,Ulm\\n4,Bonn\\n" * 5)
data.open_source("houses.csv", target="town", kind="regression")
""",
        "DataError",
        """
houses.csv: column 'town' holds text such as 'Bonn', expected numbers
  hint: a regression predicts a number: choose another target, or kind 'classification'
""",
    ),
    Mistake(
        "target_that_never_varies",
        """
write("houses.csv", "rooms,price\\n" + "3,200\\n4,200\\n" * 6)
data.prepare(data.open_source("houses.csv"))
""",
        "DataError",
        """
houses.csv: column 'price' holds a single value, '200': nothing to learn
  hint: choose another target
""",
    ),
    Mistake(
        "nan_in_an_array",
        """
np.savez("houses.npz", x=np.array([[1.0, np.nan]] * 20), y=np.arange(20.0))
data.open_source("houses.npz")
""",
        "DataError",
        """
houses.npz, array 'x': x[0, 1] is nan, not a finite number (20 such values)
  hint: x = np.nan_to_num(x), or leave those examples out
""",
    ),
    Mistake(
        "pickled_objects",
        """
np.savez("houses.npz", x=np.array([{"rooms": 3}] * 9, dtype=object), y=np.arange(9.0))
data.open_source("houses.npz")
""",
        "DataError",
        """
houses.npz, array 'x': holds Python objects: refused
  hint: objects would have to be unpickled, which can run any program; save numbers or text: \
np.savez('data.npz', x=x.astype('float32'), y=y)
""",
    ),
    Mistake(
        "arrays_of_unequal_length",
        """
np.savez("houses.npz", x=np.ones((10, 2)), y=np.arange(9.0))
data.open_source("houses.npz")
""",
        "DataError",
        """
houses.npz: 'x' has 10 examples, 'y' has 9 targets
  hint: each example needs one: len(x) == len(y) before np.savez(...)
""",
    ),
    Mistake(
        "truncated_array_file",
        """
np.savez("houses.npz", x=np.ones((10, 2)), y=np.arange(10.0))
cut("houses.npz")
data.open_source("houses.npz")
""",
        "DataError",
        """
houses.npz: damaged npz archive: File is not a zip file
  hint: copy or download the file again
""",
    ),
    Mistake(
        "pickle_file",
        """
write("model.pkl", "")
data.open_source("model.pkl")
""",
        "ArgumentError",
        """
model.pkl: files of kind '.pkl' are not read; supported: .csv, .tsv, .data, .parquet, .npz, \
.npy (text also as .gz), and folders of images
  hint: pickles can run any program and are never read; save arrays: np.savez(...)
""",
    ),
    Mistake(
        "unknown_named_set",
        """
data.open_source("minst")
""",
        "ArgumentError",
        """
unknown data set: 'minst', and there is no file or folder of that name
  hint: did you mean 'mnist'? named sets: digits, mnist, fashion-mnist, cifar10, adult, \
california-housing, wine-quality
""",
    ),
    Mistake(
        "missing_file",
        """
write("houses.csv", "rooms,price\\n3,200\\n")
data.open_source("house.csv")
""",
        "DataError",
        """
house.csv: no such file or folder
  hint: did you mean 'houses.csv'?
""",
    ),
    Mistake(
        "empty_table",
        """
write("houses.csv", "")
data.open_source("houses.csv")
""",
        "DataError",
        """
houses.csv: the file is empty
""",
    ),
    Mistake(
        "empty_folder",
        """
Path("animals").mkdir()
data.open_source("animals")
""",
        "DataError",
        """
animals: the folder is empty
  hint: images are files that end in .png, .jpg, .jpeg, .bmp, .gif, .webp; one sub-folder a \
class
""",
    ),
    Mistake(
        "folder_without_classes",
        """
for name in ("1.png", "2.png"):
    picture(f"animals/{name}")
data.open_source("animals")
""",
        "DataError",
        """
animals: 2 images, but no sub-folder names their class
  hint: one sub-folder a class: flowers/rose/1.png, flowers/tulip/2.png
""",
    ),
    Mistake(
        "one_class",
        """
for name in ("1.png", "2.png"):
    picture(f"animals/cat/{name}")
data.open_source("animals")
""",
        "DataError",
        """
animals: only one class, 'cat': nothing to tell apart
  hint: put the images of each class into a folder of its own
""",
    ),
    Mistake(
        "corrupt_image",
        """
for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
    picture(f"animals/{name}")
cut("animals/cat/2.png")
data.open_source("animals")
""",
        "DataError",
        """
animals/cat/2.png: not an image, or damaged at its beginning
  hint: remove it, or copy it again
""",
    ),
    Mistake(
        "missing_library",
        """
for name in ("cat/1.png", "dog/1.png"):
    picture(f"animals/{name}")
hide("PIL")
data.open_source("animals")
""",
        "MissingExtraError",
        """
reading images needs the library 'pillow', which is not installed
  hint: pip install "chainrule[full]"
""",
    ),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=by_name)
def test_newcomer_is_told_what_to_do(
    mistake: Mistake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(mistake, tmp_path, monkeypatch, deepest=7)
