"""A small convolutional network."""

from torch import nn


def cnn(num_classes: int, channels: int, width: int, norm: bool) -> nn.Sequential:
    """Three convolutions of stride 2 (3×3, with BatchNorm if `norm`), mean pooling, a linear layer:
    four blocks.

    Input: (batch, channels, height, width) images; output: (batch, num_classes) logits.
    """

    def convolution(inputs: int, outputs: int) -> nn.Sequential:
        layers = [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=not norm)]
        return nn.Sequential(*layers, *([nn.BatchNorm2d(outputs)] if norm else []), nn.ReLU())

    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, num_classes))
    return nn.Sequential(
        convolution(channels, width),
        convolution(width, 2 * width),
        convolution(2 * width, 4 * width),
        head,
    )
