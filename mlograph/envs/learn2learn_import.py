"""Imports learn2learn 0.2.0 beside a current torch.

learn2learn imports torchvision and gym, and each needs a word:

- torchvision asks at import for operators that its compiled part declares. Where that part was
  built for another torch (PyPI's torchvision beside a CPU build of torch), it is not loaded and the
  import fails. Declaring the two operators is enough; calling one still fails, as it should.
- gym prints to stderr that it is no longer maintained.
"""

from __future__ import annotations

import contextlib
import importlib
import io
from types import ModuleType

import torch

_UNDECLARED_BY_TORCHVISION = ("torchvision::nms", "torchvision::qnms")
_NMS_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


class Learn2learnMissingError(ImportError):
    """learn2learn, or something that it imports, is not installed; `name` says which."""


def import_learn2learn() -> ModuleType:
    """The package `learn2learn`.

    Raises:
        Learn2learnMissingError: it or one of its dependencies is absent. `install_command` helps.
    """
    try:
        _import_torchvision()
        _import_gym()
        return importlib.import_module("learn2learn")
    except ModuleNotFoundError as error:
        raise Learn2learnMissingError(str(error), name=error.name) from error


def install_command() -> str:
    """A shell command that installs learn2learn.

    It names the installed torch: for torchvision's sake pip would otherwise fetch the newest one.
    """
    torch_version = torch.__version__.partition("+")[0]
    return (
        f'pip install "torch=={torch_version}" "mlograph[learn2learn]" && '
        "pip install --no-deps --use-pep517 --config-settings=--build-option=build_ext "
        "learn2learn==0.2.0"
    )


def _import_torchvision() -> None:
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
        for operator in _UNDECLARED_BY_TORCHVISION:
            torch.library.define(operator, _NMS_SIGNATURE)
        importlib.import_module("torchvision")


def _import_gym() -> None:
    with contextlib.redirect_stderr(io.StringIO()):
        importlib.import_module("gym")
