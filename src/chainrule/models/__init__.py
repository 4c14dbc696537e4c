"""Takes: layers of nn. Gives: networks, each a readable definition of its own.
The one idea: a model is a page that one can read from top to bottom.
Next room: report.
"""

from chainrule.models.annealing import Annealed, annealed_log_partition
from chainrule.models.boltzmann import BoltzmannLearning, BoltzmannMachine
from chainrule.models.contrastive import ContrastiveDivergence, draw_visible, fit_energy_model
from chainrule.models.convnet import ConvNet, SimpleConvNet
from chainrule.models.dbn import DBN
from chainrule.models.mlp import MLP
from chainrule.models.rbm import RBM

__all__ = [
    "DBN",
    "MLP",
    "RBM",
    "Annealed",
    "BoltzmannLearning",
    "BoltzmannMachine",
    "ContrastiveDivergence",
    "ConvNet",
    "SimpleConvNet",
    "annealed_log_partition",
    "draw_visible",
    "fit_energy_model",
]
