"""Batches are made ready by other processes while the run computes with the ones before.

The numbers are those of reading each batch when it is wanted, to the last bit: what was read ahead
is used only where it is provably that batch (`lane`). So is the position that a checkpoint holds.
"""

from mlograph.prefetch.lane import Lane
from mlograph.prefetch.prefetching import Prefetching
from mlograph.prefetch.process import Helper

__all__ = ["Helper", "Lane", "Prefetching"]
