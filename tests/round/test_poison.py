"""States, and answers, that are made to keep others from proving anything."""

from dataclasses import replace

import pytest
import torch

from tdml.lab.laboratory import Laboratory
from tdml.protocol.orders import BEFORE
from tdml.trust import suspicion
from tests.round import liars, unhelpful
from tests.round.seats import banned, sit
from tests.slow import slow_but

_JOB = [
    "model=mlp", "data.size=8", "model.features=192", "model.hidden=8", "sync.local_steps=6",
    "topology.stages=1", "trust.budget=1", "rounds=4", "topology.microbatches=1",
]  # fmt: skip
_CNN = [
    "model=cnn", "model.width=4", "data.size=8", "train.batch_size=8", "sync.local_steps=6",
    "topology.stages=1", "trust.budget=1", "rounds=4", "topology.microbatches=1",
]  # fmt: skip
_MARKED = [
    "model._target_=tests.round.hidden.marked",
    "~model.features",
    "~model.hidden",
    "~model.depth",
]


def _only(monkeypatch: pytest.MonkeyPatch, windows: dict[int, tuple[int, ...]]) -> None:
    """Have these windows audited, and no others."""
    monkeypatch.setattr("tdml.trust.suspicion.Purse.choose", lambda *_: (windows, {}))


@pytest.mark.parametrize("replicas", [2, 3])
def test_a_state_in_another_form_hides_no_lie(replicas: int, monkeypatch) -> None:
    """What a validator makes of it is not what it was given; it shows what it was given."""
    laboratory = Laboratory([*_JOB, f"topology.replicas={replicas}"])
    _only(monkeypatch, {1: (2,)})
    sit(laboratory, "r1.s0", unhelpful.HalfFilled, deed="update")
    assert banned(laboratory.play(1)) == ["r1.s0"]
    assert laboratory.engine.judge.auditor.settler.kinds.unrepeatable == set()


