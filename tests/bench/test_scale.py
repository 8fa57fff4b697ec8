import json

import pytest
import torch

from tdml import cli
from tdml.lab.laboratory import Laboratory, Seeded
from tdml.lab.recorded import RecordedFleet, record
from tdml.round.engine import Engine

_SMALL = ["model=mlp", "model.hidden=8", "train.batch_size=8"]


def test_a_line_for_every_case(capsys, tmp_path):
    file = tmp_path / "scale.json"
    arguments = ["--replicas", "5", "2", "--stages", "1", "2", "--json", str(file), *_SMALL]
    assert cli.run(["bench", "scale", *arguments, "model.depth=2"]) == 0
    assert "2 × 1" in capsys.readouterr().out
    cases = json.loads(file.read_text())["cases"]
    assert [(case["replicas"], case["stages"]) for case in cases] == [
        (2, 1), (5, 1), (2, 2), (5, 2),
    ]  # fmt: skip
    for case in cases:
        assert case["round"] >= max(case["seconds"].values())


def test_another_model_takes_the_place_of_ours(capsys):
    model = ["model=cnn", "model.width=8", "data.size=16"]
    assert cli.run(["bench", "scale", *model, "--replicas", "2", "--stages", "1"]) == 0
    assert "6,533 numbers a replica" in capsys.readouterr().out


def test_it_plays_the_round_of_every_job():
    """Replicas whose updates were recorded lead to the weights that they led to themselves."""
    overrides = [*_SMALL, "topology.replicas=4", "topology.stages=2", "sync.local_steps=1"]
    there = Laboratory([*overrides, "trust.budget=0", "gather.memory=0"])
    there.play(1)
    fleet = RecordedFleet(there.job, record([*overrides, "gather.memory=0"]))
    engine = Engine(there.job, fleet, Seeded(there.job.config.seed))
    first = Laboratory([*overrides, "trust.budget=0"]).engine.weights
    engine.go_back(0, first, [], 0)
    played = engine.play(1, {replica.index: replica.names for replica in fleet.muster()})
    fleet.close()
    assert played.accepted == [0, 1, 2, 3]
    for mine, theirs in zip(engine.weights, there.engine.weights, strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("option", ["--replicas", "--stages"])
def test_numbers_that_make_no_sense(option, capsys):
    assert cli.run(["bench", "scale", option, "0"]) == 1
    assert "give numbers from 1 on" in capsys.readouterr().err
