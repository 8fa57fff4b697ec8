"""Who held which slot, who came and who went: of ledgers written by hand."""

from pathlib import Path

import pytest

from tdml.ledger.entry import Entry
from tdml.monitor.figures import to_svg
from tdml.monitor.timeline import Event, timeline_of
from tdml.monitor.timeline_figure import draw_timeline

_FULL = {"0": ["r0.s0", "r0.s1"], "1": ["r1.s0", "r1.s1"]}


def entry(kind: str, round: int, **body: object) -> Entry:
    return Entry(0, "job", round, kind, "", body, "", "", "", "")


def played(number: int, slots: dict[str, list[str]], *standby: str, closed: bool = True):
    begun = [entry("round", number, slots=slots, standby=list(standby))]
    return [*begun, entry("reveal", number)] if closed else begun


def test_the_slots_of_a_run_in_which_nobody_comes_or_goes() -> None:
    timeline = timeline_of([*played(1, _FULL), *played(2, _FULL)])
    assert timeline.nodes == ["r0.s0", "r0.s1", "r1.s0", "r1.s1"]
    assert [played.slots["r1.s0"] for played in timeline.rounds] == ["r1.s0", "r1.s0"]
    assert (timeline.events, timeline.restarts, timeline.rollbacks) == ((), (), ())


def test_who_joins_dies_takes_a_slot_and_comes_back() -> None:
    after = _FULL | {"0": ["r0.s0", "spare0"]}
    timeline = timeline_of(
        [
            *played(1, _FULL),
            *played(2, _FULL, "spare0"),
            *played(3, {"1": _FULL["1"]}, "spare0", "r0.s0"),
            *played(4, after),
            *played(5, after, "r0.s1"),
        ]
    )
    assert timeline.events == (
        Event(1, "spare0", "joins"),
        Event(1, "r0.s1", "is gone"),
        Event(4, "r0.s1", "is back"),
    )
    assert timeline.rounds[2].standby == {"spare0", "r0.s0"}
    assert timeline.rounds[3].slots["spare0"] == "r0.s1"
    assert timeline.nodes[-1] == "spare0"


def test_a_node_that_is_banned_is_not_gone_besides() -> None:
    ban = entry("ban", 1, node="r1.s1", key="", reason="")
    timeline = timeline_of([*played(1, _FULL), ban, *played(2, {"0": _FULL["0"]}, "r1.s0")])
    assert timeline.events == (Event(0, "r1.s1", "is banned"),)


def test_rounds_that_a_restart_or_a_rollback_made_void_do_not_count() -> None:
    timeline = timeline_of(
        [
            *played(1, _FULL),
            *played(2, _FULL),
            *played(3, _FULL, closed=False),
            entry("resume", 2, after=1),
            *played(2, _FULL),
            *played(3, _FULL),
            entry("rollback", 3, after=2, reason=""),
            *played(3, _FULL),
            entry("end", 4),
        ]
    )
    assert [played.number for played in timeline.rounds] == [1, 2, 3, 2, 3, 3]
    assert [played.counts for played in timeline.rounds] == [1, 0, 0, 1, 0, 1]
    assert (timeline.restarts, timeline.rollbacks) == ((3,), (5,))


@pytest.mark.timeout(60)
def test_the_figure_names_every_node_and_slot(tmp_path: Path) -> None:
    after = _FULL | {"0": ["r0.s0", "spare0"]}
    rounds = [*played(1, _FULL), *played(2, _FULL, "spare0"), *played(3, after)]
    timeline = timeline_of([*rounds, entry("resume", 4, after=3), *played(4, after)])
    figure = draw_timeline(timeline)
    [axes] = figure.axes
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert rows == ["coordinator", *timeline.nodes]
    slots = [text.get_text() for text in axes.texts]
    assert sorted(slots) == ["r0.s0", "r0.s1", "r0.s1", "r1.s0", "r1.s1"]
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == ["joins", "is gone", "stands by", "coordinator starts again"]
    assert to_svg(figure).startswith("<svg")