@pytest.mark.parametrize("seed", slow_but([1], range(2)))
@pytest.mark.parametrize(
    ("liar", "optimizer"),
    [
        (unhelpful.CountsBack, ["+train.optimizer.fused=false"]),
        (unhelpful.CountsFartherBack, ["+train.optimizer.fused=false"]),
        (unhelpful.DropsSlot, []),
        (unhelpful.DropsSlot, ["+train.optimizer.foreach=true"]),
    ],
    ids=["counts back", "counts farther back", "fused", "foreach"],
)
def test_a_state_that_no_optimizer_goes_on_from_convicts_who_has_kept_it(
    liar: type, optimizer: list[str], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And costs nobody else anything."""
    _only(monkeypatch, {0: (0,), 1: (2,), 2: (1,)})
    laboratory = Laboratory(
        [*_JOB, "topology.replicas=3", "train=adamw", f"seed={seed}", *optimizer]
    )
    sit(laboratory, "r1.s0", liar)
    played = laboratory.play(1)
    assert banned(played) == ["r1.s0"]
    assert played.accepted == [0, 2]
    assert laboratory.fleet.losses == {}


@pytest.mark.parametrize("windows", [(1,), (2,), (0, 1, 2)])
@pytest.mark.parametrize(
    ("liar", "job"),
    [
        (unhelpful.GoesOnFromThere, [*_JOB, "train=adamw"]),
        (unhelpful.CountsTooFar, [*_CNN]),
    ],
    ids=["no optimizer", "count"],
)
@pytest.mark.parametrize("seed", slow_but([0], range(2)))
def test_who_goes_on_from_such_a_state_gets_nobody_else_banned(
    windows: tuple[int, ...],
    liar: type,
    job: list[str],
    seed: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Validators, who take all steps, and the coordinator, who takes one, must find the same."""
    _only(monkeypatch, {1: windows})
    laboratory = Laboratory([*job, "topology.replicas=3", f"seed={seed}"])
    sit(laboratory, "r1.s0", liar)
    played = laboratory.play(1)
    assert set(played.bans) <= {"r1.s0"}
    assert {0, 2} <= set(played.accepted)


def test_who_is_knocked_out_by_a_state_that_it_was_given_owes_nothing(monkeypatch) -> None:
    """Whose own work was found clean; the coordinator can no longer look at it."""
    monkeypatch.setattr("tdml.round.auditor.LOOK", 1.0)
    _only(monkeypatch, {0: (0, 1), 1: (2,), 2: (0,)})
    knocked_out = set()
    for seed in range(4):
        laboratory = Laboratory([*_JOB, *_MARKED, "topology.replicas=4", f"seed={seed}"])
        sit(laboratory, "r1.s0", unhelpful.Marks)
        played = laboratory.play(1)
        clean = {0, 2} & {i for i, found in played.audits.items() if not found.unsettled}
        knocked_out |= clean & laboratory.fleet.losses.keys()
        assert not played.bans
        assert clean <= set(played.accepted)
        owing = laboratory.engine.judge.debts.owing
        assert not {laboratory.fleet.key(f"r{index}.s0") for index in clean} & owing.keys()
    assert knocked_out, "of no seed it says anything otherwise"


class _OffByRounding(liars.Liar):
    """As a validator it finds nearly the same."""

    deed, when, by = "nothing", liars.AS_VALIDATOR, 1e-6

    def _take_step(self, given, log, step, keeps=False):
        yield from super()._take_step(given, log, step, keeps)
        if self._lies(step):
            with torch.no_grad():
                self.stage.trainer.parameters[0].mul_(1 + self.by)


def test_a_validator_that_errs_by_a_rounding_does_not_end_all_proofs() -> None:
    """On another kind of machine than the coordinator's nobody can tell who of the two has."""
    laboratory = Laboratory([*_JOB, "topology.replicas=2"])
    sit(laboratory, "r1.s0", _OffByRounding)
    for replica in laboratory.fleet.muster():
        replica.kind = "a GPU"
    assert not laboratory.play(1).bans
    assert laboratory.engine.judge.auditor.settler.kinds.unrepeatable == set()
    sit(laboratory, "r1.s0", liars.HandsInAnother)
    for replica in laboratory.fleet.muster():
        replica.kind = "a GPU"
    assert banned(laboratory.play(2)) == ["r1.s0"]


@pytest.mark.parametrize("seed", range(4))
def test_who_could_repeat_nothing_for_a_state_that_nobody_can_go_on_from_is_excused(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own work is not repeated either then. Who gave that state, and failed as they did, is met
    in a later round."""
    choose = suspicion.Purse.choose
    _only(monkeypatch, {0: (1,), 1: (0,), 2: (0,), 3: (0,)})
    laboratory = Laboratory([*_JOB, *_MARKED, "topology.replicas=4", f"seed={seed}"])
    sit(laboratory, "r0.s0", unhelpful.Sulks)
    played = laboratory.play(1)
    assert {1, 2, 3} <= set(played.accepted)
    assert laboratory.fleet.losses.keys() == {0, 1, 2, 3}
    owing = laboratory.engine.judge.debts.owing
    assert set(owing) <= {laboratory.fleet.key("r0.s0")}
    monkeypatch.setattr(suspicion.Purse, "choose", choose)
    bans = [name for number in (2, 3) for name in laboratory.play(number).bans]
    assert bans == ["r0.s0"]


@pytest.mark.parametrize("seed", range(2))
def test_who_has_lost_its_group_over_a_state_is_excused_when_it_is_accused(seed: int) -> None:
    """It can show nothing any more in that round, nor owes it anything in the next."""
    laboratory = Laboratory([*_JOB, *_MARKED, "topology.replicas=3", f"seed={seed}"])
    sit(laboratory, "r0.s0", unhelpful.MarksAndAccuses)
    played = [laboratory.play(number) for number in (1, 2)]
    assert banned(played[0]) == ["r0.s0"]
    assert [round_.accepted for round_ in played] == [[1, 2]] * 2


def test_a_round_whose_audit_has_cost_all_groups_has_its_figures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only the window that nobody can repeat is drawn, and nobody is asked anything after it."""
    _only(monkeypatch, {2: (2,)})
    laboratory = Laboratory([*_JOB, *_MARKED, "topology.replicas=3"])
    sit(laboratory, "r2.s0", unhelpful.Marks)
    played = laboratory.play(1)
    assert laboratory.fleet.losses.keys() == {0, 1, 2}
    assert played.accepted == [0, 1] and played.test["loss"] is not None


class _ShowsMore(liars.Node):
    """Shows a message that no stage sends, of numbers to which nothing can be added."""

    def shown(self):
        told, more = super().shown(), torch.zeros(1, dtype=torch.uint16)
        return replace(told, channels=(*told.channels, 99), messages=(*told.messages, (more,)))


@pytest.mark.parametrize("owner", [liars.Node, _ShowsMore])
def test_what_is_shown_beside_a_step_gets_no_validator_banned_for_rounding(owner: type) -> None:
    """Who commits to the coordinator's own numbers and is repeated on another kind of machine: by
    how much rounding alone may lead away is found all the same."""
    laboratory = Laboratory([*_JOB, "topology.replicas=2"])
    settler = laboratory.engine.judge.auditor.settler
    settler.kinds.tolerance.learn("a GPU", settler.referee.kind, 1e-10)
    sit(laboratory, "r0.s0", owner)
    sit(laboratory, "r1.s0", _OffByRounding, by=1.2e-7)
    for replica in laboratory.fleet.muster():
        replica.kind = "a GPU"
    assert not laboratory.play(1).bans


class _FailsToShow(_OffByRounding):
    """And cannot show the step that it is asked for."""

    def repeating(self, order):
        if order.show >= 0 and order.own == (self.when == liars.OWN):
            raise MemoryError("no room")
        yield from super().repeating(order)


class _ShowsAnotherStart(_OffByRounding):
    """Or shows it so that nobody can take it, as where a neighbour has it end elsewhere."""

    def repeating(self, order):
        self._hides = order.own == (self.when == liars.OWN)
        yield from super().repeating(order)

    def digests(self, vector):
        another = vector == BEFORE and self._hides
        return ("0" * 64,) if another else super().digests(vector)


@pytest.mark.parametrize("kind", [_FailsToShow, _ShowsAnotherStart])
@pytest.mark.parametrize(("when", "who"), [(liars.OWN, "r0.s0"), (liars.AS_VALIDATOR, "r1.s0")])
def test_who_does_not_show_a_disputed_step_on_another_kind_of_machine_is_silent(
    when: str, who: str, kind: type
) -> None:
    """What it has told may be as right as what the other one has: nobody can tell."""
    laboratory = Laboratory([*_JOB, "topology.replicas=2"])
    sit(laboratory, who, kind, when=when, by=1.2e-7)
    for replica in laboratory.fleet.muster():
        replica.kind = "a GPU"
    played = laboratory.play(1)
    assert not played.bans
    assert played.accepted == ([1] if when == liars.OWN else [0, 1])
    owing = laboratory.engine.judge.debts.owing
    assert list(owing) == ([laboratory.fleet.key(who)] if when == liars.OWN else [])
