"""The appeal: before an audit accuses anybody, both sides take the window once more.

A validator that does not find its own result again has no say. Where most do not, nothing follows from the window. Nor
is a replica convicted that does not find its own result twice.
"""

from collections.abc import Mapping
from dataclasses import replace

from tdml.cluster.case import Case, Result
from tdml.cluster.claims import Window
from tdml.trust.audit import CLEAN, LARGEST, UNSETTLED, Ruling
from tdml.trust.blame import Blame

Heard = Mapping[int, Result]  # by validator


def appeal(
    case: Case, repeatable: bool, results: Mapping[Window, Heard], rulings: Mapping[Window, Ruling]
) -> dict[Window, Ruling]:
    """The rulings that accuse somebody, as they stand after it.

    Args:
        repeatable: whether the job's steps can be taken again at all; if not, nobody is asked.
        results: what the validators of each window found.
    """
    doubtful = {window: results[window] for window, ruling in rulings.items() if ruling.accuses}
    if not repeatable:
        return {w: _acquitted(rulings[w], heard) for w, heard in doubtful.items()}
    again = case.repeat({window: tuple(heard) for window, heard in doubtful.items()}, before=doubtful)
    made = {w: _rule_again(case, w, heard, again[w], rulings[w]) for w, heard in doubtful.items()}
    return made | _hear_accused(case, results, made)


def _rule_again(case: Case, window: Window, heard: Heard, again: Heard, first: Ruling) -> Ruling:
    """From the results of those who have found them twice, but for those whose answers did not fit together at once."""
    limit = min(first.limit, LARGEST)
    steady = {
        validator: result
        for validator, result in heard.items()
        if result.misfits or (validator in again and _is_same(case, window, result, again[validator], limit))
    }
    unsteady = tuple(validator for validator in again if validator not in steady)
    if 2 * len(unsteady) > len(heard):
        return first.acquit(UNSETTLED, _misfits(heard), unsteady)
    ruling = case.rule(window, steady)
    return replace(ruling, validators=(*steady, *unsteady), unsteady=unsteady)


def _hear_accused(
    case: Case, results: Mapping[Window, Heard], rulings: Mapping[Window, Ruling]
) -> dict[Window, Ruling]:
    """The rulings against replicas whose own repetitions of the window differ, as they stand after that."""
    accused = {window: (window.replica,) for window, ruling in rulings.items() if ruling.blamed or ruling.disputes}
    once = case.repeat(accused)
    twice = case.repeat({window: tuple(own) for window, own in once.items()}, before=once)
    made = {}
    for window, own in twice.items():
        for index, result in own.items():  # who does not answer is judged by what it claimed
            ruling = rulings[window]
            heard = {v: results[window][v] for v in ruling.validators if v not in ruling.unsteady}
            blame = case.erratic(window, heard, ruling, [once[window][index], result])
            if blame != Blame():
                made[window] = replace(
                    ruling, result=UNSETTLED, blamed=(), disputes=blame.disputes, erratic=blame.stages
                )
    return made


def _is_same(case: Case, window: Window, one: Result, other: Result, limit: float) -> bool:
    return not other.misfits and case.apart(window, one, other) <= limit


def _acquitted(ruling: Ruling, heard: Heard) -> Ruling:
    return ruling.acquit(CLEAN if ruling.result == CLEAN else UNSETTLED, _misfits(heard))


def _misfits(heard: Heard) -> list[int]:
    return [validator for validator, result in heard.items() if result.misfits]
