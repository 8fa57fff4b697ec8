"""Torchvision's residual networks, with its stem and with those for small pictures."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tdml.models import resnet18, resnet50
from tdml.models.split import blocks_of

_BOTH = pytest.mark.parametrize("make", [resnet18, resnet50])


def _flops(model: nn.Module) -> int:
    with FlopCounterMode(display=False) as counter:
        model(torch.randn(2, 3, 32, 32))
    return counter.get_total_flops()


@pytest.fixture
def shapes_alone():
    """Nothing is computed."""
    with torch.device("meta"):
        yield


@_BOTH
@pytest.mark.usefixtures("shapes_alone")
def test_what_the_stems_cost(make) -> None:
    """As their setting says: 4 and 16 times the work, but for the stem itself."""
    usual = _flops(make(10))
    assert _flops(make(10, "cifar_pooled")) / usual == pytest.approx(4, rel=0.1)
    assert _flops(make(10, "cifar")) / usual == pytest.approx(16, rel=0.1)


@_BOTH
@pytest.mark.usefixtures("shapes_alone")
@pytest.mark.parametrize(("stem", "pixels"), [("imagenet", 8), ("cifar_pooled", 16), ("cifar", 32)])
def test_pixels_before_the_first_residual_block(make, stem: str, pixels: int) -> None:
    model = make(10, stem)
    first = blocks_of(model)[0](torch.randn(2, 3, 32, 32))
    assert first.shape == (2, 64, pixels, pixels)
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)


def test_weights_are_named_as_torchvisions_and_begin_as_wide() -> None:
    torch.manual_seed(0)
    usual, small = resnet18(10), resnet18(10, "cifar")
    assert list(small.state_dict()) == list(usual.state_dict())
    wanted = (2 / (64 * 3 * 3)) ** 0.5  # He et al., arXiv 1502.01852, equation 14: fan-out
    assert small.conv1.weight.std().item() == pytest.approx(wanted, rel=0.1)
