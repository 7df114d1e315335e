"""Losses as plain functions of views (`mlograph.views.View`) and a batch.

A loss gives a scalar tensor, or a mapping with `loss` and metrics. Metrics are detached tensors,
never Python numbers, so that a loss can be mapped over tasks with `torch.func.vmap`. A `field` in
the mapping, one tensor for each trainable parameter, is what the problem descends in place of the
gradient (a game, a fixed point).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from mlograph.envs.maze import Policy, Walk
from mlograph.errors import UsageError, did_you_mean
from mlograph.squares import squared_distance, squared_norm
from mlograph.trees import fitting_names
from mlograph.views import View

__all__ = [
    "binary_cross_entropy",
    "cross_entropy",
    "l2",
    "moves_to_goal",
    "mse",
    "proximal",
    "reinforce",
    "reweighted_cross_entropy",
    "weighted_l2",
]


def cross_entropy(
    model: View, batch: Sequence[Tensor], features: View | None = None
) -> dict[str, Tensor]:
    """The mean of −log softmax(model(x))_y, and the share of right answers.

    Args:
        model: gives logits (n, classes).
        batch: inputs (n, …) and int64 labels (n,).
        features: where given, the model sees features(x): a head on another problem's body.
    """
    x, y = _pair(batch)
    logits = model(x if features is None else features(x))
    return {"loss": F.cross_entropy(logits, y), "accuracy": _accuracy(logits, y)}


def binary_cross_entropy(model: View, batch: Sequence[Tensor]) -> dict[str, Tensor]:
    """The mean of −y log σ(f) − (1−y) log(1−σ(f)) with f = model(x), and the accuracy at f > 0.

    Args:
        model: gives logits (n,) or (n, 1).
        batch: inputs (n, …) and targets in [0, 1], (n,) or (n, 1).

    Raises:
        UsageError: not one logit for each target.
    """
    x, y = _pair(batch)
    logits, y = _same_shape(model(x), y)
    loss = F.binary_cross_entropy_with_logits(logits, y.to(logits.dtype))
    right = (logits.detach() > 0) == (y > 0.5)
    return {"loss": loss, "accuracy": right.to(logits.dtype).mean()}


def mse(model: View, batch: Sequence[Tensor]) -> Tensor:
    """The mean of (model(x) − y)² over all entries.

    Args:
        model: gives predictions of the targets' shape; (n, 1) for (n,) will do.
        batch: inputs (n, …) and targets.

    Raises:
        UsageError: predictions and targets differ in shape.
    """
    x, y = _pair(batch)
    prediction, y = _same_shape(model(x), y)
    return F.mse_loss(prediction, y)


def proximal(model: View, anchor: View, weight: float = 1.0, only: str = "*") -> Tensor:
    """weight/2 · ‖θ − anchor‖² over the parameters that `only` fits, matched by name.

    Implicit MAML (Rajeswaran et al., 2019) writes `weight` as λ.

    Args:
        model: θ.
        anchor: what θ is held to.
        weight: λ.
        only: a glob over names of parameters; two terms can hold two parts differently.

    Raises:
        UsageError: the two do not have parameters of the same names and shapes, or `only` fits
            none.
    """
    ours = _fitting(model.named_parameters(), only)
    theirs = _fitting(anchor.named_parameters(), only)
    if ours.keys() != theirs.keys():
        name = next(n for n in [*ours, *theirs] if n not in ours or n not in theirs)
        raise UsageError(
            f"proximal: '{name}' is a parameter of only one of model and anchor; both need "
            "the same architecture (write module: {copy: …})"
        )
    for name in ours:
        if ours[name].shape != theirs[name].shape:
            raise UsageError(
                f"proximal: parameter '{name}' has shape {tuple(ours[name].shape)} in model and "
                f"{tuple(theirs[name].shape)} in anchor"
            )
    if not ours:
        raise UsageError("proximal: the model has no parameters")
    return weight / 2 * squared_distance([*ours.values()], [theirs[name] for name in ours])


def l2(model: View, weight: float = 1.0) -> Tensor:
    """weight/2 · ‖θ‖² over all parameters."""
    params = model.parameters()
    if not params:
        raise UsageError("l2: the model has no parameters")
    return weight / 2 * squared_norm(params)


def weighted_l2(
    model: View, penalties: View, parameter: str | None = None, penalty: str | None = None
) -> Tensor:
    """½ Σ_i exp(λ_i) ‖θ_i‖²: a log-penalty of its own for each feature.

    Args:
        model: holds the weights θ, (…, features), such as `mlograph.nn.MLP([features, 1])`.
        penalties: holds the log-penalties λ, (features,), such as
            `mlograph.nn.Tensors(penalties=[features])`.
        parameter: the name of θ in `model`; not needed where only one parameter fits.
        penalty: the name of λ in `penalties`; not needed where it has a single parameter.

    Raises:
        UsageError: θ or λ cannot be found, or their last axes differ.
    """
    candidates = penalties.named_parameters()
    log_penalty = _named(candidates, "penalty", penalty)
    features = log_penalty.shape[-1:]
    weights = model.named_parameters()
    if parameter is None:
        weights = {name: w for name, w in weights.items() if _is_weight(w, features)}
    theta = _named(weights, "parameter", parameter)
    if theta.shape[-1:] != features:
        raise UsageError(
            f"weighted_l2: parameter has shape {tuple(theta.shape)}, penalties "
            f"{tuple(log_penalty.shape)}; their last axes must be equal"
        )
    return 0.5 * (log_penalty.exp() * theta.square()).sum()


def reweighted_cross_entropy(
    classifier: View, weigher: View, batch: Sequence[Tensor], normalize: bool = False
) -> dict[str, Tensor]:
    """The mean of w(ℓ_i) · ℓ_i, where ℓ_i is the cross-entropy of sample i and w the weigher.

    With `normalize` it is Σ w(ℓ_i) · ℓ_i / Σ w(ℓ_i): weights then say which samples count, and
    cannot grow only to raise the learning rate.

    The weigher sees detached losses: it is trained only through what its weights do to the
    classifier (Meta-Weight-Net, Shu et al., 2019).

    Args:
        classifier: gives logits (n, classes).
        weigher: maps losses (n, 1) to weights (n, 1), such as `mlograph.nn.Weigher`.
        batch: inputs (n, …) and int64 labels (n,).
        normalize: divide by the sum of the weights instead of the number of samples.
    """
    x, y = _pair(batch)
    logits = classifier(x)
    each = F.cross_entropy(logits, y, reduction="none")
    weights = weigher(each.detach()[:, None]).squeeze(1)
    total = (weights * each).sum()
    return {
        "loss": total / weights.sum() if normalize else total / len(y),
        "accuracy": _accuracy(logits, y),
        "weight": weights.detach().mean(),
    }


def reinforce(
    policy: View, batch: Walk, potential: View | None = None, moves: int = 8
) -> dict[str, Tensor]:
    """The policy gradient of a walk, a mean over walkers: −Σ_t log π(a_t|s_t) · (G_t − mean G_t).

    G_t = Σ_{k≥t} r_k up to the end of the walker's episode, or of the walk. A move earns 1 where it
    arrives at the goal, and Φ(s') − Φ(s) of a potential Φ if there is one, with Φ = 0 at the goal:
    over whole episodes that does not change which policy is best (Ng, Harada and Russell, 1999),
    but it does change how soon it is found. Williams (1992).

    Args:
        policy: gives logits of the actions, (n, actions), for cells (n,), such as `nn.Table`.
        batch: of `mlograph.envs.MazeEnv`.
        potential: gives Φ, (n, 1), for cells (n,).
        moves: of every walker.
    """
    path = batch.follow(_acting(policy), moves).to(_device(policy))
    logits = policy(path.cells)
    rewards = path.arrived.to(logits.dtype)
    if potential is not None:
        before, after = potential(path.cells).squeeze(-1), potential(path.reached).squeeze(-1)
        rewards = rewards + after * ~path.arrived - before
    G = _to_go(rewards, path.ended)
    chosen = logits.log_softmax(dim=-1).gather(-1, path.actions[..., None]).squeeze(-1)
    advantage = G - G.mean(dim=1, keepdim=True)
    return {
        "loss": -(chosen * advantage).sum(dim=0).mean(),
        "arrivals": path.arrived.sum(dim=0).to(logits.dtype).mean(),
    }


def moves_to_goal(policy: View, batch: Walk, limit: int = 60) -> dict[str, Tensor]:
    """The mean number of moves until a walker arrives, `limit` where it does not: no gradient.

    Args:
        policy: gives logits of the actions, (n, actions), for cells (n,).
        batch: of `mlograph.envs.MazeEnv`.
        limit: moves to wait for.
    """
    arrived = batch.follow(_acting(policy), limit).arrived
    reached = arrived.any(dim=0)
    moves = torch.where(reached, arrived.int().argmax(dim=0) + 1, limit)
    return {
        "loss": moves.float().mean(),
        "arrived": reached.float().mean(),
    }


def _to_go(rewards: Tensor, ended: Tensor) -> Tensor:
    """Σ_{k≥t} r_k up to where an episode ends; all (moves, walkers)."""
    ahead, sums = torch.zeros_like(rewards[0]), []
    for reward, last in zip(rewards.flip(0), ended.flip(0), strict=True):
        ahead = reward + ahead * ~last
        sums.append(ahead)
    return torch.stack(sums).flip(0)


def _acting(policy: View) -> Policy:
    """Probabilities of the actions, for whoever walks on the CPU."""
    device = _device(policy)
    return lambda cells: policy(cells.to(device)).detach().softmax(dim=-1).cpu()


def _device(view: View) -> torch.device:
    return view.parameters()[0].device


def _accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits.detach().argmax(dim=-1) == labels).to(logits.dtype).mean()


def _pair(batch: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    # A mapping of two would be taken apart into its two names.
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise UsageError(
            f"batch: expected a pair of inputs and targets, got {len(batch)} in a "
            f"{type(batch).__name__}"
        )
    return batch[0], batch[1]


def _same_shape(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """(n, 1) and (n,) are the same thing; anything else would broadcast silently."""
    if prediction.dim() == target.dim() + 1 and prediction.shape[-1] == 1:
        prediction = prediction.squeeze(-1)
    if prediction.shape != target.shape:
        raise UsageError(
            f"model: gives shape {tuple(prediction.shape)} where the targets have "
            f"{tuple(target.shape)}"
        )
    return prediction, target


def _fitting(tensors: Mapping[str, Tensor], pattern: str) -> Mapping[str, Tensor]:
    if pattern == "*":
        return tensors
    found = {name: tensors[name] for name in fitting_names(tuple(tensors), pattern)}
    if tensors and not found:
        raise UsageError(f"only: '{pattern}' fits no parameter ({did_you_mean(pattern, tensors)})")
    return found


def _is_weight(tensor: Tensor, features: Sequence[int]) -> bool:
    # One-dimensional parameters beside a matrix are biases, even where their size fits.
    return tensor.shape[-1:] == torch.Size(features) and tensor.dim() != 1


def _named(tensors: Mapping[str, Tensor], argument: str, name: str | None) -> Tensor:
    if name is None:
        if len(tensors) == 1:
            return next(iter(tensors.values()))
        found = ", ".join(tensors) or "none"
        raise UsageError(f"weighted_l2: name the {argument}; candidates: {found}")
    if name not in tensors:
        raise UsageError(
            f"weighted_l2: {argument} '{name}' does not exist ({did_you_mean(name, tensors)})"
        )
    return tensors[name]
