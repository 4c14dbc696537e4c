"""Boltzmann machine: binary units that pull each other up or down, visible and hidden.

Takes: visible vectors. Gives: samples, energies, and the learning rule of two phases.
The one idea: units that are switched one after the other, each with the probability that its
neighbours suggest, visit states with probability exp(-E) / Z; and the gradient of the likelihood
is the difference of two averages, with the data clamped and without.

Ackley, Hinton & Sejnowski, "A learning algorithm for Boltzmann machines" (1985).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.core.dtype import DTypeLike, as_dtype
from chainrule.core.errors import ArgumentError, DTypeError, ShapeError
from chainrule.graph.conversion import call
from chainrule.graph.node import no_grad
from chainrule.graph.tensor import Tensor, tensor
from chainrule.models.states import binary_states, log_sum_exp
from chainrule.nn import arguments, init
from chainrule.nn.module import Module
from chainrule.nn.parameter import Parameter
from chainrule.ops.contraction import matmul
from chainrule.ops.creation import zeros
from chainrule.ops.generator import Generator
from chainrule.ops.loops import scan
from chainrule.ops.random import rand
from chainrule.ops.transcendental import sigmoid

Blocks = list[list[int]]


class BoltzmannMachine(Module):
    """A Boltzmann machine: p(s) = exp(-E(s)) / Z with E(s) = -½ sᵀJ s - bᵀs, s in {0, 1}ⁿ.

    J is symmetric with a zero diagonal. The first ``n_visible`` units are seen, the others hidden.
    It learns what no machine of pairs of visible units alone can, but sampling it is slow: the
    restricted form (`RBM`) is the one for real data.

    Args:
        n_visible: Number of visible units.
        n_hidden: Number of hidden units.
        connections: [n, n], 1 (or True) where two units are connected (default: all are). Units
            without a connection are switched together: on a grid half of them at a time (by the
            parity of the square), in a restricted machine a whole side.
        init_std: Deviation of the first couplings.
        dtype: Type of the parameters (default float32).

    Attributes:
        weight: [n, n]; what is above the diagonal counts: J = upper triangle + its transpose.
        bias: b, [n].
        connections: What was given, or all; saved with the state.
        blocks: Units that are switched together, in the order of a sweep.

    Raises:
        ArgumentError: A size is no integer in range, or ``connections`` is not symmetric.
        ShapeError: It is not [n, n].

    Example:
        >>> import chainrule
        >>> from chainrule.models import BoltzmannMachine
        >>> machine = BoltzmannMachine(3, 1)
        >>> machine.probabilities().tolist()
        [0.125, 0.125, 0.125, 0.125, 0.125, 0.125, 0.125, 0.125]
        >>> machine.sweep(chainrule.zeros((5, 4))).shape
        (5, 4)
    """

    connections: Tensor

    def __init__(
        self,
        n_visible: int,
        n_hidden: int = 0,
        *,
        connections: Any = None,
        init_std: float = 0.0,
        dtype: DTypeLike | None = None,
    ) -> None:
        super().__init__()
        name = "BoltzmannMachine"
        self.n_visible = arguments.integer(name, "n_visible", n_visible)
        self.n_hidden = arguments.integer(name, "n_hidden", n_hidden, least=0)
        self.init_std = arguments.number(name, "init_std", init_std, low=0.0, high=1e6)
        wanted = as_dtype(dtype or "float32")
        if not wanted.is_floating:
            raise DTypeError(f"{name}: dtype is {wanted.name}, expected a floating type")
        connected = self._connected(connections)
        self.blocks = independent_blocks(connected)
        self.register_buffer("connections", tensor(connected.astype(np.float64), dtype=wanted))
        n = self.n_units
        self.weight = Parameter(zeros((n, n), dtype=wanted))
        self.bias = Parameter(zeros((n,), dtype=wanted))
        self.reset_parameters()

    def _connected(self, connections: Any) -> NDArray[np.bool_]:
        n = self.n_units
        if connections is None:
            return ~np.eye(n, dtype=bool)
        values = connections.numpy() if isinstance(connections, Tensor) else connections
        result = np.asarray(values).astype(bool)
        if result.shape != (n, n):
            raise ShapeError(
                f"BoltzmannMachine: connections have shape {result.shape}, expected ({n}, {n})",
                hint="visible units first, then hidden ones",
            )
        if (result != result.T).any() or result.diagonal().any():
            raise ArgumentError(
                "BoltzmannMachine: connections are not symmetric with a zero diagonal",
                hint="connections | connections.T, without the diagonal",
            )
        return result

    def reset_parameters(self) -> None:
        """Draw the couplings anew from N(0, init_std²) and set the biases to 0."""
        with no_grad():
            init.normal_(self.weight, std=self.init_std)
            self.weight.copy_(call("triu", self.weight * self.connections, 1))
            self.bias.fill_(0.0)

    @property
    def n_units(self) -> int:
        """Number of all units."""
        return self.n_visible + self.n_hidden

    @property
    def couplings(self) -> Tensor:
        """J [n, n]: symmetric, zero on the diagonal and where there is no connection."""
        upper = call("triu", self.weight * self.connections, 1)
        return upper + upper.mT

    # --- energies --------------------------------------------------------------------------

    def energy(self, s: Tensor) -> Tensor:
        """Return E(s) = -½ sᵀJ s - bᵀs [N] of states [N, n]."""
        self._check(s, self.n_units)
        upper = call("triu", self.weight * self.connections, 1)
        joint: Tensor = (matmul(s, upper) * s).sum(-1)
        return -joint - matmul(s, self.bias)

    def forward(self, s: Tensor) -> Tensor:
        """Return the energies [N] of states [N, n]."""
        return self.energy(s)

    def log_partition(self) -> Tensor:
        """Return log Z, by a sum over all states.

        Raises:
            ArgumentError: There are more than 20 units.
        """
        name, dtype = "BoltzmannMachine.log_partition", self.weight.dtype
        return log_sum_exp(name, self.n_units, dtype, lambda s: -self.energy(s))

    def free_energy(self, v: Tensor) -> Tensor:
        """Return F(v) = -log Σₕ exp(-E(v, h)) [N] of visible states [N, V], by a sum over h.

        Raises:
            ArgumentError: There are more than 20 hidden units.
        """
        self._check(v, self.n_visible)

        def exponents(h: Tensor) -> Tensor:
            shape = (*v.shape[:-1], len(h))
            visible = call("broadcast_to", v.unsqueeze(-2), (*shape, self.n_visible))
            hidden = call("broadcast_to", h, (*shape, self.n_hidden))
            return -self.energy(call("concat", [visible, hidden], axis=-1))

        name = "BoltzmannMachine.free_energy"
        blocks = [
            call("logsumexp", exponents(h), -1)
            for h in binary_states(name, self.n_hidden, self.weight.dtype)
        ]
        return -call("logsumexp", call("stack", blocks), 0)

    def log_likelihood(self, v: Tensor) -> Tensor:
        """Return log p(v) [N] exactly; for small machines."""
        return -self.free_energy(v) - self.log_partition()

    def probabilities(self) -> Tensor:
        """Return p(v) of all visible states [2^V]; bit i of a state's number is unit i."""
        name = "BoltzmannMachine.probabilities"
        states = binary_states(name, self.n_visible, self.weight.dtype)
        logs = [-self.free_energy(v) for v in states]
        return call("softmax", call("concat", logs), 0)

    # --- sampling ----------------------------------------------------------------------------

    def sweep(
        self,
        s: Tensor,
        sweeps: int = 1,
        *,
        clamped: bool = False,
        temperature: float = 1.0,
        generator: Generator | None = None,
    ) -> Tensor:
        """Return states after every unit was switched ``sweeps`` times (Gibbs sampling).

        A unit turns on with probability sigmoid((J s + b)ᵢ / T), given all others as they are.

        Args:
            s: [N, n].
            sweeps: How often each unit is visited.
            clamped: Whether the visible units stay as they are.
            temperature: T; begin high and let it fall for simulated annealing.
            generator: Source of random numbers (default: the one that `manual_seed` seeds).
        """
        self._check(s, self.n_units)
        arguments.integer("BoltzmannMachine.sweep", "sweeps", sweeps, least=0)
        if not arguments.number("BoltzmannMachine.sweep", "temperature", temperature) > 0:
            raise ArgumentError(
                f"BoltzmannMachine.sweep: temperature is {temperature}, expected more than 0"
            )
        free = range(self.n_visible if clamped else 0, self.n_units)
        blocks = [[unit for unit in block if unit in free] for block in self.blocks]
        blocks = [block for block in blocks if block]
        with no_grad():
            couplings, bias = self.couplings / temperature, self.bias / temperature
            shape = s.shape
            s = s.reshape((-1, self.n_units))
            for _ in range(sweeps if blocks else 0):
                chances = rand(s.shape, dtype=s.dtype, generator=generator)
                if all(len(block) == 1 for block in blocks):
                    s = self._one_by_one(s, couplings, bias, chances, [b[0] for b in blocks])
                else:
                    s = self._by_blocks(s, couplings, bias, chances, blocks)
            return s.reshape(shape)

    def _one_by_one(
        self, s: Tensor, couplings: Tensor, bias: Tensor, chances: Tensor, units: list[int]
    ) -> Tensor:
        index = tensor(np.array(units))
        here = tensor(np.arange(self.n_units) == np.array(units)[:, None])

        def switch(s: Tensor, unit: tuple[Tensor, ...]) -> tuple[Tensor, None]:
            row, its_bias, chance, at = unit  # [n], [], [N], [n]
            on = chance < sigmoid((s * row).sum(-1) + its_bias)
            return call("where", at, on.to(s.dtype).unsqueeze(-1), s), None

        xs = (
            call("index_select", couplings, 0, index),
            call("index_select", bias, 0, index),
            call("index_select", chances.mT, 0, index),
            here,
        )
        result, _ = scan(switch, s, xs)
        final: Tensor = result
        return final

    def _by_blocks(
        self, s: Tensor, couplings: Tensor, bias: Tensor, chances: Tensor, blocks: Blocks
    ) -> Tensor:
        masks = np.zeros((len(blocks), self.n_units), bool)
        for mask, block in zip(masks, blocks, strict=True):
            mask[block] = True

        def switch(s: Tensor, here: Tensor) -> tuple[Tensor, None]:
            on = chances < sigmoid(matmul(s, couplings) + bias)
            return call("where", here, on.to(s.dtype), s), None

        result, _ = scan(switch, s, tensor(masks))
        final: Tensor = result
        return final

    def random_states(self, count: int, *, generator: Generator | None = None) -> Tensor:
        """Return states [count, n] of independent fair coins."""
        count = arguments.integer("BoltzmannMachine", "count", count)
        dtype = self.weight.dtype
        chances = rand((count, self.n_units), dtype=dtype, generator=generator)
        return (chances < 0.5).to(dtype)

    # --- inside --------------------------------------------------------------------------------

    def _check(self, s: Tensor, width: int) -> None:
        if s.ndim < 1 or s.shape[-1] != width or not s.dtype.is_floating:
            raise ShapeError(
                f"BoltzmannMachine: states are {s.spec}, expected floating-point [..., {width}]",
                hint=f"{self.n_visible} visible and {self.n_hidden} hidden units",
            )

    def scope_title(self) -> str:
        """Return ``BoltzmannMachine 4 + 2``."""
        return f"BoltzmannMachine {self.n_visible} + {self.n_hidden}"

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"n_visible={self.n_visible}, n_hidden={self.n_hidden}, blocks={len(self.blocks)}"


