"""Every check of the settings that needs neither torch nor data.

Checks that need the model or the data (too few blocks, a missing data root) raise the same
`SettingError` from where those are loaded, before any training.
"""

import re
from typing import TYPE_CHECKING, Any

from tdml.errors import SettingError
from tdml.rewards.policies import POLICIES
from tdml.settings.bounds import check_bounds
from tdml.settings.groups import check_ours, check_targets
from tdml.settings.microbatches import check_microbatches

if TYPE_CHECKING:
    from tdml.settings.schema import Config, Topology

_MOST_RANKS = 4096


def check(config: "Config") -> None:
    """Every check that needs the settings alone.

    Raises:
        SettingError: names the setting to change.
    """
    check_bounds(config)
    _check_ranks(config.topology)
    if config.sync.balance and config.sync.local_steps == 1:
        raise SettingError(
            "sync.balance=true, sync.local_steps=1: nobody can take fewer: raise sync.local_steps"
        )
    texts = {
        "name": config.name, "run_dir": config.run_dir, "identity.folder": config.identity.folder
    }  # fmt: skip
    for name, text in texts.items():
        if not text.strip():
            raise SettingError(f"{name} is empty: give one, or leave the setting out")
    if not isinstance(config.resume, bool) and config.resume != "auto":
        raise SettingError(f"resume={config.resume} is unknown: choose one of false, true, auto")
    check_microbatches(config)
    _check_cuts(config)
    _check_attackers(config)
    if config.data.get("partition") == "dirichlet" and config.data.get("alpha", 1.0) is None:
        raise SettingError("data.alpha is empty: data.partition=dirichlet needs one, such as 0.5")
    if config.data.get("classes") is True and config.task["_target_"] == "tdml.tasks.Regression":
        raise SettingError(
            "data.classes=true numbers the target's values in their order, and task=regression "
            "would learn these numbers: take task=classification, or leave data.classes out"
        )
    _check_shares(config.data)
    if config.own_data:
        _check_own(config)
    if POLICIES[config.rewards.policy].verified and not config.wants_audits:
        raise SettingError(
            f"rewards.policy={config.rewards.policy} pays only for what was repeated, and here "
            f"nothing is ({_why_unrepeated(config)}): take rewards.policy=work"
        )
    check_targets(config)
    check_ours(config)


def _why_unrepeated(config: "Config") -> str:
    return (
        "trust.enabled=false" if not config.trust.enabled
        else "trust.budget=0" if not config.trust.budget
        else "data.partition=own"
    )  # fmt: skip


def _check_ranks(topology: "Topology") -> None:
    if not topology.fewest <= topology.replicas <= topology.most:
        raise SettingError(
            f"topology.min_replicas={topology.min_replicas}, topology.replicas="
            f"{topology.replicas}, topology.max_replicas={topology.max_replicas}: a job may start "
            "with the first and grow to the last, so let them rise in this order"
        )
    ranks = 1 + topology.most * topology.stages + topology.spares
    if ranks > _MOST_RANKS:
        raise SettingError(
            f"topology: {topology.most} replicas × {topology.stages} stages + "
            f"{topology.spares} spares need {ranks} ranks: {_MOST_RANKS} are the most"
        )


def _check_shares(data: dict[str, Any]) -> None:
    shares = data.get("shares")
    if shares is None:
        return
    if data.get("partition", "iid") != "iid":
        raise SettingError(
            f"data.shares={shares} and data.partition={data['partition']}: leave one of them out"
        )
    # '' is what a shell makes of a variable that is not set
    named = shares.get("_target_") if isinstance(shares, dict) else shares
    if not named or not isinstance(named, str):
        raise SettingError(
            f"data.shares={shares} must be the path of a JSON file, or a function as "
            "data.shares={_target_: mine.by_site}"
        )


def _check_own(config: "Config") -> None:
    topology = config.topology
    for given, why in (
        (
            topology.spares,
            f"so no spare can take its place: set topology.spares=0, not {topology.spares}",
        ),
        (
            config.sync.local_steps is None,
            "who alone knows how much it is: say how many steps a round has, such as "
            "sync.local_steps=20",
        ),
        (
            topology.most != topology.replicas,
            f"so nobody can join: leave out topology.max_replicas={topology.max_replicas}",
        ),
        (
            config.data.get("scaled"),
            "who would scale its columns by its own rows alone: scale them in the files, by the "
            "same numbers for all, and set data.scaled=false",
        ),
    ):
        if given:
            raise SettingError(
                f"data.partition=own: the data of a replica stays with its owner, {why}"
            )


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
    for name in ("replicas", "nodes"):
        if not isinstance(attack.get(name), list):
            raise SettingError(
                f"attack.{name}={attack.get(name)} must be a list, such as attack.{name}=[…]"
            )
    if not attack["replicas"] and not attack["nodes"]:
        raise SettingError(
            "attack.replicas and attack.nodes are empty: name who attacks, such as "
            "attack.replicas=[0]"
        )
    first = attack.get("from_round")
    if type(first) is not int:
        raise SettingError(
            f"attack.from_round={first} must be the first round in which they attack, such as 1"
        )
    if attack.get("share_of_rounds") is None:
        raise SettingError(
            "attack.share_of_rounds is empty: give the share of rounds in which they attack, such "
            "as 1.0"
        )
    for replica in attack["replicas"]:
        if type(replica) is not int or replica not in range(topology.most):
            raise SettingError(
                f"attack.replicas names {replica!r}, but replicas have the numbers 0 to "
                f"{topology.most - 1} (topology.replicas)"
            )
    nodes = {f"r{r}.s{s}" for r in range(topology.replicas) for s in range(topology.stages)}
    for node in attack["nodes"]:
        if str(node) not in nodes and not re.fullmatch(r"spare(0|[1-9]\d*)", str(node)):
            raise SettingError(
                f"attack.nodes names {node}, but the nodes are r0.s0 to "
                f"r{topology.replicas - 1}.s{topology.stages - 1} (topology.replicas, "
                "topology.stages), and spare0, spare1, …"
            )
