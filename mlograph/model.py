"""A problem's module and its parameters, and the views of it that losses get."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mlograph.errors import Fault, GraphError, did_you_mean
from mlograph.errors import Path as SpecPath
from mlograph.trees import Vector


def check_module(module: nn.Module, path: SpecPath) -> None:
    """See whether the gradients of a module are ordinary vectors.

    Raises:
        GraphError: its parameters are complex, or an embedding of it has sparse gradients.
    """
    faults = [
        Fault(path, f"the parameter '{name}' is complex", "hold two real ones: torch.view_as_real")
        for name, param in module.named_parameters()
        if param.is_complex()
    ]
    for name, part in module.named_modules():
        if isinstance(part, nn.Embedding | nn.EmbeddingBag) and part.sparse:
            which = f"the embedding '{name}'" if name else "the embedding"
            faults.append(Fault(path, f"{which} has sparse gradients", "leave out 'sparse'"))
    if faults:
        raise GraphError(faults)


@dataclass(frozen=True)
class ModelView:
    """A module with given parameters and buffers; implements `views.View`.

    Attributes:
        module: the architecture.
        tensors: all its parameters by name, frozen ones included.
        state: its buffers by name; calls may change them in place.
        own: the parameters and buffers are the module's own, so that it can be called directly.
    """

    module: nn.Module
    tensors: Mapping[str, Tensor]
    state: Mapping[str, Tensor]
    own: bool

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What `forward` gives with this view's tensors."""
        if self.own:
            return self.module(*args, **kwargs)
        return functional_call(self.module, {**self.tensors, **self.state}, args, kwargs)

    def parameters(self) -> tuple[Tensor, ...]:
        """All parameters, in the module's order."""
        return tuple(self.tensors.values())

    def named_parameters(self) -> Mapping[str, Tensor]:
        """All parameters by name."""
        return self.tensors

    def buffers(self) -> Mapping[str, Tensor]:
        """The buffers by name."""
        return self.state


@final
class Model:
    """A module and which of its parameters are optimised.

    Attributes:
        module: the module, on its device and in its precision.
        params: the trainable parameters by name: the module's own leaf tensors.
        buffers: the buffers by name, the module's own as well.
    """

    def __init__(self, module: nn.Module, frozen: Iterable[str] = (), path: SpecPath = ()) -> None:
        self.module = module
        self._all: Vector = dict(module.named_parameters())
        self.buffers: Vector = dict(module.named_buffers())
        faults = []
        for index, pattern in enumerate(frozen):
            matched = [name for name in self._all if fnmatchcase(name, pattern)]
            if not matched:
                place = (*path, "freeze", index)
                hint = did_you_mean(pattern, self._all)
                faults.append(Fault(place, f"'{pattern}' fits no parameter", hint))
            for name in matched:
                self._all[name].requires_grad_(False)
        self.params: Vector = {n: p for n, p in self._all.items() if p.requires_grad}
        if not self.params:
            faults.append(Fault((*path, "module"), "there is no parameter to optimise"))
        if faults:
            raise GraphError(faults)

    def tensors(self) -> Vector:
        """All parameters and buffers by name, those that a checkpoint of torch's omits included."""
        return {**self._all, **self.buffers}

    def live(self) -> ModelView:
        """The module as it is: calls update its buffers (BatchNorm's running statistics)."""
        return ModelView(self.module, self._all, self.buffers, own=True)

    def still(self) -> ModelView:
        """The module as it is, with copies of its buffers: calls leave no trace."""
        if not self.buffers:
            return self.live()
        return ModelView(self.module, self._all, self._copied_buffers(), own=False)

    def at(
        self, params: Mapping[str, Tensor], buffers: Mapping[str, Tensor] | None = None
    ) -> ModelView:
        """The module with other trainable parameters.

        Calls change `buffers`; by default these are copies of its own.
        """
        state = self._copied_buffers() if buffers is None else buffers
        return ModelView(self.module, {**self._all, **params}, state, own=False)

    def copy_from(self, other: Model) -> None:
        """Take over all parameters and buffers of a model of the same architecture."""
        with torch.no_grad():
            theirs = other.tensors()
            ours = self.tensors()
            torch._foreach_copy_([*ours.values()], [theirs[name] for name in ours])

    def same_architecture(self, other: Model) -> bool:
        """Whether names and shapes of all parameters and buffers agree."""
        return self._shapes() == other._shapes()

    def _shapes(self) -> dict[str, torch.Size]:
        return {name: x.shape for name, x in self.tensors().items()}

    def _copied_buffers(self) -> Vector:
        return {name: buffer.clone() for name, buffer in self.buffers.items()}


def shared_faults(models: Mapping[str, Model]) -> Iterator[Fault]:
    """Parameters that two problems hold and one of them trains: neither could stand still then."""
    holders: dict[int, str] = {}
    trained = {id(x) for model in models.values() for x in model.params.values()}
    for name, model in models.items():
        for key, param in model.module.named_parameters():
            other = holders.setdefault(id(param), name)
            if other != name and id(param) in trained:
                path = ("problems", name, "module")
                message = f"the parameter '{key}' is that of '{other}' as well"
                yield Fault(path, message, f"for a module of its own: {{copy: {other}}}")
