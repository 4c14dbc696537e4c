"""What newcomers do wrong when they train, and what they are told, word by word.

A backslash at the end of a line joins it to the next one.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from mistakes import Mistake, by_name, check

MISTAKES = [
    Mistake(
        "backward_twice",
        """
x = cr.tensor(2.0, requires_grad=True)
loss = x * x
loss.backward()
loss.backward()
""",
        "GradientError",
        """
backward: a second time through the same graph: what multiply saved for its derivative was \
freed by the first
  called at train.py:4
  hint: compute the loss anew for each backward(), detach() what one step hands to the next; \
or keep the graph: backward(retain_graph=True) the first time
""",
    ),
    Mistake(
        "zero_grad_forgotten",
        """
model = nn.Linear(2, 1)
optimizer = optim.SGD(model.parameters(), lr=0.1)
for x in cr.randn(2, 8, 2):
    model(x).square().mean().backward()
    optimizer.step()
""",
        "LikelyMistakeWarning",
        """
train.py:5: SGD: the gradient of parameter 0 f32[1,2] has those of earlier steps in it, \
because they were not removed before backward() added the new one
  hint: optimizer.zero_grad() before each loss.backward()
""",
    ),
    Mistake(
        "backward_from_many_elements",
        """
model = nn.Linear(2, 1)
losses = model(cr.ones((3, 2))).square()
losses.backward()
""",
        "GradientError",
        """
backward: the output f32[3,1] has 3 elements, expected one
  called at train.py:3; output is losses, from square at train.py:2
  hint: reduce it first (loss.mean()), or pass gradient=
""",
    ),
    Mistake(
        "backward_from_no_grad",
        """
model = nn.Linear(2, 1)
with cr.no_grad():
    loss = model(cr.ones((3, 2))).square().mean()
loss.backward()
""",
        "GradientError",
        """
backward: the tensor f32[] depends on nothing that requires a gradient
  called at train.py:4; f32[] is loss, from mean at train.py:3
  hint: compute it from model(x), outside of no_grad() and without detach(), numpy() or \
item() on the way; a plain tensor needs requires_grad=True
""",
    ),
    Mistake(
        "parameter_changed_in_place",
        """
weight = nn.Parameter(cr.zeros(3))
weight -= 0.1
""",
        "GradientError",
        """
sub_: in-place change of a leaf that requires a gradient: f32[3]
  called at train.py:2; f32[3] is weight
  hint: put it under `with chainrule.no_grad():`; an optimizer's step() does so
""",
    ),
    Mistake(
        "batch_norm_with_one_example",
        """
model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8))
model(cr.ones((1, 4)))
""",
        "ShapeError",
        """
batch_norm: input f32[1,8] has 1 value for each channel; training needs at least 2, to have a \
variance
  in model.1 (BatchNorm1d 8), called at train.py:2; input comes from linear at train.py:2
  hint: larger batches (DataLoader(..., drop_last=True)), or model.eval() to predict
""",
    ),
    Mistake(
        "dropout_of_more_than_all",
        """
nn.Dropout(1.5)
""",
        "ArgumentError",
        """
Dropout: p is 1.5, expected a number from 0 to 1
""",
    ),
    Mistake(
        "dropout_in_percent",
        """
nn.Dropout(50)
""",
        "ArgumentError",
        """
Dropout: p is 50, expected a number from 0 to 1
  hint: p=0.5 is 50 %
""",
    ),
    Mistake(
        "modules_in_a_plain_list",
        """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(4, 4), nn.Linear(4, 2)]


optim.Adam(Net().parameters(), lr=1e-3)
""",
        "StateError",
        """
Net.layers: 2 Linear in a plain list, where they are found neither for training nor for saving
  hint: self.layers = nn.ModuleList([...])
""",
    ),
    Mistake(
        "model_without_parameters",
        """
optim.Adam(nn.ReLU().parameters(), lr=1e-3)
""",
        "ArgumentError",
        """
Adam: got no parameters
  hint: a generator can be read only once: pass model.parameters() anew, and check that the \
model assigns its layers to attributes
""",
    ),
    Mistake(
        "model_in_place_of_its_parameters",
        """
optim.Adam(nn.Linear(2, 1), lr=1e-3)
""",
        "ArgumentError",
        """
Adam: got a module, expected its parameters
  hint: optim.Adam(model.parameters(), lr=...)
""",
    ),
    Mistake(
        "optimizer_of_another_model",
        """
old, new = nn.Linear(2, 1), nn.Linear(2, 1)
train.Trainer(new, nn.MSELoss(), optim.SGD(old.parameters(), lr=0.1))
""",
        "ArgumentError",
        """
Trainer: the optimizer SGD holds none of the parameters of Linear (weight, bias), so training \
would change nothing
  hint: optim.SGD(model.parameters(), ...), made after the model
""",
    ),
    Mistake(
        "negative_learning_rate",
        """
optim.SGD(nn.Linear(2, 1).parameters(), lr=-0.1)
""",
        "ArgumentError",
        """
SGD: lr is -0.1, expected a number at least 0
  hint: lr=0.1
""",
    ),
    Mistake(
        "learning_rate_as_text",
        """
optim.SGD(nn.Linear(2, 1).parameters(), lr="0.1")
""",
        "ArgumentError",
        """
SGD: lr is '0.1', expected a number at least 0
  hint: a number without quotes: lr=0.1
""",
    ),
    Mistake(
        "state_with_other_names",
        """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(2, 3)


state = Net().state_dict()
state["fc.weight"] = state.pop("fc1.weight")
Net().load_state_dict(state)
""",
        "StateError",
        """
