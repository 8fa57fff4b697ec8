"""Every check of the settings that needs neither torch nor data.

Checks that need the model or the data (too few blocks, a missing data root) raise the same
`SettingError` from where those are loaded, before any training.
"""

import math
import re
from typing import TYPE_CHECKING, Any

from tdml.errors import SettingError
from tdml.rewards.policies import POLICIES
from tdml.settings.groups import check_our_models, check_targets
from tdml.settings.microbatches import check_microbatches

if TYPE_CHECKING:
    from tdml.settings.schema import Config, Topology

_TINY = 1e-12
_MOST_RANKS = 4096
_MOST_STEPS = 10**6
_LONGEST_TIMEOUT_S = 10**6


def check(config: "Config") -> None:
    """Every check that needs the settings alone.

    Raises:
        SettingError: names the setting to change.
    """
    for name, value, least in _lower_bounds(config):
        if value is not None and not (math.isfinite(value) and value >= least):
            enough = "above 0" if least == _TINY else f"of at least {least}"
            raise SettingError(f"{name}={value} must be a finite number {enough}")
    _check_growth(config.topology)
    _check_not_too_much(config)
    if config.sync.balance and config.sync.local_steps == 1:
        raise SettingError(
            "sync.balance=true, sync.local_steps=1: nobody can take fewer: raise sync.local_steps"
        )
    _check_texts(config)
    for name, choice, choices in _choices(config):
        if choice not in choices:
            raise SettingError(f"{name}={choice} is unknown: choose one of {', '.join(choices)}")
    if not isinstance(config.resume, bool) and config.resume != "auto":
        raise SettingError(f"resume={config.resume} is unknown: choose one of false, true, auto")
    check_microbatches(config)
    _check_cuts(config)
    _check_attackers(config)
    if config.data.get("partition") == "dirichlet" and config.data.get("alpha", 1.0) is None:
        raise SettingError("data.alpha is empty: data.partition=dirichlet needs one, such as 0.5")
    _check_shares(config.data)
    if config.own_data:
        _check_own(config)
    if not 0 <= config.trust.budget <= 1:
        raise SettingError(f"trust.budget={config.trust.budget} must lie between 0 and 1")
    if POLICIES[config.rewards.policy].verified and not config.wants_audits:
        raise SettingError(
            f"rewards.policy={config.rewards.policy} pays only for what was repeated, and here "
            f"nothing is ({_why_unrepeated(config)}): take rewards.policy=work"
        )
    check_targets(config)
    check_our_models(config.model)


def _why_unrepeated(config: "Config") -> str:
    return (
        "trust.enabled=false" if not config.trust.enabled
        else "trust.budget=0" if not config.trust.budget
        else "data.partition=own"
    )  # fmt: skip


def _check_growth(topology: "Topology") -> None:
    replicas = f"topology.replicas={topology.replicas}"
    if topology.fewest > topology.replicas:
        raise SettingError(
            f"topology.min_replicas={topology.min_replicas} is more than {replicas}: it is what "
            "the job may start with, so lower it, or raise topology.replicas"
        )
    if topology.most < topology.replicas:
        raise SettingError(
            f"topology.max_replicas={topology.max_replicas} is less than {replicas}: it is what "
            "the job may grow to, so raise it, or lower topology.replicas"
        )


def _check_shares(data: dict[str, Any]) -> None:
    shares = data.get("shares")
    if not shares:
        return
    if data.get("partition", "iid") != "iid":
        raise SettingError(
            f"data.shares={shares} and data.partition={data['partition']}: leave one of them out"
        )
    if not isinstance(shares, str) and not (
        isinstance(shares, dict) and isinstance(shares.get("_target_"), str)
    ):
        raise SettingError(
            f"data.shares={shares} must be the path of a JSON file, or a function as "
            "data.shares={_target_: mine.by_site}"
        )


