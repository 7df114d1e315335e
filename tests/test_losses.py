"""The losses: values by hand, gradients, mapping over tasks, and errors that help."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from mlograph import losses
from mlograph.errors import UsageError
from mlograph.nn import MLP, Tensors, Weigher
from mlograph.views import View


class ModuleView:
    """A module seen with the given parameters, or with its own."""

    def __init__(self, module: nn.Module, given: Mapping[str, Tensor] | None = None) -> None:
        self.module = module
        self.given = dict(module.named_parameters()) if given is None else dict(given)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return functional_call(self.module, self.given, args, kwargs)

    def parameters(self) -> tuple[Tensor, ...]:
        return tuple(self.given.values())

    def named_parameters(self) -> Mapping[str, Tensor]:
        return self.given

    def buffers(self) -> Mapping[str, Tensor]:
        return dict(self.module.named_buffers())


def fixed(outputs: list[Any]) -> ModuleView:
    """A model that gives these outputs whatever it is asked."""

    class Fixed(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return torch.tensor(outputs, dtype=torch.float64)

    return ModuleView(Fixed())


def named(**tensors: list[Any]) -> ModuleView:
    """A view of parameters only."""
    given = {name: torch.tensor(t, dtype=torch.float64) for name, t in tensors.items()}
    return ModuleView(nn.Identity(), given)


X = torch.zeros(2, 3)


def test_the_view_of_these_tests_is_one():
    assert isinstance(fixed([]), View)


def test_cross_entropy_of_a_head_on_features():
    torch.manual_seed(0)
    body, head = nn.Linear(4, 3), nn.Linear(3, 2)
    batch = (torch.randn(5, 4), torch.tensor([0, 1, 1, 0, 1]))
    found = losses.cross_entropy(ModuleView(head), batch, features=ModuleView(body))
    whole = losses.cross_entropy(ModuleView(nn.Sequential(body, head)), batch)
    assert torch.equal(found["loss"], whole["loss"])
    assert torch.equal(found["accuracy"], whole["accuracy"])


def test_cross_entropy():
    result = losses.cross_entropy(
        fixed([[0.0, 0.0], [0.0, math.log(3)]]), (X, torch.tensor([0, 0]))
    )
    assert result["loss"].item() == pytest.approx((math.log(2) + math.log(4)) / 2)
    assert result["accuracy"].item() == 0.5


@pytest.mark.parametrize("logits", [[0.0, math.log(3)], [[0.0], [math.log(3)]]])
@pytest.mark.parametrize("targets", [[1.0, 0.0], [1, 0]])
def test_binary_cross_entropy(logits: list[Any], targets: list[float]):
    result = losses.binary_cross_entropy(fixed(logits), (X, torch.tensor(targets)))
    assert result["loss"].item() == pytest.approx((math.log(2) + math.log(4)) / 2)
    assert result["accuracy"].item() == 0


def test_mse():
    y = torch.tensor([1.0, 2.0], dtype=torch.float64)
    assert losses.mse(fixed([2.0, 4.0]), (X, y)).item() == 2.5
    # (n, 1) beside (n,) must not broadcast to (n, n).
    assert losses.mse(fixed([[2.0], [4.0]]), (X, y)).item() == 2.5
    assert losses.mse(fixed([[2.0], [4.0]]), (X, y[:, None])).item() == 2.5


def test_proximal_is_half_the_weighted_squared_distance():
    model, anchor = named(a=[1.0, 2.0], b=[[3.0]]), named(b=[[1.0]], a=[1.0, 5.0])
    assert losses.proximal(model, anchor).item() == (9 + 4) / 2
    assert losses.proximal(model, anchor, weight=0.25).item() == 0.25 * (9 + 4) / 2


def test_proximal_pulls_both_ways():
    model, anchor = named(a=[3.0]), named(a=[1.0])
    for view in (model, anchor):
        view.given["a"].requires_grad_()
    loss = losses.proximal(model, anchor, weight=0.5)
    pulls = torch.autograd.grad(loss, [model.given["a"], anchor.given["a"]])
    assert [pull.item() for pull in pulls] == [1, -1]


def test_l2():
    assert losses.l2(named(a=[1.0, 2.0], b=[[3.0]]), weight=0.5).item() == 0.5 * 14 / 2


def test_weighted_l2_weighs_each_feature():
    model = named(weight=[[1.0, 2.0], [3.0, 0.0]], bias=[10.0, 10.0])
    penalties = named(penalties=[math.log(2), 0.0])
    assert losses.weighted_l2(model, penalties).item() == pytest.approx((2 * (1 + 9) + 4) / 2)


def test_weighted_l2_finds_the_weights_of_a_logistic_regression():
    torch.manual_seed(0)
    model = ModuleView(MLP([7, 1]))
    penalties = ModuleView(Tensors(penalties=[7], init=1.0))
    expected = math.e / 2 * model.module.layers[1].weight.square().sum().item()
    assert losses.weighted_l2(model, penalties).item() == pytest.approx(expected)
    by_name = losses.weighted_l2(model, penalties, parameter="layers.1.weight", penalty="penalties")
    assert by_name.item() == pytest.approx(expected)


def test_reweighted_cross_entropy():
    class Doubling(nn.Module):
        def forward(self, each: Tensor) -> Tensor:
            assert each.shape == (2, 1)
            return 2 * each

    logits = [[0.0, 0.0], [0.0, math.log(3)]]
    result = losses.reweighted_cross_entropy(
        fixed(logits), ModuleView(Doubling()), (X, torch.tensor([0, 0]))
    )
    assert result["loss"].item() == pytest.approx(math.log(2) ** 2 + math.log(4) ** 2)
    assert result["accuracy"].item() == 0.5
    assert result["weight"].item() == pytest.approx(math.log(2) + math.log(4))


def test_proximal_holds_only_the_parameters_that_fit():
    model, anchor = ModuleView(MLP([3, 4])), ModuleView(MLP([3, 4]))
    ours, theirs = model.named_parameters(), anchor.named_parameters()
    name = next(name for name in ours if name.endswith("bias"))
    expected = (ours[name] - theirs[name]).square().sum() / 2
    torch.testing.assert_close(losses.proximal(model, anchor, only="*bias"), expected)


def test_proximal_names_a_glob_that_fits_nothing():
    model = ModuleView(MLP([3, 4]))
    with pytest.raises(UsageError, match=r"only: 'head\.\*' fits no parameter"):
        losses.proximal(model, model, only="head.*")


def test_normalized_weights_count_only_in_relation_to_each_other():
    class Constant(nn.Module):
        def __init__(self, weight: float) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(weight))

        def forward(self, each: torch.Tensor) -> torch.Tensor:
            return self.weight * torch.ones_like(each)

    torch.manual_seed(0)
    classifier, batch = ModuleView(MLP([3, 4])), (torch.randn(5, 3), torch.arange(5) % 4)
    found = [
        losses.reweighted_cross_entropy(
            classifier, ModuleView(Constant(weight)), batch, normalize=True
        )["loss"]
        for weight in (0.1, 0.9)
    ]
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(found[0], losses.cross_entropy(classifier, batch)["loss"])


def test_the_weigher_is_not_a_way_to_lower_the_classifiers_loss():
    torch.manual_seed(0)
    module = Weigher(8)
    for parameter in module.parameters():  # At its neutral start only its last layer moves.
        nn.init.normal_(parameter)
    classifier, weigher = ModuleView(MLP([3, 4])), ModuleView(module)
    batch = (torch.randn(5, 3), torch.arange(5) % 4)
    result = losses.reweighted_cross_entropy(classifier, weigher, batch)
    gradients = torch.autograd.grad(result["loss"], classifier.parameters(), retain_graph=True)
    # The same with the weights as constants: nothing flows back through the weigher's input.
    x, y = batch
    each = nn.functional.cross_entropy(classifier(x), y, reduction="none")
    constant = weigher(each[:, None]).squeeze(1).detach()
    expected = torch.autograd.grad((constant * each).mean(), classifier.parameters())
    for gradient, wanted in zip(gradients, expected, strict=True):
        assert torch.allclose(gradient, wanted)
    assert all(g.abs().sum() > 0 for g in torch.autograd.grad(result["loss"], weigher.parameters()))


def all_losses(classifier: View, weigher: View, anchor: View, batch: Any) -> list[Any]:
    x, y = batch
    return [
        losses.cross_entropy(classifier, batch),
        losses.reweighted_cross_entropy(classifier, weigher, batch),
        losses.mse(classifier, (x, nn.functional.one_hot(y, 4).to(x.dtype))),
        losses.binary_cross_entropy(classifier, (x, nn.functional.one_hot(y, 4))),
        losses.proximal(classifier, anchor, 0.3),
        losses.l2(classifier, 0.2),
        losses.weighted_l2(classifier, named(penalties=[0.1, 0.2, 0.3])),
    ]


def test_losses_are_scalars_and_metrics_are_detached_tensors():
    classifier = ModuleView(MLP([3, 4]).double())
    batch = (torch.randn(5, 3).double(), torch.arange(5) % 4)
    for result in all_losses(classifier, ModuleView(Weigher().double()), classifier, batch):
        metrics = dict(result) if isinstance(result, dict) else {"loss": result}
        loss = metrics.pop("loss")
        assert loss.shape == ()
        assert loss.requires_grad
        for metric in metrics.values():
            assert isinstance(metric, Tensor)
            assert metric.shape == ()
            assert not metric.requires_grad


def test_every_loss_can_be_mapped_over_tasks():
    torch.manual_seed(0)
    module, weigher = MLP([3, 4]).double(), Weigher(8).double()
    shared = dict(module.named_parameters())
    tasks = {
        name: torch.stack([p.detach() + 0.1 * i for i in range(3)]) for name, p in shared.items()
    }
    x = torch.randn(3, 5, 3).double()
    y = torch.randint(0, 4, (3, 5))

    def run(own: dict[str, Tensor], x: Tensor, y: Tensor) -> list[Any]:
        anchor = ModuleView(module, shared)
        return all_losses(ModuleView(module, own), ModuleView(weigher), anchor, (x, y))

    mapped = vmap(run)(tasks, x, y)
    for i in range(3):
        alone = run({name: p[i] for name, p in tasks.items()}, x[i], y[i])
        for got, wanted in zip(mapped, alone, strict=True):
            pairs = (
                [(got[key], wanted[key]) for key in wanted]
                if isinstance(wanted, dict)
                else [(got, wanted)]
            )
            for one, other in pairs:
                assert torch.allclose(one[i], other, atol=1e-12)


BATCH = (X, torch.tensor([1.0, 2.0]))

MISTAKES: list[tuple[Any, str]] = [
    (
        lambda: losses.proximal(named(a=[1.0], b=[1.0]), named(a=[1.0])),
        "proximal: 'b' is a parameter of only one of model and anchor",
    ),
    (
        lambda: losses.proximal(named(a=[1.0]), named(a=[1.0], b=[1.0])),
        "proximal: 'b' is a parameter of only one of model and anchor",
    ),
    (
        lambda: losses.proximal(named(a=[1.0]), named(a=[1.0, 2.0])),
        "parameter 'a' has shape (1,) in model and (2,) in anchor",
    ),
    (lambda: losses.l2(named()), "l2: the model has no parameters"),
    (
        lambda: losses.mse(fixed([[1.0, 2.0]]), BATCH),
        "model: gives shape (1, 2) where the targets have (2,)",
    ),
    (
        lambda: losses.binary_cross_entropy(fixed([[1.0, 2.0]]), BATCH),
        "model: gives shape (1, 2) where the targets have (2,)",
    ),
    (
        lambda: losses.mse(fixed([1.0]), (X,)),
        "batch: expected a pair of inputs and targets, got 1 in a tuple",
    ),
    (
        lambda: losses.mse(fixed([1.0]), {"clean": X, "noisy": X}),  # type: ignore[arg-type]
        "batch: expected a pair of inputs and targets, got 2 in a dict",
    ),
    (
        lambda: losses.weighted_l2(named(w=[[1.0]], v=[[1.0]]), named(p=[1.0])),
        "weighted_l2: name the parameter; candidates: w, v",
    ),
    (
        lambda: losses.weighted_l2(named(w=[[1.0]]), named(p=[1.0], q=[1.0])),
        "weighted_l2: name the penalty; candidates: p, q",
    ),
    (
        lambda: losses.weighted_l2(named(weight=[[1.0]]), named(p=[1.0]), parameter="wieght"),
        "weighted_l2: parameter 'wieght' does not exist (did you mean 'weight'?)",
    ),
    (
        lambda: losses.weighted_l2(named(w=[[1.0]]), named(p=[1.0, 2.0]), parameter="w"),
        "weighted_l2: parameter has shape (1, 1), penalties (2,); their last axes must be equal",
    ),
]


@pytest.mark.parametrize(("call", "message"), MISTAKES)
def test_mistakes_are_named(call: Any, message: str):
    with pytest.raises(UsageError) as caught:
        call()
    assert message in str(caught.value)
