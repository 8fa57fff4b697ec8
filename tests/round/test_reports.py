"""Who reports a false evaluation is banned once a report of its own is evaluated again."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tdml.lab.laboratory import Laboratory
from tdml.node.lockstep import predict
from tdml.node.node import Node
from tdml.protocol.orders import UPDATE, ReplicaLost
from tdml.round.reports import _outlying, _reports_to_look_at
from tdml.round.result import Round
from tdml.trust.work import gains
from tests.round.seats import sit

_JOB = [
    "model=mlp", "data.size=8", "model.features=192", "model.hidden=16", "topology.stages=1",
    "topology.replicas=3", "sync.local_steps=40", "trust.budget=0.9", "rounds=9",
]  # fmt: skip


class Exaggerates(Node):
    """Repeats steps honestly, and reports other losses than it finds."""

    def losses_to_report(self, losses, order):
        return losses + 1


def test_a_false_report_is_proven() -> None:
    laboratory = Laboratory(_JOB)
    sit(laboratory, "r1.s0", Exaggerates)
    for number in range(1, 10):
        if bans := laboratory.play(number).bans:
            break
    assert list(bans) == ["r1.s0"]
    assert "reports what recomputation does not find" in bans["r1.s0"]


def test_the_partners_of_who_is_proven_to_report_what_is_false_are_heard_as_before() -> None:
    laboratory = Laboratory([*_JOB, "topology.stages=2"])
    sit(laboratory, "r1.s1", Exaggerates)
    played = next(played for number in range(1, 10) if (played := laboratory.play(number)).bans)
    assert list(played.bans) == ["r1.s1"]
    assert not laboratory.engine.judge.standing.unheard
    assert not [note for note in played.notes if "not asked again" in note]


class OfOneSample(Node):
    """Says of a single sample what moves the whole test: that others' updates spoil it."""

    spoilt = -1  # the candidate of its last report

    def losses_to_report(self, losses, order):
        told = losses.clone()
        if order.candidate is not None:
            told[-1] = 3e38
            self.spoilt = order.candidate
        return told


def _first_report(laboratory: Laboratory) -> Round:
    """The round in which r1.s0 reports of somebody for the first time."""
    for number in range(1, 10):
        played = laboratory.play(number)
        if laboratory.fleet.nodes["r1.s0"].spoilt >= 0:
            return played
        assert not played.bans
    raise AssertionError("it was never asked")


def test_a_report_that_is_false_of_one_sample_is_proven_when_it_is_made() -> None:
    """And it does no harm: nobody hears it."""
    laboratory = Laboratory([*_JOB, "topology.replicas=4"])
    sit(laboratory, "r1.s0", OfOneSample)
    played = _first_report(laboratory)
    assert list(played.bans) == ["r1.s0"]
    assert played.judgements[laboratory.fleet.nodes["r1.s0"].spoilt].p is None


class OfLittle(OfOneSample):
    """Says of all samples what may be rounding elsewhere."""

    def losses_to_report(self, losses, order):
        self.spoilt = -1 if order.candidate is None else order.candidate
        return losses if order.candidate is None else losses * (1 + 1e-6)


def test_a_report_that_is_proven_false_is_not_heard_however_little_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    laboratory = Laboratory([*_JOB, "topology.replicas=4"])
    sit(laboratory, "r1.s0", OfLittle)
    look = "tdml.round.reports._reports_to_look_at"
    monkeypatch.setattr(look, lambda reports, *_: [(report, 1, 0) for report in reports])
    played = _first_report(laboratory)
    assert list(played.bans) == ["r1.s0"]
    assert played.judgements[laboratory.fleet.nodes["r1.s0"].spoilt].p is None


class ShowsItOnce(Node):
    """Shows its update to be tested, and another one when that test is looked at; or only when
    that is confirmed."""

    asked, times = 0, 1

    def commit(self, round_number):
        self.asked = 0
        return super().commit(round_number)

    def digests(self, vector):
        self.asked += vector == UPDATE
        return super().digests(vector) if self.asked <= self.times else ("0" * 64,)


class DoesNotShowIt(ShowsItOnce):
    """When the test of its update is looked at, and before and later it does."""

    def digests(self, vector):
        if vector == UPDATE and self.asked == 1:
            self.asked = 2
            raise ReplicaLost(self.slot.replica, "it takes too long")
        return super().digests(vector)

    times = 9


class Praises(OfOneSample):
    """Says that others' updates have learnt whatever there is."""

    def losses_to_report(self, losses, order):
        self.spoilt = -1 if order.candidate is None else order.candidate
        return losses if order.candidate is None else losses * torch.linspace(0, 1, len(losses))


