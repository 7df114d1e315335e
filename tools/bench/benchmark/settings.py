"""What is optimised: two modules, two losses, and fixed random data, the same for everyone."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mlograph.nn import MLP, ConvNet, Tensors, Weigher

Batch = tuple[Tensor, Tensor]

_LOSSES = "mlograph.losses"


class Net(Protocol):
    """What a loss reads a problem through: a module, or what a library has in its place."""

    def __call__(self, inputs: Tensor) -> Tensor: ...

    def parameters(self) -> Iterable[Tensor]: ...


@dataclass(frozen=True)
class Episode:
    """What one pass of the upper loss takes: the lower loop's batch, and its own."""

    lower: Batch
    upper: Batch


class Setting(Protocol):
    """A bilevel problem.

    Modules and data are made of the same random numbers each time, in torch's default type.

    Attributes:
        restarts: every lower loop starts at the parameters of the upper problem, whose
            architecture is the same; otherwise where the last one ended.
        passes: episodes averaged into one update of the upper problem.
        steps: of the lower problem in an episode.
        rate: of its gradient descent.
    """

    restarts: bool
    passes: int
    steps: int
    rate: float

    @abstractmethod
    def upper(self, *, shipped: bool) -> nn.Module:
        """What mlograph ships, or else the same function of torch's own layers."""
        ...

    @abstractmethod
    def lower(self, *, shipped: bool) -> nn.Module:
        """Likewise."""
        ...

    @abstractmethod
    def episodes(self) -> tuple[Episode, ...]:
        """The data; whoever needs more begins anew."""
        ...

    @abstractmethod
    def lower_loss(self, lower: Net, upper: Net, batch: Batch) -> Tensor: ...

    @abstractmethod
    def upper_loss(self, lower: Net, batch: Batch) -> Tensor: ...

    @abstractmethod
    def terms(self) -> Mapping[str, list[dict[str, Any]]]:
        """Both losses as a graph of mlograph has them, by problem: `lower` and `upper`."""
        ...


@final
@dataclass(frozen=True)
class FewShot:
    """Classes of random images for a convolutional network, `passes` tasks at a time.

    Attributes:
        hidden: channels of each of the four layers.
        shots: images of a class to adapt to.
        weight: of the term that holds the adapted weights to the upper ones (iMAML); 0 has none.
        ways: classes.
        queries: images of a class to be judged by.
    """

    hidden: int
    shots: int
    weight: float
    passes: int = 16
    steps: int = 5
    rate: float = 0.1
    ways: int = 5
    queries: int = 15
    restarts: bool = True

    def upper(self, *, shipped: bool) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net = ConvNet(self.ways, self.hidden)
        return net if shipped else _of_torch(net)

    def lower(self, *, shipped: bool) -> nn.Module:
        return self.upper(shipped=shipped)

    def episodes(self) -> tuple[Episode, ...]:
        draw = torch.Generator().manual_seed(1)
        return tuple(
            Episode(self._images(self.shots, draw), self._images(self.queries, draw))
            for _ in range(self.passes)
        )

    def lower_loss(self, lower: Net, upper: Net, batch: Batch) -> Tensor:
        loss = F.cross_entropy(lower(batch[0]), batch[1])
        if not self.weight:
            return loss
        pairs = zip(lower.parameters(), upper.parameters(), strict=True)
        return (
            loss + self.weight / 2 * torch.stack([(x - y).square().sum() for x, y in pairs]).sum()
        )

    def upper_loss(self, lower: Net, batch: Batch) -> Tensor:
        return F.cross_entropy(lower(batch[0]), batch[1])

    def terms(self) -> Mapping[str, list[dict[str, Any]]]:
        near = {
            "_target_": f"{_LOSSES}.proximal",
            "model": "lower",
            "anchor": "upper",
            "weight": self.weight,
        }
        entropy = {"_target_": f"{_LOSSES}.cross_entropy", "model": "lower"}
        return {"upper": [entropy], "lower": [entropy, near] if self.weight else [entropy]}

    def _images(self, shots: int, draw: torch.Generator) -> Batch:
        labels = torch.arange(self.ways).repeat_interleave(shots)
        return _random((len(labels), 1, 28, 28), draw), labels


