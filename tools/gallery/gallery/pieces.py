"""Data sets as overrides name them: other splits and other wrong labels with every seed."""

from __future__ import annotations

# As in the graphs.
SEED = 'seed: "${engine.seed}"'
_WRONG = "_target_: mlograph.data.noisy_labels, noise: 0.5"


def digits(split: str, train: int = 600, clean: int = 100) -> str:
    """Handwritten digits."""
    sizes = f"split: {split}, train: {train}, validation: {clean}"
    return f"{{_target_: mlograph.data.digits, {sizes}, {SEED}}}"


def noisy_digits(clean: int = 100) -> str:
    """Those to train on, half of them with a wrong label."""
    return f"{{{_WRONG}, {SEED}, dataset: {digits('train', clean=clean)}}}"


def fashion(split: str) -> str:
    """Photos of clothes, of the sizes of the graph."""
    kind = '_target_: mlograph.data.fashion_mnist, root: "${vars.root}"'
    sizes = 'train: "${vars.train}", validation: "${vars.clean}"'
    return f"{{{kind}, split: {split}, {sizes}, {SEED}}}"


def noisy_fashion() -> str:
    """Those to train on, half of them with a wrong label."""
    return f"{{{_WRONG}, {SEED}, dataset: {fashion('train')}}}"


def both(*datasets: str) -> str:
    """One after the other."""
    return f"{{_target_: torch.utils.data.ConcatDataset, datasets: [{', '.join(datasets)}]}}"
