"""What a distributed job computes equals what one process computes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tdml import config as settings
from tdml.common.seeds import derive
from tdml.data import source as data
from tdml.data.order import assigned_batches
from tdml.data.partition import partition
from tdml.models.whole import initial_model
from tdml.settings.schema import Config
from tdml.tasks.objective import task_of
from tests.jobs import SMALL, run_job
from tests.slow import slow_but

_SLOW = pytest.mark.slow  # four stages show what two do
_BF16 = ("train.precision=bf16",)
_EVERYTHING = (
    "train.optimizer.nesterov=true", "train.weight_decay=0.1", "train.decay_norms_and_biases=false",
    "train.schedule=cosine", "train.warmup=1", "train.accumulate=2", "train.clip_norm=0.5",
    "train.label_smoothing=0.1", "train.channels_last=true", *_BF16,
)  # fmt: skip
_SCHEDULES = [
    pytest.param("gpipe", 2, (), marks=_SLOW), pytest.param("1f1b", 2, (), marks=_SLOW), pytest.param("1f1b", 4, (), marks=_SLOW),
    pytest.param("interleaved_1f1b", 2, (), marks=_SLOW), pytest.param("1f1b", 2, _BF16, marks=_SLOW),
    pytest.param("1f1b", 2, _EVERYTHING, marks=_SLOW), ("interleaved_1f1b", 2, _EVERYTHING),
    pytest.param("1f1b", 1, _EVERYTHING, marks=_SLOW),
]  # fmt: skip


@pytest.mark.parametrize(("schedule", "stages", "recipe"), _SCHEDULES)
def test_pipeline_equals_accumulation_in_one_process(
    schedule: str, stages: int, recipe: Sequence[str], tmp_path: Path
) -> None:
    """Three steps of SGD with momentum through BatchNorm: the same bits, parameters and buffers."""
    overrides = [
        *SMALL, "topology.replicas=1", f"topology.stages={stages}", "topology.microbatches=4",
        f"topology.schedule={schedule}", "sync.local_steps=3", "rounds=1", *recipe,
    ]  # fmt: skip
    result = run_job(tmp_path / "run", 1 + stages, *overrides)
    assert result.statuses == [0] * (1 + stages), result.output
    config = settings.load(overrides)
    model = initial_model(config.model, config.seed)
    start = {name: value.clone() for name, value in model.state_dict().items()}
    _train_plainly(config, model)
    for name, value in model.state_dict().items():
        # The update travels as local − global and is added to global again.
        expected = start[name] + (value - start[name])
        assert torch.equal(result.model[name], expected), name


def _train_plainly(config: Config, model: torch.nn.Module) -> None:
    """The first round's steps of SGD, in torch's own words."""
    train = config.train
    layout = torch.channels_last if train.channels_last else torch.contiguous_format
    model.to(memory_format=layout)
    norms = [p for p in model.parameters() if p.dim() == 1]
    others = [p for p in model.parameters() if p.dim() > 1]
    optimizer = torch.optim.SGD(
        [
            {"params": others},
            {"params": norms, **({} if train.decay_norms_and_biases else {"weight_decay": 0.0})},
        ],
        lr=train.lr,
        momentum=train.momentum,
        weight_decay=train.weight_decay,
        nesterov=train.optimizer.get("nesterov", False),
    )
    schedulers = torch.optim.lr_scheduler
    scheduler = schedulers.ConstantLR(optimizer, 1.0)
    if train.schedule["_target_"] == "cosine":
        warmup = schedulers.LinearLR(optimizer, 1 / (train.warmup + 1), 1.0, train.warmup)
        cosine = schedulers.CosineAnnealingLR(optimizer, 3 - train.warmup)
        scheduler = schedulers.SequentialLR(optimizer, [warmup, cosine], [train.warmup])
    for inputs, labels in _batches(
        config, data.load(config.data, config.seed), replica=0, round_number=1
    ):
        optimizer.zero_grad()
        pieces = 4 * train.accumulate
        for micro, targets in zip(inputs.chunk(pieces), labels.chunk(pieces), strict=True):
            with torch.autocast("cpu", torch.bfloat16, enabled=train.precision == "bf16"):
                logits = model(micro.to(memory_format=layout))
            (
                F.cross_entropy(logits.float(), targets, label_smoothing=train.label_smoothing)
                / pieces
            ).backward()
        if train.clip_norm is not None:
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), train.clip_norm)
            assert norm > train.clip_norm
        optimizer.step()
        scheduler.step()


def test_one_local_step_equals_sgd_on_the_joined_batch(tmp_path: Path) -> None:
    overrides = [
        *SMALL, "model.norm=false", "topology.replicas=3", "topology.stages=1",
        "sync.local_steps=1", "train.momentum=0", "rounds=4",
    ]  # fmt: skip
    result = run_job(tmp_path / "run", 4, *overrides)
    config = settings.load(overrides)
    source = data.load(config.data, config.seed)
    model = initial_model(config.model, config.seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=config.train.lr)
    for number in range(1, 5):
        parts = [_batches(config, source, replica, number)[0] for replica in range(3)]
        optimizer.zero_grad()
        F.cross_entropy(
            model(torch.cat([p[0] for p in parts])), torch.cat([p[1] for p in parts])
        ).backward()
        optimizer.step()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(result.model[name], value, atol=1e-5, rtol=0)


@pytest.mark.parametrize("inner_state", slow_but(["kept"], ["fresh", "kept"]))
def test_local_steps_of_diloco_equal_a_plain_loop(inner_state: str, tmp_path: Path) -> None:
    """Two replicas, AdamW inside, Nesterov outside, three rounds, against torch's own optimizers;
    the inner ones begin anew in every round, or live as long as the job."""
    overrides = [
        *SMALL, "model.norm=false", "topology.replicas=2", "topology.stages=2", "sync=nesterov",
        "train=adamw", "sync.local_steps=3", "train.lr=0.003", "rounds=3",
        f"sync.inner_state={inner_state}",
    ]  # fmt: skip
    result = run_job(tmp_path / "run", 5, *overrides)
    config = settings.load(overrides)
    source = data.load(config.data, config.seed)
    model = initial_model(config.model, config.seed)
    outer = torch.optim.SGD(model.parameters(), lr=0.7, momentum=0.9, nesterov=True)
    states: list[dict] = [{}, {}]
    for number in (1, 2, 3):
        if inner_state == "fresh":
            states = [{}, {}]
        locals_ = [
            _local_adamw(config, source, model, replica, number, states[replica])
            for replica in range(2)
        ]
        for parameter, *moved in zip(
            model.parameters(), *(local.parameters() for local in locals_), strict=True
        ):
            parameter.grad = parameter.detach() - torch.stack([m.detach() for m in moved]).mean(0)
        outer.step()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(result.model[name], value, atol=1e-5, rtol=0)


def test_samples_count_what_their_weights_say_and_audits_repeat_it(tmp_path: Path) -> None:
    """The steps of every replica, in torch's own words; each is repeated by the other, with nothing
    wrong."""
    weights = np.random.default_rng(3).choice([0, 0.5, 1, 4], 1437)
    np.save(tmp_path / "weights.npy", weights)
    overrides = [
        "model=mlp", f"data.weights={tmp_path / 'weights.npy'}", "train.lr=0.05",
        "topology.replicas=2", "topology.stages=2", "topology.microbatches=4",
        "sync.local_steps=3", "rounds=1", "trust.budget=1",
    ]  # fmt: skip
    result = run_job(tmp_path / "run", 5, *overrides)
    assert result.statuses == [0] * 5, result.output
    assert not result.why()
    config = settings.load(overrides)
    source = data.load(config.data, config.seed)
    updates, start = [], initial_model(config.model, config.seed).state_dict()
    for replica in range(2):
        model, counts = initial_model(config.model, config.seed), torch.from_numpy(weights)
        optimizer = torch.optim.SGD(
            model.parameters(),
            config.train.lr,
            config.train.momentum,
            weight_decay=config.train.weight_decay,
        )
        batches = zip(
            _indices(config, source, replica, 1), _batches(config, source, replica, 1), strict=True
        )
        for indices, (inputs, labels) in batches:
            optimizer.zero_grad()
            losses = F.cross_entropy(model(inputs), labels, reduction="none")
            own = counts[indices].float()
            ((losses * own).sum() / own.sum()).backward()
            optimizer.step()
        updates.append({k: v - start[k] for k, v in model.state_dict().items()})
    for name, value in result.model.items():
        expected = start[name] + (updates[0][name] + updates[1][name]) / 2
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)


def _batches(
    config: Config, source: data.Source, replica: int, round_number: int
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The batches of a replica's round, made as DESIGN.md states it: from the seed alone."""
    indices = _indices(config, source, replica, round_number)
    seeds = [
        derive(config.seed, "augmentation", round_number, replica, step)
        for step in range(len(indices))
    ]
    return [
        source.training_batch(batch.tolist(), seed)
        for batch, seed in zip(indices, seeds, strict=True)
    ]


