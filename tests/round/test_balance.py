"""How many steps who takes, and what a round with fewer of them comes to."""

import pytest
import torch

from tdml.lab.fleet import LocalReplica
from tdml.lab.laboratory import Laboratory
from tdml.node.node import Node
from tdml.node.trace import Opening
from tdml.protocol.orders import Commitment
from tdml.round.balance import Balance
from tdml.round.result import Round
from tests.round import liars
from tests.round.seats import sit

FULL = [20, 20, 20, 8]
SLOTS = {index: (f"r{index}.s0", f"r{index}.s1") for index in range(4)}


def played(balance: Balance, *seconds_a_step: float, late: tuple[int, ...] = ()) -> dict[int, int]:
    """A round in which all take the steps that they are to; those of the next."""
    for index, steps in balance.steps(SLOTS).items():
        balance.note(index, steps, steps * seconds_a_step[index])
    balance.close(SLOTS, late)
    return balance.steps(SLOTS)


def test_who_is_slow_in_three_rounds_takes_as_many_as_fit_into_the_time_of_the_others() -> None:
    balance = Balance(FULL, enabled=True)
    for _ in range(2):
        assert played(balance, 1.0, 1.1, 2.5, 4.0) == dict(enumerate(FULL))
    # the median of 1, 1.1, 2.5 and 4 is 1.1; the times of its share count, not those of others'
    assert played(balance, 1.0, 1.1, 2.5, 4.0) == {0: 20, 1: 20, 2: 9, 3: 2}
    assert played(balance, 1.0, 1.1, 2.5, 4.0) == {0: 20, 1: 20, 2: 9, 3: 2}
    assert played(balance, 1.0, 1.1, 1.1, 400.0) == {0: 20, 1: 20, 2: 20, 3: 2}, "the best of three"


def test_what_all_suffer_slows_nobody() -> None:
    balance = Balance(FULL, enabled=True)
    for load in (1.0, 7.0, 3.0, 50.0):
        assert played(balance, load, load, 1.2 * load, load) == dict(enumerate(FULL))


def test_a_hiccup_costs_no_steps_and_one_step_is_the_least() -> None:
    balance = Balance(FULL, enabled=True)
    for pace in (1.0, 1.0, 9.0, 9.0, 1.0, 9.0, 9.0):
        assert played(balance, 1.0, 1.0, 1.0, pace) == dict(enumerate(FULL))
    assert played(balance, 1.0, 1.0, 1.0, 9.0)[3] == 1
    assert played(balance, 1.0, 1.0, 1.0, 1e9)[3] == 1


def test_who_is_late_takes_fewer_at_once() -> None:
    balance = Balance(FULL, enabled=True)
    assert played(balance, 1.0, 1.0, 5.0, 1.0, late=(2,)) == {0: 20, 1: 20, 2: 4, 3: 8}


def test_nothing_is_known_of_other_nodes() -> None:
    balance = Balance(FULL, enabled=True)
    for _ in range(3):
        played(balance, 1.0, 1.0, 5.0, 1.0)
    assert balance.steps({2: ("r2.s0", "spare0")}) == {2: 20}
    assert balance.steps({2: SLOTS[2]}) == balance.fewer(SLOTS) == {2: 4}


def test_a_checkpoint_keeps_what_the_next_round_depends_on() -> None:
    balance, again = Balance(FULL, enabled=True), Balance(FULL, enabled=True)
    for _ in range(3):
        expected = played(balance, 1.0, 1.0, 5.0, 3.0)
    again.restore(balance.state())
    assert again.steps(SLOTS) == expected == {0: 20, 1: 20, 2: 4, 3: 3}
    assert played(again, 1.0, 1.0, 5.0, 1.0) == played(balance, 1.0, 1.0, 5.0, 1.0)


def test_that_a_replica_is_slow_is_said_once_also_after_a_checkpoint() -> None:
    """And again, if it was faster in between."""
    balance, said = Balance(FULL, enabled=True), []
    for pace in (5.0, 5.0, 5.0, 5.0, 1.0, 5.0, 5.0, 5.0):
        steps = played(balance, 1.0, 1.0, pace, 1.0)
        said.append(balance.news(steps))
        kept, balance = balance.state(), Balance(FULL, enabled=True)
        balance.restore(kept)
    text = (
        "replica 2 is slow: from now on it takes 4 of 20 steps, or as many as it can while the "
        "others take theirs"
    )
    assert said == [[], [], [text], [], [], [], [], [text]]


def test_by_default_all_take_all_steps() -> None:
    balance = Balance(FULL, enabled=False)
    for _ in range(4):
        assert played(balance, 1.0, 1.0, 5.0, 5.0, late=(3,)) == dict(enumerate(FULL))


# Rounds with fewer steps


_BALANCED = ["topology.replicas=5", "topology.stages=2", "sync.balance=true", "rounds=6"]
_CNN = [
    *_BALANCED, "model=cnn", "model.width=8", "data.size=16", "train.lr=0.05",
    "sync.local_steps=20",
]  # fmt: skip
_MLP = [
    *_BALANCED, "model=mlp", "data.size=8", "model.features=192", "model.hidden=16",
    "sync.local_steps=6",
]  # fmt: skip


def play(laboratory: Laboratory, number: int, slow: dict[int, float]) -> Round:
    """A round in which some replicas are known to be so many times as slow as the others."""
    names = {replica.index: replica.names for replica in laboratory.fleet.muster()}
    balance = laboratory.engine.balance
    balance.restore({i: [names[i], [slow.get(i, 1.0)] * 3, False] for i in names})
    return laboratory.play(number)


