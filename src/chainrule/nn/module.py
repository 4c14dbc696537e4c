"""Modules: parts of a model, which hold parameters, buffers and other modules.

Takes: a subclass with attributes and `forward`. Gives: names for everything it holds, a state
that can be saved, and errors that say in which layer they happened.
The one idea: a module is an object with plain attributes; whatever is asked of it is found by
walking them in the order in which they were assigned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

from chainrule.core.dtype import DTypeLike, as_dtype
from chainrule.core.errors import ArgumentError, ChainruleError, StateError
from chainrule.core.scope import Scope, changes, scopes
from chainrule.graph.conversion import call
from chainrule.graph.explain import located
from chainrule.graph.node import no_grad
from chainrule.graph.tensor import Tensor
from chainrule.graph.traced import clear_gradient
from chainrule.nn.parameter import Parameter
from chainrule.nn.state import Loaded, match_state
from chainrule.nn.walk import (
    Handle,
    check_containers,
    indented,
    target_dtype,
    unknown_path,
)

ForwardPreHook = Callable[[Any, tuple[Any, ...]], Any]
ForwardHook = Callable[[Any, tuple[Any, ...], Any], Any]


class Module:
    """Base class of all layers and models.

    A subclass assigns parameters, buffers and other modules to attributes and defines
    `forward`. Lists of modules are held in `ModuleList` or `ModuleDict`.

    Attributes:
        training: Whether the module behaves as in training (dropout, batch norm) or as in use.

    Example:
        >>> import chainrule
        >>> from chainrule import nn
        >>> class Net(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.hidden = nn.Linear(4, 8)
        ...         self.head = nn.Linear(8, 3)
        ...
        ...     def forward(self, x):
        ...         return self.head(self.hidden(x).relu())
        >>> net = Net()
        >>> net(chainrule.zeros((2, 4))).shape
        (2, 3)
        >>> list(net.state_dict())
        ['hidden.weight', 'hidden.bias', 'head.weight', 'head.bias']
    """

    training: bool
    _buffers: dict[str, bool]  # name of each buffer: whether it is saved
    _pre_hooks: dict[int, ForwardPreHook]
    _hooks: dict[int, ForwardHook]

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        # Set up here rather than in __init__, so that a subclass which forgets to call
        # super().__init__() works all the same.
        module = super().__new__(cls)
        module.training = True
        module._buffers = {}
        module._pre_hooks = {}
        module._hooks = {}
        return module

    def __setattr__(self, name: str, value: object) -> None:
        # The one slip that plain attributes would let pass in silence: w = w - lr * w.grad.
        plain = isinstance(value, Tensor) and not isinstance(value, Parameter)
        if plain and isinstance(vars(self).get(name), Parameter):
            raise ArgumentError(
                f"{type(self).__name__}.{name}: is a parameter; a plain tensor in its place would "
                "be neither trained nor saved",
                hint=f"with chainrule.no_grad(): module.{name}.copy_(x); or "
                f"module.{name} = nn.Parameter(x)",
            )
        changes.number += 1
        object.__setattr__(self, name, value)

    # --- running ------------------------------------------------------------------------

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the result; every subclass defines it.

        Raises:
            StateError: This one does not.
        """
        raise StateError(
            f"{type(self).__name__}: has no forward, so it cannot be called",
            hint="define it in the class: def forward(self, x): ...",
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        stack = scopes()
        stack.append(self)
        try:
            if self._hooks or self._pre_hooks:
                return self._call_with_hooks(args, kwargs)
            return self.forward(*args, **kwargs)
        except ChainruleError as error:
            if not error.context:
                located(error, *args)
            raise
        finally:
            stack.pop()

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for pre_hook in list(self._pre_hooks.values()):
            replaced = pre_hook(self, args)
            if replaced is not None:
                args = replaced if isinstance(replaced, tuple) else (replaced,)
        output = self.forward(*args, **kwargs)
        for hook in list(self._hooks.values()):
            replaced = hook(self, args, output)
            if replaced is not None:
                output = replaced
        return output

    def register_forward_pre_hook(self, hook: ForwardPreHook) -> Handle:
        """Call ``hook(module, args)`` before each `forward`; what it returns replaces args."""
        return Handle(self._pre_hooks, hook)

    def register_forward_hook(self, hook: ForwardHook) -> Handle:
        """Call ``hook(module, args, output)`` after each `forward`; its result replaces output.

        Returns:
            A handle whose ``remove()`` takes the hook off again.
        """
        return Handle(self._hooks, hook)

    def scope_child_name(self, child: Scope) -> str:
        """Return the path from here to a module below, for error messages ("" if not found)."""
        return next((name for name, module in self._walk("", set()) if module is child), "")

    def scope_title(self) -> str:
        """Return a short description for error messages, such as ``Linear 4 -> 3``."""
        return type(self).__name__

    # --- what it holds --------------------------------------------------------------------

    def _child_items(self) -> Iterator[tuple[str, Module]]:
        """Yield the modules held directly; containers add theirs."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value

    def _walk(self, prefix: str, seen: set[int]) -> Iterator[tuple[str, Module]]:
        """Yield this module and all below it, each one once, parents first."""
        if id(self) in seen:
            return
        seen.add(id(self))
        yield prefix, self
        for name, child in self._child_items():
            yield from child._walk(f"{prefix}.{name}" if prefix else name, seen)

    def _check_attributes(self) -> None:
        for path, module in self._walk("", set()):
            lost = (Module, Parameter)
            check_containers(path or type(self).__name__, vars(module), module._held, lost)

    def _held(self) -> set[int]:
        """Return the identities of all modules and parameters that a walk from here finds."""
        found: set[int] = set()
        for _, module in self._walk("", set()):
            found.add(id(module))
            found.update(id(value) for _, value in module._own_tensors())
        return found

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """Yield this module (named "") and every module below it, each one once.

        Raises:
            StateError: Modules are held in a plain list or dictionary, where they are not found.
        """
        self._check_attributes()
        yield from self._walk("", set())

    def modules(self) -> Iterator[Module]:
        """Yield this module and every module below it, each one once."""
        yield from (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the modules held directly, with their names."""
        seen: set[int] = set()
        for name, child in self._child_items():
            if id(child) not in seen:
                seen.add(id(child))
                yield name, child

    def children(self) -> Iterator[Module]:
        """Yield the modules held directly."""
        yield from (child for _, child in self.named_children())

    def _own_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield own parameters, then own buffers."""
        for name, value in vars(self).items():
            if isinstance(value, Parameter):
                yield name, value
        for name in self._buffers:
            value = vars(self).get(name)
            if isinstance(value, Tensor):
                yield name, value

    def _named_tensors(self, prefix: str, recurse: bool) -> Iterator[tuple[str, Module, Tensor]]:
        self._check_attributes()
        seen: set[int] = set()
        for path, module in self._walk(prefix, set()) if recurse else [(prefix, self)]:
            for name, value in module._own_tensors():
                if id(value) not in seen:
                    seen.add(id(value))
                    yield f"{path}.{name}" if path else name, module, value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Yield every parameter with its dotted name; a shared one appears once.

        Args:
            prefix: Put before every name.
            recurse: Whether to go into the modules below.

        Raises:
            StateError: Modules are held in a plain list or dictionary, where they are not found.
        """
        for name, _, value in self._named_tensors(prefix, recurse):
            if isinstance(value, Parameter):
                yield name, value

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Yield every parameter, a shared one once; see `named_parameters`."""
        yield from (parameter for _, parameter in self.named_parameters("", recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Tensor]]:
        """Yield every buffer with its dotted name."""
        for name, _, value in self._named_tensors(prefix, recurse):
            if not isinstance(value, Parameter):
                yield name, value

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Yield every buffer."""
        yield from (buffer for _, buffer in self.named_buffers("", recurse))

    def get_submodule(self, target: str) -> Module:
        """Return the module at a dotted path.

        Raises:
            ArgumentError: There is none; the nearest name is suggested.
        """
        module = self
        for part in target.split(".") if target else []:
            found = dict(module._child_items()).get(part)
            if found is None:
                known = [name for name, _ in self._walk("", set()) if name]
                raise unknown_path(type(self).__name__, "module", target, known)
            module = found
        return module

    def get_parameter(self, target: str) -> Parameter:
        """Return the parameter with a dotted name.

        Raises:
            ArgumentError: There is none; the nearest name is suggested.
        """
        known = dict(self.named_parameters())
        if target not in known:
            raise unknown_path(type(self).__name__, "parameter", target, known)
        return known[target]

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Assign a parameter to the attribute ``name``; the same as a plain assignment."""
        self._check_name(name)
        if param is not None and not isinstance(param, Parameter):
            raise ArgumentError(
                f"register_parameter: {name} is a {type(param).__name__}",
                hint="wrap it: nn.Parameter(x)",
            )
        setattr(self, name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Assign a tensor that belongs to the module but is not trained.

        Args:
            name: The attribute's name.
            tensor: Its value.
            persistent: Whether it is part of `state_dict`.

        Raises:
            ArgumentError: The name is taken or contains a dot, or the value is no tensor.
        """
        self._check_name(name)
        if isinstance(tensor, Parameter) or not (tensor is None or isinstance(tensor, Tensor)):
            raise ArgumentError(
                f"register_buffer: {name} is a {type(tensor).__name__}, expected a tensor",
                hint="chainrule.tensor(x) makes one; parameters are plain attributes",
            )
        setattr(self, name, tensor)
        self._buffers[name] = persistent

    def _check_name(self, name: str) -> None:
        taken = hasattr(self, name) and name not in self._buffers
        if not isinstance(name, str) or not name.isidentifier() or taken:
            reason = "is taken already" if taken else "is no valid attribute name"
            raise ArgumentError(f"{type(self).__name__}: the name {name!r} {reason}")

    # --- changing all of it -----------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Put this module and all below it into training mode, or into use (``mode=False``)."""
        if not isinstance(mode, bool):
            raise ArgumentError(
                f"train: mode is {mode!r}, expected True or False",
                hint="training itself is chainrule.train.Trainer(...).fit(...)",
            )
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Put this module and all below it into the mode for use: the same as `train(False)`."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set whether every parameter is trained: ``requires_grad_(False)`` freezes them."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Remove the gradients of all parameters, or set them to zero."""
        for parameter in self.parameters():
            if set_to_none or parameter.grad is None:
                clear_gradient(parameter)
            else:
                parameter.grad = call("zeros_like", parameter.grad)

    def apply(self, function: Callable[[Module], Any]) -> Self:
        """Call a function with every module, children before parents, and return this one."""
        self._check_attributes()
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def to(self, target: DTypeLike | Tensor, dtype: DTypeLike | None = None) -> Self:
        """Convert floating-point parameters and buffers in place; return the module itself.

        Args:
            target: A dtype, a device name, or a tensor whose dtype is taken.
            dtype: The dtype, if ``target`` is a device.

        Raises:
            DTypeError: The dtype is not a floating-point one.
        """
        wanted = target_dtype(target, dtype)
        if wanted is None:
            return self
        for name, module, value in list(self._named_tensors("", True)):
            if isinstance(value, Parameter):
                if value.dtype.is_floating:
                    value.astype_(wanted)
            elif value.dtype.is_floating:
                setattr(module, name.rpartition(".")[2], value.to(wanted))
        return self

    # --- saving -------------------------------------------------------------------------------

    def cuda(self) -> Self:
        """Move parameters and buffers to a GPU.

        Raises:
            ArgumentError: There is none that tensors can live on.
        """
        return self.to("cuda")

    def _state(self) -> dict[str, Tensor]:
        """Return everything that is saved, by name: the living tensors."""
        self._check_attributes()
        state: dict[str, Tensor] = {}
        self._collect_state("", state)
        return state

    def _collect_state(self, prefix: str, state: dict[str, Tensor]) -> None:
        for name, value in self._own_tensors():
            if self._buffers.get(name, True):
                state[prefix + name] = value
        for name, child in self._child_items():
            child._collect_state(f"{prefix}{name}.", state)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the parameters and persistent buffers by dotted name, with PyTorch's names.

        The tensors are a snapshot: later training does not change them.
        """
        return {name: value.detach() for name, value in self._state().items()}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> Loaded:
        """Take over values from a state dictionary.

        Everything is checked before anything is written.

        Args:
            state_dict: Tensors (or arrays) by name, as `state_dict` gives them.
            strict: Whether the names must be the same on both sides and the dtypes equal; if
                not, what fits is loaded, floating types being converted.

        Returns:
            The names that were missing and those that were not expected (with ``strict`` none).

        Raises:
            StateError: Names, shapes or dtypes differ; every difference is listed.
        """
        own = self._state()
        values, result = match_state(type(self).__name__, own, state_dict, strict=strict)
        with no_grad():
            for name, value in values.items():
                own[name].copy_(value)
        return result

    # --- showing ------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """Return the arguments shown in ``repr``; layers override it."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = [f"({name}): {indented(repr(child))}" for name, child in self._child_items()]
        if not lines:
            return f"{type(self).__name__}({extra})"
        body = "\n  ".join([extra, *lines] if extra else lines)
        return f"{type(self).__name__}(\n  {body}\n)"

    # --- casts, last: their names shadow Python's types in this class -----------------------------

    def float(self) -> Self:
        """Convert floating-point parameters and buffers to float32."""
        return self.to(as_dtype("float32"))

    def double(self) -> Self:
        """Convert floating-point parameters and buffers to float64."""
        return self.to(as_dtype("float64"))

    def half(self) -> Self:
        """Convert floating-point parameters and buffers to float16."""
        return self.to(as_dtype("float16"))

    def bfloat16(self) -> Self:
        """Convert floating-point parameters and buffers to bfloat16."""
        return self.to(as_dtype("bfloat16"))