def _indices(config: Config, source: data.Source, replica: int, round_number: int) -> np.ndarray:
    """(steps, batch_size): the samples of a replica's round."""
    shares = partition(
        "iid",
        None,
        len(source.train),
        config.topology.replicas,
        config.train.effective_batch_size,
        config.seed,
        alpha=1.0,
    )
    assert config.sync.local_steps is not None
    indices = assigned_batches(
        shares[replica],
        config.train.effective_batch_size,
        config.sync.local_steps,
        config.seed,
        round_number,
        replica,
    )
    assert np.isin(indices, shares[replica]).all()
    return indices


def _local_adamw(
    config: Config,
    source: data.Source,
    model: torch.nn.Module,
    replica: int,
    number: int,
    state: dict,
) -> torch.nn.Module:
    """A replica's model after a round. `state` is the optimizer's, before and after it."""
    local = initial_model(config.model, config.seed)
    local.load_state_dict(model.state_dict())
    optimizer = torch.optim.AdamW(
        local.parameters(), lr=config.train.lr, weight_decay=config.train.weight_decay
    )
    if state:
        optimizer.load_state_dict(state)
    for inputs, labels in _batches(config, source, replica, number):
        optimizer.zero_grad()
        for micro, targets in zip(inputs.chunk(2), labels.chunk(2), strict=True):
            (F.cross_entropy(local(micro), targets) / 2).backward()
        optimizer.step()
    state |= optimizer.state_dict()
    return local