def _check_own(config: "Config") -> None:
    own = "data.partition=own: the data of a replica stays with its owner"
    if config.topology.spares:
        raise SettingError(
            f"{own}, so no spare can take its place: set topology.spares=0, not "
            f"{config.topology.spares}"
        )
    if config.sync.local_steps is None:
        raise SettingError(
            f"{own}, who alone knows how much it is: say how many steps a round has, such as "
            "sync.local_steps=20"
        )
    if config.topology.max_replicas not in (None, config.topology.replicas):
        raise SettingError(
            f"{own}, so nobody can join: leave out topology.max_replicas="
            f"{config.topology.max_replicas}"
        )
    if config.data.get("scaled"):
        raise SettingError(
            f"{own}, who would scale its columns by its own rows alone: scale them in the files, "
            "by the same numbers for all, and set data.scaled=false"
        )


def _check_not_too_much(config: "Config") -> None:
    """What would fill this machine, or what torch cannot count, before anything says so."""
    topology, sync, train = config.topology, config.sync, config.train
    ranks = 1 + topology.most * topology.stages + topology.spares
    if ranks > _MOST_RANKS:
        raise SettingError(
            f"topology: {topology.most} replicas × {topology.stages} stages + "
            f"{topology.spares} spares need {ranks} ranks: {_MOST_RANKS} are the most"
        )
    if sync.local_steps is not None and sync.local_steps > _MOST_STEPS:
        raise SettingError(
            f"sync.local_steps={sync.local_steps} must be at most {_MOST_STEPS}: take more rounds"
        )
    if sync.timeout > _LONGEST_TIMEOUT_S:
        raise SettingError(
            f"sync.timeout={sync.timeout} must be at most {_LONGEST_TIMEOUT_S} seconds"
        )
    if train.label_smoothing >= 1:
        raise SettingError(
            f"train.label_smoothing={train.label_smoothing} must be less than 1: nothing else is "
            "left"
        )
    for name, value in (
        ("train.momentum", train.momentum),
        ("sync.outer_momentum", sync.outer_momentum),
    ):
        if value >= 1:
            raise SettingError(
                f"{name}={value} must be less than 1: with more, every step is larger than the last"
            )


def _check_texts(config: "Config") -> None:
    for name, value in (
        ("name", config.name),
        ("run_dir", config.run_dir),
        ("identity.folder", config.identity.folder),
    ):
        if not value.strip():
            raise SettingError(f"{name} is empty: give one, or leave the setting out")


def _lower_bounds(config: "Config") -> list[tuple[str, float | None, float]]:
    return [
        ("rounds", config.rounds, 1),
        ("seed", config.seed, 0),
        ("topology.replicas", config.topology.replicas, 1),
        ("topology.min_replicas", config.topology.min_replicas, 1),
        ("topology.max_replicas", config.topology.max_replicas, 1),
        ("topology.stages", config.topology.stages, 1),
        ("topology.spares", config.topology.spares, 0),
        ("topology.microbatches", config.topology.microbatches, 1),
        ("topology.chunks", config.topology.chunks, 1),
        ("sync.local_steps", config.sync.local_steps, 1),
        ("sync.outer_lr", config.sync.outer_lr, _TINY),
        ("sync.outer_momentum", config.sync.outer_momentum, 0),
        ("sync.deadline", config.sync.deadline, _TINY),
        ("sync.timeout", config.sync.timeout, 1),
        ("sync.patience", config.sync.patience, 0),
        ("gather.memory", config.gather.memory, 0),
        ("checkpoint.memory", config.checkpoint.memory, 0),
        ("trust.audit_windows", config.trust.audit_windows, 1),
        ("trust.audit_memory", config.trust.audit_memory, 0),
        ("rewards.pool", config.rewards.pool, 0),
        ("rewards.stake", config.rewards.stake, 0),
        ("train.batch_size", config.train.batch_size, 1),
        ("train.lr", config.train.lr, 0),
        ("train.momentum", config.train.momentum, 0),
        ("train.weight_decay", config.train.weight_decay, 0),
        ("train.accumulate", config.train.accumulate, 1),
        ("train.warmup", config.train.warmup, 0),
        ("train.clip_norm", config.train.clip_norm, _TINY),
        ("train.label_smoothing", config.train.label_smoothing, 0),
        ("train.patience", config.train.patience, 1),
        ("data.alpha", _number(config.data.get("alpha"), "data.alpha"), _TINY),
        ("attack.from_round", _number(config.attack.get("from_round"), "attack.from_round"), 1),
    ]


