import pytest
import torch

from tdml.bench.audits import audit
from tdml.bench.court import Round
from tdml.bench.federation import Federation
from tdml.bench.grids import Case
from tdml.bench.runs import run_case
from tdml.trust.audit import CLEAN, LIED, UNSETTLED

SMALL = ["data=digits", "data.size=8", "model=mlp", "model.features=192", "model.hidden=8", "device=cpu"]
SIX_STEPS = ["sync.local_steps=6", "trust.audit_windows=3", "trust.audit_rate=1"]


def played(*overrides, replicas=4, stages=2):
    """The first round of a federation of these settings."""
    federation = Federation([*SMALL, f"topology.replicas={replicas}", f"topology.stages={stages}", *overrides])
    updates = federation.updates(1)
    stacked = [torch.stack(parts) for parts in zip(*(updates[replica] for replica in federation.live), strict=True)]
    return Round(federation, 1, federation.live, stacked)


@pytest.mark.parametrize(
    "settings",
    [
        [*SMALL, *SIX_STEPS],
        [*SMALL, "sync.local_steps=1", "train.momentum=0"],
        [*SMALL, *SIX_STEPS, "train.optimizer=adamw", "train.lr=0.01"],
        ["data=digits", "data.size=16", "model=cnn", "model.width=4", "device=cpu", *SIX_STEPS],  # it has buffers
    ],
)
def test_honest_steps_are_found_again_bit_for_bit(settings):
    federation = Federation([*settings, "topology.replicas=3", "topology.stages=1"])
    (update,) = federation.train(1, 2)
    states = [state.weights[0] for state in federation.states[1]]
    for window, claimed in enumerate([*states, update]):
        (repeated,) = federation.repeat(1, 2, window)
        torch.testing.assert_close(repeated, claimed, atol=0, rtol=0)


def test_the_honest_are_cleared_of_all_that_is_asked():
    outcomes = audit(played(*SIX_STEPS), suspects=[2])
    assert {replica: outcome.result for replica, outcome in outcomes.items()} == dict.fromkeys(range(4), CLEAN)
    assert [replica for replica, outcome in outcomes.items() if outcome.full] == [2]
    assert outcomes[2].rulings[0].validators == (0, 1, 3)
    assert all(len(ruling.validators) == 1 for ruling in outcomes[0].rulings.values())


@pytest.mark.parametrize(
    ("attack", "windows"),
    [("half_work", [0, 1, 2]), ("label_flip", [0, 1, 2]), ("backdoor", [0, 1, 2]), ("honest_noise", [2])],
)
def test_a_lie_is_in_the_windows_that_hold_it(attack, windows):
    outcome = audit(played(*SIX_STEPS, f"attack={attack}", "attack.replicas=[3]"), suspects=[])[3]
    assert outcome.result == LIED
    found = [window for window, ruling in outcome.rulings.items() if ruling.result == LIED]
    assert found == windows if attack != "half_work" else found and set(found) <= set(windows)
    assert "audit of window" in outcome.reason


def test_a_false_update_of_one_stage_names_it():
    outcome = audit(played(*SIX_STEPS, "attack=alie", "attack.nodes=[r3.s1]"), suspects=[])[3]
    assert (outcome.result, outcome.blamed) == (LIED, (1,))


def test_of_two_one_word_convicts_nobody():
    found = played(*SIX_STEPS, "attack=label_flip", "attack.replicas=[1]", replicas=2)
    assert audit(found, suspects=[])[1].result == UNSETTLED


def test_attackers_confirm_each_other_where_they_are_asked_alone():
    found = played(*SIX_STEPS, "attack=label_flip", "attack.replicas=[1,2,3]")
    alone = audit(found, suspects=[])
    for replica in (1, 2, 3):
        for ruling in alone[replica].rulings.values():
            friend = len(ruling.validators) == 1
            assert ruling.result == (CLEAN if friend else LIED)
            assert not friend or ruling.validators[0] in (1, 2, 3)
    assert all(outcome.result == LIED for replica, outcome in audit(found, suspects=[1, 2, 3]).items() if replica)


def test_without_audits_nobody_is_asked():
    assert audit(played("sync.local_steps=2", "trust.audit_rate=0"), suspects=[]) == {}


def test_audits_convict_whom_the_two_stages_do_not():
    def convicted(defence):
        case = Case("digits-mlp", 4, 1, 6, "half_work", defence, 0, 2, extra=("trust.audit_rate=1",))
        return run_case(case)["attackers"][0]["convicted"]

    assert (convicted("tdml"), convicted("tdml-audits")) == (None, 1)
