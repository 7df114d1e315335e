"""The shipped modules: shapes, purity, and that they can be mapped over tasks."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap

from mlograph.errors import UsageError
from mlograph.nn import MLP, ConvFeatures, ConvNet, Table, Tensors, Weigher, loaded


def images(number: int = 6, size: int = 28, channels: int = 1) -> torch.Tensor:
    return torch.randn(number, channels, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("downsample", ["stride", "pool"])
@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
@pytest.mark.parametrize(("size", "channels"), [(28, 1), (84, 3)])
def test_conv_net_gives_a_logit_for_each_way(downsample: Any, norm: Any, size: int, channels: int):
    net = ConvNet(5, hidden=8, channels=channels, image_size=size, downsample=downsample, norm=norm)
    logits = net(images(3, size, channels))
    assert logits.shape == (3, 5)
    assert logits.isfinite().all()


def test_conv_net_is_the_standard_one():
    net = ConvNet(5, downsample="stride")
    shapes = [tuple(p.shape) for p in net.parameters()]
    block = [(64, 64, 3, 3), (64,), (64,)]
    assert shapes == [(64, 1, 3, 3), (64,), (64,), *block * 3, (5, 256), (5,)]
    # Finn et al.'s 112,261 numbers, less the 256 biases that batch statistics cancel.
    assert sum(p.numel() for p in ConvNet(5).parameters()) == 112_005


def test_a_zero_head_prefers_no_class():
    assert torch.equal(ConvNet(5, hidden=8, zero_head=True)(images(3, 28, 1)), torch.zeros(3, 5))


def test_relu_after_pooling_is_relu_before_pooling():
    net = ConvNet(5, hidden=8, downsample="pool")
    blocks: list[nn.Module] = []
    for conv, norm, pool, relu in net.features:
        blocks += [conv, norm, relu, pool]
    usual = nn.Sequential(*blocks, nn.Flatten(), net.head)
    assert torch.equal(net(images()), usual(images()))


def test_conv_net_keeps_no_statistics():
    net = ConvNet(5, hidden=8)
    assert list(net.buffers()) == []
    expected = net(images())
    net(10 + images())
    assert torch.equal(net(images()), expected)
    assert torch.equal(net.eval()(images()), expected)


def test_a_bias_before_batch_statistics_is_left_out():
    def convolution_has_bias(net: ConvNet) -> bool:
        return any(m.bias is not None for m in net.modules() if isinstance(m, nn.Conv2d))

    assert not convolution_has_bias(ConvNet(5))
    assert convolution_has_bias(ConvNet(5, norm="none"))


@pytest.mark.parametrize("downsample", ["stride", "pool"])
@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
def test_conv_net_can_be_mapped_over_tasks(downsample: Any, norm: Any):
    net = ConvNet(3, hidden=4, downsample=downsample, norm=norm).double()
    parameters = {
        name: torch.stack([p.detach(), 0.9 * p.detach()]) for name, p in net.named_parameters()
    }
    batches = torch.stack([images(), 1 + images()]).double()

    def logits(own: dict[str, torch.Tensor], batch: torch.Tensor) -> torch.Tensor:
        return functional_call(net, own, (batch,))

    mapped = vmap(logits)(parameters, batches)
    for task in range(2):
        own = {name: p[task] for name, p in parameters.items()}
        assert torch.allclose(mapped[task], logits(own, batches[task]), atol=1e-10)


def test_signals_neither_vanish_nor_explode_at_the_start():
    torch.manual_seed(0)
    assert 0.3 < MLP([200, 200, 200, 200, 50])(torch.randn(500, 200)).std() < 3
    assert 0.3 < ConvNet(20)(images(50)).std() < 3


def test_mlp_flattens_its_input():
    net = MLP([784, 16, 10])
    assert net(images()).shape == (6, 10)
    assert torch.equal(net(images()), net(images().flatten(1)))


def test_mlp_of_two_sizes_is_linear():
    net = MLP([3, 1]).double()
    x = torch.randn(4, 3, dtype=torch.float64)
    assert torch.allclose(net(2 * x), 2 * net(x))
    assert [tuple(p.shape) for p in net.parameters()] == [(1, 3), (1,)]


def test_mlp_ends_without_an_activation():
    torch.manual_seed(0)
    for activation in ("relu", "sigmoid"):
        assert MLP([3, 50, 20], activation=activation)(torch.randn(20, 3)).min() < 0


def test_tensors_give_themselves_by_name():
    module = Tensors(weights=[5], scale=[], bias=2)
    given = module()
    assert {name: tuple(t.shape) for name, t in given.items()} == {
        "weights": (5,),
        "scale": (),
        "bias": (2,),
    }
    assert given["weights"] is module.weights
    assert all(p.requires_grad and p.eq(0).all() for p in module.parameters())


def test_tensors_start_at_init():
    assert Tensors(a=[2], init=-3.0).a.tolist() == [-3, -3]
    mixed = Tensors(a=[1], b=[1], init={"b": 0.5})
    assert (mixed.a.item(), mixed.b.item()) == (0, 0.5)


def test_tensors_give_what_the_executor_hands_over():
    module = Tensors(a=[2])
    other = torch.tensor([4.0, 5.0], requires_grad=True)
    given = functional_call(module, {"a": other}, ())
    assert torch.equal(given["a"], other)
    (gradient,) = torch.autograd.grad(given["a"].square().sum(), other)
    assert gradient.tolist() == [8, 10]
    mapped = vmap(lambda a: functional_call(module, {"a": a}, ())["a"] * 2)(torch.ones(3, 2))
    assert mapped.tolist() == [[2, 2]] * 3


def test_a_table_gives_the_rows_that_are_asked_for():
    table = Table(3, 2, init=0.5)
    assert table.rows.tolist() == [[0.5, 0.5]] * 3
    found = table(torch.tensor([[2, 0], [2, 2]]))
    assert found.shape == (2, 2, 2)
    found.sum().backward()
    assert table.rows.grad.tolist() == [[1, 1], [0, 0], [3, 3]]


def test_weigher_gives_weights_between_zero_and_one():
    weigher = Weigher()
    weights = weigher(torch.linspace(0, 20, 50)[:, None])
    assert weights.shape == (50, 1)
    assert 0 < weights.min() <= weights.max() < 1
    assert [tuple(p.shape) for p in weigher.parameters()] == [(100, 1), (100,), (1, 100), (1,)]


def test_features_are_what_the_linear_layer_of_a_convnet_sees():
    net = ConvNet(5, hidden=8)
    assert isinstance(net.features, ConvFeatures)
    x = images(3, 28, 1)
    assert net.features(x).shape == (3, net.features.outputs)
    assert torch.equal(net.head(net.features(x)), net(x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConvFeatures(hidden=0), "hidden: must be at least 1, got 0"),
        (lambda: ConvNet(0), "ways: must be at least 1, got 0"),
        (lambda: ConvNet(5, downsample="striding"), "did you mean 'stride'?"),  # type: ignore[arg-type]
        (lambda: ConvNet(5, norm="bach"), "norm: unknown 'bach' (did you mean 'batch'?)"),  # type: ignore[arg-type]
        (
            lambda: ConvNet(5, image_size=8, downsample="pool"),
            "image_size: 8 pixels cannot be halved 4 times",
        ),
        (lambda: MLP([3]), "sizes: expected two or more positive numbers"),
        (lambda: MLP([3, 0]), "sizes: expected two or more positive numbers"),
        (lambda: MLP([3, 1], activation="rely"), "activation: unknown 'rely' (did you mean 'relu'"),
        (lambda: Table(0), "rows: must be at least 1, got 0"),
        (lambda: Table(3, 0), "width: must be at least 1, got 0"),
        (Tensors, "give at least one name and shape"),
        (lambda: Tensors(forward=[1]), "'forward' cannot name a tensor"),
        (lambda: Tensors(weights=[1], init={"weigths": 1}), "did you mean 'weights'?"),
    ],
)
def test_mistakes_are_named(make: Any, message: str):
    with pytest.raises(UsageError) as caught:
        make()
    assert message in str(caught.value)


def test_a_loaded_module_begins_with_the_weights_of_another():
    other = MLP([3, 2])
    module = loaded(MLP([3, 2]), other.state_dict())
    assert all(torch.equal(x, other.state_dict()[name]) for name, x in module.state_dict().items())


def test_what_may_be_missing_stays_as_it_is():
    module = loaded(Tensors(known=[2], new=[2], init=3.0), {"known": torch.ones(2)}, ["n*"])
    assert module()["known"].tolist() == [1, 1]
    assert module()["new"].tolist() == [3, 3]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"knwon": [2]}, "weights: the module has no 'knwon' (did you mean 'known'?)"),
        ({"known": [3]}, "weights: 'known' has shape (3,), and (2,) in the module"),
        ({}, "weights: give no 'known' (list it as missing if it may be new)"),
    ],
)
def test_weights_that_do_not_fit_a_module_are_refused(weights: dict[str, Any], message: str):
    with pytest.raises(UsageError) as error:
        loaded(Tensors(known=[2]), {name: torch.zeros(shape) for name, shape in weights.items()})
    assert str(error.value) == message
