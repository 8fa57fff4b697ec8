"""What a run does that was cut off before it did it."""

from types import SimpleNamespace

import pytest

from tdml.lab.laboratory import Laboratory
from tdml.models import whole
from tdml.round.checkpoint import Checkpoint
from tdml.round.result import Round
from tdml.round.rollback import Contributions
from tdml.run.coordinator import Coordinator
from tests.cluster.fleets import make_fleet

_JOB = [
    "model=mlp", "data.size=8", "model.features=192", "model.hidden=16", "topology.replicas=3",
    "topology.stages=2", "topology.spares=1", "sync.local_steps=2",
]  # fmt: skip


def test_a_league_whose_own_word_is_all_that_it_has_is_named_when_the_run_goes_back() -> None:
    contributions, went = Contributions(), list[Round]()
    for key, other in (("a", "b"), ("b", "a")):
        contributions.add_verified(1, [key], [other], budget=1)
    trust = SimpleNamespace(budget=1, rollback="auto")
    Coordinator._catch_up(
        SimpleNamespace(
            keeping=SimpleNamespace(best=lambda number: None),
            last_round=2,
            engine=SimpleNamespace(
                judge=SimpleNamespace(standing=SimpleNamespace(contributions=contributions))
            ),
            job=SimpleNamespace(config=SimpleNamespace(trust=trust)),
            _banned_before={"a": "r1.s0", "b": "r2.s0"},
            _go_back=went.append,
        )
    )
    assert [(list(each.bans), each.tainted) for each in went] == [(["r1.s0", "r2.s0"], range(1, 2))]


@pytest.mark.parametrize(("before", "known"), [([], {}), (["r1.s0"], {"a key": {"size": [0, 5]}})])
def test_what_is_usual_is_forgotten_with_a_ban_that_no_checkpoint_knows(
    before: list[str], known: dict
) -> None:
    """As when the run had gone on: it may have been found clean by a friend of who was banned."""
    laboratory = Laboratory(_JOB)
    judge, fleet, again = laboratory.engine.judge, make_fleet([]), make_fleet([])
    judge.standing.cleared.add(["a key"], {"size": 5})
    model = whole.tensors_of(laboratory.job.model)
    of_fleet, of_judge = fleet.state() | {"banned": before}, judge.state()
    monitor = SimpleNamespace(
        best=None,
        folder=SimpleNamespace(changes_work=False),
        terminal=SimpleNamespace(status=lambda _: None),
    )
    coordinator = Coordinator(
        laboratory.job,
        again,
        sessions=SimpleNamespace(),
        monitor=monitor,
        recorder=SimpleNamespace(keep=None),
        checkpoint=Checkpoint(1, model, [], 1, [], of_fleet, of_judge, {}, {}, [], ""),
        banned={"key of r1.s0"},
    )
    assert again.banned == ["r1.s0"]
    assert coordinator.engine.judge.standing.cleared.known == known
