"""The audit of a round: replicas take parts of each other's steps again."""

from collections.abc import Collection, Sequence

import torch

from tdml.cluster.case import Case, Result
from tdml.cluster.claims import Claims, Window
from tdml.cluster.fleet import Fleet
from tdml.cluster.gather import Gathered
from tdml.job import Job
from tdml.trust.audit import CLEAN, LIED, Outcome, Ruling, Tolerance, choose_windows, conclude


class Auditor:
    """Audits the rounds of a job. `tolerance` is what the audits so far have taught it."""

    def __init__(self, job: Job, fleet: Fleet) -> None:
        self._job, self._fleet = job, fleet
        self.tolerance = Tolerance()

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
        rulings: dict[int, dict[int, Ruling]] = {index: {} for index in sound}
        exhibits: dict[int, dict[str, torch.Tensor]] = {}
        for window, heard in results.items():
            judged = window.replica in suspects or window in doubtful
            ruling = case.rule(window, heard) if judged else self._confirmed(case, window, heard)
            rulings[window.replica][window.number] = ruling
            self._learn(case, window, heard, ruling)
            if ruling.result == LIED and not exhibits.get(window.replica):
                exhibits[window.replica] = case.exhibit(window, heard, ruling)
        outcomes = {i: conclude(ruled, i in suspects, exhibits.get(i, {})) for i, ruled in rulings.items()}
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

    def _passes(self, case: Case, window: Window, heard: dict[int, Result]) -> bool:
        """Whether the one validator that was asked confirms the window."""
        for validator, result in heard.items():
            if case.error(window, result) <= self.tolerance.limit(*case.kinds(validator, window.replica)):
                return True
        return False

    def _learn(self, case: Case, window: Window, heard: dict[int, Result], ruling: Ruling) -> None:
        """What was no lie shows how far the honest are apart."""
        for validator, result in heard.items():
            if ruling.result == CLEAN and validator not in ruling.dissenters:
                self.tolerance.add(*case.kinds(validator, window.replica), case.error(window, result))

    def _confirmed(self, case: Case, window: Window, heard: dict[int, Result]) -> Ruling:
        """On a window that the one who was asked has confirmed."""
        ((validator, result),) = heard.items()
        limit = self.tolerance.limit(*case.kinds(validator, window.replica))
        return Ruling(CLEAN, case.error(window, result), limit, (validator,), validator)
