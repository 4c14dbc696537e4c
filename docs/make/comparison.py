"""What is there beside PyTorch, Keras and JAX with Flax and Optax, as a table.

Takes: nothing. Gives: the page. A name in the table exists: tests look each of them up.
The one idea: a dash says that a library has no such name, not that it could not be written.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

LIBRARIES = ("chainrule", "PyTorch", "Keras", "JAX, Flax, Optax")
# How the names below are written, and where they are looked up.
ROOTS = {
    "F.": ("chainrule.nn.functional", "torch.nn.functional"),
    "nn.": ("chainrule.nn", "torch.nn"),
    "optim.": ("chainrule.optim", "torch.optim"),
    "layers.": ("keras.layers",),
    "losses.": ("keras.losses",),
    "optimizers.": ("keras.optimizers",),
    "initializers.": ("keras.initializers",),
    "activations.": ("keras.activations",),
    "schedules.": ("keras.optimizers.schedules",),
    "callbacks.": ("keras.callbacks",),
    "linen.": ("flax.linen",),
    "jax.nn.": ("jax.nn",),
    "optax.": ("optax",),
}
# Lines: concept | chainrule | PyTorch ("=": the same name) | Keras | JAX.
TABLE = Path(__file__).with_suffix(".txt").read_text(encoding="utf-8")
# Lines: what PyTorch's nn, nn.functional and optim have, and this package has not | why.
ABSENT = Path(__file__).with_name("absent.txt").read_text(encoding="utf-8")


def rows() -> Iterator[tuple[str, ...]]:
    """Yield the rows: a heading alone, or a concept and its name in each library."""
    for line in TABLE.strip().splitlines():
        if line.startswith("# "):
            yield (line[2:],)
        elif line:
            concept, ours, *others = (part.strip() for part in line.split("|"))
            yield (concept, ours, *(ours if other == "=" else other for other in others))


def absent() -> dict[str, str]:
    """Return PyTorch's names that are not here, with the reason or the substitute."""
    return dict(line.split(" | ", 1) for line in ABSENT.strip().splitlines())


def comparison() -> str:
    """Return the page."""
    lines = [
        "<!-- written by `python -m docs.make` from docs/make/comparison.txt; do not edit -->",
        "# What is there, beside PyTorch, Keras and JAX",
        "",
        "The same thing in each library; a dash where it has no name of its own for it.",
        "In PyTorch's column `F` is `torch.nn.functional`, in Keras' `layers` is `keras.layers`.",
        "",
    ]
    for row in rows():
        if len(row) == 1:
            lines += ["", f"## {row[0]}", "", f"| | {' | '.join(LIBRARIES)} |", "|---" * 5 + "|"]
        else:
            names = " | ".join("-" if name == "-" else f"`{name}`" for name in row[1:])
            lines.append(f"| {row[0]} | {names} |")
    lines += [
        "",
        "## What PyTorch has and chainrule has not",
        "",
        "All other public layers, functions and optimizers of `torch.nn`, `torch.nn.functional`",
        "and `torch.optim` are here under the same names; functions that overwrite their input",
        "(`relu_`) are left out.",
        "",
        "| name | instead, or why not |",
        "|---|---|",
        *(f"| `{name}` | {reason} |" for name, reason in absent().items()),
    ]
    return "\n".join(lines) + "\n"
