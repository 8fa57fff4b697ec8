"""Who logs something else than was signed."""

from types import SimpleNamespace

import pytest
import torch

from tdml.node.agreement import common_digest, statement
from tdml.node.messages import Channel
from tdml.protocol.identity import Identity
from tdml.round.signatures import Signers, broken_agreements

_CHANNELS = [Channel("activation", 0, 1)]
_NODES = [Identity.new(), Identity.new()]
_SIGNERS = Signers("job", 4, ("r4.s0", "r4.s1"), tuple(node.public for node in _NODES))
_A, _B = (torch.full((2, 1, 32), value, dtype=torch.uint8) for value in (1, 2))


def _signed(by: int, log: torch.Tensor) -> str:
    """By one for the other."""
    peer = 1 - by
    said = statement("job", 4, "train", by, peer, common_digest(log, _CHANNELS, by, peer))
    return _NODES[by].sign(said)


@pytest.mark.parametrize(
    ("logs", "signed", "blamed"),
    [
        ((_A, _A), (_A, _A), set()),
        ((_A, _B), (_A, _B), {"r4.s0", "r4.s1"}),
        ((_A, _B), (_A, _A), {"r4.s1"}),
        ((_A, _B), (_B, _A), {"r4.s0", "r4.s1"}),
    ],
    ids=["all the same", "each its own", "one says otherwise later", "in league"],
)
def test_who_logs_otherwise_is_convicted(logs: tuple, signed: tuple, blamed: set[str]) -> None:
    """`signed`: what stages 0 and 1 have signed for each other."""
    shown = [
        SimpleNamespace(log=logs[0], signatures=("", _signed(1, signed[1]))),
        SimpleNamespace(log=logs[1], signatures=(_signed(0, signed[0]), "")),
    ]
    proofs = broken_agreements(_CHANNELS, _SIGNERS, "train", shown)
    assert {name for proof in proofs for name in proof.nodes} == blamed
