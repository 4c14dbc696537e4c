"""Containers: modules and parameters held in order or by name.

Takes: modules. Gives: one module that holds them, under the names that PyTorch gives.
The one idea: what a plain list holds is found by nobody; these are lists that modules find.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self, SupportsIndex, overload

from chainrule.core.errors import ArgumentError, IndexRangeError
from chainrule.graph.tensor import Tensor
from chainrule.nn.activation import Activation
from chainrule.nn.dropout import DropoutBase
from chainrule.nn.linear import Identity
from chainrule.nn.module import Module
from chainrule.nn.normalization import Norm
from chainrule.nn.parameter import Parameter
from chainrule.nn.pooling import Pool
from chainrule.nn.shape import Flatten, Unflatten
from chainrule.nn.weight import WeightLayer

# Layers between a weight and its activation that leave the scale of signals alone.
_BETWEEN = (DropoutBase, Flatten, Identity, Norm, Pool, Unflatten)


class _Holder(Module):
    """Modules held by name in one dictionary."""

    _items: dict[str, Module]

    def _child_items(self) -> Iterator[tuple[str, Module]]:
        yield from self._items.items()
        yield from super()._child_items()

    def __len__(self) -> int:
        return len(self._items)

    def _checked(self, module: object) -> Module:
        if isinstance(module, Module):
            return module
        name = type(self).__name__
        if isinstance(module, type) and issubclass(module, Module):
            hint = f"make one of the class: {module.__name__}()"
        elif isinstance(module, list | tuple):
            hint = f"unpack it: nn.{name}(*layers)" if name == "Sequential" else ""
        else:
            hint = "functions are called in forward(); nn.ReLU() is relu as a module"
        shown = getattr(module, "__name__", type(module).__name__)
        shown = f"the class {shown}" if isinstance(module, type) else shown
        raise ArgumentError(f"{name}: got {shown}, expected modules", hint=hint)


class _List(_Holder):
    """Modules held in order, named "0", "1", ..."""

    @overload
    def __getitem__(self, index: SupportsIndex) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Module | Self:
        values = list(self._items.values())
        if isinstance(index, slice):
            return self._of(values[index])
        return values[self._position(index)]

    def _of(self, modules: list[Module]) -> Self:
        """Return a container of this kind without touching the modules."""
        made = type(self).__new__(type(self))
        made._items = {str(i): module for i, module in enumerate(modules)}
        made.training = self.training
        return made

    def _position(self, index: SupportsIndex) -> int:
        position = operator.index(index)
        if not -len(self) <= position < len(self):
            name = type(self).__name__
            raise IndexRangeError(f"{name}: index {position}, but there are {len(self)} modules")
        return position % len(self)

    def __setitem__(self, index: SupportsIndex, module: Module) -> None:
        key = list(self._items)[self._position(index)]
        self._items[key] = self._checked(module)
        self._changed()

    def __delitem__(self, index: SupportsIndex) -> None:
        del self._items[list(self._items)[self._position(index)]]
        self._renumber(list(self._items.values()))

    def __iter__(self) -> Iterator[Module]:
        return iter(list(self._items.values()))

    def __contains__(self, module: object) -> bool:
        return any(module is item for item in self._items.values())

    def append(self, module: Module) -> Self:
        """Add a module at the end and return the container."""
        return self.extend([module])

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add several modules at the end and return the container."""
        for module in modules:
            self._items[str(len(self._items))] = self._checked(module)
        self._changed()
        return self

    def insert(self, index: int, module: Module) -> Self:
        """Add a module before a position and return the container."""
        values = list(self._items.values())
        values.insert(index, self._checked(module))
        return self._renumber(values)

    def _renumber(self, modules: list[Module]) -> Self:
        self._items = {str(i): module for i, module in enumerate(modules)}
        self._changed()
        return self

    def _changed(self) -> None:
        """Do what a change of the modules makes necessary."""


class Sequential(_List):
    """Modules called one after the other, each with what the one before it gave.

    Layers with weights that have not been touched since they were made get first weights that
    suit the activation which follows them here; see `WeightLayer`. The last layer, which no
    activation follows, gets those for none.

    Args:
        modules: Modules in order, or one dictionary of modules by name.

    Raises:
        ArgumentError: An argument is not a module.

    Example:
        >>> import chainrule
        >>> from chainrule import nn
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> model(chainrule.zeros((2, 4))).shape
        (2, 3)
        >>> len(model), model[0].out_features
        (3, 8)
    """

    def __init__(self, *modules: Module | Mapping[str, Module]) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            named: dict[str, Any] = dict(modules[0])
        else:
            named = {str(i): module for i, module in enumerate(modules)}
        self._items = {str(name): self._checked(module) for name, module in named.items()}
        self._changed()

    def forward(self, input: Any) -> Any:
        """Return what the last module gives."""
        for module in self._items.values():
            input = module(input)
        return input

    def _changed(self) -> None:
        _prepare(list(_flat(self)))


