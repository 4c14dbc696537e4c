"""What newcomers do wrong with layers and losses, and what they are told, word by word.

A backslash at the end of a line joins it to the next one.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from mistakes import Mistake, by_name, check

MISTAKES = [
    Mistake(
        "wrong_width_into_a_named_layer",
        """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(1, 5, 3)
        self.head = nn.Linear(4, 3)

    def forward(self, images):
        x = self.body(images).mean((2, 3))
        return self.head(x)


Net()(cr.ones((2, 1, 8, 8)))
""",
        "ShapeError",
        """
linear: inner dimensions differ: x f32[2,5] @ weightᵀ f32[4,3] needs x.shape[-1] == \
weight.shape[-1], got 5 != 4
  in model.head (Linear 4 -> 3), called at train.py:9; x comes from mean at train.py:8
  hint: nn.Linear(5, 3), or reshape x to [..., 4]
""",
    ),
    Mistake(
        "wrong_width_between_layers_of_a_sequential",
        """
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(9, 3))
model(cr.ones((2, 4)))
""",
        "ShapeError",
        """
linear: inner dimensions differ: x f32[2,8] @ weightᵀ f32[9,3] needs x.shape[-1] == \
weight.shape[-1], got 8 != 9
  in model.2 (Linear 9 -> 3), called at train.py:2; x comes from relu at train.py:2
  hint: nn.Linear(8, 3), or reshape x to [..., 9]
""",
    ),
    Mistake(
        "larger_images_than_the_linear_layer_was_made_for",
        """
model = nn.Sequential(
    nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1352, 10)
)
images = cr.ones((2, 1, 32, 32))
model(images)
""",
        "ShapeError",
        """
linear: inner dimensions differ: x f32[2,1800] @ weightᵀ f32[1352,10] needs x.shape[-1] == \
weight.shape[-1], got 1800 != 1352
  in model.4 (Linear 1352 -> 10), called at train.py:5; x comes from flatten at train.py:5
  hint: nn.Linear(1800, 10), or reshape x to [..., 1352]
""",
    ),
    Mistake(
        "images_not_flattened",
        """
images = cr.ones((2, 1, 28, 28))
nn.Linear(784, 10)(images)
""",
        "ShapeError",
        """
linear: inner dimensions differ: x f32[2,1,28,28] @ weightᵀ f32[784,10] needs x.shape[-1] == \
weight.shape[-1], got 28 != 784
  in Linear (784 -> 10), called at train.py:2; x is images, from ones at train.py:1
  hint: flatten it first: x.flatten(1), which gives [2, 784]
""",
    ),
    Mistake(
        "channels_in_the_last_axis",
        """
images = cr.ones((2, 28, 28, 3))
nn.Conv2d(3, 8, 3)(images)
""",
        "ShapeError",
        """
conv2d: input f32[2,28,28,3] has 28 channels (axis 1), weight f32[8,3,3,3] expects 3
  in Conv2d (3 -> 8, 3x3), called at train.py:2; input is images, from ones at train.py:1
  hint: input has 3 channels in the last axis - NCHW expected: x.permute(0, 3, 1, 2)
""",
    ),
    Mistake(
        "grey_images_without_channel_axis",
        """
images = cr.ones((64, 28, 28))
nn.Conv2d(1, 8, 3)(images)
""",
        "ShapeError",
        """
conv2d: input f32[64,28,28] without a batch axis has 64 channels (axis 0), weight \
f32[8,1,3,3] expects 1
  in Conv2d (1 -> 8, 3x3), called at train.py:2; input is images, from ones at train.py:1
  hint: 64 examples of one channel need its axis: x.unsqueeze(1)
""",
    ),
    Mistake(
        "one_image_without_batch_and_channel_axis",
        """
image = cr.ones((28, 28))
nn.Conv2d(1, 8, 3)(image)
""",
        "ShapeError",
        """
conv2d: input f32[28,28] has 2 axes, expected [N,C,H,W] or one example without N
  in Conv2d (1 -> 8, 3x3), called at train.py:2; input is image, from ones at train.py:1
  hint: add the axes of batch and channels: x.unsqueeze(0).unsqueeze(0)
