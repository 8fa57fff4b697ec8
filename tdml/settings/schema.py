"""The settings' schema: what there is, and of which type. Their values come from `conf/`."""

import math
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class Topology:
    replicas: int = MISSING
    min_replicas: int | None = None
    max_replicas: int | None = None
    stages: int = MISSING
    spares: int = MISSING
    microbatches: int | None = None
    schedule: str = MISSING
    chunks: int = MISSING
    cuts: list[int] | None = None

    @property
    def world_size(self) -> int:
        """Ranks that the job is set to have, the coordinator among them."""
        return 1 + self.replicas * self.stages + self.spares

    @property
    def least_world_size(self) -> int:
        """Ranks that the job may start with."""
        return self.world_size if self.min_replicas is None else 1 + self.fewest * self.stages

    @property
    def fewest(self) -> int:
        """Replicas that the job may start with."""
        return self.replicas if self.min_replicas is None else self.min_replicas

    @property
    def most(self) -> int:
        """Replicas that the job may grow to: as many have a share of the data."""
        return self.replicas if self.max_replicas is None else self.max_replicas

    @property
    def parts(self) -> int:
        """Pieces that the model is cut into: more than the nodes under the interleaved schedule."""
        return self.stages * (self.chunks if self.schedule == "interleaved_1f1b" else 1)


@dataclass
class Sync:
    local_steps: int | None = None
    inner_state: str = MISSING
    outer: str = MISSING
    outer_lr: float = MISSING
    outer_momentum: float = MISSING
    deadline: float | None = None
    balance: bool = MISSING
    timeout: float = MISSING
    patience: float = MISSING

    @property
    def keeps_inner_state(self) -> bool:
        """Whether inner optimizers go on from round to round."""
        return self.inner_state == "kept"


@dataclass
class GatherSettings:
    memory: int = MISSING


@dataclass
class CheckpointSettings:
    memory: int = MISSING


@dataclass
class Trust:
    enabled: bool = MISSING
    budget: float = MISSING
    audit_windows: int = MISSING
    audit_memory: int = MISSING
    repeatable: str = MISSING
    rollback: str = MISSING


@dataclass
class IdentitySettings:
    folder: str = MISSING
    roster: str | None = None
    ban_list: str | None = None


@dataclass
class LedgerSettings:
    artifacts: str | None = None


@dataclass
class RewardsSettings:
    policy: str = MISSING
    pool: int = MISSING
    stake: int | None = None


@dataclass
class Train:
    batch_size: int = MISSING
    accumulate: int = MISSING
    optimizer: dict[str, Any] = field(default_factory=dict)
    lr: float = MISSING
    momentum: float = MISSING
    weight_decay: float = MISSING
    decay_norms_and_biases: bool = MISSING
    schedule: dict[str, Any] = field(default_factory=dict)
    warmup: int = MISSING
    clip_norm: float | None = None
    label_smoothing: float = MISSING
    precision: str = MISSING
    channels_last: bool = MISSING
    activation_checkpointing: bool = MISSING
    patience: int | None = None

    @property
    def effective_batch_size(self) -> int:
        """Samples of one optimizer step of a replica."""
        return self.batch_size * self.accumulate


@dataclass
class MonitorSettings:
    best: bool = MISSING


@dataclass
class Config:
    """All settings of a job. `model`, `data`, `task` and `attack` are open: their `_target_`
    decides what they take."""

    name: str = MISSING
    seed: int = MISSING
    rounds: int = MISSING
    run_dir: str = MISSING
    resume: Any = MISSING  # False, True or "auto"
    device: str = MISSING
    topology: Topology = field(default_factory=Topology)
    sync: Sync = field(default_factory=Sync)
    gather: GatherSettings = field(default_factory=GatherSettings)
    checkpoint: CheckpointSettings = field(default_factory=CheckpointSettings)
    trust: Trust = field(default_factory=Trust)
    train: Train = field(default_factory=Train)
    monitor: MonitorSettings = field(default_factory=MonitorSettings)
    identity: IdentitySettings = field(default_factory=IdentitySettings)
    ledger: LedgerSettings = field(default_factory=LedgerSettings)
    rewards: RewardsSettings = field(default_factory=RewardsSettings)
    model: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=dict)
    attack: dict[str, Any] = field(default_factory=dict)

    @property
    def own_data(self) -> bool:
        """Whether the data of each replica stays with its owner."""
        return self.data.get("partition") == "own"

    @property
    def wants_audits(self) -> bool:
        """Whether work is to be repeated, where that leads to the same again."""
        return self.trust.enabled and self.trust.budget > 0 and not self.own_data

    @property
    def validates(self) -> bool:
        """Whether it is measured on the validation half in every round."""
        return self.monitor.best or self.train.patience is not None

    @property
    def microbatches(self) -> int:
        """Micro-batches per optimizer step; the fewest that fill the pipeline where
        `topology.microbatches` is null."""
        batch, accumulate, chosen = (
            self.train.batch_size,
            self.train.accumulate,
            self.topology.microbatches,
        )
        least = math.ceil(self.topology.stages / accumulate)
        return accumulate * (
            chosen or next((m for m in range(least, batch) if batch % m == 0), batch)
        )
