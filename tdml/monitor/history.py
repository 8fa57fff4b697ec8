"""What became of a run, round by round: read from its run folder, or from the JSON that keeps
it."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
from omegaconf import OmegaConf

from tdml.attacks.base import acts, attackers
from tdml.common.files import replace_file
from tdml.errors import SettingError
from tdml.monitor import machine
from tdml.monitor.record import ranked
from tdml.monitor.run_folder import read_metrics, reading
from tdml.settings.file import from_yaml

# settings of `train` that change a result by little
_FOR_SPEED = ("precision", "channels_last", "activation_checkpointing")
_OF_A_MACHINE = ("run_dir", "resume", "identity", "ledger")  # settings, beside data.root
_MOST_NODES = 2**16  # a stranger's settings may name any number of them


@dataclass(frozen=True)
class RoundMetrics:
    """One round. What is not known is None."""

    round: int
    test_accuracy: float | None
    test_loss: float | None
    train_loss: float | None  # the mean of the replicas that count
    seconds: float
    # nodes that were banned before, also in rounds that were taken back
    gone: list[str] = field(default_factory=list)
    # mean and standard deviation, by replica
    ranks: dict[str, tuple[float, float]] = field(default_factory=dict)
    # all of the test and validation samples, such as test_perplexity
    metrics: dict[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class History:
    """A run's settings, without those of a machine, where it ran, and its rounds."""

    name: str
    settings: dict[str, Any]
    machines: list[machine.Machine]
    ended: bool
    rounds: list[RoundMetrics]
    # the round in which a node was banned, by node
    bans: dict[str, int] = field(default_factory=dict)
    void_seconds: float = 0.0  # of the rounds that were taken back

    @property
    def topology(self) -> tuple[int, int]:
        """Replicas and stages."""
        return self.settings["topology"]["replicas"], self.settings["topology"]["stages"]

    @property
    def is_baseline(self) -> bool:
        """Whether one machine trains alone."""
        return self.topology == (1, 1)

    @property
    def last(self) -> RoundMetrics | None:
        """The last round so far."""
        return self.rounds[-1] if self.rounds else None

    @property
    def seconds(self) -> float:
        """Of all rounds, also those that were taken back."""
        return sum(line.seconds for line in self.rounds) + self.void_seconds

    def accuracy(self, number: int) -> float | None:
        """The test accuracy after a round, None if it is not known."""
        return next((line.test_accuracy for line in self.rounds if line.round == number), None)

    def first_round_at(self, accuracy: float) -> int | None:
        """The first round whose test accuracy is at least this high."""
        reached = (line.round for line in self.rounds if (line.test_accuracy or 0.0) >= accuracy)
        return next(reached, None)

    # Who attacks, by the settings

    @property
    def attack(self) -> str:
        """The attack's class in words, such as "mean shift"; "" where nobody attacks."""
        name = (self.settings["attack"].get("_target_") or "").rpartition(".")[2]
        return re.sub("(?<=[a-z])(?=[A-Z])", " ", name).lower()

    @property
    def attacked_from(self) -> int:
        """The first round of the attack."""
        return self.settings["attack"]["from_round"]

    @property
    def attackers(self) -> frozenset[str]:
        """The names of the nodes that attack."""
        return attackers(self.settings["attack"], stages=self.topology[1])

    def attacking(self, number: int) -> set[int]:
        """The replicas with a node in them that attacks in a round and was not banned before. Where
        a spare that attacks sits is not known here."""
        if not self.attack or not acts(self.settings["attack"], self.settings["seed"], number):
            return set()
        gone = {node for line in self.rounds if line.round == number for node in line.gone}
        named = (re.match(r"r(\d+)\.", node) for node in self.attackers - gone)
        return {int(match[1]) for match in named if match}


def has_accuracy(histories: Iterable[History]) -> bool:
    """Whether runs can be compared by accuracy: some tasks have none."""
    return all(
        not each.rounds or any(line.test_accuracy is not None for line in each.rounds)
        for each in histories
    )


def baseline_of(history: History, histories: Iterable[History]) -> History | None:
    """The run on one machine that was trained in the same way for as many rounds, if it is among
    `histories`."""
    alike = (one for one in histories if one.is_baseline and _training(one) == _training(history))
    return next(alike, None)


def _training(history: History) -> dict[str, Any]:
    """What decides how well a run learns, besides who takes part. What is null is left out: a run
    of an earlier version has no such setting."""
    settings = history.settings
    train = {name: value for name, value in settings["train"].items() if name not in _FOR_SPEED}
    groups = {"model": settings["model"], "data": settings["data"], "train": train}
    given = {
        group: {name: value for name, value in chosen.items() if value is not None}
        for group, chosen in groups.items()
    }
    return given | {"rounds": settings["rounds"]}


