"""The modules that the shipped graphs are made of; any `torch.nn.Module` does as well."""

from mlograph.nn.convolutional import ConvFeatures, ConvNet
from mlograph.nn.dense import MLP, Weigher
from mlograph.nn.normalization import BatchNorm
from mlograph.nn.tensors import Table, Tensors
from mlograph.nn.weights import filled, loaded

__all__ = [
    "MLP",
    "BatchNorm",
    "ConvFeatures",
    "ConvNet",
    "Table",
    "Tensors",
    "Weigher",
    "filled",
    "loaded",
]
