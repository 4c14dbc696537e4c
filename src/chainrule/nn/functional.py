"""Functions of layers without the layers, under the names of `torch.nn.functional`.

Takes: tensors, weights included. Gives: tensors.
The one idea: functions stand in the room `ops`; this page only gathers them, for the habit
``import chainrule.nn.functional as F``. `pad` takes widths from the last axis on, as PyTorch's.
"""

from chainrule.nn.padding import pad
from chainrule.ops.activations import (
    celu,
    elu,
    gelu,
    logsigmoid,
    mish,
    selu,
    silu,
    softsign,
    swish,
    tanhshrink,
)
from chainrule.ops.activations_gated import geglu, glu, gumbel_softmax, reglu, softmin, swiglu
from chainrule.ops.activations_piecewise import (
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    leaky_relu,
    prelu,
    relu6,
    rrelu,
    softshrink,
    threshold,
)
from chainrule.ops.attention import scaled_dot_product_attention
from chainrule.ops.avgpool import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
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
from chainrule.ops.cross_entropy import cross_entropy, focal_loss, nll_loss
from chainrule.ops.embedding import embedding
from chainrule.ops.embedding_bag import embedding_bag
from chainrule.ops.gathering import one_hot
from chainrule.ops.losses import huber_loss, l1_loss, mse_loss, smooth_l1_loss
from chainrule.ops.losses_binary import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    dice_loss,
    sigmoid_focal_loss,
)
from chainrule.ops.losses_ctc import ctc_loss
from chainrule.ops.losses_distance import (
    contrastive_loss,
    cosine_embedding_loss,
    cosine_similarity,
    nt_xent_loss,
    pairwise_distance,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)
from chainrule.ops.losses_likelihood import gaussian_nll_loss, kl_div, poisson_nll_loss
from chainrule.ops.losses_margin import (
    hinge_embedding_loss,
    hinge_loss,
    margin_ranking_loss,
    multi_margin_loss,
    multilabel_margin_loss,
    multilabel_soft_margin_loss,
    soft_margin_loss,
)
from chainrule.ops.maxpool import max_pool1d, max_pool2d, max_pool3d
from chainrule.ops.normalization import batch_norm, layer_norm
from chainrule.ops.normalization_groups import (
    group_norm,
    local_response_norm,
    normalize,
    rms_norm,
)
from chainrule.ops.normalization_instance import instance_norm
from chainrule.ops.products import bilinear, maxout
from chainrule.ops.recurrent import gru_cell, lstm_cell, rnn_relu_cell, rnn_tanh_cell
from chainrule.ops.regularization import (
    alpha_dropout,
    dropout,
    dropout1d,
    dropout2d,
    dropout3d,
    feature_alpha_dropout,
    gaussian_noise,
)
from chainrule.ops.resampling import interpolate
from chainrule.ops.shuffling import channel_shuffle, pixel_shuffle, pixel_unshuffle
from chainrule.ops.softmax import log_softmax, softmax
from chainrule.ops.transcendental import relu, sigmoid, softplus, tanh
from chainrule.ops.unpooling import (
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
    max_unpool1d,
    max_unpool2d,
    max_unpool3d,
)
from chainrule.ops.windows import fold, unfold

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "alpha_dropout",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "celu",
    "channel_shuffle",
    "contrastive_loss",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "ctc_loss",
    "dice_loss",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "elu",
    "embedding",
    "embedding_bag",
    "feature_alpha_dropout",
    "focal_loss",
    "fold",
    "gaussian_nll_loss",
    "gaussian_noise",
    "geglu",
    "gelu",
    "glu",
    "group_norm",
    "gru_cell",
    "gumbel_softmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hinge_embedding_loss",
    "hinge_loss",
    "huber_loss",
    "instance_norm",
    "interpolate",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "local_response_norm",
    "log_softmax",
    "logsigmoid",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "lstm_cell",
    "margin_ranking_loss",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
    "maxout",
    "mish",
    "mse_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "normalize",
    "nt_xent_loss",
    "one_hot",
    "pad",
    "pairwise_distance",
    "pixel_shuffle",
    "pixel_unshuffle",
    "poisson_nll_loss",
    "prelu",
    "reglu",
    "relu",
    "relu6",
    "rms_norm",
    "rnn_relu_cell",
    "rnn_tanh_cell",
    "rrelu",
    "scaled_dot_product_attention",
    "selu",
    "sigmoid",
    "sigmoid_focal_loss",
    "silu",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "swiglu",
    "swish",
    "tanh",
    "tanhshrink",
    "threshold",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
    "unfold",
]
