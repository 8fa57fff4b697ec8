"""Users' code that ends the program, as many a guard does, fails as other code does: a rank that was
gone without a word left nobody a reason."""

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from tdml.errors import SettingError, refusing
from tdml.lab.fleet import LocalReplica
from tdml.lab.laboratory import Laboratory
from tdml.models.borders import trace_borders
from tdml.node.worker import Worker
from tdml.protocol.orders import ReplicaLost
from tdml.run.end_coordinator import play_rounds
from tests.rehearsal.rehearsals import rehearsed

_HERE = "tests.run.test_users_exits"
_JOB = [
    "model=mlp", "data.size=8", "model.features=192", "model.hidden=16", "topology.stages=1",
    "topology.replicas=3", "sync.local_steps=40", "trust.budget=0.9",
]  # fmt: skip


class _Exits(nn.Linear):
    def forward(self, value: torch.Tensor) -> torch.Tensor:
        raise SystemExit("no GPU")


class ExitsAlone(nn.Module):
    """By its own forward, and not by that of its blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 4)

    def blocks(self) -> list[nn.Module]:
        return [self.first, self.last]

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        raise SystemExit("no GPU")


def test_before_the_start_it_is_one_line() -> None:
    with pytest.raises(SettingError, match=r"block 0 does not take .* ends the program .status no"):
        trace_borders([_Exits(3, 3)], torch.ones(2, 3))
    with pytest.raises(SettingError, match=r"^task: it ends the program"), refusing("task"):
        sys.exit(3)


def test_an_own_forward_that_does_cannot_be_compared() -> None:
    assert "ends the program (status no GPU)" in rehearsed(target=f"{_HERE}.ExitsAlone").uncompared


def test_a_worker_answers_that_it_has_failed() -> None:
    worker = object.__new__(Worker)
    worker.node = SimpleNamespace(name="r0.s1")
    assert worker._answer(sys.exit, ("no GPU",)).message == "SystemExit: no GPU"


def test_a_worker_that_has_left_its_replica_says_so() -> None:
    """As after a coordinator has stood still."""
    worker = object.__new__(Worker)
    worker.node, worker._pipeline = SimpleNamespace(name="r0.s1"), None
    failure = worker._answer(worker._take, (iter([]),))
    assert failure.message == (
        "RuntimeError: it has left its replica, and was not told to join again"
    )


def test_a_replica_of_the_laboratory_is_lost() -> None:
    with pytest.raises(ReplicaLost, match="ends the program"):
        LocalReplica(0, [])._do(sys.exit)


def test_the_coordinator_says_why_the_run_is_over() -> None:
    folder = SimpleNamespace(how_to_go_on="go on with resume=true")
    monitor = SimpleNamespace(folder=folder)
    reason, status = play_rounds(SimpleNamespace(run=sys.exit, monitor=monitor))
    assert status == 1
    assert reason.startswith("the coordinator failed: RuntimeError: it ends the program")


@pytest.mark.parametrize(
    "place",
    ["referee.take_alone", "referee.given_for", "evaluator.predict", "evaluator.pieces.one_batch"],
)
def test_it_ends_no_run_where_the_coordinator_takes_a_step_itself(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else whoever hands in what a guard does not let through ends it."""
    asked = []

    def end(*_: object) -> None:
        asked.append(1)
        sys.exit("the loss is no number")

    monkeypatch.setattr("tdml.round.auditor.LOOK", 1.0)
    monkeypatch.setattr(f"tdml.round.{place}", end)
    assert not Laboratory(_JOB).play(1).bans
    assert asked
