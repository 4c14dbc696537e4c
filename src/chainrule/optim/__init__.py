"""Takes: parameters with gradients. Gives: optimizers, and schedules of their learning rate.
The one idea: an optimizer is one update rule; groups, state and checks are shared by all.
Next room: data.
"""

from chainrule.optim import lr_scheduler
from chainrule.optim.adam import Adam, AdamW
from chainrule.optim.optimizer import Optimizer
from chainrule.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "lr_scheduler"]
