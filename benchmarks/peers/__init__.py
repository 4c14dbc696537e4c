"""Peers: who is measured, and what each of them needs.

Takes: names. Gives: for each peer its title, its file and the reason why it is absent, if it is.
The one idea: a column without figures says why.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from benchmarks.workloads import Workload

# What scikit-learn's networks and the one by hand are made of.
_SIMPLE = frozenset(("linear", "sigmoid", "tanh", "relu"))
# Files of the peers that every case is written for.
_IN_CASES = ("own", "pytorch")


class Runner(Protocol):
    """A network that is ready to be trained."""

    def step(self) -> Any:
        """Do one step (an epoch for `fit`); return something that the loss can be read from."""

    def loss(self, result: Any) -> float:
        """Return the loss of a step, after waiting for it to end."""


@dataclass(frozen=True)
class Peer:
    """A framework, or a way to use one.

    Attributes:
        name: Short, for the command line.
        title: For the table.
        module: File in this folder; its `runner` makes a `Runner`.
        needs: Module that must be installed.
        compiled: Passed on to the file.
        caches: Environment variable that names its cache of compiled code, "" for none.
        absent: Returns why it cannot run a workload, or "".
    """

    name: str
    title: str
    module: str
    needs: str
    compiled: bool = False
    caches: str = ""
    absent: Callable[[Workload], str] = lambda workload: ""


def why_absent(peer: Peer, workload: Workload) -> str:
    """Return why a peer does not take part in a workload, or ""."""
    if importlib.util.find_spec(peer.needs) is None:
        return f"{peer.needs} is not installed"
    if workload.case and peer.module not in _IN_CASES:
        return "not written for this network"
    return peer.absent(workload)


def _torch_compile(workload: Workload) -> str:
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        return "torch.compile needs a C++ compiler"
    return "its users compile the step, not the loop" if workload.kind == "fit" else ""


def _no_loader(workload: Workload) -> str:
    return "has no loader and no loop of its own" if workload.kind == "fit" else ""


def _multi_layer(workload: Workload) -> str:
    plain = all(layer[0] in _SIMPLE for layer in workload.layers)
    if not plain or workload.kind not in ("train", "fit") or workload.loss == "mse":
        return "MLPClassifier does not do this"
    return ""


def _by_hand(workload: Workload) -> str:
    plain = all(layer[0] in _SIMPLE for layer in workload.layers)
    return "" if plain and workload.kind == "train" else "not written by hand"


_ALL = (
    Peer("chainrule", "chainrule", "own", "chainrule", True, "CHAINRULE_CACHE"),
    Peer("eager", "chainrule eager", "own", "chainrule"),
    Peer("torch", "PyTorch", "pytorch", "torch"),
    Peer(
        *("torch-compile", "torch.compile", "pytorch", "torch", True),
        *("TORCHINDUCTOR_CACHE_DIR", _torch_compile),
    ),
    Peer("jax", "JAX", "xla", "jax", True, "", _no_loader),
    Peer("sklearn", "scikit-learn", "scikit", "sklearn", False, "", _multi_layer),
    Peer("numpy", "NumPy by hand", "byhand", "numpy", False, "", _by_hand),
)
PEERS = {peer.name: peer for peer in _ALL}
REFERENCE = "torch"  # ratios are to its times
