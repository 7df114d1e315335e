"""From a checked graph to a program: components are imported, checked and built.

Everything that can be known to be wrong before the first step is found here, and all of it is
reported at once.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, final

import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler

from mlograph import demands, hypergradients, hyperparameters
from mlograph.batches import Feed, NoFeed, SharedEnv
from mlograph.compiling import Compiling
from mlograph.components import Imports, build, build_arguments, kind_of
from mlograph.errors import Fault, GraphError, UsageError
from mlograph.errors import Path as SpecPath
from mlograph.feeds import bind_env, bind_feed
from mlograph.gathering import Gathering
from mlograph.graph import ProblemGraph
from mlograph.hooks import bind_callbacks
from mlograph.language.spec import Component, Copy, Live, ProblemSpec
from mlograph.model import Model, check_module, shared_faults
from mlograph.plan import Plan
from mlograph.problem import Problem, Term
from mlograph.program import Program
from mlograph.steppers import bind_learning_rate, bind_optimizer
from mlograph.terms import bind_term, option_faults, read_faults


def bind(graph: ProblemGraph, plan: Plan, imports: Imports) -> Program:
    """Build everything that a graph names.

    Raises:
        GraphError: with everything that was found wrong.
    """
    return _Binder(graph, imports).program(plan)


def choose_device(graph: ProblemGraph) -> torch.device:
    """The device that `engine.device` asks for; `auto` takes the accelerator if there is one.

    Raises:
        GraphError: there is no such device.
    """
    wanted = graph.spec.engine.device
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    path = ("engine", "device")
    try:
        device = torch.device(wanted)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        # What torch says goes on for many lines: every backend that it was not built with.
        reason = str(error).partition("\n")[0].partition(". ")[0]
        hint = f"known here: {', '.join(_devices())}"
        message = f"device '{wanted}' cannot be used: {reason}"
        raise GraphError([Fault(path, message, hint)]) from error
    return device


def _devices() -> list[str]:
    """What `engine.device` can be on this machine."""
    cuda = (f"cuda:{index}" for index in range(torch.cuda.device_count()))
    return ["auto", "cpu", *cuda, *(["mps"] if torch.backends.mps.is_available() else [])]


@final
class _Binder:
    """Builds one thing after another, and gathers what is wrong with each."""

    def __init__(self, graph: ProblemGraph, imports: Imports) -> None:
        self._graph = graph
        self._imports = imports
        self._found = Gathering()

    def program(self, plan: Plan) -> Program:
        graph, faults, piece = self._graph, self._found.faults, self._found.piece
        engine, env = graph.spec.engine, None
        device = torch.device("cpu")
        with piece(("engine", "device")):
            device = choose_device(graph)
        if graph.spec.env is not None:
            with piece(("env",)):
                env = bind_env(graph.spec.env, self._imports, engine.seed)
        models = self._models(device)
        problems: dict[str, Problem] = {}
        for name, spec in graph.problems.items():
            problem = self._problem(name, spec, models, env, device)
            if problem is not None:
                problems[name] = problem
        faults.extend(demands.loop_faults(graph, plan))
        faults.extend(demands.direction_faults(graph, plan, models))
        if faults:
            raise GraphError(faults)
        return Program(
            plan=plan,
            problems=problems,
            methods={
                name: hypergradients.METHODS[spec.hypergradient.method](spec.hypergradient)
                for name, spec in graph.problems.items()
            },
            below=graph.below,
            env=env,
            on_nonfinite=engine.on_nonfinite,
            seed=engine.seed,
            imports=self._imports,
            compiling=Compiling.of(engine.execution.compile, problems, plan),
        )

    def _models(self, device: torch.device) -> dict[str, Model]:
        modules: dict[str, Any] = {}
        for name in self._graph.problems:
            with self._found.piece(("problems", name, "module")):
                modules[name] = self._module(name)
        # Only now: freezing and moving change a module, and copies are of what was given.
        models: dict[str, Model] = {}
        for name, module in modules.items():
            spec, path = self._graph.problems[name], ("problems", name)
            with self._found.piece((*path, "module")):
                if not isinstance(module, nn.Module):
                    raise UsageError(f"expected a torch.nn.Module, got a {kind_of(module)}")
                dtype = torch.float64 if spec.precision == "float64" else None
                check_module(module, (*path, "module"))
                models[name] = Model(module.to(device, dtype), spec.freeze, path)
        self._found.faults.extend(shared_faults(models))
        return models

    def _module(self, name: str) -> Any:
        spec, path = self._graph.problems[name].module, ("problems", name, "module")
        copied = False
        while isinstance(spec, Copy):
            path = ("problems", spec.copy_of, "module")
            spec, copied = self._graph.problems[spec.copy_of].module, True
        module = build(spec, self._imports, path)
        return copy.deepcopy(module) if copied and isinstance(spec, Live) else module

    def _problem(
        self,
        name: str,
        spec: ProblemSpec,
        models: Mapping[str, Model],
        env: SharedEnv | None,
        device: torch.device,
    ) -> Problem | None:
        path, imports, found = ("problems", name), self._imports, self._found
        options = self._hyperparameters(name, spec, path)
        terms = self._terms(name, spec, options, path)
        feed: Feed = NoFeed()
        with found.piece((*path, "data")):
            feed = bind_feed(spec.data, env, imports, (*path, "data"), found)
        callbacks = bind_callbacks(spec.callbacks, imports, (*path, "callbacks"), found)
        model = models.get(name)
        if model is None:
            return None
        found.faults.extend(demands.start_faults(self._graph, name, models))
        optimizer = rate = None
        with found.piece((*path, "optimizer")):
            optimizer = bind_optimizer(spec.optimizer, model, imports, (*path, "optimizer"))
            found.faults.extend(demands.unroll_faults(self._graph, name, optimizer))
            found.faults.extend(hyperparameters.faults(name, spec, optimizer))
            with found.piece((*path, "scheduler")):
                scheduler = (*path, "scheduler")
                rate = bind_learning_rate(spec.scheduler, optimizer, imports, scheduler)
        if optimizer is None or rate is None:
            return None
        reads = self._graph.reads[name]
        return Problem(
            name=name,
            spec=spec,
            model=model,
            others={other: models[other] for other in models if other in reads},
            optimizer=optimizer,
            learning_rate=rate,
            terms=terms,
            feed=feed,
            device=device,
            callbacks=callbacks,
            scaler=GradScaler(device.type) if spec.precision == "fp16" else None,
            hyperparameters=options,
        )

    def _terms(
        self, name: str, spec: ProblemSpec, options: Mapping[str, Term], path: SpecPath
    ) -> tuple[Term, ...]:
        terms = []
        for index, component in enumerate(spec.loss):
            place = (*path, "loss", index) if len(spec.loss) > 1 else (*path, "loss")
            with self._found.piece(place):
                terms.append(self._term(component, place))
        if len(terms) == len(spec.loss) and options.keys() == spec.hyperparameters.given.keys():
            faults = read_faults(self._graph, name, terms, (*path, "loss"), options)
            self._found.faults.extend(faults)
        return tuple(terms)

    def _hyperparameters(self, name: str, spec: ProblemSpec, path: SpecPath) -> dict[str, Term]:
        terms: dict[str, Term] = {}
        for option, component in spec.hyperparameters.given.items():
            place = (*path, "hyperparameters", option)
            with self._found.piece(place):
                terms[option] = self._term(component, place)
                faults = option_faults(self._graph, name, option, terms[option], place)
                self._found.faults.extend(faults)
        return terms

    def _term(self, component: Component, path: SpecPath) -> Term:
        function = self._imports.resolve(component.target, path)
        arguments = build_arguments(component.args, self._imports, path)
        return bind_term(function, arguments, tuple(self._graph.problems), path)
