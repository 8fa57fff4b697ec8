"""A run that goes on with other settings for the rounds to come, keeps its best model, and ends
early."""

import json
from pathlib import Path

import pytest
import torch

from tdml import config as settings
from tdml.data import source as data
from tdml.data.pieces import held_out, read
from tdml.models.whole import initial_model
from tests.jobs import SMALL, run_job, same_tensors
from tests.run_ledgers import entries, tdml, verify

_JOB = [
    *SMALL,
    "model.norm=false",
    "topology.replicas=2",
    "topology.stages=1",
    "sync.local_steps=8",
]
_LATER = [
    "rounds=9",
    "train.lr=0",
    "train.batch_size=16",
    "train.patience=2",
    "topology.spares=1",
    "resume=true",
]


@pytest.mark.timeout(170)
def test_other_settings_for_the_rounds_to_come(tmp_path: Path, capsys) -> None:
    """Without a learning rate no round is better than the third, so the fifth is the last."""
    run, shares = tmp_path / "run", tmp_path / "shares.json"
    job = [*_JOB, f"data.shares={shares}"]
    shares.write_text(json.dumps([[*range(0, 1400, 2)], [*range(1, 1400, 2)]]))
    first = run_job(run, 3, *job, "rounds=3", "monitor.best=true")
    assert first.statuses == [0] * 3, first.output
    best = first.summary["best"]
    assert best["round"] == 3
    assert (
        best["validation_accuracy"]
        == first.rounds[2]["validation_accuracy"]
        == _validated(first.model)
    )
    (run / "model-best.pt").unlink()  # as if it had been cut off before it was written
    shares.write_text(json.dumps([[*range(0, 1000, 2)], [*range(1, 1400, 2)]]))
    second = run_job(run, 4, *job, *_LATER)
    assert second.statuses == [0] * 4, second.output
    assert [line["round"] for line in second.rounds] == [1, 2, 3, 4, 5]
    assert (
        second.summary["exit_reason"]
        == "no better validation accuracy since round 3 (train.patience=2)"
    )
    assert second.summary["best"] == best
    assert same_tensors(torch.load(run / "model-best.pt", weights_only=True), first.model)
    assert "going on with other code or data than before (data.shares)" in second.output
    [resume] = entries(run, "resume")
    former, given = resume.body["changed"].pop("data.shares")
    assert former != given
    assert resume.body["changed"] == {
        "monitor.best": [True, False], "rounds": [3, 9], "topology.spares": [0, 1],
        "train.batch_size": [32, 16], "train.lr": [0.05, 0.0], "train.patience": [None, 2],
    }  # fmt: skip
    assert "; train.lr 0.05 → 0; train.patience null → 2" in tdml(capsys, "ledger", "show", run)[1]
    assert [entry.body["samples"] for entry in entries(run, "verdict")] == [256] * 6 + [128] * 4
    assert "5 rounds, model.pt is the model of the last" in verify(run, capsys)
    third = run_job(run, 4, *job, *_LATER)  # it stays over
    assert third.statuses == [0] * 4, third.output
    assert third.summary == second.summary


def _validated(weights: dict[str, torch.Tensor]) -> float:
    """The accuracy of an un-split model on the validation half."""
    config = settings.load(_JOB)
    source = data.load(config.data, config.seed)
    model = initial_model(config.model, config.seed).eval()
    model.load_state_dict(weights)
    half = torch.arange(source.size("validation"))
    [piece] = held_out(source, "validation", half, len(half))
    inputs, labels = read(source, piece)
    return float((model(inputs).argmax(dim=1) == labels).double().mean())