""",
    ),
    Mistake(
        "one_image_with_channels_last",
        """
image = cr.ones((28, 28, 3))
nn.Conv2d(3, 8, 3)(image)
""",
        "ShapeError",
        """
conv2d: input f32[28,28,3] without a batch axis has 28 channels (axis 0), weight f32[8,3,3,3] \
expects 3
  in Conv2d (3 -> 8, 3x3), called at train.py:2; input is image, from ones at train.py:1
  hint: channels come first, after the batch: x.permute(2, 0, 1).unsqueeze(0)
""",
    ),
    Mistake(
        "image_of_bytes_not_scaled",
        """
images = cr.tensor(np.zeros((2, 3, 28, 28), np.uint8))
nn.Conv2d(3, 8, 3)(images)
""",
        "DTypeError",
        """
conv2d: input u8[2,3,28,28] holds integers, expected real numbers
  in Conv2d (3 -> 8, 3x3), called at train.py:2; input is images
  hint: x.float() / 255 turns the bytes of an image into numbers from 0 to 1
""",
    ),
    Mistake(
        "integers_into_a_linear_layer",
        """
ages = cr.tensor([[31, 42]])
nn.Linear(2, 1)(ages)
""",
        "DTypeError",
        """
linear: input i64[1,2] holds integers, expected real numbers
  in Linear (2 -> 1), called at train.py:2; input is ages
  hint: x.float()
""",
    ),
    Mistake(
        "numpy_array_into_a_layer",
        """
table = np.ones((8, 4))
nn.Linear(4, 3)(table)
""",
        "DTypeError",
        """
linear: input is a NumPy array float64[8,4], expected a tensor
  in Linear (4 -> 3), called at train.py:2
  hint: chainrule.tensor(input, dtype=chainrule.float32)
""",
    ),
    Mistake(
        "list_as_target",
        """
scores = cr.ones((4, 3))
F.cross_entropy(scores, [0, 1, 2, 0])
""",
        "DTypeError",
        """
cross_entropy: target is a list, expected a tensor
  called at train.py:2
  hint: chainrule.tensor(target)
""",
    ),
    Mistake(
        "image_smaller_than_the_kernel",
        """
images = cr.ones((2, 3, 4, 4))
nn.Conv2d(3, 8, 5)(images)
""",
        "ShapeError",
        """
conv2d: the kernel spans [5, 5] but the padded input only [4, 4] (input f32[2,3,4,4], weight \
f32[8,3,5,5])
  in Conv2d (3 -> 8, 5x5), called at train.py:2; input is images, from ones at train.py:1
  hint: a smaller kernel, more padding, or less pooling before this layer
""",
    ),
    Mistake(
        "class_out_of_range",
        """
scores = cr.randn(4, 3)
labels = cr.tensor([0, 2, 7, 1])
F.cross_entropy(scores, labels)
""",
        "IndexRangeError",
        """
cross_entropy: target 7 at position [2] is not a class: input f32[4,3] has 3 classes, so \
targets run from 0 to 2
  called at train.py:3; input is scores, from randn at train.py:1; target is labels
  hint: the last layer needs at least 8 outputs
""",
    ),
    Mistake(
        "classes_counted_from_one",
        """
scores = cr.randn(3, 3)
labels = cr.tensor([1, 2, 3])
nn.CrossEntropyLoss()(scores, labels)
""",
        "IndexRangeError",
        """
cross_entropy: target 3 at position [2] is not a class: input f32[3,3] has 3 classes, so \
targets run from 0 to 2
  in CrossEntropyLoss, called at train.py:3; input is scores, from randn at train.py:1; \
target is labels
  hint: classes count from 0: target - 1
""",
    ),
    Mistake(
        "one_output_for_two_classes",
        """
scores = cr.randn(4, 1)
labels = cr.tensor([0, 1, 1, 0])
F.cross_entropy(scores, labels)
""",
        "IndexRangeError",
        """
