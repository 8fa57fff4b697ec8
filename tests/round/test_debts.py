"""What a node that owes a round has to show."""

from dataclasses import replace

import pytest

from tdml.common.merkle import root
from tdml.lab.laboratory import Laboratory
from tdml.protocol.orders import Commitment
from tdml.round.audits import Audits
from tdml.round.debts import Debt
from tdml.trust.judgement import Audited
from tests.round.liars import IsSilent
from tests.round.seats import sit

_BLOCKS, _STATES = ("a" * 64, "b" * 64), "c" * 64
_JOB = [
    "model=mlp", "data.size=8", "model.features=192", "model.hidden=16", "sync.local_steps=6",
    "topology.replicas=3", "trust.budget=1", "rounds=3",
]  # fmt: skip


@pytest.mark.parametrize(
    ("blocks", "states", "met"),
    [
        (_BLOCKS, _STATES, True),
        (_BLOCKS, "d" * 64, False),
        (_BLOCKS[::-1], _STATES, False),
    ],
    ids=["the same", "another trace", "another update"],
)
def test_it_is_the_same_update_by_the_same_steps(
    blocks: tuple[str, ...], states: str, met: bool
) -> None:
    debt = Debt(1, 0, 6, 1, "", root(_BLOCKS), _STATES, ("a key",), [])
    mates = Commitment("", "", (), "")
    again = Commitment(root(blocks), states, blocks, "")
    assert debt.is_met_by([mates, again]) is met


def test_what_the_coordinator_does_not_find_is_still_owed_whoever_has_found_it() -> None:
    laboratory = Laboratory([*_JOB, "topology.stages=1"])
    judge, key = laboratory.engine.judge, laboratory.fleet.key("r1.s0")
    debts, collector = judge.debts, judge.collector
    [_, replica, _] = laboratory.fleet.muster()
    debt = Debt(1, 1, 6, 0, "", "", "", (key,), [])
    debts.owing = {key: debt}
    clean = Audited(clean=tuple(range(laboratory.job.window_count(6))))
    left_open = replace(clean, unsettled="why")
    assert collector._settled(replica, debt, Audits(by_replica={1: left_open})) == "why"
    assert debts.owing == {key: debt}
    collector._settled(replica, debt, Audits(by_replica={1: clean}))
    assert debts.owing == {}


def test_of_several_the_oldest_comes_first() -> None:
    laboratory = Laboratory([*_JOB, "topology.stages=2"])
    debts, key = laboratory.engine.judge.debts, laboratory.fleet.key
    [_, replica, _] = laboratory.fleet.muster()
    debt = Debt(1, 1, 6, 1, "", "", "", (), [])
    debts.owing = {key("r1.s0"): replace(debt, round=2, stage=0), key("r1.s1"): debt}
    assert debts.oldest(replica) is debt


@pytest.mark.parametrize("stages", [1, 2])
def test_who_is_on_another_kind_of_machine_with_no_other_partners_is_believed_once(
    stages: int,
) -> None:
    """As who was formed again with others' number of threads. But whoever says so whenever it is
    asked for its work would be silent whenever a lie of its own is asked for."""
    laboratory = Laboratory([*_JOB, f"topology.stages={stages}", "trust.audit_windows=1"])
    own = laboratory.engine.judge.auditor.settler.referee.kind
    played = []
    for number in range(1, 6):
        silent = number in (1, 3)
        sit(laboratory, "r1.s0", IsSilent, silent=silent)
        for replica in laboratory.fleet.muster():
            replica.kind = "NVIDIA H400" if replica.index == 1 and not silent else own
        played.append(laboratory.play(number))
    assert [round_.forgiven for round_ in played] == [(), ("r1.s0",), (), (), ()]
    assert laboratory.engine.judge.debts.owing.keys() == {laboratory.fleet.key("r1.s0")}
    text = "r1.s0 owes its work of round 3, and has not shown it"
    assert [round_.judgements[1].reason == text for round_ in played[3:]] == [True, True]


def test_who_is_forgiven_has_shown_nothing_until_its_verdict_says_so() -> None:
    """Of a round that is void, say, by one that never has another verdict: with the job's end the
    pay would have been its own."""
    laboratory = Laboratory([*_JOB, "topology.stages=1"])
    debts, key = laboratory.engine.judge.debts, laboratory.fleet.key("r1.s0")
    debts.owing = {key: Debt(1, 1, 6, 0, "", "", "", (key,), [])}
    assert debts.pay_withheld == {key}
    debts.take_back(0)
    assert (debts.owing, debts.pay_withheld) == ({}, {key})
    assert debts.tell_forgiven(["r1.s0"]) == ("r1.s0",)
    assert debts.pay_withheld == set()


def test_the_weights_for_who_does_not_come_to_show_its_work_are_not_kept_for_ever() -> None:
    """Every checkpoint holds them, and of larger ones fewer are kept to go back to: four keys that
    are gone would have it hold five models for good."""
    laboratory = Laboratory([*_JOB, "topology.stages=1", "trust.audit_windows=1"])
    sit(laboratory, "r1.s0", IsSilent)
    laboratory.play(1)
    laboratory.fleet.banned.append("r1.s0")  # it is gone
    key, kept = laboratory.fleet.key("r1.s0"), []
    for number in range(2, 6):
        laboratory.play(number)
        kept.append(bool(laboratory.engine.judge.debts.owing[key].weights))
    assert kept == [True, True, True, False]
