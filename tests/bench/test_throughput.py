from dataclasses import replace

import pytest

from tdml import config as settings
from tdml.bench import throughput
from tdml.data import source
from tdml.errors import SettingError
from tdml.run.prepare import prepare
from tests.jobs import SMALL


@pytest.fixture(scope="module")
def job():
    """Two replicas that take three steps of 32 samples a round."""
    config = settings.load(
        [*SMALL, "topology.replicas=2", "topology.stages=1", "sync.local_steps=3"]
    )
    return prepare(config, source.load(config.data, config.seed), checkpoint=None)


def line(train, total, losses=(0.5, 0.4)):
    replicas = {str(index): {"steps": 3, "train_loss": loss} for index, loss in enumerate(losses)}
    return {
        "replicas": replicas,
        "seconds": {"train": train, "screen": total - train, "total": total},
    }


def test_what_the_rounds_say_by_hand(job):
    assert job.samples(3) == 96
    result = throughput.summarise(
        job, [line(2.0, 3.0), line(4.0, 8.0), line(3.0, 4.0)], plain=100.0, limit=80.0, busy=0.8
    )
    assert (result.plain, result.limit, result.training, result.whole) == (
        100.0,
        80.0,
        192 / 3,
        192 / 5,
    )
    assert (
        "at 64.0% of a plain loop's 100 samples/s, 80.0% of what its pipelines allow; "
        in throughput._sentence(job, result)
    )
    assert result.seconds == {"train": 3.0, "screen": 2.0, "total": 5.0}


def test_the_limit_by_hand(job, monkeypatch):
    """Two replicas of one stage on one processor, a step of 32 samples in 0.5 s: one replica
    computes at a time."""
    monkeypatch.setattr(throughput.Stages, "seconds", lambda stages, size: [size / 64])
    monkeypatch.setattr(throughput, "load", lambda topology, device: 2.0)
    assert throughput.limit(job) == (64.0, 0.5)


def test_who_did_not_train_counts_for_nothing(job):
    result = throughput.summarise(
        job, [line(2.0, 3.0, losses=(0.5, None))], plain=100.0, limit=80.0, busy=0.8
    )
    assert result.training == 48.0


def test_what_records_cost_is_said_where_it_was_measured(job):
    """Not on a GPU, whose job a processor would take a hundred times as long to measure."""
    result = throughput.summarise(job, [line(2.0, 3.0)], plain=100.0, limit=80.0, busy=0.8)
    assert "kept for audits" not in throughput._sentence(job, result)
    said = throughput._sentence(job, replace(result, records=0.025))
    assert said.endswith("; states and messages kept for audits cost 2.5% of training")


@pytest.mark.parametrize(
    ("overrides", "json_file", "message"),
    [
        (["rounds=1"], None, "rounds=1: take at least 2"),
        (["rounds=many"], None, "rounds=many must be a whole number"),
        (
            [],
            "no/such/folder/x.json",
            "--json no/such/folder/x.json: give a file in a folder that exists",
        ),
    ],
)
def test_what_cannot_be_measured_is_said_before_anything_runs(
    overrides, json_file, message, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingError) as caught:
        throughput.run(
            overrides,
            None if json_file is None else tmp_path.joinpath(json_file).relative_to(tmp_path),
            None,
        )
    assert str(caught.value).startswith(message)
    assert not list(tmp_path.iterdir())
