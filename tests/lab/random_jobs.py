"""Random jobs of honest nodes: odd data, training that diverges, few samples, code that does not
repeat itself, models that draw, machines that compute otherwise. Nobody is banned in any of them.

`python -m tests.lab.random_jobs COUNT FILE [docs]` plays the jobs 0, 1, …, or goes on where FILE
ends, a line of JSON each, and keeps what they came to for the page in `docs/results`.
"""

import json
import random
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch

from tdml.common.checkout import commit
from tdml.common.files import replace_file
from tdml.errors import SettingError, one_line
from tdml.lab.laboratory import Laboratory
from tdml.lab.page import RANDOM_JOBS, write_page
from tests.lab import other_jobs
from tests.lab.other_jobs import Vectors
from tests.round import hidden

_MINE = "tests.lab.random_jobs"


def clusters(few: int, infinite: bool, **settings) -> tuple[Vectors, Vectors]:
    """So many samples of `other_jobs`, one of them perhaps with values that are not finite."""
    train, test = other_jobs.clusters(**settings)
    train = Vectors(train.inputs[:few], train.labels[:few])
    if infinite:
        train.inputs[few // 2] = torch.inf
    return train, test


def warms(num_classes: int, features: int, hidden_units: int) -> torch.nn.Sequential:
    """A model that counts its calls where nobody looks."""
    return torch.nn.Sequential(
        torch.nn.Linear(features, hidden_units),
        torch.nn.ReLU(),
        hidden.Warms(),
        torch.nn.Linear(hidden_units, num_classes),
    )


def drops(num_classes: int, features: int, hidden_units: int) -> torch.nn.Sequential:
    """A model that draws."""
    return torch.nn.Sequential(
        torch.nn.Linear(features, hidden_units),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.3),
        torch.nn.Linear(hidden_units, num_classes),
    )


class Otherwise(hidden.OfItsOwn):
    """A node on a machine that rounds, and draws, otherwise than the coordinator's."""

    def _take_step(self, given, log, step, keeps=False):
        given = replace(given, seed=given.seed + 77)
        # before the recorder of messages, which notes what is sent
        hook = self.stage.runners[0].register_forward_hook(
            lambda *parts: parts[-1] * (1 + 2**-22), prepend=True
        )
        try:
            yield from super()._take_step(given, log, step, keeps)
        finally:
            hook.remove()  # the laboratory's nodes share their stages


def job(seed: int) -> dict:
    """The settings of a job, and what is odd about it."""
    draw = random.Random(seed)
    classes, depth = draw.randint(2, 10), draw.randint(1, 6)
    odd = {
        "counts": draw.random() < 0.25, "infinite": draw.random() < 0.2,
        "otherwise": draw.choice([0, 0, 1, 2]), "calls": draw.randint(0, 60),
    }  # fmt: skip
    stages = 1 if odd["counts"] or depth < 2 else draw.randint(1, 2)
    model = ["model=mlp", f"model.hidden={draw.choice([4, 16, 64])}", f"model.depth={depth}"]
    if odd["counts"]:
        model = _own_model("warms", draw)
    given = [
        *model, "model.features=20", f"model.num_classes={classes}", "data=digits",
        f"data._target_={_MINE}.clusters", "~data.size", f"+data.classes={classes}",
        f"+data.few={draw.choice([100, 500, 3000])}", f"+data.infinite={odd['infinite']}",
        f"+data.rarest={draw.choice([0.05, 0.3, 1])}", f"+data.gap={draw.uniform(0.2, 4):.2f}",
        f"data.partition={draw.choice(['iid', 'dirichlet'])}",
        f"data.alpha={draw.choice([0.05, 0.1, 1])}",
        f"topology.replicas={draw.randint(1, 6)}", f"topology.stages={stages}",
        f"train={draw.choice(['sgd', 'adamw'])}", f"train.lr={10 ** draw.uniform(-3, 0.5):.4f}",
        f"train.batch_size={draw.choice([2, 8, 32])}",
        f"train.clip_norm={draw.choice(['null', 1])}",
        f"sync.local_steps={draw.randint(1, 8)}", f"sync={draw.choice(['nesterov', 'fedavg'])}",
        f"trust.budget={draw.choice([0.1, 0.5, 1])}", f"seed={seed}", "rounds=4", "device=cpu",
        f"sync.inner_state={draw.choice(['fresh', 'kept'])}",
    ]  # fmt: skip
    odd["draws"] = not odd["counts"] and draw.random() < 0.25
    if odd["draws"]:
        given = [*_own_model("drops", draw), *given[len(model) :]]
    given.sort(key=lambda setting: "." in setting.partition("=")[0])  # groups first
    return {"seed": seed, "odd": odd, "settings": given}


def _own_model(name: str, draw: random.Random) -> list[str]:
    return [
        "model=mlp", "~model.hidden", "~model.depth", f"model._target_={_MINE}.{name}",
        f"+model.hidden_units={draw.choice([4, 16])}",
    ]  # fmt: skip


def play(seed: int) -> dict:
    """What came of a job: who was banned, and how many windows were repeated."""
    made = job(seed)
    hidden.CALLS.clear()
    hidden.hidden.update(who=hidden.COORDINATOR, calls=10**9)
    try:
        laboratory = Laboratory(made["settings"])
    except SettingError as error:
        return made | {"refused": one_line(error)}
    for index, node in enumerate(laboratory.fleet.nodes.values()):
        replica = index // laboratory.job.config.topology.stages
        node.__class__ = Otherwise if replica < made["odd"]["otherwise"] else hidden.OfItsOwn
    hidden.CALLS.clear()
    hidden.hidden["calls"] = made["odd"]["calls"]
    banned, repeated, unsettled, disagreed = {}, 0, 0, 0
    for number in range(1, 5):
        for replica in laboratory.fleet.muster():
            if replica.index < made["odd"]["otherwise"]:
                replica.kind = "one that rounds otherwise"
        played = laboratory.play(number)
        banned |= played.bans
        repeated += sum(len(audited.validators) for audited in played.audits.values())
        unsettled += sum(bool(audited.unsettled) for audited in played.audits.values())
        disagreed += sum("do not agree" in found.reason for found in played.judgements.values())
    nodes = len(laboratory.fleet.nodes)
    found = {"banned": banned, "nodes": nodes, "windows": repeated, "unsettled": unsettled}
    return made | found | {"disagreed": disagreed}


def main(count: int, file: Path) -> None:
    """Play so many."""
    done = len(file.read_text().splitlines()) if file.exists() else 0
    torch.set_num_threads(1)
    for seed in range(done, count):
        with file.open("a") as kept:
            kept.write(json.dumps(play(seed)) + "\n")


def summary(lines: Iterable[str]) -> dict:
    """Of all jobs."""
    played = [json.loads(line) for line in lines]
    sound = [found for found in played if "refused" not in found]
    return {
        "jobs": len(sound), "refused": len(played) - len(sound), "commit": commit() or "unknown",
        **{name: sum(found[name] for found in sound) for name in ("nodes", "windows", "unsettled")},
        "banned": sum(len(found["banned"]) for found in sound),
    }  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
    if len(sys.argv) > 3:
        folder = Path(sys.argv[3]) / "results" / "detection"
        told = Path(sys.argv[2]).read_text().splitlines()
        replace_file(folder / RANDOM_JOBS, json.dumps(summary(told), indent=1) + "\n")
        print(write_page(folder))
