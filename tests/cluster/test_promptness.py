"""Who answers slowly, however many orders there are."""

from tdml.cluster.promptness import Promptness


def _round(promptness: Promptness, slow: float, orders: int, nodes: int = 4) -> int:
    """The number of orders after which the last node is late; 0: never."""
    for number in range(1, orders + 1):
        for node in range(nodes):
            seconds = slow if node == nodes - 1 else 0.1
            late = promptness.note(f"n{node}", "reveal", seconds)
            assert late is None or node == nodes - 1
            if late is not None:
                assert late == "late: it answers too slowly (reveal: 0.1 s; see sync.timeout)"
                return number
    return 0


def test_the_time_of_all_orders_counts() -> None:
    promptness = Promptness(slack=120)
    assert _round(promptness, 3.0, 5000) == 0, "thirty times as long as usual"
    assert promptness.end_round() == []
    assert _round(promptness, 15.1, 100) == 10
    assert _round(Promptness(slack=120), 500.0, 100) == 1


def test_who_is_too_slow_twice_in_a_row_is_given_up() -> None:
    promptness = Promptness(slack=120)
    for slow, gone in ((60, []), (0.1, []), (60, []), (60, ["n3"])):
        _round(promptness, slow, 5)
        assert promptness.end_round() == gone
        assert promptness.end_round() == [], "a round without orders says nothing"


def test_whose_orders_outnumber_all_others_does_not_make_itself_usual() -> None:
    promptness = Promptness(slack=120)
    _round(promptness, 0.1, 10)
    late = [promptness.note("n3", "reveal", 100.0) for _ in range(1000)]
    assert late[0] is None and all(late[1:])
    assert promptness.end_round() == []
    for _ in range(3):
        assert promptness.note("n3", "reveal", 500.0)
        assert promptness.end_round() == ["n3"], "as long as it goes on"


def test_of_two_nobody_knows_who_is_the_slow_one() -> None:
    assert _round(Promptness(slack=1), 500.0, 100, nodes=2) == 0


def test_a_slow_link_is_no_stall() -> None:
    """A model of 4 GB, at a twentieth of the others' speed."""
    promptness = Promptness(slack=120)
    for _ in range(5):
        assert _round(promptness, 2.0, 2100) == 0
        assert promptness.end_round() == []


def test_who_has_gone_has_no_voice() -> None:
    """Nodes of one liar's, on the fastest of links, one after the other in the same place."""
    promptness = Promptness(slack=120)
    for number in range(20):
        promptness.note(f"spare{number}", "reveal", 0.01)
        assert _round(promptness, 0.1, 500) == 0
        assert promptness.end_round() == []
    late = [promptness.note(f"n{node}", "reveal", 1.0) for node in range(4) for _ in range(500)]
    assert not any(late), "it would take them a hundred times as long as is usual"
