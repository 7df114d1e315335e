"""The search space of darts.yaml and darts_retrain.yaml: one cell of four nodes.

Node 0 is what the stem makes of an image. Every later node is a sum over all nodes before it, each
sent through an operation; the cell gives all later nodes, side by side. While it is searched, an
edge applies all operations and weighs them by softmax(alpha); what is found has one operation on
each of the two strongest edges into a node (Liu, Simonyan and Yang, 2019).
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mlograph.views import View

OPERATIONS = ("skip", "max_pool", "average_pool", "conv3", "conv5", "none")
EDGES = tuple((i, j) for j in range(1, 4) for i in range(j))
KEPT = 2  # edges into a node of what is found

Cell = Mapping[tuple[int, int], str]


def operation(name: str, channels: int) -> nn.Module:
    """An operation that leaves the resolution as it is."""
    match name:
        case "conv3" | "conv5":
            size = int(name.removeprefix("conv"))
            convolution = nn.Conv2d(channels, channels, size, padding=size // 2, bias=False)
            return nn.Sequential(nn.ReLU(), convolution, norm(channels))
        case "max_pool":
            return nn.MaxPool2d(3, stride=1, padding=1)
        case "average_pool":
            return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    return nn.Identity()


def norm(channels: int) -> nn.Module:
    """Statistics of the batch, without a scale that could make up for a small alpha."""
    return nn.BatchNorm2d(channels, affine=False, track_running_stats=False)


class Network(nn.Module):
    """Stem, cell and linear head; what all the networks here share."""

    def __init__(self, channels: int, cell: nn.ModuleDict) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, channels, 3, padding=1, bias=False), norm(channels))
        self.cell = cell
        self.head = nn.Linear(3 * channels, 10)

    def classify(self, nodes: list[Tensor]) -> Tensor:
        """Logits (n, 10) from the nodes behind the first, each (n, channels, height, width)."""
        logits: Tensor = self.head(torch.cat(nodes[1:], dim=1).mean(dim=(2, 3)))
        return logits


class Mixed(Network):
    """All operations on all edges: called with images and weights (edges, operations)."""

    def __init__(self, channels: int) -> None:
        names = [name for name in OPERATIONS if name != "none"]
        cell = {
            f"{i}{j}": nn.ModuleDict({name: operation(name, channels) for name in names})
            for i, j in EDGES
        }
        super().__init__(channels, nn.ModuleDict(cell))

    def forward(self, images: Tensor, weights: Tensor) -> Tensor:
        """Logits (n, 10), where an edge applies every operation with its weight."""
        nodes = [self.stem(images)]
        for j in range(1, 4):
            arriving = [
                weights[EDGES.index((i, j)), OPERATIONS.index(name)] * apply(nodes[i])
                for i in range(j)
                for name, apply in self.cell[f"{i}{j}"].items()
            ]
            nodes.append(torch.stack(arriving).sum(dim=0))
        return self.classify(nodes)


class Found(Network):
    """One operation on each edge that was kept."""

    def __init__(self, channels: int, cell: Cell) -> None:
        made = {f"{i}{j}": operation(name, channels) for (i, j), name in cell.items()}
        super().__init__(channels, nn.ModuleDict(made))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, 10) of `images` (n, 1, height, width)."""
        nodes = [self.stem(images)]
        for j in range(1, 4):
            arriving = [self.cell[f"{i}{j}"](nodes[i]) for i in range(j) if f"{i}{j}" in self.cell]
            nodes.append(torch.stack(arriving).sum(dim=0))
        return self.classify(nodes)


def found(channels: int, alphas: Mapping[str, Tensor]) -> Found:
    """The network of what darts.yaml has found: `alphas` as `mlograph.data.learned` gives them."""
    return Found(channels, strongest(alphas["alphas"]))


def drawn(channels: int, seed: int) -> Found:
    """The network of a cell that was drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    return Found(channels, strongest(torch.randn(len(EDGES), len(OPERATIONS), generator=generator)))


def alike(channels: int, name: str) -> Found:
    """The network of a cell that has the same operation everywhere."""
    alphas = torch.zeros(len(EDGES), len(OPERATIONS))
    alphas[:, OPERATIONS.index(name)] = 1.0
    return Found(channels, strongest(alphas))


def strongest(alphas: Tensor) -> Cell:
    """The best operation (but not none) on each of the two strongest edges into every node."""
    weights = alphas.softmax(dim=1)[:, : OPERATIONS.index("none")]
    strength, choice = weights.max(dim=1)
    cell = {}
    for j in range(1, 4):
        into = sorted(
            (edge for edge in EDGES if edge[1] == j), key=lambda e: -strength[EDGES.index(e)]
        )
        cell |= {edge: OPERATIONS[int(choice[EDGES.index(edge)])] for edge in into[:KEPT]}
    return cell


def classify(network: View, alphas: View, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """Cross-entropy of the mixed network, and how sure the alphas are of their choice."""
    x, y = batch
    weights = alphas()["alphas"].softmax(dim=1)
    logits = network(x, weights)
    right = (logits.detach().argmax(dim=1) == y).float().mean()
    sure = weights.detach().max(dim=1).values.mean()
    return {"loss": F.cross_entropy(logits, y), "accuracy": right, "sure": sure}
