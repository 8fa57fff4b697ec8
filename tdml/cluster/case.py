"""One round's audit: what validators find when they take audited replicas' steps again, and the comparison."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from tdml.cluster.claims import Claims, Window
from tdml.cluster.fleet import Fleet
from tdml.cluster.gather import Gathered
from tdml.cluster.messages import RepeatOrder, Repetition
from tdml.cluster.replica import Replica
from tdml.job import Job
from tdml.trust.audit import (
    CLEAN,
    DIFFERENT,
    FARTHEST,
    LARGEST,
    LIED,
    UNSETTLED,
    Ruling,
    Tolerance,
    agree,
    relative_error,
)
from tdml.trust.blame import Blame, agreed, to_blame
from tdml.trust.commitment import is_plain


@dataclass(frozen=True)
class Result:
    """What a validator found, by stage: the digests at the end of the window, what crossed the borders in it, and, if
    any digest is not the claimed one, the ends themselves. All are empty where what it sent does not fit together,
    which is the fault of the stages `misfits`."""

    digests: tuple[str, ...] = ()
    sketches: tuple[torch.Tensor, ...] = ()
    ends: tuple[torch.Tensor, ...] = ()
    misfits: tuple[int, ...] = ()


class Case:
    """An audit under way, of what the replicas claim."""

    def __init__(
        self, job: Job, fleet: Fleet, number: int, found: Gathered, claims: Claims, tolerance: Tolerance
    ) -> None:
        self._job, self._fleet, self._number, self._claims, self._tolerance = job, fleet, number, claims, tolerance
        self._kinds = {replica.index: replica.kind for replica in fleet.seated(found.audited)}

    def repeat(
        self, juries: Mapping[Window, Sequence[int]], before: Mapping[Window, Mapping[int, Result]] | None = None
    ) -> dict[Window, dict[int, Result]]:
        """Have windows repeated by replicas: window → validator → result. Validators that are lost are left out.

        Args:
            before: what each has found already, if it takes them once more: ends that are the same do not travel.
        """
        tasks: dict[int, list[Window]] = {}
        for window, jury in juries.items():
            for validator in jury:
                tasks.setdefault(validator, []).append(window)

        def work(validator: Replica) -> dict[Window, Result]:
            return {
                window: self._repeat_one(validator, window, before and before[window][validator.index])
                for window in tasks[validator.index]
            }

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

    def apart(self, window: Window, one: Result, other: Result) -> float:
        """How far apart two repetitions are."""
        if one.digests == other.digests:
            return 0.0
        return self._distance(window, self._ends(window, one), self._ends(window, other))

    def rule(self, window: Window, heard: Mapping[int, Result]) -> Ruling:
        """Decide on a window from the results of all who repeated it."""
        misfits = {v: Blame(result.misfits) for v, result in heard.items() if result.misfits}
        sound = {v: result for v, result in heard.items() if v not in misfits}
        ruling = self._rule(window, sound) if len(sound) > 1 else self._word_of_one(window, sound)
        return replace(ruling, validators=tuple(heard), dissenters={**misfits, **ruling.dissenters})

    def _rule(self, window: Window, heard: Mapping[int, Result]) -> Ruling:
        """From the results of two or more."""
        validators = tuple(heard)
        distances = torch.tensor(
            [[self.apart(window, heard[a], heard[b]) for b in validators] for a in validators], dtype=torch.float64
        )
        consensus = agree(distances)
        if consensus.limit > self._widest(validators):
            return self._without_consensus(window, heard, consensus.limit)
        centre = validators[consensus.centre]
        far = {validators[i]: float(distances[consensus.centre, i]) for i in consensus.dissenters}
        liars = [v for v, distance in far.items() if not self._may_be_honest(window, heard, centre, v, distance)]
        honest = {v: result for v, result in heard.items() if v not in liars}
        dissenters = {v: self._blame_validator(window, centre, v, heard[v], honest, consensus.limit) for v in liars}
        error, limit = self.error(window, heard[centre]), self._limit(centre, window.replica, consensus.limit)
        if error <= limit:
            return Ruling(CLEAN, error, limit, validators, centre, (), dissenters)
        excused = self._may_be_honest(window, heard, centre, window.replica, error)
        blame = Blame() if excused else self._blame(window, centre, heard, limit)
        result = LIED if blame.stages else UNSETTLED
        return Ruling(result, error, limit, validators, centre, blame.stages, dissenters, blame.disputes)

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

    def _widest(self, validators: Sequence[int]) -> float:
        """The largest limit of validators who agree."""
        return LARGEST if len({self._kinds[v] for v in validators}) == 1 else FARTHEST

    def _may_be_honest(
        self, window: Window, heard: Mapping[int, Result], centre: int, other: int, distance: float
    ) -> bool:
        """Whether a result so far from the centre's may be honest, because the machines are of different kinds. Where
        the centre's is not finite, it says nothing of what another kind should find."""
        if self._kinds[centre] == self._kinds[other]:
            return False
        ends = self._ends(window, heard[centre]) or ()
        return distance <= DIFFERENT or not all(bool(end.isfinite().all()) for end in ends)

    def _without_consensus(self, window: Window, heard: Mapping[int, Result], limit: float) -> Ruling:
        """Where validators do not agree nobody is named; but with the replica itself, most of all may have found the
        same."""
        errors = {v: self.error(window, result) for v, result in heard.items()}
        agreeing = [v for v, e in errors.items() if e <= self._tolerance.limit(*self.kinds(v, window.replica))]
        clean = 2 * (len(agreeing) + 1) > len(heard) + 1
        void = not clean and len(heard) > 2  # of two, one may have lied
        return Ruling(CLEAN if clean else UNSETTLED, min(errors.values()), limit, tuple(heard), -1, void=void)

    def _word_of_one(self, window: Window, heard: Mapping[int, Result]) -> Ruling:
        """With nobody else to ask, one validator's word clears, but does not convict."""
        for validator, result in heard.items():
            error, limit = self.error(window, result), self._tolerance.limit(*self.kinds(validator, window.replica))
            return Ruling(CLEAN if error <= limit else UNSETTLED, error, limit, (validator,), validator)
        return Ruling(UNSETTLED, float("inf"), 0.0, (), -1)

    # What validators find

    def _repeat_one(self, validator: Replica, window: Window, before: Result | None) -> Result:
        index, last = window.replica, self._claims.is_last(window)
        first, stop = self._job.edges(index)[window.number : window.number + 2]
        batches = self._job.batches(index, self._number)[first:stop]
        orders = [
            RepeatOrder(self._number, self._job.longest, index, first, last, batches, self._claims.start(window, stage))
            for stage in range(len(self._job.layouts))
        ]
        done, shape = validator.repeat(orders), self._claims.records_shape(window)
        sound = [isinstance(d, Repetition) and is_plain(d.sketches, shape, torch.float64) for d in done]
        if not all(sound):
            return Result(misfits=_where(sound, False))
        result = Result(tuple(d.digest for d in done), tuple(d.sketches for d in done))
        if result.digests == (before.digests if before else self._claims.digests(window)):
            return result
        ends = tuple(validator.repeated())
        digests = tuple(self._claims.digest(stage, end, last) for stage, end in enumerate(ends))
        shown = [bool(digest) and digest == told for digest, told in zip(digests, result.digests, strict=True)]
        return Result(digests, result.sketches, ends) if all(shown) else Result(misfits=_where(shown, False))

    def _confirmed(self, window: Window, result: Result) -> bool:
        return self._claims.digests(window) == result.digests

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
        states = self._job.states[stage]
        pieces = (states.sections(flat) for flat in (self._claims.origin(window, stage), one, other))
        return max(relative_error(*triple) for triple in zip(*pieces, strict=True))

    # Who lied

    def _blame(self, window: Window, centre: int, heard: Mapping[int, Result], limit: float) -> Blame:
        """In the audited replica."""
        claim = self._claims.ends(window)
        ends = self._ends(window, heard[centre])
        if not claim or not ends:
            return Blame()
        wrong = self._wrong(window, claim, ends, limit)
        # Whoever found the right end may still lie about the way to it: most of all validators decide.
        exact = self._repeat_exactly(window.replica, centre, heard)
        return to_blame(wrong, self._claims.sketches(window), _agreed(heard), 0.0 if exact else limit)

    def erratic(self, window: Window, heard: Mapping[int, Result], ruling: Ruling, own: Sequence[Result]) -> Blame:
        """Whose doing it is that two repetitions of the audited replica's own differ; nobody's if they do not."""
        if any(result.misfits for result in own) or self.apart(window, *own) <= ruling.limit:
            return Blame()
        wrong = self._wrong(window, *(self._ends(window, result) for result in own), ruling.limit)
        exact = self._repeat_exactly(window.replica, ruling.centre, heard)
        return to_blame(wrong, *(result.sketches for result in own), 0.0 if exact else ruling.limit)

    def _blame_validator(
        self, window: Window, centre: int, validator: int, found: Result, honest: Mapping[int, Result], scatter: float
    ) -> Blame:
        """In a replica that has found something else than the `honest`, who are most of all validators."""
        limit = self._limit(centre, validator, scatter)
        one, other = self._ends(window, found), self._ends(window, honest[centre])
        if one and other:
            wrong = self._wrong(window, one, other, limit)
        else:  # who was audited cannot show an end that the one, or the other, says that it found, too
            same = [a == b for a, b in zip(found.digests, honest[centre].digests, strict=True)]
            wrong = _where(same, False)
        exact = self._repeat_exactly(validator, centre, honest)
        return to_blame(wrong, found.sketches, _agreed(honest), 0.0 if exact else limit)

    def _wrong(
        self, window: Window, one: Sequence[torch.Tensor], other: Sequence[torch.Tensor], limit: float
    ) -> tuple[int, ...]:
        """The stages whose ends differ."""
        pairs = enumerate(zip(one, other, strict=True))
        return _where([self._stage_error(window, stage, *ends) > limit for stage, ends in pairs], True)

    def _repeat_exactly(self, replica: int, centre: int, heard: Mapping[int, Result]) -> bool:
        """Whether a replica's work must be bit for bit what those who agree have found."""
        agreeing = [v for v, result in heard.items() if result.digests == heard[centre].digests]
        return len(agreeing) > len(heard) / 2 and len({self._kinds[i] for i in (replica, *agreeing)}) == 1


def _agreed(heard: Mapping[int, Result]) -> list[torch.Tensor]:
    """What most validators say that crossed the borders, by stage."""
    return agreed([result.sketches for result in heard.values() if result.sketches])


def _where(values: Sequence[bool], wanted: bool) -> tuple[int, ...]:
    return tuple(i for i, value in enumerate(values) if value == wanted)