def _choices(config: "Config") -> list[tuple[str, str, tuple[str, ...]]]:
    return [
        ("topology.schedule", config.topology.schedule, ("gpipe", "1f1b", "interleaved_1f1b")),
        ("sync.outer", config.sync.outer, ("fedavg", "nesterov")),
        ("sync.inner_state", config.sync.inner_state, ("fresh", "kept")),
        ("trust.repeatable", config.trust.repeatable, ("require", "warn")),
        ("trust.rollback", config.trust.rollback, ("auto", "off")),
        ("rewards.policy", config.rewards.policy, tuple(POLICIES)),
        ("train.precision", config.train.precision, ("fp32", "bf16")),
        ("data.partition", config.data.get("partition", "iid"), ("iid", "dirichlet", "own")),
        ("device", config.device, ("auto", "cpu", "cuda")),
    ]


def _number(value: Any, name: str) -> float | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise SettingError(f"{name}={value} is not a number")
    return value


def _check_cuts(config: "Config") -> None:
    cuts, parts = config.topology.cuts, config.topology.parts
    if cuts is None:
        return
    if (
        not isinstance(cuts, list)
        or not all(isinstance(cut, int) for cut in cuts)
        or len(cuts) != parts - 1
        or sorted(set(cuts)) != list(cuts)
        or (cuts and cuts[0] < 1)
    ):
        raise SettingError(
            f"topology.cuts={cuts} must list {parts - 1} rising block numbers, the first "
            f"block of each of the {parts} stages but the first"
        )


def _check_attackers(config: "Config") -> None:
    attack, topology = config.attack, config.topology
    if not attack.get("_target_"):
        return
    if not attack.get("replicas") and not attack.get("nodes"):
        raise SettingError(
            "attack.replicas and attack.nodes are empty: name who attacks, such as "
            "attack.replicas=[0]"
        )
    for name in ("replicas", "nodes"):
        if not isinstance(attack.get(name), list):
            raise SettingError(
                f"attack.{name}={attack.get(name)} must be a list, such as attack.{name}=[…]"
            )
    if attack.get("from_round") is None:
        raise SettingError(
            "attack.from_round is empty: give the first round in which they attack, such as 1"
        )
    share = _number(attack.get("share_of_rounds"), "attack.share_of_rounds")
    if share is None or not 0 < share <= 1:
        raise SettingError(f"attack.share_of_rounds={share} must be more than 0 and at most 1")
    for replica in attack["replicas"]:
        if type(replica) is not int or replica not in range(topology.most):
            raise SettingError(
                f"attack.replicas names {replica!r}, but replicas have the numbers 0 to "
                f"{topology.most - 1} (topology.replicas)"
            )
    for node in attack["nodes"]:
        if re.fullmatch(r"spare(0|[1-9]\d*)", str(node)):
            continue
        match = re.fullmatch(r"r(0|[1-9]\d*)\.s(0|[1-9]\d*)", str(node))
        if not match or int(match[1]) >= topology.replicas or int(match[2]) >= topology.stages:
            raise SettingError(
                f"attack.nodes names {node}, but the nodes are r0.s0 to "
                f"r{topology.replicas - 1}.s{topology.stages - 1} (topology.replicas, "
                "topology.stages), and spare0, spare1, …"
            )
