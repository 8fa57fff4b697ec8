"""What a run has learnt of its nodes, and of their machines, outlives its coordinator."""

from tdml.lab.laboratory import Laboratory
from tdml.round.checkpoint import _FORM
from tdml.round.past_updates import PastUpdates
from tdml.round.rollback import Contributions
from tdml.trust.judgement import Power
from tdml.trust.suspicion import Purse, Suspicion

_JOB = ["model=mlp", "data.size=8", "model.features=192", "model.hidden=16"]


def test_all_of_it_is_kept_and_comes_back() -> None:
    judge, other = (Laboratory(_JOB).engine.judge for _ in range(2))
    standing, kinds = judge.standing, judge.auditor.settler.kinds
    standing.suspicion, standing.purse = Suspicion({"r0.s0": 0.5}), Purse(7.0)
    standing.power, standing.contributions = Power(4), Contributions({"a key": [1, 2]}, 3)
    standing.past_updates = PastUpdates({2: ["an update"]})
    standing.cleared.add(["a key", "another"], {"size": 5.0})
    standing.unheard.add("a key")
    kinds.tolerance.learn("a GPU", "a processor", 1e-6)
    kinds.confirmed.add(("a GPU", 1))
    kinds.unrepeatable.add("a GPU")
    kinds.draws_differ = True
    judge.debts.watched.add("a key")
    other.restore(judge.state())
    assert other.state() == judge.state()
    assert other.standing == judge.standing
    assert other.auditor.settler.kinds.confirmed == {("a GPU", 1)}
    assert other.auditor.settler.kinds.draws_differ
    fresh = Laboratory(_JOB).engine.judge.state()
    assert {name for name, kept in judge.state().items() if kept == fresh[name]} == set()


def test_what_is_kept_in_another_form_has_another_number() -> None:
    """Or a run that another version began ends with a stack trace when it is resumed."""
    kept = Laboratory(_JOB).engine.judge.state()
    names = {name: sorted(each) for name, each in kept.items() if isinstance(each, dict)}
    assert (_FORM, sorted(kept), names) == (
        15,
        [
            "blind", "confirmed", "debts", "former", "power", "purse", "suspicion", "tolerance",
            "unheard", "unproven", "unrepeatable", "usual",
        ],
        {
            "suspicion": ["by_node"], "purse": ["steps"], "power": ["streak"], "tolerance": [],
            "unproven": ["rounds", "taken_back", "vouched"], "former": ["rounds"], "usual": ["known"],
            "debts": ["believed", "owing", "untold", "watched"],
        },
    )  # fmt: skip
