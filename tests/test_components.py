"""Import paths: what may be named, what is refused, and how arguments are checked."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from builders import complaints
from torch import nn

from mlograph.components import REFUSED, SHORT_NAMES, Imports, build
from mlograph.language.spec import Component, Live
from mlograph.validation import Evaluate

HERE = ("problems", "a", "module")


def made(target: str, imports: Imports | None = None, **args: object) -> object:
    """What the component `target` with `args` builds."""
    return build(Component.of(target, **args), imports or Imports(), HERE)


def beside(folder: Path, **files: str) -> Imports:
    """Imports for a graph in `folder`, beside Python files of these names and texts."""
    for stem, text in files.items():
        (folder / f"{stem}.py").write_text(text)
    return Imports(folder)


ATTACKS = (
    # What everybody tries first.
    "os.system",
    "posix.system",
    "subprocess.run",
    "subprocess.Popen",
    "builtins.eval",
    "builtins.exec",
    "builtins.open",
    "importlib.import_module",
    "pickle.loads",
    "runpy.run_path",
    "sys.exit",
    "functools.partial",
    "logging.os.system",
    "pathlib.Path",
    "shutil.rmtree",
    # Through what an allowed package imports or holds.
    "torch.os.system",
    "torch.sys.exit",
    "torch.hub.load",
    "torch.hub.os.system",
    "torch.load",
    "torch.save",
    "torch.serialization.load",
    "torch.compile",
    "torch.utils.cpp_extension.load",
    "torch.utils.cpp_extension.load_inline",
    "torch.utils.cpp_extension.subprocess.run",
    "torch.utils.collect_env.run",
    "torch.jit.load",
    "torch.package.PackageImporter",
    "torch.multiprocessing.spawn",
    "torch.distributed.run.main",
    "torch.ops.load_library",
    "torch.classes.load_library",
    "torch._C._cuda_init",
    "torch._utils._import_dotted_name",
    "torch.nn.modules.module.torch.load",
    "torch.nn.modules.module.functools.partial",
    "torch.nn.modules.module.warnings.warn",
    "torch.nn.functional.importlib.import_module",
    "torch.optim.lr_scheduler.types.FunctionType",
    "torch.optim.optimizer.functools.partial",
    "torch.utils.data.dataloader.os.system",
    "torch.utils.data.dataloader.multiprocessing.Process",
    "torch.utils.data.datapipes.utils.decoder.basichandlers",
    "torch.distributions.torch.load",
    # Through this package, which can open the list of what is allowed.
    "mlograph.components.importlib.import_module",
    "mlograph.components.Imports",
    "mlograph.components.Imports.resolve",
    "mlograph.components.build",
    "mlograph.components.sys.exit",
    "mlograph.load",
    "mlograph.Graph",
    "mlograph.api.Graph.run",
    "mlograph.api.os.remove",
    "mlograph.run.run",
    "mlograph.run.os.replace",
    "mlograph.rundir.create",
    "mlograph.scaffold.scaffold",
    "mlograph.data.omniglot_archive.zipfile.ZipFile",
    "mlograph.losses.torch.load",
    "mlograph.validation.copy.deepcopy",
    "mlograph.validation.Trial",
    "learn2learn.data.os.system",
    "learn2learn.data.utils.download_file",
    "learn2learn.vision.os.system",
    "torchvision.os.system",
    "torchvision.datasets.utils.download_url",
    "torchvision.io.write_file",
    # Dunder walks.
    "torch.nn.Module.__class__",
    "torch.nn.Module.__init__.__globals__",
    "torch.nn.Linear.__init__",
    "torch.nn.__builtins__.eval",
    "torch.nn.__loader__.load_module",
    "torch.__spec__.loader",
    "__main__.main",
    "__builtins__.eval",
    # Names that look like allowed ones.
    "torchx.nn.Linear",
    "torch_.nn.Linear",
    "mlographs.nn.MLP",
    "tоrch.nn.Linear",  # the second letter is Cyrillic
    "ｔｏｒｃｈ.nn.Linear",
    "torch.nn.Ｌinear",
    "torch\u200b.nn.Linear",
    "Torch.nn.Linear",
    # No import paths at all.
    "",
    "torch",
    "torch.",
    ".torch.nn.Linear",
    "torch..nn.Linear",
    "torch.nn.",
    "...",
    "torch.nn.Linear()",
    "torch.nn.Linear.",
    "torch.nn:Linear",
    "torch/nn/Linear",
    "../evil.run",
    "..evil.run",
    "/tmp/evil.run",
    "torch.nn.Linear\n",
    "torch.nn. Linear",
    "torch.nn.0",
    "torch.nn",
    "torch.nn.modules",
    "torch.nn.Module.dump_patches",
)


@pytest.mark.parametrize("path", ATTACKS)
def test_everything_that_is_not_listed_is_refused(path: str, tmp_path: Path):
    loaded = set(sys.modules)
    faults = complaints(lambda: Imports(tmp_path).resolve(path, HERE))
    assert [fault.startswith("problems.a.module: ") for fault in faults] == [True]
    suspects = {"subprocess", "torch.utils.cpp_extension", "torch.distributed.run", "runpy"}
    assert not (set(sys.modules) - loaded) & suspects


@pytest.mark.parametrize("path", ATTACKS)
def test_what_is_refused_is_not_called_either(path: str, monkeypatch: pytest.MonkeyPatch):
    called: list[object] = []
    for name in ("os.system", "subprocess.Popen", "torch.load", "torch.hub.load"):
        monkeypatch.setattr(name, called.append)
    if path:
        complaints(lambda: made(path, x=1))
    assert called == []


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("os.system", "'os.system' may not be imported (allow a package with '--allow os')"),
        ("torch.os.system", "'torch.os' is the module 'os' of another package"),
        ("torch.load", "'torch.load' is defined in 'torch.serialization', which may not be"),
        ("torch.optim.Adm", "'torch.optim' has no 'Adm' (did you mean 'Adam'?)"),
        ("torch.nn.modules", "'torch.nn.modules' is neither a class nor a function"),
        ("torch.nn.Linear.__init__", "'torch.nn.Linear.__init__' is not an import path"),
        ("adamm", "'adamm' is not an import path (did you mean 'adam'?)"),
    ],
)
def test_a_refusal_says_why(path: str, message: str):
    (fault,) = complaints(lambda: Imports().resolve(path, HERE))
    assert fault.startswith(f"problems.a.module: {message}")


@pytest.mark.parametrize(
    "path",
    [
        "torch.nn.Linear",
        "torch.nn.modules.linear.Linear",
        "torch.optim.AdamW",
        "torch.optim.lr_scheduler.StepLR",
        "torch.utils.data.DataLoader",
        "torch.utils.data.TensorDataset",
        "torch.distributions.Normal",
        "torch.nn.Embedding.from_pretrained",
        "mlograph.nn.MLP",
        "mlograph.losses.mse",
        "mlograph.envs.SineEnv",
        "mlograph.data.glyphs",
        "mlograph.validation.Adaptation",
    ],
)
def test_what_builds_things_may_be_named(path: str):
    assert callable(Imports().resolve(path, HERE))


@pytest.mark.parametrize("short", SHORT_NAMES)
def test_every_short_name_stands_for_something(short: str):
    assert callable(Imports().resolve(short, HERE))


def test_an_alternative_constructor_can_be_named():
    table = made("torch.nn.Embedding.from_pretrained", embeddings=torch.ones(2, 3))
    assert isinstance(table, nn.Embedding)


# --- Packages that the caller allows


def test_allowing_a_package_opens_exactly_that_package():
    imports = Imports(allowed=("fractions",))
    assert str(made("fractions.Fraction", imports, numerator=3)) == "3"
    for path in ("os.system", "fractionss.Fraction", "decimal.Decimal"):
        assert complaints(lambda path=path: imports.resolve(path, HERE))


def test_an_allowed_package_does_not_open_what_it_imports():
    imports = Imports(allowed=("fractions",))
    (fault,) = complaints(lambda: imports.resolve("fractions.Decimal", HERE))
    assert "'fractions.Decimal' is defined in 'decimal', which may not be imported" in fault


def test_a_part_of_a_package_can_be_allowed_alone():
    imports = Imports(allowed=("xml.dom",))
    assert callable(imports.resolve("xml.dom.minidom.Document", HERE))
    assert complaints(lambda: imports.resolve("xml.sax.parse", HERE))


def test_functions_written_in_c_can_be_allowed():
    assert Imports(allowed=("math",)).resolve("math.sqrt", HERE)(4.0) == 2.0


@pytest.mark.parametrize("package", REFUSED)
def test_a_caller_may_allow_what_is_refused_by_default(package: str):
    imports = Imports(allowed=(package,))
    (fault,) = complaints(lambda: imports.resolve(f"{package}.nothing_here", HERE))
    assert "may not be imported" not in fault


def test_a_package_that_is_not_installed_is_a_fault():
    imports = Imports(allowed=("no_such_package",))
    (fault,) = complaints(lambda: imports.resolve("no_such_package.Thing", HERE))
    assert "No module named 'no_such_package' (pip install no_such_package)" in fault


# --- Python files beside the graph file


def test_a_file_beside_the_graph_can_be_named(tmp_path: Path):
    imports = beside(tmp_path, models="class Net:\n    def __init__(self, n): self.n = n\n")
    assert made("models.Net", imports, n=7).n == 7


def test_a_file_is_run_once(tmp_path: Path):
    imports = beside(tmp_path, counted="calls = []\ndef f(): ...\nclass C: ...\n")
    assert imports.resolve("counted.f", HERE).__module__ == "mlograph_graph_counted"
    first = imports.resolve("counted.C", HERE)
    assert imports.resolve("counted.C", HERE) is first


def test_files_of_two_graphs_with_one_name_are_not_mixed_up(tmp_path: Path):
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
        (folder / "shared_name.py").write_text(f"def f(): return '{folder.name}'\n")
    for folder in (*folders, *folders):
        assert Imports(folder).resolve("shared_name.f", HERE)() == folder.name


def test_a_file_may_use_allowed_packages_and_hand_them_on(tmp_path: Path):
    imports = beside(tmp_path, handing="from torch.optim import SGD\n")
    assert imports.resolve("handing.SGD", HERE) is torch.optim.SGD


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("from os import system\n", "leak.system"),
        ("import os\n", "leak.os.system"),
        ("from subprocess import run\n", "leak.run"),
        ("from shutil import rmtree as clean\n", "leak.clean"),
        ("from functools import partial\n", "leak.partial"),
    ],
)
def test_a_file_does_not_open_what_it_imports(text: str, path: str, tmp_path: Path):
    imports = beside(tmp_path, leak=text)
    (fault,) = complaints(lambda: imports.resolve(path, HERE))
    assert "which may not be imported" in fault or "of another package" in fault


def test_a_file_named_like_an_allowed_package_does_not_stand_in_for_it(tmp_path: Path):
    imports = beside(tmp_path, torch="raise RuntimeError\n", mlograph="raise RuntimeError\n")
    assert imports.resolve("torch.nn.Linear", HERE) is nn.Linear
    assert callable(imports.resolve("mlograph.losses.mse", HERE))


def test_a_file_does_not_stand_in_for_a_package_that_the_caller_allows(tmp_path: Path):
    beside(tmp_path, fractions="def Fraction(): return 'local'\n")
    found = Imports(tmp_path, ("fractions",)).resolve("fractions.Fraction", HERE)
    assert found.__module__ == "fractions"


def test_a_file_named_like_an_installed_package_leaves_the_package_alone(tmp_path: Path):
    imports = beside(tmp_path, json="def dumps(): return 'local'\n")
    assert imports.resolve("json.dumps", HERE)() == "local"
    import json

    assert json.dumps([1]) == "[1]"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import nothing_of_the_kind\n", "ModuleNotFoundError: No module named"),
        ("def f(:\n", "SyntaxError: "),
        ("1 / 0\n", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
    ],
)
def test_a_file_that_cannot_be_imported_is_a_fault(text: str, reason: str, tmp_path: Path):
    imports = beside(tmp_path, broken=text)
    for _ in range(2):
        (fault,) = complaints(lambda: imports.resolve("broken.f", HERE))
        assert fault.startswith(f"problems.a.module: broken.py cannot be imported: {reason}")


def test_a_misspelt_name_in_a_file_gets_the_nearest_one(tmp_path: Path):
    imports = beside(tmp_path, own="def inner_loss(): ...\n")
    (fault,) = complaints(lambda: imports.resolve("own.iner_loss", HERE))
    assert fault.endswith("'own' has no 'iner_loss' (did you mean 'inner_loss'?)")


def test_a_missing_file_is_told_from_a_missing_permission(tmp_path: Path):
    (fault,) = complaints(lambda: Imports(tmp_path).resolve("lossess.f", HERE))
    assert "no lossess.py beside the graph file; allow a package" in fault


# --- Arguments


@pytest.mark.parametrize(
    ("build_it", "faults"),
    [
        (
            lambda: made("torch.nn.Linear", in_featurs=2, out_features=1),
            [
                "problems.a.module.in_featurs: Linear has no argument 'in_featurs' "
                "(did you mean 'in_features'?)",
                "problems.a.module: Linear needs an argument 'in_features'",
            ],
        ),
        (
            lambda: made("torch.nn.Linear"),
            [
                "problems.a.module: Linear needs an argument 'in_features'",
                "problems.a.module: Linear needs an argument 'out_features'",
            ],
        ),
        (
            lambda: made("torch.nn.Linear", in_features=-1, out_features=1),
            ["problems.a.module: torch.nn.Linear failed: RuntimeError: "],
        ),
        (
            lambda: made("mlograph.nn.MLP", sizes=[3]),
            ["problems.a.module: sizes: expected two"],
        ),
    ],
)
def test_arguments_that_do_not_fit_are_faults(build_it: Callable[[], object], faults: list[str]):
    found = complaints(build_it)
    assert len(found) == len(faults)
    for got, start in zip(found, faults, strict=True):
        assert got.startswith(start)


def test_nested_components_are_built_first():
    data = {
        "_target_": "torch.utils.data.DataLoader",
        "dataset": {"_target_": "mlograph.data.sparse_logistic", "split": "train"},
        "batch_size": 4,
    }
    validator = made("mlograph.validation.Evaluate", problem="a", data=data)
    assert isinstance(validator, Evaluate)


def test_faults_in_nested_components_are_all_told_with_their_places():
    component = {
        "modules": [
            {"_target_": "torch.nn.Linear", "in_features": 1},
            {"_target_": "torch.nn.ReLUU"},
            {"deep": {"_target_": "os.system", "command": "true"}},
        ]
    }
    found = complaints(lambda: made("torch.nn.ModuleList", **component))
    assert [fault.split(": ")[0] for fault in found] == [
        "problems.a.module.modules[0]",
        "problems.a.module.modules[1]",
        "problems.a.module.modules[2].deep",
    ]


def test_a_live_object_is_used_as_it_is():
    module = nn.Identity()
    assert build(Live(value=module), Imports(), HERE) is module


def test_given_arguments_go_where_they_are_wanted_and_not_set():
    def env(seed: int) -> int:
        return seed

    assert build(Component.of(env), Imports(), HERE, {"seed": 3}) == 3
    assert build(Component.of(env, seed=4), Imports(), HERE, {"seed": 3}) == 4
    assert build(Component.of(dict), Imports(), HERE, {"seed": 3}) == {}


@pytest.mark.parametrize(("text", "hint"), [("0.1", " (without quotes it is one)"), ("fast", "")])
def test_a_text_where_a_number_belongs_is_told_at_its_place(text: str, hint: str):
    (told,) = complaints(lambda: made("torch.nn.Dropout", p=text))
    assert told == f"problems.a.module.p: expected a number, got the text '{text}'{hint}"


def test_what_fails_in_a_file_of_the_user_is_told_with_its_line(tmp_path: Path):
    imports = beside(tmp_path, mine="def batches(n):\n    n + 1\n    return open('no.csv')\n")
    (told,) = complaints(lambda: made("mine.batches", imports, n=1))
    assert told.startswith("problems.a.module: mine.batches failed: FileNotFoundError: ")
    assert told.endswith("'no.csv' (mine.py:3)")
