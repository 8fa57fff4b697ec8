"""What a run keeps on the disk is of the round that it says."""

import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tdml.lab.laboratory import Laboratory
from tdml.monitor.run_folder import BEST_MODEL
from tdml.round import checkpoint as module
from tdml.round.checkpoint import Checkpoint, load, path_of, rounds_in
from tdml.round.result import Round
from tdml.run import keeping
from tdml.run.coordinator import Coordinator
from tdml.run.keeping import Keeping

_JOB = ["model=mlp", "data.size=8", "model.features=192", "model.hidden=4"]


class _Run:
    """A run that goes on from round 1, and its parts."""

    def __init__(self, folder: Path) -> None:
        self.engine = Laboratory(_JOB).engine
        self.fleet = {"banned": ["r0.s0"]}
        self.best = SimpleNamespace(round=0)
        self.folder = SimpleNamespace(path=folder, checkpoints=folder / "checkpoints")
        monitor = SimpleNamespace(best=self.best, folder=self.folder)
        self.keeping = Keeping(self.engine, SimpleNamespace(state=lambda: self.fleet), monitor, 1)

    def move_to(self, value: float) -> None:
        """Have all of the global weights be this number."""
        for vector in self.engine.weights:
            vector.fill_(value)


@pytest.fixture
def run(tmp_path: Path) -> _Run:
    return _Run(tmp_path)


@pytest.fixture
def may_write(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Until it is set, no checkpoint is written."""
    may = threading.Event()

    def save(*given) -> None:
        assert may.wait(10)
        module.save(*given)

    monkeypatch.setattr(keeping, "save", save)
    return may


def _numbers(model: dict[str, torch.Tensor]) -> set[float]:
    return {number for tensor in model.values() for number in tensor.view(-1).tolist()}


def test_a_checkpoint_is_of_its_round_though_the_next_one_changes_everything(
    run: _Run, may_write: threading.Event
) -> None:
    notices, balance = ["of round 2"], run.engine.balance
    suspicion = run.engine.judge.standing.suspicion.by_node
    run.move_to(2.0)
    suspicion["r0.s0"] = 2.0
    tolerance = run.engine.judge.auditor.settler.kinds.tolerance
    tolerance.learn("a GPU", "a processor", 2e-6)
    run.keeping.checkpoint(2, "line", notices)
    run.move_to(3.0)
    run.engine.job.write_weights(run.engine.weights)
    run.fleet["banned"].append("r1.s0")
    suspicion["r0.s0"] = 3.0
    run.engine.judge.debts.watched.add("a key")
    tolerance.learn("a GPU", "a processor", 3e-6)
    run.engine.job.left_out.since[7] = 3
    notices.append("of round 3")
    may_write.set()
    run.keeping.finish()
    written = load(run.folder.checkpoints, before=3)
    assert isinstance(written, Checkpoint)
    assert (written.round, written.metrics, written.back) == (2, "line", None)
    assert _numbers(written.model) == {2.0}
    assert written.fleet == {"banned": ["r0.s0"]}
    assert written.judge["suspicion"]["by_node"] == {"r0.s0": 2.0}
    assert written.judge["debts"]["watched"] == []
    assert [list(errors) for errors in written.judge["tolerance"].values()] == [[2e-6]]
    assert (written.left_out, written.notices) == ({}, ["of round 2"])
    assert written.balance == balance.state()


@pytest.mark.parametrize("deed", ["before", "drop_after", "model"])
def test_what_is_under_way_is_waited_for(run: _Run, may_write: threading.Event, deed: str) -> None:
    """What it is written for, or what is to be dropped."""
    run.keeping.checkpoint(2, "", [])
    threading.Timer(0.1, may_write.set).start()
    if deed == "before":
        found = run.keeping.before(3)
        assert found is not None and found.round == 2
    elif deed == "drop_after":
        run.keeping.drop_after(1)
        run.keeping.finish()
        assert rounds_in(run.folder.checkpoints) == []
    else:
        run.move_to(5.0)
        assert _numbers(run.keeping.model()) == {5.0}
        assert path_of(run.folder.checkpoints, 2).exists()
        assert _numbers(torch.load(run.folder.path / "model.pt", weights_only=True)) == {5.0}


def test_the_best_model_is_of_the_best_round(run: _Run) -> None:
    file = run.folder.path / BEST_MODEL
    run.best.round = 2
    run.move_to(2.0)
    run.keeping.best(2)
    run.move_to(3.0)
    run.keeping.best(3)
    assert _numbers(torch.load(file, weights_only=True)) == {2.0}, "no other was as good"
    run.best.round = 0  # the best one was taken back
    run.keeping.best(1)
    assert not file.exists()
    run.keeping.best(1)


def test_what_a_liar_has_left_names_a_checkpoint_that_stays(run: _Run) -> None:
    run.keeping.checkpoint(2, "", [])
    played = Round(9, {}, bans={"r1.s0": "it lied"}, tainted=range(3, 9))
    text = Coordinator._stays(SimpleNamespace(keeping=run.keeping), played)
    assert text.endswith("the weights after round 2, checkpoints/kept-000002.pt, do not")
    for number in range(3, 30):
        run.keeping.checkpoint(number, "", [])
    run.keeping.finish()
    assert 2 not in rounds_in(run.folder.checkpoints)
    assert (run.folder.checkpoints / "kept-000002.pt").exists()
