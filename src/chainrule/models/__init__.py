"""Takes: layers of nn. Gives: networks, each a readable definition of its own.
The one idea: a model is a page that one can read from top to bottom.
Next room: report.
"""

from chainrule.models.convnet import ConvNet, SimpleConvNet
from chainrule.models.mlp import MLP

__all__ = ["MLP", "ConvNet", "SimpleConvNet"]
