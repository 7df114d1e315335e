"""The roads, the drivers and the city of tolls.yaml."""

import torch
from torch import Generator, Tensor
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from mlograph.data import FullBatch, full_batch
from mlograph.views import View

# Roads, in this order: start to left, left to end, start to right, right to end, left to right.
ROUTES = torch.tensor([[1.0, 1, 0, 0, 0], [0, 0, 1, 1, 0], [1, 0, 0, 1, 1]])
FREE = torch.tensor([0.0, 1, 1, 0, 0])  # time that an empty road takes
SLOPE = torch.tensor([1.0, 0, 0, 1, 0])  # and what all drivers together add to it
VALUES = torch.tensor([0.5, 2.0])  # of an hour, to each of two halves of the drivers
CARE = 0.05  # a smaller number makes drivers more certain to choose the cheapest route


def roads(seed: int = 0) -> FullBatch:
    """Braess's network (1968) with up to 0.2 more everywhere: free times and slopes, (1, 5)."""
    more = 0.2 * torch.rand(2, 1, 5, generator=Generator().manual_seed(seed))
    return full_batch(TensorDataset(FREE + more[0], SLOPE + more[1]))


def drive(drivers: View, tolls: View, batch: tuple[Tensor, Tensor]) -> dict[str, object]:
    """Where no driver wants another route: logits θ_k = −(time + toll / value_k) / care.

    The field is θ_k + (time + toll / value_k) / care for both halves k, over the three routes.
    """
    logits = drivers()["logits"]
    time, total = _times(logits, batch)
    asked = price(tolls) / VALUES.to(time)[:, None]
    field = logits + (time + asked) @ ROUTES.to(time).T / CARE
    return {"loss": total.detach(), "field": {"logits": field}}


def travel_time(drivers: View, tolls: View, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """The time that all drivers need together, and what the five roads cost."""
    _, total = _times(drivers()["logits"], batch)
    names = ("left_in", "left_out", "right_in", "right_out", "across")
    costs = dict(zip(names, price(tolls).detach(), strict=True))
    return {"loss": total, **costs}


def price(tolls: View) -> Tensor:
    """Tolls (5,), which are never negative."""
    return F.softplus(tolls()["tolls"], beta=10)


def _times(logits: Tensor, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The time of each road (5,), and Σ flow · time, for logits (2, 3)."""
    free, slope = (numbers[0] for numbers in batch)
    flow = logits.softmax(dim=1).mean(dim=0) @ ROUTES.to(logits)
    time = free + slope * flow
    return time, (flow * time).sum()
