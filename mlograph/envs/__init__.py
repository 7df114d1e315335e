"""Sources of data that several problems share: the `Env` protocol and the built-in ones."""

from mlograph.envs.augmentation import Distortion
from mlograph.envs.few_shot import FewShotEnv
from mlograph.envs.maze import MazeEnv
from mlograph.envs.protocol import Env, SplitEnv
from mlograph.envs.shared_batches import SharedBatches
from mlograph.envs.sine import SineEnv

__all__ = ["Distortion", "Env", "FewShotEnv", "MazeEnv", "SharedBatches", "SineEnv", "SplitEnv"]