def test_who_does_not_show_what_was_tested_was_not_seen_working(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Or a friend could say of it what it likes."""
    look = "tdml.round.reports._reports_to_look_at"
    monkeypatch.setattr(look, lambda reports, *_: [(report, 1, 0) for report in reports])
    laboratory = Laboratory([*_JOB, "gather.memory=0"])
    sit(laboratory, "r1.s0", Praises)
    for name in ("r0.s0", "r2.s0"):
        sit(laboratory, name, DoesNotShowIt)
    played = _first_report(laboratory)
    assert played.judgements[laboratory.fleet.nodes["r1.s0"].spoilt].p == 1


@pytest.mark.parametrize(
    ("memory", "liars"), [("", {"r1.s0"}), ("gather.memory=0", {"r0.s0", "r2.s0"})]
)
def test_who_is_tested_cannot_hide_what_is_false_in_that(memory: str, liars: set[str]) -> None:
    """The update is here already; or else it has to be shown again, as it was committed to."""
    laboratory = Laboratory([*_JOB, *filter(None, [memory])])
    sit(laboratory, "r1.s0", OfOneSample)
    for name in ("r0.s0", "r2.s0"):
        sit(laboratory, name, ShowsItOnce)
    played = _first_report(laboratory)
    assert played.bans
    assert set(played.bans) <= liars


def test_nor_by_what_it_shows_to_who_is_to_confirm_it() -> None:
    laboratory = Laboratory([*_JOB, "gather.memory=0"])
    sit(laboratory, "r1.s0", OfOneSample)
    for name in ("r0.s0", "r2.s0"):
        sit(laboratory, name, ShowsItOnce, times=2)
    played = _first_report(laboratory)
    assert list(played.bans) == ["r1.s0"]


@pytest.mark.parametrize(("memory", "tested"), [("", True), ("gather.memory=0", False)])
def test_an_update_that_is_here_is_tested_whatever_its_owner_shows(
    memory: str, tested: bool
) -> None:
    laboratory = Laboratory([*_JOB, *filter(None, [memory])])
    sit(laboratory, "r0.s0", ShowsItOnce, times=0)
    while not (found := laboratory.play(laboratory.engine.moved + 1).judgements[0].p):
        pass
    assert (found < 1) is tested


@pytest.mark.parametrize("seed", range(5))
def test_what_makes_an_idle_friend_seen_working_stands_out(seed: int) -> None:
    """Its gains are noise, but for some losses of 0; those of who has worked differ more."""
    draw = torch.Generator().manual_seed(seed)

    def report(after: torch.Tensor) -> Any:
        return SimpleNamespace(gains=gains(before, after))

    before = 2 * torch.rand(256, generator=draw) + 0.1
    idle = before * (1 + 1e-3 * torch.randn(256, generator=draw))
    idle[70:73] = 0
    worked = [before * torch.rand(256, generator=draw) for _ in range(6)]
    reports = [*map(report, worked[:3]), report(idle), *map(report, worked[3:])]
    _, *both = _reports_to_look_at(reports, 32, draw)
    assert [(r is reports[3], *rest) for r, *rest in both] == [(True, 0, 2), (True, 1, 2)]


@pytest.mark.parametrize(
    ("distances", "places"),
    [
        ([1.0, 3.0, 2.0], [1]),
        ([1.0, float("inf"), 2.0, 0.0], [1, 2]),
        ([float("inf"), float("inf")], [0]),
        ([0.0], [0]),
    ],
)
def test_no_lie_hides_behind_a_sample_without_a_loss(distances: list, places: list) -> None:
    assert _outlying(distances) == places


def test_no_batch_is_looked_at_twice_and_none_where_nothing_was_asked() -> None:
    def report(count: int) -> Any:
        return SimpleNamespace(gains=torch.zeros(count, dtype=torch.float64))

    draw = torch.Generator().manual_seed(0)
    assert len(_reports_to_look_at([report(8)], 8, draw)) == 2
    assert _reports_to_look_at([report(0)], 8, draw) == []


def test_an_update_that_no_model_can_be_evaluated_with_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever is in league with its owner may report something of it all the same."""
    laboratory = Laboratory(_JOB)
    referee, asked = laboratory.engine.judge.auditor.settler.referee, []

    def predict(*_: object) -> None:
        asked.append(1)
        raise ValueError("no such weights")

    monkeypatch.setattr("tdml.round.evaluator.predict", predict)
    assert not laboratory.play(1).bans
    assert asked
    assert not referee._copies._stages


class Damns(Node):
    """Reports that others' updates make every sample worse, each by another amount."""

    asked = 0

    def losses_to_report(self, losses, order):
        self.asked += 1
        return losses if order.candidate is None else losses + 5 * torch.rand(len(losses))


def test_who_says_that_it_is_on_a_kind_of_its_own_is_not_heard() -> None:
    laboratory = Laboratory([*_JOB, "topology.replicas=4"])
    sit(laboratory, "r3.s0", Damns)
    tested = 0
    for number in range(1, 6):
        for replica in laboratory.fleet.muster():
            replica.kind = "NVIDIA H400" if replica.index == 3 else replica.kind
        laboratory.engine.judge.standing.purse.steps = 0.0  # what was overdrawn puts tests off
        played = laboratory.play(number)
        assert not played.bans
        tested += sum(made.p is not None for made in played.judgements.values())
    assert not laboratory.fleet.nodes["r3.s0"].asked
    assert tested >= 10, "the others test each other as ever"


def test_a_model_that_raises_now_and_then_convicts_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it end the coordinator, which evaluates again and again before a ban."""
    laboratory, calls = Laboratory(_JOB), []
    for name in laboratory.fleet.nodes:
        sit(laboratory, name, Exaggerates)

    def once(*given: object) -> None:
        calls.append(1)
        if len(calls) > 1:
            raise ValueError("no such weights")
        predict(*given)

    monkeypatch.setattr("tdml.round.evaluator.predict", once)
    for number in range(1, 3):
        calls.clear()
        assert not laboratory.play(number).bans
        assert len(calls) > 2, "it was evaluated again; and the figures of progress"
