"""What newcomers do wrong with tensors, and what they are told, word by word.

A backslash at the end of a line joins it to the next one.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from mistakes import Mistake, by_name, check

MISTAKES = [
    Mistake(
        "array_on_the_left",
        """
prices = np.ones(3)
shares = cr.ones(4)
prices * shares
""",
        "ShapeError",
        """
multiply: shapes [3] and [4] do not broadcast: axis -1 has sizes 3, 4, which must be equal or 1
  called at train.py:3; [4] is shares, from ones at train.py:2
  hint: insert an axis of size 1 with x.unsqueeze(axis), or reshape one of them
""",
    ),
    Mistake(
        "array_changed_in_place_by_a_tensor",
        """
total = np.zeros(3)
total += cr.ones(3)
""",
        "DTypeError",
        """
numpy.add: the result of f32[3] cannot be written into an array
  called at train.py:2; f32[3] comes from ones at train.py:2
  hint: a = a + x makes a tensor of it; a += x.numpy() leaves it an array
""",
    ),
    Mistake(
        "vector_against_rows",
        """
rows = cr.ones((8, 3))
weights = cr.ones(8)
rows * weights
""",
        "ShapeError",
        """
multiply: shapes [8, 3] and [8] do not broadcast: axis -1 has sizes 3, 8, which must be equal \
or 1
  called at train.py:3; [8, 3] is rows, from ones at train.py:1; [8] is weights, from ones at \
train.py:2
  hint: axes are aligned from the last one: unsqueeze(-1) on the tensor of shape [8]
""",
    ),
    Mistake(
        "unknown_dtype",
        """
cr.zeros(3, dtype="flaot32")
""",
        "ArgumentError",
        """
unknown dtype: 'flaot32'
  called at train.py:1
  hint: did you mean 'float32'? known: bfloat16, bool, double, float, float16, float32, \
float64, half, int, int16, int32, int64, int8, long, short, uint16, uint32, uint64, uint8
""",
    ),
    Mistake(
        "text_in_a_tensor",
        """
cr.tensor(["cat", "dog"])
""",
        "DTypeError",
        """
tensor: elements of type <U3 are not real numbers
  called at train.py:1
  hint: classes: np.unique(x, return_inverse=True)[1]; numbers: x.astype(float)
""",
    ),
    Mistake(
        "missing_number_in_a_tensor",
        """
cr.tensor([1.0, None])
""",
        "DTypeError",
        """
tensor: None is not a real number
  called at train.py:1
  hint: a missing value is float("nan")
""",
    ),
    Mistake(
        "rows_of_unequal_length",
        """
cr.tensor([[1.0, 2.0], [3.0]])
""",
        "ShapeError",
        """
tensor: nested sequences have unequal lengths
  called at train.py:1
  hint: pad the rows to one length, or keep them as a list
""",
    ),
    Mistake(
        "gpu_asked_for",
        """
nn.Linear(2, 1).to("cuda")
""",
        "ArgumentError",
        """
device 'cuda' is not available: tensors live on 'cpu'
  hint: leave the device out, or give 'cpu': this version computes on the CPU alone
""",
    ),
    Mistake(
        "reshape_to_another_number_of_elements",
        """
x = cr.ones((2, 3, 4))
x.reshape(5, 5)
""",
        "ShapeError",
        """
reshape: f32[2,3,4] has 24 elements, the shape [5, 5] holds 25
  called at train.py:2; f32[2,3,4] is x, from ones at train.py:1
  hint: pass -1 for one size to have it computed: x.reshape(x.shape[0], -1)
""",
    ),
    Mistake(
        "concat_of_shapes_that_do_not_fit",
        """
left, right = cr.ones((2, 3)), cr.ones((2, 4))
cr.concat([left, right])
""",
        "ShapeError",
        """
concat: tensor 0 f32[2,3] and tensor 1 f32[2,4] differ outside axis 0
  called at train.py:2
  hint: join along the axis that differs: axis=1
""",
    ),
    Mistake(
        "concat_without_a_list",
        """
left, right = cr.ones((2, 3)), cr.ones((2, 4))
cr.cat(left, right)
""",
        "ArgumentError",
        """
concat: got two arguments, expected one list
  called at train.py:2
  hint: chainrule.concat([x, y], axis=0)
""",
    ),
    Mistake(
        "index_out_of_range",
        """
x = cr.ones((2, 3))
x[0, 3]
""",
        "IndexRangeError",
        """
getitem: index 3 is out of range for axis 1 of size 3 of f32[2,3]; valid: from -3 to 2
  called at train.py:2; f32[2,3] is x, from ones at train.py:1
""",
    ),
    Mistake(
        "matmul_of_shapes_that_do_not_fit",
        """
a, b = cr.ones((2, 3)), cr.ones((4, 5))
a @ b
""",
        "ShapeError",
        """
matmul: inner dimensions differ: x f32[2,3] @ y f32[4,5] needs x.shape[-1] == y.shape[-2], \
got 3 != 4
  called at train.py:2; x is a, from ones at train.py:1; y is b, from ones at train.py:1
  hint: give x 4 columns or y 3 rows, or name the axes: chainrule.einsum('ij,jk->ik', x, y)
""",
    ),
    Mistake(
        "matmul_without_transposition",
        """
a, b = cr.ones((2, 3)), cr.ones((2, 3))
a @ b
""",
        "ShapeError",
        """
matmul: inner dimensions differ: x f32[2,3] @ y f32[2,3] needs x.shape[-1] == y.shape[-2], \
got 3 != 2
  called at train.py:2; x is a, from ones at train.py:1; y is b, from ones at train.py:1
  hint: x @ y.mT
""",
    ),
    Mistake(
        "item_of_many_elements",
        """
losses = cr.ones(3)
losses.item()
""",
        "ShapeError",
        """
item: the tensor f32[3] has 3 elements, expected one
  called at train.py:2; f32[3] is losses, from ones at train.py:1
  hint: reduce it first (x.mean()), or use x.tolist()
""",
    ),
    Mistake(
        "truth_of_many_elements",
        """
x = cr.ones(3)
if x > 0:
    pass
""",
        "ShapeError",
        """
bool: the truth of a tensor bool[3] is ambiguous: it has 3 elements
  called at train.py:2; bool[3] comes from greater at train.py:2
  hint: x.any() or x.all(); (x > 0) & (x < 1) instead of `and`
""",
    ),
    Mistake(
        "unknown_axis",
        """
scores = cr.ones((4, 3))
scores.sum(2)
""",
        "AxisError",
        """
sum: axis 2 does not exist; axes of a 2-d tensor: from -2 to 1
  called at train.py:2; f32[4,3] is scores, from ones at train.py:1
""",
    ),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=by_name)
def test_newcomer_is_told_what_to_do(
    mistake: Mistake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(mistake, tmp_path, monkeypatch, deepest=3)
