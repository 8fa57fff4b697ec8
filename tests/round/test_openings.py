"""What no honest node shows of its round."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from tdml.common.merkle import root
from tdml.node.messages import Channel
from tdml.node.trace import Opening
from tdml.protocol.orders import Commitment, Repetition
from tdml.round import openings
from tdml.round.openings import false_answer, false_traces, is_log, skipped_steps
from tdml.round.signatures import Signers

_CHANNELS = [Channel("activation", 0, 1), Channel("activation", 1, 2)]
_STEPS, _WINDOWS = 6, 3
_SIGNERS = Signers("job", 0, ("r0.s0", "r0.s1", "r0.s2"), ("", "", ""))
_JOB = SimpleNamespace(
    channels=_CHANNELS,
    window_count=lambda steps: {_STEPS: _WINDOWS}[steps],
    config=SimpleNamespace(topology=SimpleNamespace(stages=3)),
)
_BLOCKS = ("a" * 64,)


@pytest.fixture(autouse=True)
def _agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """All have signed what they log."""
    monkeypatch.setattr(openings, "broken_agreements", lambda *_: [])


def _log(stage: int) -> torch.Tensor:
    log = torch.zeros(_STEPS, 2, 32, dtype=torch.uint8)
    log[:, [0, 1] if stage == 1 else [stage // 2]] = 1
    return log


def _opening(stage: int) -> Opening:
    return Opening(("b" * 64, "c" * 64, root(_BLOCKS)), _log(stage), ("", "", ""))


def _convicted(stage: int = 1, committed: str = "", **changes: object) -> list[str]:
    """Of whom one shows what is `changed`, and has committed to that, or else to `committed`."""
    shown = [_opening(index) for index in range(3)]
    shown[stage] = replace(shown[stage], **changes)
    commitments = [Commitment("", each.root, _BLOCKS, "") for each in shown]
    if committed:
        commitments[stage] = replace(commitments[stage], states=committed)
    proofs = false_traces(_JOB, _SIGNERS, "", _STEPS, commitments, shown, ())
    return [name for proof in proofs for name in proof.nodes]


def test_what_all_had_committed_to_convicts_nobody() -> None:
    assert _convicted() == []


def _with_a_step_less(stage: int) -> torch.Tensor:
    log = _log(stage)
    log[3] = 0
    return log


@pytest.mark.parametrize(
    "changes",
    [
        {"committed": "d" * 64},
        {"states": ("b" * 64, "c" * 64, "d" * 64)},
        {"states": ("b" * 64, root(_BLOCKS))},
        {"signatures": ("", "")},
        {"log": _log(1)[:-1]},
        {"log": _log(1).float()},
        {"log": _with_a_step_less(1)},
    ],
    ids=["other", "other end", "windows", "signatures", "steps", "form", "a step left out"],
)
def test_who_shows_something_else_is_convicted_alone(changes: dict) -> None:
    assert _convicted(**changes) == ["r0.s1"]


@pytest.mark.parametrize(
    ("changes", "blamed"),
    [
        ({}, []),
        ({"signatures": ("", "")}, ["r0.s2"]),
        ({"log": _log(2)[:-1]}, ["r0.s2"]),
        ({"log": _with_a_step_less(2)}, ["r0.s2"]),
    ],
    ids=["nothing", "signatures", "steps", "a step left out"],
)
def test_who_has_not_repeated_all_of_it_is_convicted(
    changes: dict, blamed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openings, "repetition_purpose", lambda _: "")
    answers = [Repetition("", _log(stage), ("", "", ""), ()) for stage in range(3)]
    answers[2] = replace(answers[2], **changes)
    window = SimpleNamespace(order=SimpleNamespace(batches=range(_STEPS)))
    proofs = false_answer(_JOB, _SIGNERS, window, answers)
    assert [name for proof in proofs for name in proof.nodes] == blamed


def test_a_log_is_of_the_own_channels_alone() -> None:
    assert is_log(_log(0), _STEPS, _CHANNELS, 0)
    assert not is_log(_log(1), _STEPS, _CHANNELS, 0)


def test_who_has_no_channels_skips_nothing() -> None:
    assert not skipped_steps(torch.zeros(_STEPS, 0, 32, dtype=torch.uint8), [])
