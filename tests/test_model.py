"""A module, its trainable parameters, and the views that losses get."""

from __future__ import annotations

import pytest
import torch
from builders import complaints, line
from torch import Tensor, nn

from mlograph.model import Model, check_module
from mlograph.views import View


class Normed(nn.Module):
    """Batch normalisation, and a counter that checkpoints leave out."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3, dtype=torch.float64)
        self.register_buffer("calls", torch.zeros(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        out: Tensor = self.norm(x)
        return out


X = torch.arange(12, dtype=torch.float64).reshape(4, 3)


def buffers(model: Model) -> list[Tensor]:
    return [b.clone() for b in model.module.buffers()]


def same(left: list[Tensor], right: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def test_the_parameters_are_the_modules_own():
    module = line()
    model = Model(module)
    assert model.params["weight"] is module.weight
    assert list(model.params) == ["weight", "bias"]


def test_frozen_parameters_are_seen_but_not_optimised():
    model = Model(line(), ["bias"])
    assert list(model.params) == ["weight"]
    assert list(model.live().named_parameters()) == ["weight", "bias"]


def test_globs_that_fit_nothing_are_all_told():
    faults = complaints(lambda: Model(line(), ["wieght", "*", "x*"], ("problems", "a")))
    assert faults == [
        "problems.a.freeze[0]: 'wieght' fits no parameter (did you mean 'weight'?)",
        "problems.a.freeze[2]: 'x*' fits no parameter (known: bias, weight)",
        "problems.a.module: there is no parameter to optimise",
    ]


def test_complex_parameters_are_refused():
    """A module of real numbers would be made of them, without the imaginary parts."""
    module = nn.Module()
    module.register_parameter("wave", nn.Parameter(torch.ones(2, dtype=torch.complex64)))
    assert complaints(lambda: check_module(module, ("problems", "a", "module"))) == [
        "problems.a.module: the parameter 'wave' is complex "
        "(hold two real ones: torch.view_as_real)"
    ]


def test_sparse_gradients_are_refused():
    for module, what in (
        (nn.Embedding(3, 2, sparse=True), "the embedding"),
        (nn.Sequential(nn.EmbeddingBag(3, 2, sparse=True)), "the embedding '0'"),
    ):
        assert complaints(lambda one=module: check_module(one, ("module",))) == [
            f"module: {what} has sparse gradients (leave out 'sparse')"
        ]
    check_module(nn.Embedding(3, 2), ())


@pytest.mark.parametrize("kind", ["live", "still", "at"])
def test_a_view_acts_like_the_module(kind: str):
    model = Model(Normed())
    view: View = {"live": model.live, "still": model.still, "at": lambda: model.at({})}[kind]()
    assert isinstance(view, View)
    assert torch.equal(view(X), nn.functional.batch_norm(X, None, None, training=True))
    assert len(view.parameters()) == 2
    assert "norm.running_mean" in view.buffers()


def test_only_a_live_view_changes_the_buffers():
    model = Model(Normed())
    before = buffers(model)
    model.still()(X)
    model.at({})(X)
    assert same(buffers(model), before)
    model.live()(X)
    assert not same(buffers(model), before)


def test_a_view_at_other_parameters_may_keep_the_buffers():
    model = Model(Normed())
    model.at({}, model.buffers)(X)
    assert int(model.module.calls) == 1


def test_a_view_at_other_parameters_uses_and_shows_them():
    model = Model(line(), ["bias"])
    other = torch.zeros(1, 3, dtype=torch.float64)
    view = model.at({"weight": other})
    assert torch.equal(view(X), model.module.bias.expand(4, 1))
    assert view.parameters()[0] is other
    assert view.parameters()[1] is model.module.bias


def test_a_module_that_shares_a_parameter_can_be_seen_at_another():
    module = nn.Sequential(line(3, 3), line(3, 3))
    module[1].weight = module[0].weight
    model = Model(module)
    view = model.at({"0.weight": torch.eye(3, dtype=torch.float64)})
    assert torch.allclose(view(X), X + module[0].bias + module[1].bias)


def test_everything_is_taken_over_from_a_model_of_the_same_architecture():
    ours, theirs = Model(Normed()), Model(Normed())
    theirs.live()(X)
    with torch.no_grad():
        theirs.params["norm.weight"].fill_(3.0)
    kept = ours.params["norm.weight"]
    ours.copy_from(theirs)
    assert ours.params["norm.weight"] is kept
    assert same(list(ours.tensors().values()), list(theirs.tensors().values()))


def test_architectures_are_compared_by_names_and_shapes():
    assert Model(line()).same_architecture(Model(line(seed=5)))
    assert not Model(line()).same_architecture(Model(line(4)))
    assert not Model(line()).same_architecture(Model(nn.Sequential(line())))
    plain = nn.BatchNorm1d(3, track_running_stats=False)
    assert not Model(nn.BatchNorm1d(3)).same_architecture(Model(plain))
