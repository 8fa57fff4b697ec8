"""Who takes part from the next round on."""

from types import SimpleNamespace

from tdml.cluster.membership import renew
from tdml.members.admission import Admitted
from tdml.members.roster import Roster


def test_a_node_that_was_banned_in_an_earlier_part_of_the_run_need_not_be_there() -> None:
    asked = []

    def form(there: dict[str, str], banned: set[str]) -> Admitted:
        asked.append(banned)
        return Admitted({}, {})

    roster = Roster({"r0.s0": "a", "r1.s0": "b"}, False, {})
    fleet = SimpleNamespace(
        roster=roster,
        banned=["r1.s0", "r2.s0"],
        present={"r0.s0": "a"},
        has_lost_members=True,
        caller=SimpleNamespace(),
        nodes={},
        enter=lambda admitted: [],
        greet=list,
    )
    sessions = SimpleNamespace(at="next", is_due=lambda: False, renew=form)
    renew(3, fleet, sessions, recorder=None, monitor=None)
    assert asked == [{"b"}]
    assert fleet.caller.at == "next"