@final
@dataclass(frozen=True)
class Reweighting:
    """Weights for the samples of a classifier (Meta-Weight-Net, Shu et al., 2019).

    A little weight decay keeps the Hessian positive along the directions that solvers take.
    """

    features: int = 784
    hidden: int = 256
    samples: int = 100
    decay: float = 1.0
    rate: float = 0.1
    classes: int = 10
    passes: int = 1
    steps: int = 1
    restarts: bool = False

    def upper(self, *, shipped: bool) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module = Weigher(100)
            # A last layer of zeros would let nothing through to the others.
            for x in module.parameters():
                nn.init.normal_(x, std=0.3)
            return module

    def lower(self, *, shipped: bool) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            return MLP([self.features, self.hidden, self.classes])

    def episodes(self) -> tuple[Episode, ...]:
        draw = torch.Generator().manual_seed(2)
        return tuple(Episode(self._batch(draw), self._batch(draw)) for _ in range(8))

    def lower_loss(self, lower: Net, upper: Net, batch: Batch) -> Tensor:
        each = F.cross_entropy(lower(batch[0]), batch[1], reduction="none")
        weights = upper(each.detach()[:, None]).squeeze(1)
        size = torch.stack([x.square().sum() for x in lower.parameters()]).sum()
        return (weights * each).mean() + self.decay / 2 * size

    def upper_loss(self, lower: Net, batch: Batch) -> Tensor:
        return F.cross_entropy(lower(batch[0]), batch[1])

    def terms(self) -> Mapping[str, list[dict[str, Any]]]:
        names = {"classifier": "lower", "weigher": "upper"}
        return {
            "upper": [{"_target_": f"{_LOSSES}.cross_entropy", "model": "lower"}],
            "lower": [
                {"_target_": f"{_LOSSES}.reweighted_cross_entropy", **names},
                {"_target_": f"{_LOSSES}.l2", "model": "lower", "weight": self.decay},
            ],
        }

    def _batch(self, draw: torch.Generator) -> Batch:
        labels = torch.randint(self.classes, (self.samples,), generator=draw)
        return _random((self.samples, self.features), draw), labels


@final
@dataclass(frozen=True)
class Penalties:
    """Logistic regression with a penalty of its own for each feature."""

    features: int = 4000
    samples: int = 400
    steps: int = 20
    rate: float = 0.1
    passes: int = 1
    restarts: bool = False

    def upper(self, *, shipped: bool) -> nn.Module:
        return Tensors(log_penalty=[self.features], init=-3.0)

    def lower(self, *, shipped: bool) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            return MLP([self.features, 1])

    def episodes(self) -> tuple[Episode, ...]:
        draw = torch.Generator().manual_seed(2)
        truth = _random((self.features,), draw)
        return (Episode(self._batch(truth, draw), self._batch(truth, draw)),)

    def lower_loss(self, lower: Net, upper: Net, batch: Batch) -> Tensor:
        (penalty,), (weight, _) = upper.parameters(), lower.parameters()
        return self.upper_loss(lower, batch) + 0.5 * (penalty.exp() * weight.square()).sum()

    def upper_loss(self, lower: Net, batch: Batch) -> Tensor:
        return F.binary_cross_entropy_with_logits(lower(batch[0]).squeeze(-1), batch[1])

    def terms(self) -> Mapping[str, list[dict[str, Any]]]:
        entropy = {"_target_": f"{_LOSSES}.binary_cross_entropy", "model": "lower"}
        penalty = {"_target_": f"{_LOSSES}.weighted_l2", "model": "lower", "penalties": "upper"}
        return {"upper": [entropy], "lower": [entropy, penalty]}

    def _batch(self, truth: Tensor, draw: torch.Generator) -> Batch:
        inputs = _random((self.samples, self.features), draw)
        return inputs, (inputs @ truth > 0).to(inputs.dtype)


def _random(shape: tuple[int, ...], draw: torch.Generator) -> Tensor:
    # In float64 always, so that both types of numbers see the same data.
    return torch.randn(shape, generator=draw, dtype=torch.float64).to(torch.get_default_dtype())


def _of_torch(net: ConvNet) -> nn.Sequential:
    """The same function, as it is written down everywhere: ReLU, then the halving."""
    blocks: list[nn.Module] = []
    for conv, norm, _, _ in net.features:
        plain = nn.Conv2d(conv.in_channels, conv.out_channels, 3, padding=1, bias=False)
        batch = nn.BatchNorm2d(norm.num_features, track_running_stats=False)
        blocks += [plain, batch, nn.ReLU(), nn.MaxPool2d(2)]
    found = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(*reversed(net.head.weight.shape)))
    with torch.no_grad():
        for ours, theirs in zip(found.parameters(), net.parameters(), strict=True):
            ours.copy_(theirs)
    return found
