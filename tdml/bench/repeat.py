"""`tdml bench repeat`: whether this machine takes the same steps again bit for bit, and what that
costs in time.

A job is played in which every replica is audited in every round: another process takes all of its
steps again. Where the two have parted is in the job's ledger.
"""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from tdml import config as settings
from tdml.bench import hardware, json_file
from tdml.bench.plain_loop import device_of, plain_loop
from tdml.bench.play import play
from tdml.data.source import load_source
from tdml.errors import SettingError
from tdml.ledger.reader import LEDGER, read
from tdml.run.prepare import prepare

_ROUNDS = 50  # unless others are asked for; of four replicas: 200 audits
_TURNS, _TURN_S = 3, 2.0  # of each plain loop


@dataclass(frozen=True)
class AuditCounts:
    """What all audits of a job come to. `parted` are the places at which a window was not repeated
    bit for bit; `outcomes` counts the audits by what came of them."""

    replica_rounds: int
    windows: int
    parted: list[str]
    outcomes: Mapping[str, int]


@dataclass(frozen=True)
class Cost:
    """Samples a second of a plain loop: with kernels that repeat, and with the fastest."""

    repeatable: float
    fastest: float


def run(overrides: Sequence[str], out: Path | None) -> int:
    """Play, print, and write JSON to `out` where it is given. The run stays in its folder.

    Raises:
        SettingError: settings that no job could have, or with which nobody is audited.
    """
    ours = [f"rounds={_ROUNDS}", "name=bench-repeat", "trust.budget=1", "trust.repeatable=warn"]
    chosen = [*ours, *overrides]
    config = settings.load(chosen)
    json_file.check(out)
    job = prepare(config, load_source(config), checkpoint=None)
    if not job.windows or config.topology.replicas == 1:
        raise SettingError(
            f"topology.replicas={config.topology.replicas}, "
            f"trust.enabled={str(config.trust.enabled).lower()}, "
            f"trust.budget={config.trust.budget:g}, data.partition={config.data.get('partition')}: "
            "so nobody is audited: take 2 replicas or more, true, 1, and data that all hold"
        )
    turns = [
        (plain_loop(job, _TURN_S, repeatable=True), plain_loop(job, _TURN_S)) for _ in range(_TURNS)
    ]
    cost = Cost(*map(statistics.fmean, zip(*turns, strict=True)))
    if status := play(chosen):
        return status
    with read(Path(config.run_dir, LEDGER)) as ledger:
        audits = summarise([entry.body for entry in ledger.entries(kind="audit")])
    Console(soft_wrap=True).print(_sentence(audits, cost), highlight=False)
    about = {
        "machine": hardware.describe(device_of(job)),
        "settings": list(overrides),
        "rehearsal": job.problem,
    }
    json_file.write(out, about | asdict(audits) | asdict(cost))
    return 0


def summarise(audits: Sequence[Mapping[str, Any]]) -> AuditCounts:
    """From the bodies of a ledger's audits."""
    return AuditCounts(
        replica_rounds=len(audits),
        windows=sum(len(body["validators"]) for body in audits),
        parted=[dispute["place"] for body in audits for dispute in body["disputes"]],
        outcomes=dict(Counter(body["outcome"] for body in audits)),
    )


def _sentence(audits: AuditCounts, cost: Cost) -> str:
    exact = f"{audits.windows - len(audits.parted)} of {audits.windows} windows"
    first = f", the others part first at {audits.parted[0]}" if audits.parted else ""
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(audits.outcomes.items()))
    return (
        f"{exact} repeated bit for bit{first}; audits: {outcomes}; kernels that repeat run at "
        f"{cost.repeatable / cost.fastest:.1%} of the fastest's {cost.fastest:.4g} samples a second"
    )
