"""Checkpoints: files that are whole or not there, and what goes into them."""

from mlograph.checkpoints.digest import digest, unequal
from mlograph.checkpoints.files import DamagedError, read, write
from mlograph.checkpoints.machine import differences, facts
from mlograph.checkpoints.packing import Packer, Unpacker
from mlograph.checkpoints.signals import EXIT_CODES, Signals, TooLongError, within
from mlograph.checkpoints.store import Found, Store
from mlograph.checkpoints.version import understood

__all__ = [
    "EXIT_CODES",
    "DamagedError",
    "Found",
    "Packer",
    "Signals",
    "Store",
    "TooLongError",
    "Unpacker",
    "differences",
    "digest",
    "facts",
    "read",
    "understood",
    "unequal",
    "within",
    "write",
]
