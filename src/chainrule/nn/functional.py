"""Functions of layers without the layers, under the names of `torch.nn.functional`.

Takes: tensors, weights included. Gives: tensors.
The one idea: functions stand in the room `ops`; this page only gathers them, for the habit
``import chainrule.nn.functional as F``. `pad` takes widths from the last axis on, as PyTorch's.
"""

from chainrule.nn.padding import pad
from chainrule.ops.activations import (
    elu,
    gelu,
    hardswish,
    hardtanh,
    leaky_relu,
    logsigmoid,
    mish,
    relu6,
    selu,
    silu,
)
from chainrule.ops.attention import embedding, scaled_dot_product_attention
from chainrule.ops.avgpool import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
)
from chainrule.ops.contraction import linear
from chainrule.ops.convnd import (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
from chainrule.ops.cross_entropy import cross_entropy, nll_loss
from chainrule.ops.gathering import one_hot
from chainrule.ops.losses import (
    binary_cross_entropy_with_logits,
    huber_loss,
    l1_loss,
    mse_loss,
    smooth_l1_loss,
)
from chainrule.ops.maxpool import max_pool1d, max_pool2d, max_pool3d
from chainrule.ops.normalization import batch_norm, layer_norm
from chainrule.ops.regularization import dropout
from chainrule.ops.softmax import log_softmax, softmax
from chainrule.ops.transcendental import relu, sigmoid, softplus, tanh
from chainrule.ops.windows import fold, unfold

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "binary_cross_entropy_with_logits",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "cross_entropy",
    "dropout",
    "elu",
    "embedding",
    "fold",
    "gelu",
    "hardswish",
    "hardtanh",
    "huber_loss",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "logsigmoid",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "mish",
    "mse_loss",
    "nll_loss",
    "one_hot",
    "pad",
    "relu",
    "relu6",
    "scaled_dot_product_attention",
    "selu",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "softmax",
    "softplus",
    "tanh",
    "unfold",
]
