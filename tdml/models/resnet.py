"""torchvision's residual networks, cut between blocks so that no skip connection crosses a
border."""

from types import MethodType
from typing import TYPE_CHECKING

from torch import nn

from tdml.common.vision import torchvision

if TYPE_CHECKING:
    from torchvision.models import ResNet


def resnet18(num_classes: int, stem: str = "imagenet") -> nn.Module:
    """`torchvision.models.resnet18(num_classes=…)` with a method `blocks()`: 10 blocks."""
    return _with_blocks(_with_stem(torchvision().models.resnet18(num_classes=num_classes), stem))


def resnet50(num_classes: int, stem: str = "imagenet") -> nn.Module:
    """`torchvision.models.resnet50(num_classes=…)` with a method `blocks()`: 18 blocks."""
    return _with_blocks(_with_stem(torchvision().models.resnet50(num_classes=num_classes), stem))


def _with_stem(model: "ResNet", stem: str) -> "ResNet":
    """What comes before the first residual block: torchvision's stem (7 × 7, stride 2, and
    pooling), or one for pictures of 32 pixels (He et al., arXiv 1512.03385, section 4.2: 3 × 3,
    stride 1), with the pooling, 4 times the work, or without it, 16 times."""
    if stem != "imagenet":
        model.conv1 = _small_convolution(model.conv1.out_channels)
    if stem == "cifar":
        model.maxpool = nn.Identity()
    return model


def _small_convolution(channels: int) -> nn.Conv2d:
    convolution = nn.Conv2d(3, channels, kernel_size=3, stride=1, padding=1, bias=False)
    # as torchvision begins all of its own
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution


def _with_blocks(model: "ResNet") -> nn.Module:
    # A method added to the object, not a subclass: the model stays torchvision's own, key by key.
    model.blocks = MethodType(_blocks, model)
    return model


def _blocks(model: "ResNet") -> list[nn.Module]:
    stem = nn.Sequential(model.conv1, model.bn1, model.relu, model.maxpool)
    head = nn.Sequential(model.avgpool, nn.Flatten(), model.fc)
    layers = [model.layer1, model.layer2, model.layer3, model.layer4]
    return [stem, *(block for layer in layers for block in layer), head]
