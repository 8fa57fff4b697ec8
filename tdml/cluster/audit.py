"""The audit of a round: replicas take parts of each other's steps again."""

from collections.abc import Collection, Mapping, Sequence

import torch

from tdml.cluster.appeal import appeal
from tdml.cluster.case import Case, Result
from tdml.cluster.claims import Claims, Window
from tdml.cluster.fleet import Fleet
from tdml.cluster.gather import Gathered
from tdml.job import Job
from tdml.trust.audit import CLEAN, LIED, Outcome, Ruling, Tolerance, choose_windows, conclude, why_void


class Auditor:
    """Audits the rounds of a job. `tolerance` is what the audits so far have taught it; `notice` says why they cannot
    convict anybody, "" if they can."""

    def __init__(self, job: Job, fleet: Fleet) -> None:
        self._job, self._fleet = job, fleet
        self.tolerance, self.notice = Tolerance(), ""

    def audit(
        self, number: int, found: Gathered, suspects: Collection[int], weights: Sequence[torch.Tensor],
        draw: torch.Generator,
    ) -> dict[int, Outcome]:  # fmt: skip
        """The outcome for every replica that is audited in a round, by its index.

        Every window of a suspect is repeated by everyone else; of the others a few windows are, by one validator each.
        Where that validator does not confirm the window, everyone else repeats it too: nobody is convicted on
        the word of a few.

        Args:
            weights: the global weights that the round started from, by stage.
            draw: decides who is audited, and by whom; nobody can have foreseen it.
        """
        asked = self._choose(found.audited, suspects, draw) if self._job.windows else {}
        if not asked:
            return {}
        claims = Claims(self._job, self._fleet, found, weights)
        case = Case(self._job, self._fleet, number, found, claims, self.tolerance)
        windows = {w.replica: tuple(other.number for other in asked if other.replica == w.replica) for w in asked}
        sound = claims.open(windows)
        results = case.repeat({window: jury for window, jury in asked.items() if window.replica in sound})
        doubtful = [
            window for window, heard in results.items()
            if window.replica not in suspects and not self._passes(case, window, heard)
        ]  # fmt: skip
        others = {w: [i for i in found.audited if i != w.replica and i not in results[w]] for w in doubtful}
        for window, heard in case.repeat(others).items():
            results[window] |= heard
        judged = {window for window in results if window.replica in suspects or window in doubtful}
        rulings = {window: self._rule(case, window, heard, window in judged) for window, heard in results.items()}
        settled = appeal(case, self._job.repeatable, results, rulings)
        rulings |= settled
        self._note(settled)
        exhibits: dict[int, dict[str, torch.Tensor]] = {}
        for window, ruling in rulings.items():
            self._learn(case, window, results[window], ruling)
            if ruling.result == LIED and not exhibits.get(window.replica):
                exhibits[window.replica] = case.exhibit(window, results[window], ruling)
        by_replica = {i: {w.number: ruling for w, ruling in rulings.items() if w.replica == i} for i in sound}
        outcomes = {i: conclude(ruled, i in suspects, exhibits.get(i, {})) for i, ruled in by_replica.items()}
        return outcomes | claims.refusals

    def _choose(
        self, replicas: Sequence[int], suspects: Collection[int], draw: torch.Generator
    ) -> dict[Window, list[int]]:
        """Who repeats which windows."""
        asked = {}
        for index in replicas:
            others = [other for other in replicas if other != index]
            if not others:
                break  # the only one that handed anything in: nobody is there to repeat its steps
            count = len(self._job.edges(index)) - 1
            drawn = choose_windows(self._job.config.trust.audit_rate, count, draw)
            order = torch.randperm(len(others), generator=draw).tolist()
            for window in range(count) if index in suspects else drawn:
                jury = others if index in suspects else [others[order[window % len(others)]]]
                asked[Window(index, window)] = jury
        return asked

    def _note(self, rulings: Mapping[Window, Ruling]) -> None:
        """Why nothing follows from these, the first time."""
        why = "the rehearsal has found that the steps of this job cannot be repeated" if rulings else ""
        if self._job.repeatable:
            why = why_void(rulings.values())
        if why and not self.notice:
            self.notice = (
                f"audits cannot convict: {why}; the model or the data draw on something other than weights, seeds and "
                "samples: see docs/your-model.md"
            )

    def _passes(self, case: Case, window: Window, heard: dict[int, Result]) -> bool:
        """Whether the one validator that was asked confirms the window."""
        for validator, result in heard.items():
            if case.error(window, result) <= self.tolerance.limit(*case.kinds(validator, window.replica)):
                return True
        return False

    def _learn(self, case: Case, window: Window, heard: dict[int, Result], ruling: Ruling) -> None:
        """What was no lie shows how far the honest are apart."""
        for validator, result in heard.items():
            doubted = ruling.centre < 0 or validator in (*ruling.dissenters, *ruling.unsteady)
            if ruling.result == CLEAN and not doubted:
                self.tolerance.add(*case.kinds(validator, window.replica), case.error(window, result))

    def _rule(self, case: Case, window: Window, heard: dict[int, Result], judged: bool) -> Ruling:
        """On a window that all others have repeated, or that the one who was asked has confirmed."""
        if judged:
            return case.rule(window, heard)
        ((validator, result),) = heard.items()
        limit = self.tolerance.limit(*case.kinds(validator, window.replica))
        return Ruling(CLEAN, case.error(window, result), limit, (validator,), validator)
