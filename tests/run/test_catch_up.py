"""What a run does that was cut off before it did it."""

from types import SimpleNamespace

from tdml.round.played import Round
from tdml.round.rollback import Unproven
from tdml.run.coordinator import Coordinator


def test_a_league_whose_own_word_is_all_that_it_has_is_named_when_the_run_goes_back() -> None:
    unproven, went = Unproven(), list[Round]()
    for key, other in (("a", "b"), ("b", "a")):
        unproven.vouch(1, [key], [other], budget=1)
    trust = SimpleNamespace(budget=1, rollback="auto")
    Coordinator._catch_up(
        SimpleNamespace(
            keeping=SimpleNamespace(best=lambda number: None),
            last_round=2,
            engine=SimpleNamespace(
                judge=SimpleNamespace(standing=SimpleNamespace(unproven=unproven))
            ),
            job=SimpleNamespace(config=SimpleNamespace(trust=trust)),
            _banned_before={"a": "r1.s0", "b": "r2.s0"},
            _go_back=went.append,
        )
    )
    assert [(list(each.bans), each.tainted) for each in went] == [(["r1.s0", "r2.s0"], range(1, 2))]
