"""One round's audit: what validators find when they take audited replicas' steps again, and the comparison."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from tdml.cluster.claims import Claims, Window
from tdml.cluster.fleet import Fleet
from tdml.cluster.gather import Gathered
from tdml.cluster.messages import RepeatOrder, Repetition
from tdml.cluster.replica import Replica
from tdml.job import Job
from tdml.training.inner import sections
from tdml.trust.audit import CLEAN, DIFFERENT, LARGEST, LIED, UNSETTLED, Ruling, Tolerance, agree, relative_error
from tdml.trust.blame import to_blame
from tdml.trust.commitment import is_plain


@dataclass(frozen=True)
class Result:
    """What a validator found, by stage: the digests at the end of the window, what crossed the borders in it, and, if
    any digest is not the claimed one, the ends themselves. All are empty where what it sent does not fit together."""

    digests: tuple[str, ...] = ()
    sketches: tuple[torch.Tensor, ...] = ()
    ends: tuple[torch.Tensor, ...] = ()


class Case:
    """An audit under way, of what the replicas claim."""

    def __init__(
        self, job: Job, fleet: Fleet, number: int, found: Gathered, claims: Claims, tolerance: Tolerance
    ) -> None:
        self._job, self._fleet, self._number, self._claims, self._tolerance = job, fleet, number, claims, tolerance
        self._kinds = {replica.index: replica.kind for replica in fleet.ready(found.replicas)}

    def repeat(self, juries: Mapping[Window, Sequence[int]]) -> dict[Window, dict[int, Result]]:
        """Have windows repeated by replicas: window → validator → result. Validators that are lost are left out."""
        tasks: dict[int, list[Window]] = {}
        for window, jury in juries.items():
            for validator in jury:
                tasks.setdefault(validator, []).append(window)

        def work(validator: Replica) -> dict[Window, Result]:
            return {window: self._repeat_one(validator, window) for window in tasks[validator.index]}

        results: dict[Window, dict[int, Result]] = {window: {} for window in juries}
        for validator, found in self._fleet.each(work, self._fleet.ready(sorted(tasks))).items():
            for window, result in found.items():
                results[window][validator] = result
        return results

    def error(self, window: Window, result: Result) -> float:
        """How far what was claimed is from a validator's result, relative to the change over the window; infinite
        where either is missing."""
        if self._confirmed(window, result):
            return 0.0
        return self._distance(window, self._claims.ends(window), result.ends)

    def rule(self, window: Window, heard: Mapping[int, Result]) -> Ruling:
        """Decide on a window from the results of all who repeated it."""
        validators = tuple(heard)
        if len(validators) < 2:
            return self._word_of_one(window, heard)
        distances = torch.tensor(
            [[self._between(window, heard[a], heard[b]) for b in validators] for a in validators], dtype=torch.float64
        )
        consensus = agree(distances)
        centre = validators[consensus.centre]
        far = {validators[i]: float(distances[consensus.centre, i]) for i in consensus.dissenters}
        dissenters = tuple(v for v, distance in far.items() if not self._may_be_honest(centre, v, distance))
        error, limit = self.error(window, heard[centre]), self._limit(centre, window.replica, consensus.limit)
        if error <= limit:
            return Ruling(CLEAN, error, limit, validators, centre, (), dissenters)
        excused = self._may_be_honest(centre, window.replica, error)
        blamed = () if excused else self._blame(window, centre, heard, limit)
        return Ruling(LIED if blamed else UNSETTLED, error, limit, validators, centre, blamed, dissenters)

    def exhibit(self, window: Window, heard: Mapping[int, Result], ruling: Ruling) -> dict[str, torch.Tensor]:
        """What a conviction rests on: of every stage that lied, where the window began, what was claimed of its end,
        and what was found."""
        claim, truth = self._claims.ends(window), self._ends(window, heard[ruling.centre])
        if not claim or not truth:
            return {}
        return {
            f"window{window.number}.stage{stage}.{name}": tensor
            for stage in ruling.blamed
            for name, tensor in (
                ("start", self._claims.origin(window, stage)),
                ("claimed", claim[stage]),
                ("repeated", truth[stage]),
            )
        }

    def kinds(self, one: int, other: int) -> tuple[str, str]:
        """Of which machines two replicas are: equal kinds repeat each other's steps bit for bit."""
        return self._kinds[one], self._kinds[other]

    def _limit(self, one: int, other: int, scatter: float) -> float:
        """How far apart two replicas' results may be, where those who agree scatter so much. They may all be of one
        kind, and the other is not."""
        same = self._kinds[one] == self._kinds[other]
        return scatter if same else max(scatter, LARGEST)

    def _may_be_honest(self, one: int, other: int, distance: float) -> bool:
        """Whether results so far apart may both be honest, because the machines are of different kinds."""
        return self._kinds[one] != self._kinds[other] and distance <= DIFFERENT

    def _word_of_one(self, window: Window, heard: Mapping[int, Result]) -> Ruling:
        """With nobody else to ask, one validator's word clears, but does not convict."""
        for validator, result in heard.items():
            error, limit = self.error(window, result), self._tolerance.limit(*self.kinds(validator, window.replica))
            return Ruling(CLEAN if error <= limit else UNSETTLED, error, limit, (validator,), validator)
        return Ruling(UNSETTLED, float("inf"), 0.0, (), -1)

    # What validators find

    def _repeat_one(self, validator: Replica, window: Window) -> Result:
        index, last = window.replica, self._claims.is_last(window)
        first, stop = self._job.edges(index)[window.number : window.number + 2]
        batches = self._job.batches(index, self._number)[first:stop]
        orders = [
            RepeatOrder(self._number, index, first, last, batches, self._claims.start(window, stage))
            for stage in range(len(self._job.layouts))
        ]
        done, shape = validator.repeat(orders), self._claims.records_shape(window)
        if not all(isinstance(d, Repetition) and is_plain(d.sketches, shape, torch.float64) for d in done):
            return Result()
        result = Result(tuple(d.digest for d in done), tuple(d.sketches for d in done))
        if self._confirmed(window, result):
            return result
        ends = tuple(validator.repeated())
        digests = tuple(self._claims.digest(stage, end, last) for stage, end in enumerate(ends))
        return Result(digests, result.sketches, ends) if all(digests) and digests == result.digests else Result()

    def _confirmed(self, window: Window, result: Result) -> bool:
        return self._claims.digests(window) == result.digests

    def _between(self, window: Window, one: Result, other: Result) -> float:
        """How far apart two validators' results are."""
        if one.digests == other.digests:
            return 0.0
        return self._distance(window, self._ends(window, one), self._ends(window, other))

    def _ends(self, window: Window, result: Result) -> Sequence[torch.Tensor] | None:
        return self._claims.ends(window) if self._confirmed(window, result) else result.ends

    def _distance(
        self, window: Window, one: Sequence[torch.Tensor] | None, other: Sequence[torch.Tensor] | None
    ) -> float:
        """The largest relative error over the stages; infinite where the ends are missing."""
        if not one or not other:
            return float("inf")
        return max(self._stage_error(window, stage, a, b) for stage, (a, b) in enumerate(zip(one, other, strict=True)))

    def _stage_error(self, window: Window, stage: int, one: torch.Tensor, other: torch.Tensor) -> float:
        """The largest relative error over the sections of a stage's state."""
        layout, settings = self._job.layouts[stage], self._job.config.train
        pieces = (sections(flat, layout, settings) for flat in (self._claims.origin(window, stage), one, other))
        return max(relative_error(*triple) for triple in zip(*pieces, strict=True))

    def _blame(self, window: Window, centre: int, heard: Mapping[int, Result], limit: float) -> tuple[int, ...]:
        claim, ends = self._claims.ends(window), self._ends(window, heard[centre])
        if not claim or not ends:
            return ()
        wrong = [
            stage for stage, (claimed, repeated) in enumerate(zip(claim, ends, strict=True))
            if self._stage_error(window, stage, claimed, repeated) > limit
        ]  # fmt: skip
        # Whoever found the right end may still lie about the way to it: most of all validators decide.
        told = [result.sketches for result in heard.values() if result.sketches]
        repeated = [torch.stack(stage).median(dim=0).values for stage in zip(*told, strict=True)]
        agreeing = [v for v, result in heard.items() if result.digests == heard[centre].digests]
        exact = len(agreeing) > len(heard) / 2 and len({self._kinds[i] for i in (window.replica, *agreeing)}) == 1
        return to_blame(wrong, self._claims.sketches(window), repeated, 0.0 if exact else limit)