@pytest.mark.parametrize(
    ("schedule", "stages"),
    [
        ("1f1b", 2),
        pytest.param("interleaved_1f1b", 2, marks=_SLOW),
        pytest.param("gpipe", 4, marks=_SLOW),
    ],
)
def test_sequences_of_several_lengths_count_by_their_tokens(
    schedule: str, stages: int, tmp_path: Path
) -> None:
    """Whatever tokens a micro-batch has: the gradient is that of the mean over all tokens of the
    batch."""
    overrides = [
        "task=language", "task.context=16", "data._target_=tests.plugins.ragged_text", "~data.size",
        "model=gpt", "model.layers=3", "model.width=16", "model.heads=2", "model.vocabulary=64",
        "model.context=16", "topology.replicas=1", f"topology.stages={stages}",
        "topology.microbatches=4", f"topology.schedule={schedule}", "sync.local_steps=3",
        "rounds=1", "train.batch_size=16", "train.lr=0.5",
        "train.momentum=0",
    ]  # fmt: skip
    result = run_job(tmp_path / "run", 1 + stages, *overrides)
    assert result.statuses == [0] * (1 + stages), result.output
    config = settings.load(overrides)
    model = initial_model(config.model, config.seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=config.train.lr)
    source, losses = data.load(config.data, config.seed, task_of(config)), []
    for inputs, targets in _batches(config, source, replica=0, round_number=1):
        optimizer.zero_grad()
        losses.append(
            F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), ignore_index=-100)
        )
        losses[-1].backward()
        optimizer.step()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(result.model[name], value, atol=2e-6, rtol=0)
    loss = result.rounds[0]["replicas"]["0"]["train_loss"]
    assert loss == pytest.approx(float(torch.stack(losses).detach().mean()), rel=1e-5)