def _flat(model: Sequential) -> Iterator[Module]:
    """Yield the layers in the order in which they run; nested sequentials are opened."""
    for module in model:
        if isinstance(module, Sequential) and type(module).forward is Sequential.forward:
            yield from _flat(module)
        else:
            yield module


def _prepare(layers: list[Module]) -> None:
    """Let each layer with weights know the activation that follows it."""
    for position, layer in enumerate(layers):
        if not isinstance(layer, WeightLayer):
            continue
        rest = (m for m in layers[position + 1 :] if not isinstance(m, _BETWEEN))
        following = next(rest, None)
        if isinstance(following, Activation):
            layer.prepare_for(following.nonlinearity, following.slope)
        elif following is None or isinstance(following, WeightLayer):
            layer.prepare_for("linear")
        # Before a module that we know nothing of, the layer keeps what it has.


class ModuleList(_List):
    """A list of modules that are found for training and saving; it cannot be called itself.

    Args:
        modules: Modules in order.

    Example:
        >>> from chainrule import nn
        >>> layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])
        >>> [name for name, _ in layers.named_parameters()][:2]
        ['0.weight', '0.bias']
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self._items = {}
        self.extend(modules)

    def __iadd__(self, modules: Iterable[Module]) -> Self:
        return self.extend(modules)


class ModuleDict(_Holder):
    """A dictionary of modules that are found for training and saving.

    Args:
        modules: Modules by name.

    Raises:
        ArgumentError: A name is no text or contains a dot, or a value is not a module.
    """

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        super().__init__()
        self._items = {}
        self.update(modules or {})

    def __getitem__(self, key: str) -> Module:
        return self._items[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self._items[_key("ModuleDict", key)] = self._checked(module)

    def __delitem__(self, key: str) -> None:
        del self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._items))

    def __contains__(self, key: object) -> bool:
        return key in self._items

    def keys(self) -> Iterable[str]:
        """Return the names."""
        return self._items.keys()

    def values(self) -> Iterable[Module]:
        """Return the modules."""
        return self._items.values()

    def items(self) -> Iterable[tuple[str, Module]]:
        """Return names and modules."""
        return self._items.items()

    def update(self, modules: Mapping[str, Module]) -> None:
        """Add modules by name; a name that is there already is replaced."""
        for key, module in modules.items():
            self[key] = module


class ParameterList(Module):
    """A list of parameters that are found for training and saving.

    Args:
        parameters: Parameters (or tensors, which become parameters) in order.
    """

    _items: dict[str, Parameter]

    def __init__(self, parameters: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self._items = {}
        for parameter in parameters:
            self.append(parameter)

    def append(self, parameter: Tensor) -> Self:
        """Add a parameter at the end and return the list."""
        self._items[str(len(self._items))] = _parameter("ParameterList", parameter)
        return self

    def _own_tensors(self) -> Iterator[tuple[str, Tensor]]:
        yield from self._items.items()
        yield from super()._own_tensors()

    def __getitem__(self, index: int) -> Parameter:
        return list(self._items.values())[index]

    def __iter__(self) -> Iterator[Parameter]:
        return iter(list(self._items.values()))

    def __len__(self) -> int:
        return len(self._items)


class ParameterDict(Module):
    """A dictionary of parameters that are found for training and saving.

    Args:
        parameters: Parameters (or tensors, which become parameters) by name.
    """

    _items: dict[str, Parameter]

    def __init__(self, parameters: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        self._items = {}
        for key, parameter in (parameters or {}).items():
            self[key] = parameter

    def _own_tensors(self) -> Iterator[tuple[str, Tensor]]:
        yield from self._items.items()
        yield from super()._own_tensors()

    def __getitem__(self, key: str) -> Parameter:
        return self._items[key]

    def __setitem__(self, key: str, parameter: Tensor) -> None:
        self._items[_key("ParameterDict", key)] = _parameter("ParameterDict", parameter)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._items))

    def __contains__(self, key: object) -> bool:
        return key in self._items

    def __len__(self) -> int:
        return len(self._items)


def _key(title: str, key: object) -> str:
    if not isinstance(key, str) or not key or "." in key:
        raise ArgumentError(f"{title}: the name {key!r} is not a text without dots")
    return key


def _parameter(title: str, value: object) -> Parameter:
    if isinstance(value, Parameter):
        return value
    if isinstance(value, Tensor):
        return Parameter(value.detach())
    raise ArgumentError(f"{title}: got {type(value).__name__}, expected parameters")
