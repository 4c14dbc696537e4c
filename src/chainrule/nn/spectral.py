"""Weights that are computed before each call: spectral and weight normalisation.

Takes: a module with a weight. Gives: the same module, its weight made anew from other parameters
each time it is called.
The one idea: dividing a weight by its norm leaves its direction to be learned, and bounds how much
a layer can magnify (spectral), or separates length from direction (weight).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, TypeVar

from chainrule.core.errors import ArgumentError, StateError
from chainrule.graph.conversion import call
from chainrule.graph.node import no_grad
from chainrule.graph.tensor import Tensor
from chainrule.graph.traced import is_traced
from chainrule.nn import arguments
from chainrule.nn.convolution import ConvTranspose
from chainrule.nn.module import Module
from chainrule.nn.parameter import Parameter
from chainrule.ops.normalization_groups import normalize

M = TypeVar("M", bound=Module)


class Reparametrized(ABC):
    """A weight that is computed: a hook before each call of its module.

    Args:
        name: Of the weight.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def weight(self, module: Module) -> Tensor:
        """Return the weight from what the module holds in its place."""

    def __call__(self, module: Module, args: tuple[Any, ...]) -> None:
        """Set the weight, before the module's `forward`."""
        # Past __setattr__: the attribute is a result, not a change of the module.
        vars(module)[self.name] = self.weight(module)

    def after(self, module: Module, args: tuple[Any, ...], output: Any) -> None:
        """Take away a weight that has no elements outside of the compiled function."""
        value = vars(module).get(self.name)
        if isinstance(value, Tensor) and is_traced(value):
            del vars(module)[self.name]


class SpectralNorm(Reparametrized):
    """W / σ(W): the hook of `spectral_norm`."""

    def __init__(self, name: str, n_power_iterations: int, eps: float, dim: int) -> None:
        super().__init__(name)
        self.n_power_iterations = n_power_iterations
        self.eps = eps
        self.dim = dim

    def matrix(self, weight: Tensor) -> Tensor:
        """Return a weight as a matrix with one row for each output."""
        axis = self.dim % weight.ndim
        if axis:
            weight = weight.permute(axis, *(a for a in range(weight.ndim) if a != axis))
        return weight.reshape(weight.shape[0], -1)

    def weight(self, module: Module) -> Tensor:
        """Return W / σ; in training the singular vectors come one iteration closer first."""
        held = vars(module)
        weight, u, v = (held[self.name + end] for end in ("_orig", "_u", "_v"))
        matrix = self.matrix(weight)
        if module.training:
            with no_grad():
                fixed = matrix.detach()
                for _ in range(self.n_power_iterations):
                    v.copy_(normalize(fixed.mT @ u, dim=0, eps=self.eps))
                    u.copy_(normalize(fixed @ v, dim=0, eps=self.eps))
        # As they are now: the next call changes them, this call's derivative must not see it.
        left, right = u.detach().clone(), v.detach().clone()
        sigma = (left * (matrix @ right)).sum()
        result: Tensor = weight / sigma
        return result


class WeightNorm(Reparametrized):
    """g v / ||v||: the hook of `weight_norm`."""

    def __init__(self, name: str, dim: int | None) -> None:
        super().__init__(name)
        self.dim = dim

    def length(self, weight: Tensor) -> Tensor:
        """Return the norm over all axes but one, which broadcasts to the weight."""
        if self.dim is None:
            return call("vector_norm", weight)
        axis = self.dim % weight.ndim
        others = tuple(a for a in range(weight.ndim) if a != axis)
        return call("vector_norm", weight, axis=others, keepdims=True) if others else weight.abs()

    def weight(self, module: Module) -> Tensor:
        """Return g v / ||v||."""
        g, v = (vars(module)[self.name + end] for end in ("_g", "_v"))
        result: Tensor = v * (g / self.length(v))
        return result


