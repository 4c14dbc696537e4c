"""JAX by hand: a jitted step that gives its arguments' memory away.

Takes: a workload, first weights, a batch. Gives: its steps.
The one idea: a network is a function of a dictionary of arrays. Images are channels-last, the
order that XLA's convolutions on the CPU are quicker with (see NOTES.md).
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.counts import Array
from benchmarks.peers import Runner
from benchmarks.workloads import Layers, Workload

Values = dict[str, Any]


def runner(
    workload: Workload, weights: dict[str, Array], data: tuple[Array, Array], compiled: bool
) -> Runner:
    """Return a network that is ready to be trained."""
    return Steps(workload, weights, data)


class Forward:
    """One application of a network: reads parameters and running means, notes new means."""

    def __init__(self, values: Values, means: Values, training: bool, key: Any) -> None:
        self.values, self.means, self.training, self.key = values, means, training, key
        self.new_means: Values = dict(means)

    def sequence(self, layers: Layers, x: Any, prefix: str = "") -> Any:
        """Return the output of layers one after the other."""
        for position, layer in enumerate(layers):
            x = self.one(layer, x, f"{prefix}{position}.")
        return x

    def one(self, layer: Any, x: Any, name: str) -> Any:
        """Return the output of a layer."""
        value = self.values.get
        match layer:
            case ("linear", _, _):
                return x @ value(f"{name}weight").T + value(f"{name}bias")
            case ("conv", _, _, _, stride, padding, bias):
                y = lax.conv_general_dilated(
                    *(x, value(f"{name}weight"), (stride, stride), [(padding, padding)] * 2),
                    dimension_numbers=("NHWC", "HWIO", "NHWC"),
                )
                return y + value(f"{name}bias") if bias else y
            case ("batch_norm1d" | "batch_norm2d", _):
                return self.batch_norm(x, name)
            case ("layer_norm", _):
                mean = x.mean(-1, keepdims=True)
                scaled = (x - mean) * lax.rsqrt(x.var(-1, keepdims=True) + 1e-5)
                return scaled * value(f"{name}weight") + value(f"{name}bias")
            case ("max_pool", size):
                window = (1, size, size, 1)
                return lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")
            case ("mean_pool",):
                return x.mean((1, 2))
            case ("flatten",):  # in the order of channels-first images
                return x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)
            case ("dropout", rate):
                return self.dropout(x, rate)
            case ("residual", main, shortcut):
                branch = self.sequence(main, x, f"{name}main.")
                return jax.nn.relu(branch + self.sequence(shortcut, x, f"{name}shortcut."))
            case ("gelu",):
                return jax.nn.gelu(x, approximate=False)
            case (function,):
                functions = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh}
                return {**functions, "softmax": jax.nn.softmax}[function](x)
        raise AssertionError(layer)

    def dropout(self, x: Any, rate: float) -> Any:
        """Return x with units dropped."""
        if not self.training or not rate:
            return x
        self.key, key = jax.random.split(self.key)
        return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0.0)

    def batch_norm(self, x: Any, name: str) -> Any:
        """Return x normalised; in training also move the running means."""
        axes = tuple(range(x.ndim - 1))
        if self.training:
            mean, variance = x.mean(axes), x.var(axes)
            count = x.size / x.shape[-1]
            for which, new in (("mean", mean), ("var", variance * count / (count - 1))):
                old = self.means[f"{name}{which}"]
                self.new_means[f"{name}{which}"] = old + 0.1 * (new - old)
        else:
            mean, variance = self.means[f"{name}mean"], self.means[f"{name}var"]
        scaled = (x - mean) * lax.rsqrt(variance + 1e-5)
        return scaled * self.values[f"{name}weight"] + self.values[f"{name}bias"]


def loss_of(workload: Workload, y: Any, t: Any) -> Any:
    """Return the loss of outputs and targets."""
    if workload.loss == "cross_entropy":
        chosen = jnp.take_along_axis(y, t[:, None], 1)[:, 0]
        return (jax.nn.logsumexp(y, 1) - chosen).mean()
    if workload.loss == "bce":
        return (jax.nn.softplus(y) - t * y).mean()
    return ((y - t) ** 2).mean() if workload.loss == "mse" else (y * t).sum()


def update(workload: Workload, values: Values, grads: Values, memory: Values) -> Any:
    """Return parameters and the optimizer's memory after a step, in PyTorch's formulas."""
    lr = workload.settings["lr"]
    add = jax.tree.map
    if workload.optimizer == "adam":
        count = memory["count"] + 1
        mean = add(lambda m, g: 0.9 * m + 0.1 * g, memory["mean"], grads)
        square = add(lambda v, g: 0.999 * v + 0.001 * g * g, memory["square"], grads)
        # 1 - 0.999ᵗ itself would lose half of its digits in float32.
        corrections = [-jnp.expm1(count * math.log(beta)) for beta in (0.9, 0.999)]
        rate, root = lr / corrections[0], jnp.sqrt(corrections[1])
        values = add(
            lambda p, m, v: p - rate * m / (jnp.sqrt(v) / root + 1e-8), values, mean, square
        )
        return values, {"mean": mean, "square": square, "count": count}
    decay = workload.settings.get("weight_decay", 0.0)
    if decay:
        grads = add(lambda g, p: g + decay * p, grads, values)
    if "momentum" in workload.settings:
        momentum = workload.settings["momentum"]
        grads = add(lambda m, g: momentum * m + g, memory["mean"], grads)
        memory = {"mean": grads}
    return add(lambda p, g: p - lr * g, values, grads), memory


def first_memory(workload: Workload, values: Values) -> Values:
    """Return what the optimizer remembers before the first step."""

    def zeros() -> Values:
        return jax.tree.map(jnp.zeros_like, values)

    if workload.optimizer == "adam":
        return {"mean": zeros(), "square": zeros(), "count": jnp.zeros(())}
    return {"mean": zeros()} if "momentum" in workload.settings else {}


class Steps:
    """Steps on one batch."""

    def __init__(
        self, workload: Workload, weights: dict[str, Array], data: tuple[Array, Array]
    ) -> None:
        inputs, targets = data
        if inputs.ndim == 4:
            inputs = inputs.transpose(0, 2, 3, 1).copy()
        self.inputs, self.targets = jnp.asarray(inputs), jnp.asarray(targets)
        values = {
            name: jnp.asarray(value.transpose(2, 3, 1, 0) if value.ndim == 4 else value)
            for name, value in weights.items()
        }
        means = _running_means(workload.layers, "")
        memory = first_memory(workload, values)
        self.state: Any = (values, means, memory, jax.random.key(0))
        self.workload = workload
        make = {"train": self._training, "infer": self._inference, "gradient": self._gradients}
        self.function = make[workload.kind]()

    def _training(self) -> Any:
        workload = self.workload

        def loss(values: Values, means: Values, key: Any, x: Any, t: Any) -> Any:
            forward = Forward(values, means, True, key)
            value = loss_of(workload, forward.sequence(workload.layers, x), t)
            return value, (forward.new_means, forward.key)

        def step(state: Any, x: Any, t: Any) -> Any:
            values, means, memory, key = state
            found, grads = jax.value_and_grad(loss, has_aux=True)(values, means, key, x, t)
            value, (means, key) = found
            values, memory = update(workload, values, grads, memory)
            return value, (values, means, memory, key)

        return jax.jit(step, donate_argnums=0)

    def _inference(self) -> Any:
        layers = self.workload.layers

        def step(state: Any, x: Any, t: Any) -> Any:
            return Forward(state[0], state[1], False, None).sequence(layers, x), state

        return jax.jit(step, donate_argnums=0)

    def _gradients(self) -> Any:
        workload = self.workload

        def loss(values: Values, x: Any, t: Any) -> Any:
            return loss_of(
                workload, Forward(values, {}, True, None).sequence(workload.layers, x), t
            )

        def step(state: Any, x: Any, t: Any) -> Any:
            value, grads = jax.value_and_grad(loss, argnums=(0, 1))(state[0], x, t)
            return (value, grads), state

        return jax.jit(step, donate_argnums=0)

    def step(self) -> Any:
        """Do one step."""
        result, self.state = self.function(self.state, self.inputs, self.targets)
        return result

    def loss(self, result: Any) -> float:
        """Return the loss of a step; of outputs or a gradient the norm."""
        jax.block_until_ready((result, self.state))
        if self.workload.kind == "gradient":
            _, (_, result) = result
        return float(jnp.sqrt((result * result).sum()) if result.ndim else result)


def _running_means(layers: Layers, prefix: str) -> Values:
    found: Values = {}
    for position, layer in enumerate(layers):
        name = f"{prefix}{position}."
        match layer:
            case ("batch_norm1d" | "batch_norm2d", size):
                found |= {f"{name}mean": jnp.zeros(size), f"{name}var": jnp.ones(size)}
            case ("residual", main, shortcut):
                found |= _running_means(main, f"{name}main.")
                found |= _running_means(shortcut, f"{name}shortcut.")
    return found