def read(path: Path) -> History:
    """The history in a run folder, or in a JSON file that `write` has made.

    Raises:
        SettingError: it is neither, or is damaged.
    """
    with reading(f"{path} is not a run, or"):
        history = (
            msgspec.json.decode(path.read_bytes(), type=History)
            if path.is_file()
            else _read_run(path)
        )
        replicas, stages = history.topology
        attacking = len(history.settings["attack"].get("replicas") or ())
        if max(replicas, attacking) * stages > _MOST_NODES:
            raise ValueError(f"more than {_MOST_NODES} nodes")
        if not isinstance(history.name, str):
            raise ValueError("its name is no text")
        # what is missing is missed here
        _ = (history.attacked_from, history.attackers, _training(history))
    return history


def write(history: History, path: Path) -> None:
    """Keep it as JSON, a line for each round. Ranks are kept of attacked runs alone: nobody draws
    the others."""
    rounds = (
        history.rounds if history.attack else [replace(line, ranks={}) for line in history.rounds]
    )
    head = {name: value for name, value in asdict(history).items() if name != "rounds"}
    lines = ",\n  ".join(json.dumps(_shortened(asdict(line))) for line in rounds)
    replace_file(path, f'{json.dumps(head, indent=1)[:-2]},\n "rounds": [\n  {lines}\n ]\n}}\n')


def read_all(paths: Iterable[Path]) -> list[History]:
    """Several; where names come again, a number is added. Raises like `read`."""
    seen: Counter[str] = Counter()
    histories = []
    for history in map(read, paths):
        seen[history.name] += 1
        number = seen[history.name]
        name = history.name if number == 1 else f"{history.name} ({number})"
        histories.append(replace(history, name=name))
    return histories


def _read_run(run: Path) -> History:
    if not (run / "config.yaml").is_file():
        raise SettingError(f"{run} is no run: give the folder of one, such as runs/demo")
    with reading(run / "config.yaml"):
        settings = _settings(run)
    with reading(run / "summary.json"):
        summary = _summary(run)
        reached, model = (summary.get("round"), summary.get("rounds")), summary.get("model")
    with reading(run / "metrics.jsonl"):
        played = read_metrics(run, void=True)
        rounds, bans = _rounds(played)
        void = sum((line["seconds"]["total"] for line in played if line.get("void")), start=0.0)
    with reading(run / "machines.json"):
        machines = machine.read(run)
    # or it goes on, and the summary is of an earlier start
    current = reached == (rounds[-1].round if rounds else 0, settings["rounds"])
    return History(
        name=settings["name"],
        settings=settings,
        machines=machines,
        ended=current and model is not None,
        rounds=rounds,
        bans=bans,
        void_seconds=round(void, 3),
    )


def _settings(run: Path) -> dict[str, Any]:
    kept = OmegaConf.to_container(from_yaml(run / "config.yaml"))
    assert isinstance(kept, dict)
    settings = {str(key): value for key, value in kept.items() if key not in _OF_A_MACHINE}
    data = {key: value for key, value in settings["data"].items() if key != "root"}
    return settings | {"data": data}


def _summary(run: Path) -> dict[str, Any]:
    path = run / "summary.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _rounds(played: Iterable[dict[str, Any]]) -> tuple[list[RoundMetrics], dict[str, int]]:
    """The rounds that stay, of all that were played, in their order; and in which of all each node
    was banned."""
    rounds: list[RoundMetrics] = []
    bans: dict[str, int] = {}
    for line in played:
        if not line.get("void"):
            rounds.append(_round(line, sorted(bans)))
        for node in line["banned"]:
            bans.setdefault(node, line["round"])
    return rounds, bans


def _round(line: dict[str, Any], gone: list[str]) -> RoundMetrics:
    replicas = line["replicas"]
    counted = [str(index) for index in line["accepted"]] or list(replicas)
    losses = [loss for name in counted if (loss := replicas[name]["train_loss"]) is not None]
    return RoundMetrics(
        round=line["round"],
        test_accuracy=line.get("test_accuracy"),
        test_loss=line["test_loss"],
        train_loss=sum(losses) / len(losses) if losses else None,
        seconds=line["seconds"]["total"],
        gone=gone,
        ranks={name: (r["rank_mean"], r["rank_std"]) for name, r in ranked(line).items()},
        metrics={name: line[name] for name in line if name.startswith(("test_", "validation_"))},
    )


def _shortened(value: Any) -> Any:
    """Without what is empty, and numbers with no more digits than anybody reads."""
    if isinstance(value, dict):
        return {name: _shortened(part) for name, part in value.items() if part not in ([], {})}
    if isinstance(value, list | tuple):
        return [_shortened(part) for part in value]
    return round(value, 5) if isinstance(value, float) else value
