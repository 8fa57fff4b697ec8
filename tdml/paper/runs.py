"""The runs that the paper's results are made of (arXiv 2407.07339), in the order in which they are
played."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from tdml.errors import SettingError

SMALL = "resnet18_small"  # pictures: ResNet-18 with a stem for 32 pixels
MODELS = {
    "resnet18": ("model=resnet18",),
    "resnet50": ("model=resnet50",),
    SMALL: ("model=resnet18", "model.stem=cifar_pooled"),
}
PAPERS = ("resnet18", "resnet50")  # with which everything is played
RECIPES = ("paper", "fast")
ATTACKS = ("gaussian", "zero_gradient", "mean_shift")
SIZES = (2, 4, 8)  # of the paper's replicas and of its stages
_EXPERIMENTS = {1: "baseline", 2: "two", 4: "four", 8: "eight"}
_ATTACKED = {4: "one_of_four", 8: "three_of_eight"}
_ROUNDS, _ROUNDS_OF_EIGHT, _FULL, _FAST = 75, 100, 200, 30
_WITH_MOMENTUM = (4, 8)
_OF_SMALL = ((1, 1), (2, 2), (4, 2))
# of a batch of 128, where the stages need no more: BatchNorm sees 64 samples at most
_LEAST_MICROBATCHES = 2
_FIRST = (
    "resnet18-paper-2x2", "resnet18-paper-1x1", "resnet18-paper-4x2", "resnet18-paper-8x1",
    *(f"resnet18-paper-4x2-{attack}" for attack in ATTACKS),
    f"{SMALL}-fast-2x2", f"{SMALL}-fast-1x1", "resnet18-paper-1x1-100", "resnet50-paper-2x2",
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One experiment. `attack` is empty where nobody attacks; `longer`: the rounds, where they are
    more than usual; `momentum`: the mean of M replicas is added with a momentum of 1 − 1/M, which
    goes as far as all of their steps would; `kept`: their optimizers go on from round to round."""

    model: str
    recipe: str
    replicas: int
    stages: int
    attack: str = ""
    defended: bool = True
    longer: int = 0
    momentum: bool = False
    kept: bool = False

    @property
    def name(self) -> str:
        """Words with hyphens between them, such as resnet18-paper-4x2-gaussian."""
        topology = f"{self.replicas}x{self.stages}"
        words = [
            self.model,
            self.recipe,
            topology,
            "momentum" if self.momentum else "",
            "kept" if self.kept else "",
            self.attack,
        ]
        words += ["" if self.defended else "undefended", str(self.longer or "")]
        return "-".join(filter(None, words))

    @property
    def rounds(self) -> int:
        """Of one epoch each."""
        usual = (
            _FAST
            if self.recipe == "fast"
            else _ROUNDS_OF_EIGHT
            if self.replicas == max(SIZES)
            else _ROUNDS
        )
        return self.longer or usual

    @property
    def settings(self) -> list[str]:
        """As `tdml train` takes them."""
        experiment = (_ATTACKED if self.attack else _EXPERIMENTS)[self.replicas]
        given = [f"experiment=paper/{experiment}", *MODELS[self.model], f"recipe={self.recipe}"]
        given += [f"rounds={self.rounds}", f"topology.stages={self.stages}"]
        given += [f"topology.microbatches={max(_LEAST_MICROBATCHES, self.stages)}"]
        given += [f"attack={self.attack}"] if self.attack else []
        if self.momentum:
            momentum = 1 - 1 / self.replicas
            given += ["sync=nesterov", "sync.outer_lr=1.0", f"sync.outer_momentum={momentum}"]
        given += ["sync.inner_state=kept"] if self.kept else []
        return given + ([] if self.defended else ["trust.enabled=false", "topology.spares=0"])

    @property
    def baseline(self) -> "Run":
        """One machine, trained in the same way for as many rounds."""
        usual = Run(self.model, self.recipe, 1, 1)
        return usual if usual.rounds == self.rounds else replace(usual, longer=self.rounds)

    @property
    def without_attack(self) -> "Run":
        """The same, where nobody attacks."""
        return replace(self, attack="", defended=True)


def all_runs() -> list[Run]:
    """Every experiment, those that say most for their time first."""
    clean = [
        (1, 1),
        *((replicas, stages) for replicas in SIZES for stages in SIZES),
        (max(SIZES), 1),
    ]
    clean.sort(key=lambda topology: topology[0] * topology[1])
    runs = []
    for recipe in RECIPES:
        runs += [Run(SMALL, recipe, *topology) for topology in _OF_SMALL]
        for model in PAPERS:
            runs += [Run(model, recipe, *topology) for topology in clean]
            runs += [
                Run(model, recipe, replicas, 2, attack, defended)
                for replicas in _ATTACKED
                for attack in ATTACKS
                for defended in (True, False)
            ]
    for model in PAPERS:
        runs += [
            Run(model, "paper", replicas, 2, momentum=True, kept=kept)
            for replicas in _WITH_MOMENTUM
            for kept in (False, True)
        ]
        runs += [Run(model, "paper", *topology, longer=_FULL) for topology in clean]
    runs += [run.baseline for run in runs if run.baseline not in runs]
    runs = list(dict.fromkeys(runs))
    return sorted(
        runs, key=lambda run: _FIRST.index(run.name) if run.name in _FIRST else len(_FIRST)
    )


def choose(filters: Iterable[str], runs: Sequence[Run]) -> list[Run]:
    """The runs that any of the filters means, in their order; all of them without filters.

    A filter is a run's name, a pattern of names (resnet18-*-[24]x2), or words that must all be in
    the name (resnet18-gaussian).

    Raises:
        SettingError: a filter means no run.
    """
    filters, chosen = list(filters), set()
    for text in filters:
        meant = [run for run in runs if run.name == text] or [
            run for run in runs if _means(text, run)
        ]
        if not meant:
            raise SettingError(
                f"{text} is no run, nor a pattern or word of one: launch/paper.sh --list shows all"
            )
        chosen |= set(meant)
    return [run for run in runs if run in chosen or not filters]


def _means(text: str, run: Run) -> bool:
    return fnmatchcase(run.name, text) or set(text.split("-")) <= set(run.name.split("-"))
