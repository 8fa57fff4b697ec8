"""torchvision's residual networks, cut between blocks so that no skip connection crosses a
border."""

from types import MethodType
from typing import TYPE_CHECKING

from torch import nn

from tdml.common.vision import torchvision

if TYPE_CHECKING:
    from torchvision.models import ResNet


def resnet18(num_classes: int) -> nn.Module:
    """`torchvision.models.resnet18(num_classes=…)` with a method `blocks()`: 10 blocks."""
    return _with_blocks(torchvision().models.resnet18(num_classes=num_classes))


def resnet50(num_classes: int) -> nn.Module:
    """`torchvision.models.resnet50(num_classes=…)` with a method `blocks()`: 18 blocks."""
    return _with_blocks(torchvision().models.resnet50(num_classes=num_classes))


def _with_blocks(model: "ResNet") -> nn.Module:
    # A method added to the object, not a subclass: the model stays torchvision's own, key by key.
    model.blocks = MethodType(_blocks, model)
    return model


def _blocks(model: "ResNet") -> list[nn.Module]:
    stem = nn.Sequential(model.conv1, model.bn1, model.relu, model.maxpool)
    head = nn.Sequential(model.avgpool, nn.Flatten(), model.fc)
    layers = [model.layer1, model.layer2, model.layer3, model.layer4]
    return [stem, *(block for layer in layers for block in layer), head]