def independent_blocks(connected: NDArray[np.bool_]) -> Blocks:
    """Return blocks of units of which no two are connected, every unit in the first that it fits.

    Example:
        >>> ring = np.roll(np.eye(4, dtype=bool), 1, 0)
        >>> independent_blocks(ring | ring.T)
        [[0, 2], [1, 3]]
    """
    blocks: Blocks = []
    for unit, neighbours in enumerate(connected):
        fitting = (block for block in blocks if not neighbours[block].any())
        home = next(fitting, None)
        if home is None:
            blocks.append([unit])
        else:
            home.append(unit)
    return blocks


class BoltzmannLearning(Module):
    """The training objective of a Boltzmann machine: E(v, h) - E(s'), of two phases.

    Its gradient for Jᵢⱼ is ⟨sᵢ sⱼ⟩ of the free-running machine (negative phase: persistent chains)
    less ⟨sᵢ sⱼ⟩ with the data clamped (positive phase: hidden units sampled). Train it with
    `fit_energy_model`; in use (``eval()``) it gives the energies of the clamped states.

    Args:
        machine: The model.
        chains: Number of free-running chains.
        sweeps: How often each unit is switched in either phase.
        weight_decay: λ of the penalty λ/2 Σ Jᵢⱼ² over pairs.
        generator: Source of random numbers (default: the one that `manual_seed` seeds).

    Attributes:
        chains: States of the free-running chains, [chains, n], saved with the state.

    Raises:
        ArgumentError: A number is out of range.
    """

    chains: Tensor

    def __init__(
        self,
        machine: BoltzmannMachine,
        *,
        chains: int = 100,
        sweeps: int = 3,
        weight_decay: float = 0.0,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        name = "BoltzmannLearning"
        if not isinstance(machine, BoltzmannMachine):
            raise ArgumentError(
                f"{name}: machine is a {type(machine).__name__}, expected a BoltzmannMachine"
            )
        self.machine = machine
        self.sweeps = arguments.integer(name, "sweeps", sweeps)
        self.weight_decay = arguments.number(name, "weight_decay", weight_decay, low=0.0)
        self.generator = generator
        count = arguments.integer(name, "chains", chains)
        self.register_buffer("chains", machine.random_states(count, generator=generator))

    def forward(self, v: Tensor) -> Tensor:
        """Return E(v, h) - mean E(s') [N] for visible states [N, V]."""
        machine, generator = self.machine, self.generator
        with no_grad():
            clamped = self._clamped(v)
            if not self.training:
                return machine.energy(clamped)
            free = machine.sweep(self.chains, self.sweeps, generator=generator)
            self.chains.copy_(free)
        result = machine.energy(clamped) - machine.energy(free).mean()
        if self.weight_decay:
            upper = call("triu", machine.weight, 1)
            result = result + self.weight_decay / 2 * upper.square().sum()
        return result

    def _clamped(self, v: Tensor) -> Tensor:
        """Return states [N, n] with hidden units sampled given the visible ones."""
        machine = self.machine
        machine._check(v, machine.n_visible)
        if not machine.n_hidden:
            return v
        coins = rand((len(v), machine.n_hidden), dtype=v.dtype, generator=self.generator)
        s = call("concat", [v, (coins < 0.5).to(v.dtype)], axis=-1)
        return machine.sweep(s, self.sweeps, clamped=True, generator=self.generator)