@pytest.mark.parametrize(
    "times", [2.0, *(pytest.param(each, marks=pytest.mark.slow) for each in (4 / 3, 20.0))]
)
def test_an_honest_replica_with_fewer_steps_is_not_accused(times: float) -> None:
    """Its update is 3 to 30 widths off its peers': without audits it would not count."""
    laboratory = Laboratory([*_CNN, "trust.budget=0"])
    for number in range(1, 4):
        found = play(laboratory, number, {4: times})
        assert found.steps == {0: 20, 1: 20, 2: 20, 3: 20, 4: round(20 / times)}
        assert {made.status for made in found.judgements.values()} == {"honest"}, found.judgements
        assert found.judgements[4].samples == 32 * found.steps[4]


def test_most_may_be_slow_and_the_others_are_not_shortened_to_their_size() -> None:
    laboratory = Laboratory([*_CNN, "trust.budget=0"])
    found = play(laboratory, 1, {0: 8.0, 1: 8.0, 2: 8.0})
    assert {(made.weight, made.scale) for made in found.judgements.values()} == {(1.0, 1.0)}


def test_the_mean_weighs_every_sample_alike() -> None:
    laboratory = Laboratory([*_MLP, "trust.enabled=false"])
    before = [flat.clone() for flat in laboratory.engine.weights]
    found = play(laboratory, 1, {4: 4.0})
    for stage, start in enumerate(before):
        updates = {r.index: r.nodes[stage].update for r in laboratory.fleet.muster()}
        total = sum(found.steps.values())
        expected = start + sum(updates[i] * (found.steps[i] / total) for i in updates)
        assert torch.allclose(laboratory.engine.weights[stage], expected, atol=1e-6)


def test_it_takes_the_first_of_the_steps_that_it_would_take_otherwise() -> None:
    """What crosses its borders in each of them is the same, and audits repeat all of its work."""
    settings = [*_MLP, "train.schedule=cosine", "train.warmup=3", "trust.budget=1"]
    logs = []
    for slow in ({4: 2.0}, {}):
        laboratory = Laboratory(settings)
        found = play(laboratory, 1, slow)
        assert {made.status for made in found.judgements.values()} == {"honest"}
        assert all(made.verified for made in found.judgements.values())
        logs.append([node.open().log for node in laboratory.fleet.muster()[4].nodes])
        assert all(made.verified for made in play(laboratory, 2, slow).judgements.values())
    for few, all_ in zip(*logs, strict=True):
        assert len(few) == 3 and len(all_) == 6
        assert torch.equal(few, all_[:3])


@pytest.mark.parametrize("deed", ["state", "update"])
def test_a_liar_with_fewer_steps_is_found(deed: str) -> None:
    laboratory = Laboratory([*_MLP, "trust.budget=1"])
    sit(laboratory, "r4.s0", liars.Liar, deed=deed)
    assert list(play(laboratory, 1, {4: 1.5}).bans) == ["r4.s0"]


def test_who_cannot_be_compared_is_looked_at_before_others() -> None:
    """Of a tenth of the work most is spent on it, and soon."""
    laboratory = Laboratory([*_MLP, "trust.budget=0.1"])
    audited = [play(laboratory, number, {4: 2.0}).audits.keys() for number in range(1, 7)]
    times = [sum(index in found for found in audited) for index in range(5)]
    assert times[4] >= 2 and times[4] == max(times), audited


def test_owed_work_is_done_again_with_as_many_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tdml.round.auditor.LOOK", 0.0)
    laboratory = Laboratory([*_MLP, "trust.budget=1"])
    sit(laboratory, "r4.s0", Hides)
    assert play(laboratory, 1, {4: 2.0}).judgements[4].weight == 0
    debts = laboratory.engine.judge.debts.owing
    assert [debt.steps for debt in debts.values()] and {d.steps for d in debts.values()} == {3}
    sit(laboratory, "r4.s0", Node)
    found = play(laboratory, 2, {})
    assert found.steps[4] == 6
    assert not laboratory.engine.judge.debts.owing, found.judgements[4].reason
    assert found.spent == 3 + 4 * 6, "what was owed, and all work of the others"


class Hides(Node):
    """Does not show its trace."""

    def open(self) -> Opening:
        """Fail."""
        raise RuntimeError("hidden")


def test_who_says_early_that_it_has_trained_is_timed_until_it_has_committed(monkeypatch) -> None:
    """Else all work could be done while it commits, and whoever does it as it should is slow."""
    laboratory = Laboratory(
        ["model=mlp", "data.size=8", "model.features=192", "model.hidden=16", "rounds=1",
         "sync.local_steps=4", "topology.replicas=3", "topology.stages=1", "trust.budget=0"]
    )  # fmt: skip
    now, noted, commit = [0.0], {}, LocalReplica.commit
    monkeypatch.setattr("tdml.round.engine.time.monotonic", lambda: now[0])

    def commits(replica: LocalReplica, number: int) -> list[Commitment]:
        now[0] += 8.0 if replica.index == 1 else 2.0
        return commit(replica, number)

    def note(index: int, steps: int, seconds: float) -> None:
        noted[index] = steps, seconds

    monkeypatch.setattr(LocalReplica, "commit", commits)
    monkeypatch.setattr(laboratory.engine.balance, "note", note)
    laboratory.play(1)
    assert noted == {0: (4, 2.0), 1: (4, 8.0), 2: (4, 2.0)}