load_state_dict: the values do not fit Net; nothing was changed
  missing: fc1.weight (did you mean 'fc.weight'?)
  unexpected: fc.weight (did you mean 'fc1.weight'?)
  hint: rename: state['fc1.weight'] = state.pop('fc.weight')
""",
    ),
    Mistake(
        "state_of_another_size",
        """
nn.Linear(2, 3).load_state_dict(nn.Linear(4, 3).state_dict())
""",
        "StateError",
        """
load_state_dict: the values do not fit Linear; nothing was changed
  weight: is f32[3,2] here, but f32[3,4] in what is loaded
  hint: build the model with the sizes that it was saved with
""",
    ),
    Mistake(
        "class_in_place_of_a_layer",
        """
nn.Sequential(nn.Linear(2, 2), nn.ReLU)
""",
        "ArgumentError",
        """
Sequential: got the class ReLU, expected modules
  hint: make one of the class: ReLU()
""",
    ),
    Mistake(
        "module_without_forward",
        """
class Net(nn.Module):
    def foward(self, x):
        return x


Net()(cr.ones(3))
""",
        "StateError",
        """
Net: has no forward, so it cannot be called
  in Net, called at train.py:6
  hint: define it in the class: def forward(self, x): ...
""",
    ),
    Mistake(
        "embedding_too_small",
        """
words = cr.tensor([3, 12])
nn.Embedding(10, 4)(words)
""",
        "IndexRangeError",
        """
embedding: index 12 at position [1] is not a row of weight f32[10,4], which are numbered 0 to 9
  in Embedding (10 -> 4), called at train.py:2
  hint: nn.Embedding(13, 4) for the largest index
""",
    ),
    Mistake(
        "loss_that_does_not_depend_on_the_model",
        """
model = nn.Linear(2, 1)
optimizer = optim.SGD(model.parameters(), lr=0.1)
trainer = train.Trainer(
    model, lambda output, target: (output.detach() - target).abs().mean(), optimizer, progress=False
)
trainer.fit([(cr.ones((8, 2)), cr.ones((8, 1)))], epochs=1)
""",
        "GradientError",
        """
backward: the loss f32[] depends on no parameter, so nothing can be learned
  hint: compute it from model(inputs), without .detach(), .numpy(), .argmax() or no_grad() on \
the way
""",
    ),
    Mistake(
        "training_that_diverges",
        """
x, y = cr.full((8, 2), 100.0), cr.ones((8, 1))
model = nn.Linear(2, 1)
nn.init.ones_(model.weight)
optimizer = optim.SGD(model.parameters(), lr=10.0)
train.Trainer(model, nn.MSELoss(), optimizer, progress=False).fit([(x, y)], epochs=100)
""",
        "DivergenceError",
        """
the loss is inf at epoch 4, step 4 (batch 1); the one before was 1.01398e+27
  hint: lower the learning rate (lr=1 instead of 10), clip gradients (Trainer(..., \
clip_norm=1.0)), and check that inputs are scaled
""",
    ),
    Mistake(
        "nan_in_the_training_data",
        """
x = cr.tensor([[1.0, 2.0], [3.0, float("nan")]])
model = nn.Linear(2, 1)
optimizer = optim.SGD(model.parameters(), lr=0.1)
train.Trainer(model, nn.MSELoss(), optimizer, progress=False).fit([(x, cr.ones((2, 1)))], epochs=1)
""",
        "DivergenceError",
        """
the loss is nan at epoch 1, step 1 (batch 1); it is the first one
  hint: the cause is in the data: the inputs of this batch hold 1 values that are not finite
""",
    ),
    Mistake(
        "wrong_width_in_a_training",
        """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(x)


model = Net()
optimizer = optim.SGD(model.parameters(), lr=0.1)
rows = [(cr.ones((8, 2)), cr.ones((8, 3)))]
train.Trainer(model, nn.MSELoss(), optimizer, progress=False).fit(rows, epochs=1)
""",
        "ShapeError",
        """
linear: inner dimensions differ: x f32[8,2] @ weightᵀ f32[4,3] needs x.shape[-1] == \
weight.shape[-1], got 2 != 4
  in model.head (Linear 4 -> 3), called at train.py:7; x comes from ones at train.py:12
  hint: nn.Linear(2, 3), or reshape x to [..., 4]
""",
    ),
    Mistake(
        "tensors_in_place_of_batches",
        """
model = nn.Linear(2, 1)
optimizer = optim.SGD(model.parameters(), lr=0.1)
trainer = train.Trainer(model, nn.MSELoss(), optimizer, progress=False)
trainer.fit(cr.ones((8, 2)), cr.ones((8, 1)), epochs=1)
""",
        "ArgumentError",
        """
train: batch 1 is f32[2], expected a pair (inputs, targets)
  hint: DataLoader(TensorDataset(inputs, targets), batch_size=64)
""",
    ),
    Mistake(
        "loss_class_in_place_of_a_loss",
        """
model = nn.Linear(2, 1)
train.Trainer(model, nn.MSELoss, optim.SGD(model.parameters(), lr=0.1))
""",
        "ArgumentError",
        """
loss: MSELoss is no loss function
  hint: pass an object: MSELoss()
""",
    ),
    Mistake(
        "misspelt_metric",
        """
model = nn.Linear(2, 1)
optimizer = optim.SGD(model.parameters(), lr=0.1)
train.Trainer(model, nn.MSELoss(), optimizer, metrics=["acuracy"])
""",
        "ArgumentError",
        """
unknown metric: 'acuracy'
  hint: did you mean 'accuracy'? known: accuracy, balanced_accuracy, confusion, f1, mae, \
per_class, r2, rmse, top5
""",
    ),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=by_name)
def test_newcomer_is_told_what_to_do(
    mistake: Mistake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(mistake, tmp_path, monkeypatch, deepest=9)