cross_entropy: target 1 at position [1] is not a class: input f32[4,1] has 1 class, so \
targets run from 0 to 0
  called at train.py:3; input is scores, from randn at train.py:1; target is labels
  hint: two classes need 2 outputs; one output goes with binary_cross_entropy_with_logits
""",
    ),
    Mistake(
        "classes_as_real_numbers",
        """
scores = cr.randn(4, 3)
labels = cr.tensor([0.0, 2.0, 1.0, 1.0])
F.cross_entropy(scores, labels)
""",
        "DTypeError",
        """
cross_entropy: target f32[4] holds real numbers, expected classes as integers (or a \
probability for each class, as input f32[4,3])
  called at train.py:3; input is scores, from randn at train.py:1; target is labels
  hint: target.long(), or mse_loss for regression
""",
    ),
    Mistake(
        "one_hot_targets_of_the_wrong_width",
        """
scores = cr.randn(4, 3)
targets = cr.one_hot(cr.tensor([0, 1, 2, 3]), 4).float()
F.cross_entropy(scores, targets)
""",
        "ShapeError",
        """
cross_entropy: target f32[4,4] of probabilities must have the shape of input f32[4,3]
  called at train.py:3; input is scores, from randn at train.py:1; target is targets, from \
astype at train.py:2
  hint: 4 classes need 4 outputs of the last layer; chainrule.one_hot(classes, 3) makes 3 \
columns
""",
    ),
    Mistake(
        "one_hot_targets_of_integers",
        """
scores = cr.randn(4, 3)
targets = cr.one_hot(cr.tensor([0, 1, 2, 0]), 3)
F.cross_entropy(scores, targets)
""",
        "ShapeError",
        """
cross_entropy: input f32[4,3] needs a target of shape [4], got i64[4,3]
  called at train.py:3; input is scores, from randn at train.py:1; target is targets, from \
one_hot at train.py:2
  hint: target.float() if these are probabilities (one-hot), else target.argmax(1)
""",
    ),
    Mistake(
        "targets_before_scores",
        """
scores = cr.randn(4, 3)
labels = cr.tensor([0, 1, 2, 0])
F.cross_entropy(labels, scores)
""",
        "ShapeError",
        """
cross_entropy: target f32[4,3] of probabilities must have the shape of input f32[4]
  called at train.py:3; input is labels; target is scores, from randn at train.py:1
  hint: the scores come first: cross_entropy(scores, target)
""",
    ),
    Mistake(
        "softmax_before_cross_entropy",
        """
model = nn.Sequential(nn.Linear(4, 3), nn.Softmax(dim=1))
labels = cr.tensor([0, 1])
F.cross_entropy(model(cr.ones((2, 4))), labels)
""",
        "LikelyMistakeWarning",
        """
train.py:3: cross_entropy: input f32[2,3] looks like probabilities (none negative, all sums \
1); scores before the softmax are expected, and this trains slowly
  hint: leave the softmax out of the model; use x.softmax(1) only to show probabilities
""",
    ),
    Mistake(
        "classes_into_binary_cross_entropy",
        """
scores = cr.randn(4)
labels = cr.tensor([0, 1, 2, 0])
F.binary_cross_entropy_with_logits(scores, labels)
""",
        "ArgumentError",
        """
binary_cross_entropy_with_logits: target 2 at position [2] is not between 0 and 1
  called at train.py:3; target is labels
  hint: cross_entropy for more than two classes
""",
    ),
    Mistake(
        "one_column_of_predictions_against_a_vector",
        """
model = nn.Linear(2, 1)
prices = cr.tensor([1.0, 2.0, 3.0])
F.mse_loss(model(cr.ones((3, 2))), prices)
""",
        "ShapeError",
        """
mse_loss: input f32[3,1] and target f32[3] must have the same shape; broadcast to [3, 3] they \
would compare every input with every target
  called at train.py:3; input comes from linear at train.py:3; target is prices
  hint: input.squeeze(1), or target.unsqueeze(1)
""",
    ),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=by_name)
def test_newcomer_is_told_what_to_do(
    mistake: Mistake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(mistake, tmp_path, monkeypatch, deepest=4)
