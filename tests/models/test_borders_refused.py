"""What a first pass finds that nodes could not do."""

import pytest
import torch
from torch import nn

from tdml.errors import SettingError
from tdml.models.borders import trace_borders, trace_gradients


class _Freezes(nn.Linear):
    """Trains its bias from the first pass on no more."""

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        self.bias.requires_grad_(False)
        return super().forward(value)


class _Forces(nn.Linear):
    """The gradient of an energy by the place, as in models of molecules."""

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        energy = super().forward(value.requires_grad_()).sum()
        return torch.autograd.grad(energy, value, create_graph=True)[0]


class _ForcesAlways(_Forces):
    def forward(self, value: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            return super().forward(value)


@pytest.mark.parametrize("trace", [trace_borders, trace_gradients])
def test_a_pass_that_freezes_a_parameter_is_the_users_mistake(trace):
    """Every node must know what is trained before the first."""
    with pytest.raises(SettingError, match=r"its first pass makes bias, .* or decides"):
        trace([nn.Linear(3, 3), _Freezes(3, 3)], torch.ones(2, 3))


def test_gradients_in_a_forward_need_torchs_leave():
    with pytest.raises(SettingError, match=r"block 1 .* let it do so under torch.enable_grad"):
        trace_borders([nn.Linear(3, 3), _Forces(3, 1)], torch.ones(2, 3))
    assert len(trace_borders([nn.Linear(3, 3), _ForcesAlways(3, 1)], torch.ones(2, 3))) == 3
