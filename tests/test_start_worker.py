"""Whom a worker follows."""

import pytest
import torch

from tdml import config as settings
from tdml.cluster.channel import Session
from tdml.cluster.devices import Device
from tdml.cluster.lobby import Decision
from tdml.errors import SettingError
from tdml.identity import Identity
from tdml.start_worker import _check, _Ready

_COORDINATOR, _OTHER = Identity.new(), Identity.new()


def test_worker_with_a_roster_follows_no_other_coordinator() -> None:
    config = settings.load(["identity.roster=roster.yaml"])
    device = Device(torch.device("cpu"), own=False)
    decision = Decision(None, Session("job", "session"), (0, 1)).signed(_OTHER)
    for roster in (None, {"r0.s0": "1" * 64}, {"coordinator": _OTHER.public}):
        _check(decision, _Ready(_COORDINATOR, device, None, roster), config)
    with pytest.raises(
        SettingError, match=r"identity\.roster=roster\.yaml has another key for the coordinator"
    ):
        _check(
            decision,
            _Ready(_COORDINATOR, device, None, {"coordinator": _COORDINATOR.public}),
            config,
        )
