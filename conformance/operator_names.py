"""What is different between PyTorch's operators and ours: names, arguments, samples left out.

Takes: PyTorch's names of operators. Gives: ours, and reasons. Read by operators.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Args = tuple[Any, ...]
Named = dict[str, Any]
Call = tuple[Args, Named]
Rule = tuple[Callable[[Args, Named], bool], str]

# An empty name: what we have under this name is something else.
OTHER_NAMES = {
    "bitwise_not": "bitwise_invert",
    "cross": "linalg.cross",
    "mT": "matrix_transpose",
    "pinverse": "linalg.pinv",
    "trace": "linalg.trace",
    "true_divide": "divide",
}

_RANDOM = "random numbers, which differ from library to library"
_CONTENTS = "its elements are not defined"
# Operators that cannot be compared.
LEFT_OUT: dict[str, str] = {
    **dict.fromkeys(("rand_like", "randn", "randn_like", "randint", "randint_like"), _RANDOM),
    **dict.fromkeys(("bernoulli", "normal", "uniform", "nn.functional.rrelu"), _RANDOM),
    **dict.fromkeys(("empty", "empty_like"), _CONTENTS),
    "equal": "element by element here (array API); PyTorch's gives one truth value",
    "nonzero": "positions axis by axis here (array API); PyTorch's are rows of a matrix",
    "zero_": "PyTorch's sample changes a leaf in place",
    "nn.functional.triplet_margin_with_distance_loss": "the sample passes PyTorch's own function",
}


def without(*names: str, **renamed: str) -> Callable[[Args, Named], Call]:
    """Return what drops arguments that have no meaning here and gives others our name."""

    def adapt(args: Args, named: Named) -> Call:
        kept = {renamed.get(k, k): v for k, v in named.items() if k not in names}
        return args, kept

    return adapt


def by_name(*names: str) -> Callable[[Args, Named], Call]:
    """Return what passes positional arguments after the first by the names they have here."""
    return lambda args, named: (
        args[:1],
        {**dict(zip(names, args[1:], strict=False)), **named},
    )


def _sided(args: Args, named: Named) -> Call:
    side = named.get("side") or ("right" if named.get("right") else "left")
    return args, {"side": side, "sorter": named.get("sorter")}


def _to(args: Args, named: Named) -> Call:
    types = [a for a in args[1:] if not isinstance(a, bool)]
    return (args[0], *types), _FORMAT(args, named)[1]


def _spread(args: Args, named: Named) -> Call:
    """Turn unbiased=, the older spelling of correction=."""
    kept = {k: v for k, v in named.items() if k != "unbiased"}
    if "unbiased" in named:
        kept["correction"] = int(named["unbiased"])
    flags = [a for a in args[1:] if isinstance(a, bool)]
    if isinstance(args[1] if len(args) > 1 else None, bool):  # std(x, unbiased)
        return args[:1], {**kept, "correction": int(flags[0])}
    return args, kept


_FORMAT = without("memory_format", "layout", "pin_memory", "non_blocking", "copy")
# Functions that turn PyTorch's arguments into ours.
OTHER_ARGUMENTS: dict[str, Callable[[Args, Named], Call]] = {
    **dict.fromkeys(("bfloat16", "bool", "double", "float", "half", "int", "long"), _FORMAT),
    "arange": without(end="stop"),
    "diff": by_name("n", "dim", "prepend", "append"),
    "einsum": lambda args, named: ((args[1], *args[0]), named),
    "linalg.pinv": lambda args, named: (
        (args[0] @ args[1].mT,) if len(args) == 2 else args,
        named,
    ),
    "meshgrid": lambda args, named: (
        tuple(args[0]) if isinstance(args[0], list | tuple) else args,
        named,
    ),
    "nn.functional.embedding": lambda args, named: ((args[1], args[0], *args[2:]), named),
    "nn.functional.embedding_bag": lambda args, named: ((args[1], args[0], *args[2:]), named),
    "norm": by_name("p", "dim", "keepdims"),
    "repeat_interleave": without("output_size"),
    "searchsorted": _sided,
    "std": _spread,
    "tensordot": without(dims="axes"),
    "to": _to,
    "var": _spread,
}
for _axes in "123":
    OTHER_ARGUMENTS[f"nn.functional.adaptive_max_pool{_axes}d"] = lambda args, named: (
        args[:2],
        named,
    )


# Samples whose targets mean nothing, and what makes of them such that do.
CHANGED_SAMPLES: dict[str, Callable[[Args, Named], Call]] = {
    # Below 0 and above 1 the loss has no lower bound.
    "nn.functional.multilabel_soft_margin_loss": lambda args, named: (
        (args[0], args[1].detach().sigmoid(), *args[2:]),
        named,
    ),
}
# What both take the first argument through: PyTorch's gradient of ctc_loss is the one with
# respect to the scores before log_softmax, ours the derivative everywhere; composed they agree.
FIRST_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "nn.functional.ctc_loss": lambda scores: scores.log_softmax(-1),
}


def _determined(u: Any, s: Any, vh: Any) -> tuple[Any, ...]:
    least = s.shape[-1]
    return abs(u[..., :least]), s, abs(vh[..., :least, :])


# What of the results is compared: LAPACK leaves open the signs of vectors, and vectors that
# belong to no singular value.
OTHER_RESULTS: dict[str, Callable[[Any], Any]] = {
    "linalg.eigh": lambda result: (result[0], abs(result[1])),
    "linalg.svd": lambda result: _determined(*result),
}


def _given(position: int, name: str, default: Any = None) -> Callable[[Args, Named], Any]:
    def value(args: Args, named: Named) -> Any:
        return args[position] if len(args) > position else named.get(name, default)

    return value


def _any_axis(args: Args, named: Named) -> bool:
    return any(getattr(a, "ndim", 1) == 0 for a in args[:2])


def _drops(args: Args, named: Named) -> bool:
    share = _given(1, "p", 0.5)(args, named)
    return bool(_given(2, "training", True)(args, named)) and 0 < share < 1


def _repeats(args: Args, named: Named) -> bool:
    """Return whether a place of the result is named by two elements."""
    places = args[1].reshape(*args[1].shape[:2], -1) if args[1].ndim > 2 else args[1]
    rows = places.reshape(-1, places.shape[-1]).tolist()
    return any(len(set(row)) < len(row) for row in rows)


_ZERO_D = "0-d tensors in the place of vectors"
_UNPOOL: Rule = (
    _repeats,
    "two elements for one place: PyTorch gives both the gradient of the one that stays",
)
_DROPOUT: Rule = (_drops, _RANDOM)
# For an operator: which samples are left out, and why.
SAMPLES_LEFT_OUT: dict[str, tuple[Rule, ...]] = {
    "gather": (
        (
            lambda args, named: args[2].numel() == 0 and args[2].ndim != args[0].ndim,
            "an empty index with other axes, refused here",
        ),
    ),
    "linalg.vander": ((lambda args, named: args[0].ndim == 0, _ZERO_D),),
    "norm": (
        (
            lambda args, named: isinstance(_given(1, "p", 2)(args, named), str),
            "norms of matrices, for which chainrule.linalg.norm is",
        ),
    ),
    "searchsorted": (
        (
            lambda args, named: bool(named.get("out_int32")),
            "positions as int32",
        ),
    ),
    "squeeze": (
        (
            lambda args, named: (
                any(
                    args[0].ndim and args[0].shape[axis] != 1
                    for axis in (args[1] if isinstance(args[1], list | tuple) else [args[1]])
                )
                if len(args) > 1
                else False
            ),
            "an axis that is not of size 1, refused by the array API standard",
        ),
    ),
    "tensordot": (
        (
            lambda args, named: "(2, 0)" in str(named["dims"]).translate(str.maketrans("[]", "()")),
            "summed axes of sizes 1 and 2, refused here",
        ),
    ),
    "nn.functional.multilabel_margin_loss": ((_any_axis, _ZERO_D),),
    "nn.functional.pairwise_distance": (
        (lambda args, named: named.get("p", 2) < 0, "a negative order, refused here"),
    ),
    "nn.functional.hardtanh": (
        (
            lambda args, named: named.get("min_val", -1) >= named.get("max_val", 1),
            "a lower bound above the upper one, refused here",
        ),
    ),
    "nn.functional.scaled_dot_product_attention": (
        (lambda args, named: named.get("dropout_p", 0) > 0, _RANDOM),
    ),
}
for _axes in "123":
    SAMPLES_LEFT_OUT[f"nn.functional.adaptive_max_pool{_axes}d"] = (
        (lambda args, named: bool(_given(2, "return_indices")(args, named)), "return_indices=True"),
    )
for _kind in ("dropout", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"):
    SAMPLES_LEFT_OUT[f"nn.functional.{_kind}"] = (_DROPOUT,)

# Samples of which only values are compared, and why.
VALUES_ONLY: dict[str, tuple[Rule, ...]] = {
    "nextafter": ((lambda args, named: True, "no derivative here"),),
    **{f"nn.functional.max_unpool{_axes}d": (_UNPOOL,) for _axes in "123"},
}
# Differences that remain, by the operator and its variant.
KNOWN: dict[str, str] = {
    "nn.functional.layer_norm": "of one element: 0; PyTorch's is rounding in float32",
}
