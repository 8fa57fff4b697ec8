"""Who stands out because of what it was given, round after round, and was found clean there."""

import pytest
import torch

from tdml.lab.laboratory import Laboratory
from tdml.node.node import Node
from tdml.round.standing import ClearedDeviations
from tdml.trust.fold import fold_stage
from tdml.trust.numbers import LIMIT
from tdml.trust.screen import Screening, screen_sums
from tests.round.seats import banned, sit

_ROUNDS = 12


def one_apart(dataset, replicas):
    """The first replica has the classes 0 and 1, the others share the rest."""
    labels = [int(dataset[i][1]) for i in range(len(dataset))]
    rest = [i for i, label in enumerate(labels) if label > 1]
    others = [rest[k :: replicas - 1] for k in range(replicas - 1)]
    return [[i for i, label in enumerate(labels) if label < 2], *others]


def laboratory(*more: str) -> Laboratory:
    return Laboratory(
        [
            "data=digits", "data.size=8", "model=mlp", "model.features=192", "model.hidden=8",
            "topology.replicas=5", "topology.stages=1", "sync.local_steps=4", "device=cpu",
            f"data.shares={{_target_: {__name__}.one_apart}}", *more,
        ]
    )  # fmt: skip


def test_it_is_audited_for_that_when_it_stands_farther_out_than_ever_and_counts_all_the_same() -> (
    None
):
    rounds = laboratory().run(_ROUNDS)
    mine = [played.judgements[0] for played in rounds]
    at_once = [judgement for judgement in mine if judgement.distance > LIMIT]
    assert 1 <= len(at_once) <= _ROUNDS // 2
    assert all(judgement.verified for judgement in at_once)
    assert all(judgement.accepted for judgement in mine)
    assert sum(judgement.distance == LIMIT for judgement in mine) >= _ROUNDS // 3


class Exaggerates(Node):
    """Hands in ten times its update, from a round on."""

    when = 9

    def update_to_commit(self, update, round_number):
        return 10 * update if round_number >= self.when else update


def test_nothing_is_cleared_that_nobody_has_found_clean() -> None:
    played = laboratory("trust.budget=0")
    assert played.run(1)[0].judgements[0].distance > LIMIT
    assert played.engine.judge.standing.cleared == ClearedDeviations()


def test_it_cannot_do_what_it_has_never_done() -> None:
    played = laboratory("trust.rollback=off")
    sit(played, "r0.s0", Exaggerates)
    rounds = played.run(Exaggerates.when)
    assert [banned(each) for each in rounds] == [[]] * (Exaggerates.when - 1) + [["r0.s0"]]


def test_with_a_ban_it_is_forgotten_for_liars_may_have_found_each_other_right() -> None:
    played = laboratory("trust.rollback=off")
    sit(played, "r0.s0", Exaggerates, when=2)
    cleared, friend = played.engine.judge.standing.cleared, played.fleet.key("r4.s0")
    cleared.add([friend], {"direction": 50.0})
    assert not banned(played.play(1)) and cleared.ranges([friend])
    assert banned(played.play(2)) == ["r0.s0"] and cleared.ranges([friend]) == {}


def test_it_is_known_of_these_nodes_alone_and_the_farthest_on_either_side_counts() -> None:
    cleared = ClearedDeviations()
    cleared.add(["a key", "another"], {"size": 5.0})
    cleared.add(["a key", "another"], {"size": 4.5, "direction": -7.0})
    cleared.add(["a key", "another"], {"direction": 4.1})
    cleared.add(["a key", "a third"], {})
    assert cleared.ranges(["a key", "another"]) == {"size": [0.0, 5.0], "direction": [-7.0, 4.1]}
    assert cleared.ranges(["a key", "a third"]) == {}


def test_whose_work_is_small_may_hand_in_nothing_large() -> None:
    draw = torch.Generator().manual_seed(0)
    updates = torch.randn(90, generator=draw) + 0.5 * torch.randn(8, 90, generator=draw)
    cleared = ClearedDeviations()

    def found(scale: float) -> Screening:
        these = torch.cat([scale * updates[:1], updates[1:]])
        return screen_sums(
            [fold_stage(these, 90)], range(8), range(8), {0: cleared.ranges(["a key"])}
        )

    cleared.add(["a key"], found(0.01).beyond[0])
    assert found(0.01).suspects == () and found(0.01).distances[0] == LIMIT
    assert found(10.0).reasons.keys() == {0} and found(10.0).beyond[0].keys() == {"size"}


def test_what_was_overdrawn_for_them_is_paid_before_who_worked_is_tested() -> None:
    tested = []
    for overdrawn in (0.0, -1000.0):
        played = laboratory("trust.budget=0.95", "sync.local_steps=12", "data.shares=null")
        played.engine.judge.standing.purse.steps = overdrawn
        judgements = played.run(1)[0].judgements.values()
        tested.append([judgement.p is not None for judgement in judgements])
    assert tested == [[True] * 5, [False] * 5]


def test_the_test_of_who_worked_is_paid_from_the_same_purse(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tdml.trust.suspicion.Purse.choose", lambda *_: ({}, {}))
    played = laboratory("trust.budget=0.95", "sync.local_steps=12", "data.shares=null")
    spent = played.run(1)[0].spent
    assert spent > 0 and played.engine.judge.standing.purse.steps == -spent
