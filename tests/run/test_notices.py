"""What a run tells its user once, and what it makes of what nodes say."""

from dataclasses import replace

from tdml.lab.laboratory import Laboratory
from tdml.run.notices import notices, of_model

_JOB = [
    "model=mlp", "data.size=8", "model.features=192", "model.hidden=16", "sync.local_steps=4",
    "topology.replicas=2", "topology.stages=1", "trust.budget=0", "rounds=1",
]  # fmt: skip


def test_a_model_that_could_not_be_compared_or_looks_over_its_batch_is_told() -> None:
    model = ["model=cnn", "data.size=8", "topology.replicas=1", "rounds=1", "topology.stages=2"]
    job = Laboratory([*model, "topology.microbatches=4", "train.batch_size=16"]).job
    asked = job.config.topology
    assert of_model(job, asked) == []
    (batch,) = of_model(job, replace(asked, microbatches=None))
    assert "BatchNorm sees 4 samples at a time" in batch and "topology.microbatches=4 has" in batch
    (text,) = of_model(replace(job, uncompared="it takes a dict"), asked)
    assert text.startswith("model: it takes a dict: whether blocks() leaves something out")


def test_sound_samples_stay_whatever_nodes_say_of_them() -> None:
    laboratory = Laboratory(_JOB)
    played = laboratory.play(1)
    sample = int(laboratory.job.batches(0, 1)[0, 0])
    said = [
        f"data: training sample {sample} cannot be read: no",
        f"data: training samples {sample}, 5, 6 have values that are not finite",
        f"data: training sample {'9' * 6000} cannot be read: longer than a number may be",
    ]
    assert notices(laboratory.job, played, said) == []
    assert laboratory.job.left_out.since == {}
