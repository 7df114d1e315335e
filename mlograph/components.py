"""From an import path to the object it names, and from a component to what it builds.

Only the packages listed here, Python files beside the graph file, and packages that the caller
allows can be imported. What is reached must also be *defined* there, so that a path through
somebody else's import (`torch.os.system`) is refused.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from mlograph.blame import blame
from mlograph.errors import Fault, GraphError, MlographError, did_you_mean
from mlograph.errors import Path as SpecPath
from mlograph.language.spec import Component, Live

# Parts of these packages that only build things. Others load code or files (torch.hub, torch.load),
# or would open this very list (mlograph.components.Imports, mlograph.load).
ALLOWED = (
    "torch.nn",
    "torch.optim",
    "torch.utils.data",
    "torch.distributions",
    "mlograph.callbacks",
    "mlograph.data",
    "mlograph.envs",
    "mlograph.loggers",
    "mlograph.losses",
    "mlograph.nn",
    "mlograph.painters",
    "mlograph.rates",
    "mlograph.validation",
    "learn2learn",
    "torchvision",
)

# Parts of these that write, fetch or unpickle whatever they are told to.
REFUSED = (
    "torch.utils.data.datapipes",
    "torchvision.datasets.utils",
    "torchvision.io",
    "learn2learn.data.utils",
    "mlograph.loggers.file",
)

SHORT_NAMES: Mapping[str, str] = {
    "sgd": "torch.optim.SGD",
    "adam": "torch.optim.Adam",
    "adamw": "torch.optim.AdamW",
    "rmsprop": "torch.optim.RMSprop",
    "adagrad": "torch.optim.Adagrad",
    "nadam": "torch.optim.NAdam",
    "radam": "torch.optim.RAdam",
    "cosine": "torch.optim.lr_scheduler.CosineAnnealingLR",
    "step": "torch.optim.lr_scheduler.StepLR",
    "multistep": "torch.optim.lr_scheduler.MultiStepLR",
    "exponential": "torch.optim.lr_scheduler.ExponentialLR",
    "onecycle": "torch.optim.lr_scheduler.OneCycleLR",
    "plateau": "torch.optim.lr_scheduler.ReduceLROnPlateau",
    "cross_entropy": "mlograph.losses.cross_entropy",
    "mse": "mlograph.losses.mse",
    "proximal": "mlograph.losses.proximal",
    "l2": "mlograph.losses.l2",
    "dataloader": "torch.utils.data.DataLoader",
}


@dataclass(frozen=True)
class Imports:
    """Where objects may come from.

    Attributes:
        folder: of the graph file; a Python file in it can be named by its stem.
        allowed: further packages, named by the caller and never by the graph.
    """

    folder: Path | None = None
    allowed: tuple[str, ...] = ()

    def resolve(self, target: object, path: SpecPath) -> Any:
        """The object that an import path names; any other target is already the object.

        Raises:
            GraphError: the path is not allowed, or there is nothing there.
        """
        if not isinstance(target, str):
            return target
        return self._resolve_name(SHORT_NAMES.get(target, target), path)

    def _resolve_name(self, name: str, path: SpecPath) -> Any:
        parts = name.split(".")
        if not all(part.isidentifier() and not part.startswith("_") for part in parts):
            _refuse(path, f"'{name}' is not an import path")
        if len(parts) == 1:
            _refuse(path, f"'{name}' is not an import path", did_you_mean(name, SHORT_NAMES))
        local = self._is_local(parts[0])
        if not local and not self._may_begin(name):
            _refuse(path, f"'{name}' may not be imported", self._allowance(parts[0]))
        module = self._import_local(parts[0], path) if local else _import(parts[0], name, path)
        found = self._walk(module, parts, path, local=local)
        self._check_origin(found, name, module if local else None, path)
        return found

    def _is_local(self, stem: str) -> bool:
        """Whether `stem` is a file beside the graph; an allowed package comes first."""
        packages = (*ALLOWED, *self.allowed)
        if self.folder is None or any(_lies_in(package, stem) for package in packages):
            return False
        return (self.folder / f"{stem}.py").is_file()

    def _may_begin(self, name: str) -> bool:
        return self._is_allowed(name) or any(
            _lies_in(package, name.split(".", 1)[0]) for package in ALLOWED
        )

    def _is_allowed(self, name: str) -> bool:
        """Whether a module is one of those that the caller opened, or a listed one."""
        listed = any(_lies_in(name, package) for package in ALLOWED)
        refused = any(_lies_in(name, package) for package in REFUSED)
        return (listed and not refused) or any(_lies_in(name, one) for one in self.allowed)

    def _allowance(self, root: str) -> str:
        beside = f"no {root}.py beside the graph file; " if self.folder is not None else ""
        return f"{beside}allow a package with '--allow {root}'"

    def _check_origin(
        self, found: object, name: str, local: ModuleType | None, path: SpecPath
    ) -> None:
        if not (isinstance(found, type) or inspect.isroutine(found)):
            _refuse(path, f"'{name}' is neither a class nor a function")
        origin = _origin(found)
        if not self._is_allowed(origin) and (local is None or origin != local.__name__):
            _refuse(path, f"'{name}' is defined in '{origin}', which may not be imported")

    def _walk(self, module: ModuleType, parts: list[str], path: SpecPath, *, local: bool) -> object:
        found: object = module
        for depth, part in enumerate(parts[1:], start=2):
            here = ".".join(parts[: depth - 1])
            members = vars(found) if isinstance(found, ModuleType | type) else {}
            if part not in members and isinstance(found, ModuleType) and not local:
                self._import_submodule(f"{here}.{part}", path)
                members = vars(found)
            if part not in members:
                near = did_you_mean(part, [name for name in members if not name.startswith("_")])
                _refuse(path, f"'{here}' has no '{part}'", near if "mean" in near else "")
            member = members[part]
            if isinstance(found, type) and isinstance(member, classmethod | staticmethod):
                member = member.__get__(None, found)
            found = member
            if isinstance(found, ModuleType) and not _lies_in(found.__name__, parts[0]):
                stranger = f"the module '{found.__name__}' of another package"
                _refuse(path, f"'{here}.{part}' is {stranger}")
        return found

    def _import_submodule(self, name: str, path: SpecPath) -> None:
        """Import `name` if it is a module that something allowed lies in; else do nothing."""
        leads_on = any(_lies_in(package, name) for package in (*ALLOWED, *self.allowed))
        if not leads_on and not self._is_allowed(name):
            return
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                _refuse(path, f"'{name}' cannot be imported: {error}")
        except Exception as error:
            _refuse(path, f"'{name}' cannot be imported: {type(error).__name__}: {error}")

    def _import_local(self, stem: str, path: SpecPath) -> ModuleType:
        assert self.folder is not None
        file = (self.folder / f"{stem}.py").resolve()
        # A name of its own, so that a local file cannot shadow an installed package.
        name = f"mlograph_graph_{stem}"
        known = sys.modules.get(name)
        if known is not None and known.__file__ == str(file):
            return known
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[name]
            _refuse(path, f"{file.name} cannot be imported: {blame(error)}")
        return module


def build(
    component: Component | Live,
    imports: Imports,
    path: SpecPath,
    given: Mapping[str, object] | None = None,
    *,
    positional: tuple[object, ...] = (),
    shared: Mapping[str, object] | None = None,
) -> Any:
    """Call what a component names with its arguments, nested components built first.

    Args:
        component: what to build; a `Live` is already built.
        imports: where it may come from.
        path: where the component stands in the spec, for faults.
        given: keyword arguments that are passed if the target has such a parameter and the
            component does not set it.
        positional: arguments that come first.
        shared: like `given`, and for the components nested in this one as well.

    Raises:
        GraphError: an import that is not allowed, arguments that do not fit, or a failing call.
    """
    if isinstance(component, Live):
        return component.value
    target = imports.resolve(component.target, path)
    arguments = build_arguments(component.args, imports, path, shared)
    accepted = parameters_of(target)
    for name, value in {**(shared or {}), **(given or {})}.items():
        if name in accepted:
            arguments.setdefault(name, value)
    check_arguments(target, arguments, path, positional=positional)
    try:
        return target(*positional, **arguments)
    except GraphError:
        raise
    except MlographError as error:
        raise GraphError([Fault(path, str(error))]) from error
    except Exception as error:
        texts = _texts_for_numbers(target, component.args, path)
        if texts:
            raise GraphError(texts) from error
        name = component.target if isinstance(component.target, str) else _name(target)
        raise GraphError([Fault(path, f"{name} failed: {blame(error)}")]) from error


def _texts_for_numbers(
    target: Callable[..., object], arguments: Mapping[Any, object], path: SpecPath
) -> list[Fault]:
    """Arguments that are texts where `target` has numbers, as `"0.1"` in quotes is one."""
    faults = []
    for name, parameter in parameters_of(target).items():
        value, usual = arguments.get(name), parameter.default
        counts = isinstance(usual, int | float) and not isinstance(usual, bool)
        if counts and isinstance(value, str):
            hint = "without quotes it is one" if _is_number(value) else ""
            faults.append(Fault((*path, name), f"expected a number, got the text '{value}'", hint))
    return faults


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def build_arguments(
    arguments: Mapping[Any, object],
    imports: Imports,
    path: SpecPath,
    shared: Mapping[str, object] | None = None,
) -> dict[Any, Any]:
    """The arguments of a component, those that are components themselves built.

    Raises:
        GraphError: with the faults of all arguments.
    """
    built: dict[Any, Any] = {}
    faults: list[Fault] = []
    for name, value in arguments.items():
        try:
            built[name] = _built(value, imports, (*path, name), shared)
        except GraphError as error:
            faults.extend(error.faults)
    if faults:
        raise GraphError(faults)
    return built


def parameters_of(target: Callable[..., object]) -> Mapping[str, inspect.Parameter]:
    """The parameters of a callable by name; none where Python cannot tell."""
    try:
        return inspect.signature(target).parameters
    except (TypeError, ValueError):
        return {}


def check_arguments(
    target: Callable[..., object],
    arguments: Mapping[str, object],
    path: SpecPath,
    *,
    positional: tuple[object, ...] = (),
) -> None:
    """Raise a GraphError with every argument that `target` lacks or does not know."""
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):
        return
    parameters = signature.parameters
    faults = []
    if all(p.kind is not inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        for name in arguments:
            if name not in parameters:
                hint = did_you_mean(name, list(parameters)[len(positional) :])
                message = f"{_name(target)} has no argument '{name}'"
                faults.append(Fault((*path, name), message, hint, on_key=True))
    fillable = [p for p in parameters.values() if p.kind not in _VARIADIC][len(positional) :]
    for parameter in fillable:
        if parameter.default is parameter.empty and parameter.name not in arguments:
            faults.append(Fault(path, f"{_name(target)} needs an argument '{parameter.name}'"))
    if faults:
        raise GraphError(faults)


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _built(
    value: object, imports: Imports, path: SpecPath, shared: Mapping[str, object] | None
) -> object:
    if isinstance(value, Component):
        return build(value, imports, path, shared=shared)
    if isinstance(value, Mapping):
        return build_arguments(value, imports, path, shared)
    if isinstance(value, list | tuple):
        built = build_arguments(dict(enumerate(value)), imports, path, shared)
        return list(built.values())
    return value


def _import(root: str, name: str, path: SpecPath) -> ModuleType:
    try:
        return importlib.import_module(root)
    except ModuleNotFoundError as error:
        _refuse(path, f"'{name}': {error}", f"pip install {root}")
    except Exception as error:
        _refuse(path, f"'{root}' cannot be imported: {type(error).__name__}: {error}")


def _origin(found: object) -> str:
    if isinstance(found, type) or inspect.isfunction(found):
        return found.__module__ or ""
    module = inspect.getmodule(found)
    return module.__name__ if module is not None else ""


def _name(target: object) -> str:
    if isinstance(target, type) or inspect.isroutine(target):
        return target.__qualname__
    return str(target)


def _lies_in(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def _refuse(path: SpecPath, message: str, hint: str = "") -> NoReturn:
    raise GraphError([Fault(path, message, hint)])


def kind_of(value: object) -> str:
    """What messages call a built object: its class, or the function by its name."""
    return value.__name__ if inspect.isfunction(value) else type(value).__name__
