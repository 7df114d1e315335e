"""Layers for images under `torch.vmap`: the numbers of one task after the other, of every order."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import grad
from torch.func import functional_call, jvp, vmap
from torch.func import grad as func_grad
from torch.profiler import ProfilerActivity, profile

from mlograph.nn import BatchNorm, ConvNet
from mlograph.nn.folding import Conv, MaxPool, is_mapped

TASKS = 3
Params = dict[str, Tensor]


def network(**options: object) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ConvNet(4, hidden=3, layers=2, image_size=8, **options).double()  # type: ignore[arg-type]


def weights(net: nn.Module) -> Params:
    draw = torch.Generator().manual_seed(1)
    return {
        name: (
            p.detach() + 0.3 * torch.randn(TASKS, *p.shape, generator=draw, dtype=torch.float64)
        ).requires_grad_()
        for name, p in net.named_parameters()
    }


def images(*shape: int) -> Tensor:
    draw = torch.Generator().manual_seed(2)
    return torch.randn(*shape, 1, 8, 8, generator=draw, dtype=torch.float64)


def loss_of(net: nn.Module) -> Callable[[Params, Tensor], Tensor]:
    def loss(params: Params, x: Tensor) -> Tensor:
        logits: Tensor = functional_call(net, params, (x,))
        return logits.square().sum(1).sin().mean()

    return loss


def one(params: Params, task: int) -> Params:
    return {name: p[task] for name, p in params.items()}


networks = pytest.mark.parametrize(
    "options",
    [{}, {"downsample": "stride"}, {"norm": "none"}, {"norm": "layer"}],
    ids=["batch, pool", "stride", "no norm", "layer"],
)


@networks
def test_values_and_two_derivatives_are_those_of_one_task_after_the_other(options: dict[str, str]):
    net = network(**options)
    loss, params, x = loss_of(net), weights(net), images(TASKS, 5)
    found = []
    for each in (
        vmap(loss)(params, x),
        torch.stack([loss(one(params, t), x[t]) for t in range(TASKS)]),
    ):
        first = grad(each.sum(), [*params.values()], create_graph=True)
        pulled = torch.stack([(g * g.cos()).sum() for g in first]).sum()
        found.append([each, *first, *grad(pulled, [*params.values()])])
    for ours, theirs in zip(*found, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def test_tasks_may_share_images_or_weights():
    net = network()
    loss, params = loss_of(net), weights(net)
    x = images(TASKS, 5)
    with_one_batch = vmap(loss, in_dims=(0, None))(params, x[0])
    assert torch.allclose(
        with_one_batch, torch.stack([loss(one(params, t), x[0]) for t in range(TASKS)])
    )
    shared = one(params, 0)
    with_one_net = vmap(loss, in_dims=(None, 0))(shared, x)
    apart = torch.stack([loss(shared, x[t]) for t in range(TASKS)])
    assert torch.allclose(with_one_net, apart)
    for ours, theirs in zip(
        grad(with_one_net.sum(), [*params.values()]),
        grad(apart.sum(), [*params.values()]),
        strict=True,
    ):
        assert torch.allclose(ours, theirs)


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # Torch's own.
def test_other_transforms_go_through_and_around_it():
    net = network()
    loss, params, x = loss_of(net), weights(net), images(TASKS, 5)
    wanted = grad(vmap(loss)(params, x).sum(), [*params.values()])
    within = vmap(func_grad(loss))(params, x)
    around = func_grad(lambda p: vmap(loss)(p, x).sum())(params)
    for name, slope in zip(params, wanted, strict=True):
        assert torch.allclose(within[name], slope)
        assert torch.allclose(around[name], slope)
    forward = jvp(lambda x: vmap(loss)(params, x), (x,), (torch.ones_like(x),))[1]
    slopes = grad(vmap(loss)(params, moved := x.clone().requires_grad_()).sum(), moved)[0]
    assert torch.allclose(forward, slopes.flatten(1).sum(1))
    twice = vmap(vmap(loss), in_dims=(None, 0))(params, torch.stack([x, 2 * x]))
    assert torch.allclose(twice, torch.stack([vmap(loss)(params, x), vmap(loss)(params, 2 * x)]))


def test_between_layers_nothing_is_copied():
    """As torch's own rules have it, each layer wants the tasks elsewhere than the last one."""
    net = network()
    params, x = weights(net), images(TASKS, 5)
    plain = network()
    for block in plain.features.children():
        assert isinstance(block, nn.Sequential)
        block[0] = nn.Conv2d(block[0].in_channels, 3, 3, padding=1, bias=False)
        block[1] = nn.BatchNorm2d(3, track_running_stats=False)
        block[2] = nn.MaxPool2d(2)
    copies = []
    for one_of_both in (net, plain.double()):
        with profile(activities=[ProfilerActivity.CPU]) as seen, torch.no_grad():
            vmap(loss_of(one_of_both))(params, x)
        counts = {event.key: event.count for event in seen.key_averages()}
        copies.append(counts.get("aten::clone", 0))
    assert copies[0] < copies[1]


def test_only_what_is_mapped_is_folded():
    seen = []

    class Looking(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(is_mapped(x))
            return x.sum()

    look, x = Looking(), images(TASKS, 5)
    look(x[0])
    vmap(look)(x)
    func_grad(look)(x[0])
    vmap(lambda t: look(x[0]) + t)(torch.zeros(TASKS))
    vmap(lambda x: look(x.flatten(1)))(x)
    assert seen == [False, True, False, False, False]


def test_they_have_the_names_and_numbers_of_torchs_own_layers():
    x = images(2)
    conv, norm = Conv(1, 3, 3, padding=1).double(), BatchNorm(3).double()
    plain = nn.Conv2d(1, 3, 3, padding=1).double()
    plain.load_state_dict(conv.state_dict())
    assert torch.equal(conv(x), plain(x))
    assert torch.equal(MaxPool(2)(norm(conv(x))), nn.MaxPool2d(2)(norm(plain(x))))
