"""Utilities on parameters and on sequences, under the names of `torch.nn.utils`.

Takes: parameters, modules, sequences. Gives: gradients limited, weights penalised or
reparametrised, sequences packed.
The one idea: this page only gathers what stands in files of their own.
Next room: optim, as of the whole of `nn`.
"""

from chainrule.nn.penalties import (
    decay_groups,
    elastic_penalty,
    l1_penalty,
    l2_penalty,
    max_norm_,
    weights_of,
)
from chainrule.nn.spectral import (
    remove_spectral_norm,
    remove_weight_norm,
    spectral_norm,
    weight_norm,
)
from chainrule.nn.utils import rnn
from chainrule.nn.utils.clipping import (
    clip_grad_norm_,
    clip_grad_value_,
    parameters_to_vector,
    vector_to_parameters,
)

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "decay_groups",
    "elastic_penalty",
    "l1_penalty",
    "l2_penalty",
    "max_norm_",
    "parameters_to_vector",
    "remove_spectral_norm",
    "remove_weight_norm",
    "rnn",
    "spectral_norm",
    "vector_to_parameters",
    "weight_norm",
    "weights_of",
]