def spectral_norm(
    module: M,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> M:
    """Divide a module's weight by its largest singular value each time it is called.

    The layer then magnifies no difference of inputs: it is 1-Lipschitz. In discriminators of
    generative adversarial networks this steadies the training of both. The singular value comes
    from the power method, whose vectors are kept from call to call; in use (`Module.eval`) they
    stay as they are.

    Args:
        module: The module; its parameter ``weight`` becomes ``weight_orig``, with the buffers
            ``weight_u`` and ``weight_v`` beside it.
        name: Of the weight.
        n_power_iterations: Iterations at each call in training.
        eps: Smallest norm that is divided by.
        dim: The axis of outputs (default: 0; 1 for transposed convolutions).

    Returns:
        The module.

    Raises:
        ArgumentError: It has no such parameter, or a number is out of range.
        StateError: The weight is computed already.

    Example:
        >>> from chainrule import nn
        >>> layer = nn.utils.spectral_norm(nn.Linear(20, 40))
        >>> list(layer.state_dict())
        ['bias', 'weight_orig', 'weight_u', 'weight_v']

    Source: Miyato et al. 2018, "Spectral normalization for generative adversarial networks".
    """
    weight = _own_weight("spectral_norm", module, name)
    if dim is None:
        dim = 1 if isinstance(module, ConvTranspose) else 0
    if weight.ndim < 1 or not -weight.ndim <= dim < weight.ndim:
        raise ArgumentError(f"spectral_norm: dim={dim} is no axis of {name} {weight.spec}")
    iterations = arguments.integer("spectral_norm", "n_power_iterations", n_power_iterations)
    eps = arguments.number("spectral_norm", "eps", eps, low=0.0)
    hook = SpectralNorm(name, iterations, eps, dim)
    rows, columns = hook.matrix(weight.detach()).shape
    del vars(module)[name]
    module.register_parameter(name + "_orig", weight)
    with no_grad():
        for end, count in (("_u", rows), ("_v", columns)):
            start = normalize(call("randn", count), dim=0, eps=eps).to(weight.dtype)
            module.register_buffer(name + end, start)
    _hold(module, hook)
    return module


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """Learn a module's weight as length and direction: w = g v / ||v||.

    The length of a step no longer depends on the length of the weight; a light relative of batch
    normalisation that does not look at the batch.

    Args:
        module: The module; its parameter ``weight`` becomes ``weight_g`` and ``weight_v``.
        name: Of the weight.
        dim: The axis whose entries have a length each (0: outputs); None: one length for all.

    Returns:
        The module.

    Raises:
        ArgumentError: It has no such parameter or axis.
        StateError: The weight is computed already.

    Example:
        >>> from chainrule import nn
        >>> nn.utils.weight_norm(nn.Linear(20, 40)).weight_g.shape
        (40, 1)

    Source: Salimans & Kingma 2016, "Weight normalization".
    """
    weight = _own_weight("weight_norm", module, name)
    if dim is not None and not -weight.ndim <= dim < weight.ndim:
        raise ArgumentError(f"weight_norm: dim={dim} is no axis of {name} {weight.spec}")
    hook = WeightNorm(name, dim)
    del vars(module)[name]
    with no_grad():
        module.register_parameter(name + "_g", Parameter(hook.length(weight.detach())))
    module.register_parameter(name + "_v", weight)
    _hold(module, hook)
    return module


def remove_spectral_norm(module: M, name: str = "weight") -> M:
    """Make the weight a plain parameter again, with its present value divided by σ.

    Raises:
        StateError: The module has no spectral normalisation of that name.
    """
    _release(module, name, SpectralNorm, ("_orig", "_u", "_v"))
    return module


def remove_weight_norm(module: M, name: str = "weight") -> M:
    """Make the weight a plain parameter again, with its present value.

    Raises:
        StateError: The module has no weight normalisation of that name.
    """
    _release(module, name, WeightNorm, ("_g", "_v"))
    return module


def _own_weight(function: str, module: Module, name: str) -> Parameter:
    for hook in module._pre_hooks.values():
        if isinstance(hook, Reparametrized) and hook.name == name:
            raise StateError(
                f"{function}: {name} of {type(module).__name__} is computed by "
                f"{type(hook).__name__} already"
            )
    weight = vars(module).get(name)
    if not isinstance(weight, Parameter):
        own = [key for key, value in vars(module).items() if isinstance(value, Parameter)]
        raise ArgumentError(
            f"{function}: {type(module).__name__} has no parameter {name!r}",
            hint=f"its own parameters: {', '.join(own) or 'none'}",
        )
    return weight


def _hold(module: Module, hook: Reparametrized) -> None:
    """Compute the weight now, so that it can be looked at, and before each call."""
    training, module.training = module.training, False
    with no_grad():
        hook(module, ())
    module.training = training
    module.register_forward_pre_hook(hook)
    module.register_forward_hook(hook.after)


def _release(module: Module, name: str, kind: type[Reparametrized], ends: tuple[str, ...]) -> None:
    found = [
        (key, hook)
        for key, hook in module._pre_hooks.items()
        if isinstance(hook, kind) and hook.name == name
    ]
    if not found:
        raise StateError(f"{type(module).__name__}: {name} has no {kind.__name__} to be removed")
    key, hook = found[0]
    training, module.training = module.training, False
    with no_grad():
        value = hook.weight(module).detach()
    module.training = training
    del module._pre_hooks[key]
    for other, after in list(module._hooks.items()):
        if getattr(after, "__self__", None) is hook:
            del module._hooks[other]
    vars(module).pop(name, None)
    for end in ends:
        module._buffers.pop(name + end, None)
        del vars(module)[name + end]
    module.register_parameter(name, Parameter(value))
