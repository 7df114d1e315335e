"""The functions that are called at moments of a problem's life, built and checked."""

from __future__ import annotations

from collections.abc import Callable

from mlograph.components import Imports, build_arguments, check_arguments
from mlograph.errors import Path as SpecPath
from mlograph.gathering import Gathering
from mlograph.language.spec import Callbacks as CallbacksSpec
from mlograph.language.spec import Component
from mlograph.problem import Callbacks, Problem


def bind_callbacks(
    spec: CallbacksSpec, imports: Imports, path: SpecPath, found: Gathering
) -> Callbacks:
    """The callbacks of a problem; faults of each go to `found`."""

    def hook(component: Component | None, name: str) -> Callable[[Problem], None] | None:
        if component is not None:
            with found.piece((*path, name)):
                return _callback(component, imports, (*path, name))
        return None

    return Callbacks(
        hook(spec.on_inner_loop_start, "on_inner_loop_start"),
        hook(spec.on_gradient, "on_gradient"),
        hook(spec.after_update, "after_update"),
    )


def _callback(component: Component, imports: Imports, path: SpecPath) -> Callable[[Problem], None]:
    function = imports.resolve(component.target, path)
    arguments = build_arguments(component.args, imports, path)
    check_arguments(function, {"problem": None, **arguments}, path)

    def call(problem: Problem) -> None:
        function(problem=problem, **arguments)

    return call
