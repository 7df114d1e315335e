"""What editors offer where an import path may stand: short names, and what the package has.

Any other import path is as good; these are only what people look for first.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

# By kind of component.
OFFERED: Mapping[str, tuple[str, ...]] = {
    "Optimizer": ("adam", "adamw", "sgd", "rmsprop", "adagrad", "nadam", "radam"),
    "Scheduler": ("cosine", "step", "multistep", "exponential", "onecycle", "plateau"),
    "Loss": (
        "cross_entropy",
        "mse",
        "l2",
        "proximal",
        "mlograph.losses.binary_cross_entropy",
        "mlograph.losses.reweighted_cross_entropy",
        "mlograph.losses.weighted_l2",
    ),
    "Module": (
        "mlograph.nn.MLP",
        "mlograph.nn.ConvNet",
        "mlograph.nn.Tensors",
        "mlograph.nn.Weigher",
        "torch.nn.Linear",
    ),
    "Data": ("dataloader", "mlograph.data.full_batch"),
    "Env": ("mlograph.envs.FewShotEnv", "mlograph.envs.SineEnv", "mlograph.envs.MazeEnv"),
    "Validator": ("mlograph.validation.Evaluate", "mlograph.validation.Adaptation"),
    "Rate": (
        "mlograph.rates.positive",
        "mlograph.rates.fraction",
        "mlograph.rates.schedule",
        "mlograph.rates.per_parameter",
    ),
    "Sink": ("jsonl", "csv", "tensorboard", "wandb", "mlflow"),
    "Painter": ("mlograph.painters.SampleWeights",),
}

# Arguments that most of a kind take.
ARGUMENTS: Mapping[str, Mapping[str, str]] = {
    "Optimizer": {"lr": "learning rate", "weight_decay": "weight decay"},
    "Loss": {"model": "the problem whose module it calls"},
}

_COMPONENT = "#/$defs/Component"

# The kind that stands in a field of a model.
_FIELDS = {
    ("ProblemSpec", "optimizer"): "Optimizer",
    ("ProblemSpec", "scheduler"): "Scheduler",
    ("ProblemSpec", "loss"): "Loss",
    ("ProblemSpec", "module"): "Module",
    ("ProblemSpec", "data"): "Data",
    ("Hyperparameters", "lr"): "Rate",
    ("Hyperparameters", "weight_decay"): "Rate",
    ("Hyperparameters", "momentum"): "Rate",
    ("EngineSpec", "loggers"): "Sink",
    ("EngineSpec", "pictures"): "Painter",
}
# Models that are components themselves, with options beside their arguments.
_MODELS = {"EnvSpec": "Env", "ValidateSpec": "Validator"}


def with_offers(definitions: Mapping[str, Schema]) -> dict[str, Schema]:
    """The definitions of a schema, with a component of its own for every kind."""
    found: dict[str, Schema] = copy.deepcopy(dict(definitions))
    for kind in dict.fromkeys(_FIELDS.values()):
        found[kind] = _offering(found["Component"], kind)
    for (model, field), kind in _FIELDS.items():
        properties = found[model]["properties"]
        properties[field] = _redirected(properties[field], f"#/$defs/{kind}")
    for model, kind in _MODELS.items():
        found[model] = _offering(found[model], kind)
    return found


def _offering(component: Schema, kind: str) -> Schema:
    """A component: a text, or a mapping with a `_target_`, both of which are import paths."""
    path, mapping = component["anyOf"]
    names = list(OFFERED[kind])
    target = {**mapping["properties"]["_target_"], "examples": names}
    arguments = {name: {"description": text} for name, text in ARGUMENTS.get(kind, {}).items()}
    properties = {**mapping["properties"], "_target_": target, **arguments}
    choices = [{**path, "examples": names}, {**mapping, "properties": properties, "title": kind}]
    return {**component, "anyOf": choices, "title": kind}


def _redirected(schema: Any, to: str) -> Any:
    if isinstance(schema, list):
        return [_redirected(item, to) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: to if key == "$ref" and value == _COMPONENT else _redirected(value, to)
        for key, value in schema.items()
    }
