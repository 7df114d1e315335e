"""From a checked graph to a program: components are imported, checked and built.

Everything that can be known to be wrong before the first step is found here, and all of it is
reported at once.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from mlograph import hypergradients, hyperparameters, optimizers
from mlograph.batches import (
    EnvFeed,
    Feed,
    IterableFeed,
    NamedFeeds,
    NoFeed,
    SharedEnv,
    checked_batches,
)
from mlograph.compiling import Compiling
from mlograph.components import Imports, build, build_arguments, check_arguments
from mlograph.envs.protocol import Env
from mlograph.errors import Fault, GraphError, MlographError, UsageError, did_you_mean, dotted
from mlograph.errors import Path as SpecPath
from mlograph.graph import ProblemGraph
from mlograph.language.methods import Forward
from mlograph.language.spec import (
    Component,
    Copy,
    DataSpec,
    EnvBatch,
    Live,
    ProblemSpec,
)
from mlograph.model import Model, check_module, shared_faults
from mlograph.plan import Plan
from mlograph.problem import Callbacks, Problem, Term
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
        reason = str(error).splitlines()[0]
        raise GraphError([Fault(path, f"device '{wanted}' cannot be used: {reason}")]) from error
    return device


@dataclass
class _Binder:
    """Gathers faults while it builds, so that one mistake does not hide the next."""

    graph: ProblemGraph
    imports: Imports
    faults: list[Fault] = field(default_factory=list)

    def program(self, plan: Plan) -> Program:
        device = torch.device("cpu")
        with self._gathering(("engine", "device")):
            device = choose_device(self.graph)
        env = self._env()
        models = self._models(device)
        problems: dict[str, Problem] = {}
        for name, spec in self.graph.problems.items():
            problem = self._problem(name, spec, models, env, device)
            if problem is not None:
                problems[name] = problem
        self._check_loops(plan)
        self._check_directions(plan, models)
        if self.faults:
            raise GraphError(self.faults)
        return Program(
            plan=plan,
            problems=problems,
            methods={
                name: hypergradients.METHODS[spec.hypergradient.method](spec.hypergradient)
                for name, spec in self.graph.problems.items()
            },
            below={name: self.graph.below(name) for name in self.graph.problems},
            env=env,
            on_nonfinite=self.graph.spec.engine.on_nonfinite,
            seed=self.graph.spec.engine.seed,
            imports=self.imports,
            compiling=Compiling.of(self.graph.spec.engine.execution.compile, problems, plan),
        )

    @contextmanager
    def _gathering(self, path: SpecPath) -> Iterator[None]:
        try:
            yield
        except GraphError as error:
            self.faults.extend(fault for fault in error.faults if fault not in self.faults)
        except MlographError as error:
            self.faults.append(Fault(path, str(error)))

    def _env(self) -> SharedEnv | None:
        spec = self.graph.spec.env
        if spec is None:
            return None
        with self._gathering(("env",)):
            given = {"seed": self.graph.spec.engine.seed}
            env = build(spec.source, self.imports, ("env",), given)
            if not isinstance(env, Env):
                raise UsageError(f"expected an Env (mlograph.envs.Env), got a {_kind(env)}")
            return SharedEnv(env)
        return None

    def _models(self, device: torch.device) -> dict[str, Model]:
        modules: dict[str, Any] = {}
        for name in self.graph.problems:
            with self._gathering(("problems", name, "module")):
                modules[name] = self._module(name)
        # Only now: freezing and moving change a module, and copies are of what was given.
        models: dict[str, Model] = {}
        for name, module in modules.items():
            spec, path = self.graph.problems[name], ("problems", name)
            with self._gathering((*path, "module")):
                if not isinstance(module, nn.Module):
                    raise UsageError(f"expected a torch.nn.Module, got a {_kind(module)}")
                dtype = torch.float64 if spec.precision == "float64" else None
                check_module(module, (*path, "module"))
                models[name] = Model(module.to(device, dtype), spec.freeze, path)
        self.faults.extend(shared_faults(models))
        return models

    def _module(self, name: str) -> Any:
        spec, path = self.graph.problems[name].module, ("problems", name, "module")
        copied = False
        while isinstance(spec, Copy):
            path = ("problems", spec.copy_of, "module")
            spec, copied = self.graph.problems[spec.copy_of].module, True
        module = build(spec, self.imports, path)
        return copy.deepcopy(module) if copied and isinstance(spec, Live) else module

    def _problem(
        self,
        name: str,
        spec: ProblemSpec,
        models: Mapping[str, Model],
        env: SharedEnv | None,
        device: torch.device,
    ) -> Problem | None:
        path = ("problems", name)
        options = self._hyperparameters(name, spec, path)
        terms = self._terms(name, spec, options, path)
        feed: Feed = NoFeed()
        with self._gathering((*path, "data")):
            feed = self._feed(name, spec.data, env)
        callbacks = self._callbacks(spec, path)
        model = models.get(name)
        if model is None:
            return None
        self._check_start(name, spec, models)
        optimizer = rate = None
        with self._gathering((*path, "optimizer")):
            optimizer = bind_optimizer(spec.optimizer, model, self.imports, (*path, "optimizer"))
            self._check_unroll(name, spec, optimizer)
            self.faults.extend(hyperparameters.faults(name, spec, optimizer))
            with self._gathering((*path, "scheduler")):
                scheduler = (*path, "scheduler")
                rate = bind_learning_rate(spec.scheduler, optimizer, self.imports, scheduler)
        if optimizer is None or rate is None:
            return None
        reads = self.graph.reads(name)
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
            with self._gathering(place):
                terms.append(self._term(component, place))
        if len(terms) == len(spec.loss) and options.keys() == spec.hyperparameters.given.keys():
            self.faults.extend(read_faults(self.graph, name, terms, (*path, "loss"), options))
        return tuple(terms)

    def _term(self, component: Component, path: SpecPath) -> Term:
        function = self.imports.resolve(component.target, path)
        arguments = build_arguments(component.args, self.imports, path)
        return bind_term(function, arguments, tuple(self.graph.problems), path)

    def _hyperparameters(self, name: str, spec: ProblemSpec, path: SpecPath) -> dict[str, Term]:
        terms: dict[str, Term] = {}
        for option, component in spec.hyperparameters.given.items():
            place = (*path, "hyperparameters", option)
            with self._gathering(place):
                terms[option] = self._term(component, place)
                self.faults.extend(option_faults(self.graph, name, option, terms[option], place))
        return terms

    def _feed(self, name: str, data: DataSpec | None, env: SharedEnv | None) -> Feed:
        path: SpecPath = ("problems", name, "data")
        if data is None:
            return NoFeed()
        if isinstance(data, dict):
            return NamedFeeds(
                {key: self._one_feed(one, env, (*path, key)) for key, one in data.items()}
            )
        return self._one_feed(data, env, path)

    def _one_feed(
        self,
        source: Component | Live | EnvBatch,
        env: SharedEnv | None,
        path: SpecPath,
    ) -> Feed:
        if not isinstance(source, EnvBatch):
            with self._gathering(path):
                data = checked_batches(build(source, self.imports, path))
                return IterableFeed(data, dotted(path))
            return NoFeed()
        if env is None:
            return NoFeed()  # The Env itself is at fault; that has been noted.
        if source.name not in env.env.batches:
            hint = did_you_mean(source.name, env.env.batches)
            raise GraphError([Fault(path, f"the Env has no batch '{source.name}'", hint)])
        return EnvFeed(env, source.name)

    def _callbacks(self, spec: ProblemSpec, path: SpecPath) -> Callbacks:
        path, hooks = (*path, "callbacks"), spec.callbacks
        return Callbacks(
            self._callback(hooks.on_inner_loop_start, (*path, "on_inner_loop_start")),
            self._callback(hooks.on_gradient, (*path, "on_gradient")),
            self._callback(hooks.after_update, (*path, "after_update")),
        )

    def _callback(
        self, component: Component | None, path: SpecPath
    ) -> Callable[[Problem], None] | None:
        if component is None:
            return None
        with self._gathering(path):
            function = self.imports.resolve(component.target, path)
            arguments = build_arguments(component.args, self.imports, path)
            check_arguments(function, {"problem": None, **arguments}, path)

            def call(problem: Problem) -> None:
                function(problem=problem, **arguments)

            return call
        return None

    def _check_start(self, name: str, spec: ProblemSpec, models: Mapping[str, Model]) -> None:
        start = spec.start_from
        if start is None or name not in models or start not in models:
            return
        if not models[start].same_architecture(models[name]):
            self.faults.append(
                Fault(
                    ("problems", name, "start_from"),
                    f"'{name}' cannot start from '{start}': their parameters differ in names "
                    "or shapes",
                    f"write 'module: {{copy: {start}}}'",
                )
            )

    def _check_unroll(self, name: str, spec: ProblemSpec, optimizer: Optimizer) -> None:
        path = ("problems", name)
        method = spec.hypergradient
        if not self.graph.uppers(name):
            return
        if method.through_optimizer and not optimizers.is_differentiable(optimizer):
            message = f"torch cannot differentiate a step of {_kind(optimizer)}"
            hint = f"'{method.method}' needs an optimiser with 'differentiable', as Adam has it"
            self.faults.append(Fault((*path, "optimizer"), message, hint))
        if method.records == "nothing":
            return
        if spec.precision == "fp16":
            message = f"'{method.method}' cannot go through an fp16 inner loop again"
            self.faults.append(Fault((*path, "precision"), message, "use bf16"))
        for hook in ("on_gradient", "after_update"):
            if hook in spec.callbacks.model_fields_set:
                message = f"'{hook}' changes what '{method.method}' could not go through again"
                self.faults.append(Fault((*path, "callbacks", hook), message))

    def _check_loops(self, plan: Plan) -> None:
        """What is recorded is an inner loop; a problem with nothing above it has none."""
        pulled = {visit.problem for sweep in plan.sweeps.values() for visit in sweep.visits}
        for name, spec in self.graph.problems.items():
            method = spec.hypergradient
            recorded = method.records != "nothing" and name in pulled
            if recorded and not self.graph.uppers(name):
                kind, path = method.method, ("problems", name, "hypergradient")
                message = f"'{kind}' needs an inner loop to record, and nothing lies above '{name}'"
                self.faults.append(Fault(path, message, "use cg or another implicit method"))

    def _check_directions(self, plan: Plan, models: Mapping[str, Model]) -> None:
        """Forward mode carries a derivative for each parameter of all that it sends to."""
        goals: dict[str, set[str]] = {}
        for visit in (visit for sweep in plan.sweeps.values() for visit in sweep.visits):
            if isinstance(self.graph.problems[visit.problem].hypergradient, Forward):
                goals.setdefault(visit.problem, set()).update(models.keys() & visit.sends_to)
        for name, targets in goals.items():
            count = sum(x.numel() for goal in targets for x in models[goal].params.values())
            if count > Forward.LARGEST:
                message = f"'forward' would carry {count:,} derivatives through every step of "
                message += f"'{name}', one for each parameter of {', '.join(sorted(targets))}; "
                message += f"at most {Forward.LARGEST:,}"
                hint = "use 'unroll', with 'checkpoint: steps' where memory is short"
                self.faults.append(Fault(("problems", name, "hypergradient"), message, hint))


def _kind(value: object) -> str:
    return value.__name__ if inspect.isfunction(value) else type(value).__name__
