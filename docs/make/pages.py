"""Pages: which families of functions, layers and rules there are.

Takes: nothing. Gives: for each page its title, its words, and whose public names it shows.
The one idea: a new function stands on the page of the file that it is written in, by itself.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Page:
    """One page of the reference.

    Attributes:
        name: Of the file.
        title: At its head.
        words: What the family is for.
        modules: Files whose public names it shows: names behind ``chainrule.``, each standing
            also for files that begin with it.
        picture: Drawing of `chainrule explore` that shows the family, or "".
    """

    name: str
    title: str
    words: str
    modules: tuple[str, ...]
    picture: str = ""


PAGES = (
    Page(
        "activations",
        "Activations",
        "What stands between layers with weights; without it, stacked linear layers are one.",
        ("ops.activations", "ops.softmax", "ops.choice", "nn.activation", "nn.maxout"),
        "activations",
    ),
    Page(
        "initialization",
        "Initialisation",
        "First weights, chosen so that signals neither die out nor blow up on their way.",
        ("nn.init", "nn.gain"),
        "initialization",
    ),
    Page(
        "losses",
        "Losses",
        "What training makes small.",
        ("ops.losses", "ops.cross_entropy", "ops.distances", "ops.ctc", "nn.loss", "nn.distances"),
    ),
    Page(
        "optimizers",
        "Optimizers",
        "How parameters follow their gradients, and what keeps them in bounds.",
        ("optim.", "nn.utils", "nn.penalties", "nn.spectral", "nn.weight_norm",
         "nn.parametri"),
        "optimizers",
    ),
    Page(
        "schedules",
        "Schedules and averages",
        "How the learning rate changes while training goes on, and means of weights.",
        ("optim.lr_scheduler", "optim.schedule", "optim.swa_utils", "optim.averag"),
    ),
    Page(
        "normalization",
        "Normalisation, dropout and noise",
        "What keeps training stable, and a network from learning its data by heart.",
        ("ops.normalization", "ops.regularization", "ops.noise", "ops.dropout", "nn.normalization",
         "nn.dropout", "nn.noise"),
    ),
    Page(
        "layers",
        "Layers: linear, convolution, pooling, resampling, embedding",
        "Layers with weights, and those that only move numbers about.",
        ("nn.linear", "nn.convolution", "nn.pooling", "nn.padding", "nn.shape", "nn.embedding",
         "nn.containers", "nn.upsampling", "nn.shuffle", "nn.separable", "nn.bilinear", "nn.fold",
         "nn.products", "nn.module", "nn.parameter", "nn.summary", "nn.resampling", "nn.unpool",
         "ops.convnd", "ops.convolution", "ops.avgpool", "ops.maxpool", "ops.pooling",
         "ops.windows", "ops.resampling", "ops.embedding", "ops.shuffle", "ops.maxout",
         "ops.interpolat", "ops.grid", "ops.unpool", "ops.lppool"),
    ),
    Page(
        "recurrent",
        "Recurrent layers",
        "Layers with a state that is handed on from step to step.",
        ("ops.recurrent", "nn.recurrent", "nn.rnn", "nn.utils.rnn", "nn.cells"),
    ),
    Page(
        "attention",
        "Attention and the Transformer",
        "Layers in which every position looks at every other one.",
        ("ops.attention", "nn.attention", "nn.transformer", "nn.positional", "ops.positional",
         "ops.rotary"),
    ),
    Page(
        "energy",
        "Models",
        "Ready models; among them those that are trained through an energy.",
        ("models.", "nn.ensemble"),
    ),
    Page(
        "linalg",
        "Linear algebra",
        "Decompositions and what is computed with them, with gradients.",
        ("ops.linalg", "linalg"),
    ),
    Page(
        "arrays",
        "Functions of arrays",
        "Everything else that is done with tensors, named as in the Python array API standard.",
        ("array_api", "ops.", "graph.", "core.", "runtime."),
    ),
)  # fmt: skip


def page_of(module: str) -> Page | None:
    """Return the page for a module's names: that whose longest entry the module begins with."""
    inside = module.removeprefix("chainrule.")
    found = [(len(m), page) for page in PAGES for m in page.modules if inside.startswith(m)]
    return max(found, key=lambda pair: pair[0])[1] if found else None
