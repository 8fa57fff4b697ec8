"""The models. Any `_target_` works that returns an `nn.Sequential` of blocks or a module with
`blocks()`."""

from tdml.models.cnn import cnn
from tdml.models.gpt import gpt
from tdml.models.hf import hf
from tdml.models.mlp import mlp
from tdml.models.resnet import resnet18, resnet50

__all__ = ["cnn", "gpt", "hf", "mlp", "resnet18", "resnet50"]
