"""Who does not show its work is not convicted, but is out until it has shown that very work."""

import pytest
import torch

from tdml.lab.laboratory import Laboratory
from tdml.node.node import Node
from tdml.protocol.orders import ReplicaLost, Slot
from tdml.round.debts import Debt
from tests.round.liars import AS_VALIDATOR, Liar
from tests.round.seats import sit
from tests.slow import slow_but

_JOB = [
    "model=mlp", "data.size=8", "model.features=192", "model.hidden=16", "sync.local_steps=6",
    "topology.stages=2", "topology.microbatches=2", "topology.replicas=3", "trust.budget=1",
    "rounds=3",
]  # fmt: skip
NAMES = {"r1.s0", "r1.s1"}


class Silent(Node):
    """Answers in round 1 with an error when it is to show its work, or whenever it is."""

    always = False

    def open(self):
        if self.deed == "open" and (self.always or self._round == 1):
            raise MemoryError("no room")
        return super().open()

    def commit(self, round_number):
        self._round = round_number
        return super().commit(round_number)

    def reveal(self, vector, block):
        if self.deed == "reveal" and vector != "update" and self._round == 1:
            raise ReplicaLost(self.slot.replica, "r1.s0: no room")
        return super().reveal(vector, block)


def _owing(laboratory):
    """By name, the round whose work is owed."""
    debts = laboratory.engine.judge.debts.owing
    names = {laboratory.fleet.key(name): name for name in laboratory.fleet.nodes}
    return {names[key]: debt.round for key, debt in debts.items()}


@pytest.mark.parametrize("deed", ["open", "reveal"])
def test_who_was_cut_off_shows_its_work_later_and_counts_again(deed):
    laboratory = Laboratory(_JOB)
    sit(laboratory, "r1.s0", Silent, deed=deed)
    first = laboratory.play(1)
    assert _owing(laboratory) == dict.fromkeys({"r1.s0"} if deed == "open" else NAMES, 1)
    assert first.bans == {}
    assert (first.judgements[1].status, first.judgements[1].weight) == ("suspicious", 0)
    assert "has not shown its work" in first.judgements[1].reason
    assert first.accepted == [0, 2]
    assert deed == "reveal" or first.judgements[1].repeated == 0, "nothing of it is verified"
    sit(laboratory, "r1.s0", Silent, deed="nothing")
    second = laboratory.play(2)
    assert second.audits[1].clean == (0, 1, 2), "all of round 1 is repeated"
    assert "r1.s0" not in _owing(laboratory)
    assert (second.judgements[1].status, second.accepted) == ("lost", [0, 2])
    assert "has shown its work of round 1" in second.judgements[1].reason
    third = laboratory.play(3)
    assert third.accepted == [0, 1, 2]
    assert third.judgements[1].status == "honest"


def test_the_others_train_as_if_nothing_were_owed():
    """What is shown again is of other weights than theirs."""
    owing, absent = Laboratory(_JOB), Laboratory(_JOB)
    sit(owing, "r1.s0", Silent, deed="open")
    sit(absent, "r1.s0", Silent, deed="open")
    first, also = owing.play(1), absent.play(1)
    assert first.weights == also.weights
    absent.fleet.ban("r1.s0", "absent")
    sit(owing, "r1.s0", Silent, deed="nothing")
    assert owing.play(2).weights == absent.play(2).weights


class Lies(Silent):
    """Hands in what it has not found, does not show it, and works well ever after."""

    deed = "open"

    def update_to_commit(self, update, round_number):
        return update * 1.5 if round_number == 1 and not self.honest else update

    honest = False


@pytest.mark.parametrize("honest", [True, False])
def test_who_was_silent_on_a_lie_is_out_for_good_or_banned(honest):
    """It does the round again well, which is not what it had committed to; or lies again."""
    laboratory = Laboratory(_JOB)
    sit(laboratory, "r1.s0", Lies)
    laboratory.play(1)
    sit(laboratory, "r1.s0", Lies, honest=honest, deed="nothing")
    for number in (2, 3):
        played = laboratory.play(number)
        if not honest:
            assert list(played.bans) == ["r1.s0"]
            assert "its work of round 1 was false" in played.judgements[1].reason
            return
        assert played.bans == {}
        assert played.judgements[1].status == "lost"
        assert "owes its work of round 1" in played.judgements[1].reason


@pytest.mark.parametrize("deed", ["nothing", "open"])
def test_a_spare_takes_the_place_of_who_cannot_show_its_work(deed):
    """Or does not, again and again. Its partners are not kept from theirs."""
    laboratory = Laboratory([*_JOB, "topology.spares=1"])
    sit(laboratory, "r1.s0", Lies)
    laboratory.play(1)
    sit(laboratory, "r1.s0", Lies, honest=deed == "nothing", deed=deed, always=True)
    assert laboratory.play(2).bans == {}
    third = laboratory.play(3)
    assert third.judgements[1].nodes == ("spare0", "r1.s1")
    assert third.accepted == [0, 1, 2]
    assert _owing(laboratory) == {"r1.s0": 1}
    [debt] = laboratory.engine.judge.debts.owing.values()
    assert not debt.weights, "it cannot show it any more"


def test_who_owes_and_sits_elsewhere_by_now_is_forgiven_and_watched():
    """The round would not lead to the same there; the honest node that has its place owes
    nothing."""
    laboratory = Laboratory([*_JOB, "topology.spares=2"])
    fleet = laboratory.fleet
    sit(laboratory, "r1.s0", Silent, deed="open")
    laboratory.play(1)
    sit(laboratory, "r1.s0", Silent, deed="nothing")
    fleet._slots |= {Slot(1, 0): fleet._spares.pop(0), Slot(0, 1): "r1.s0"}
    fleet._formed.clear()
    second = laboratory.play(2)
    assert second.judgements[0].nodes == ("r0.s0", "r1.s0")
    assert second.accepted == [0, 1, 2]
    assert second.audits[0].clean == (0, 1, 2)
    assert _owing(laboratory) == {}
    assert not laboratory.engine.judge.debts.watched
    assert second.forgiven == ("r1.s0",), "it is not paid for what it never showed"
    assert laboratory.play(3).forgiven == (), "which is said once"


def test_who_is_forgiven_since_it_says_that_it_is_on_another_kind_of_machine_is_watched_too():
    """Nobody can repeat its work there, so the coordinator looks at all of it."""
    laboratory = Laboratory([*_JOB, "trust.budget=0.01"])
    laboratory.engine.judge.standing.suspicion.by_node["r1.s0"] = 9.0
    laboratory.engine.judge.standing.purse.steps = 100.0  # so that it is asked in the first round
    sit(laboratory, "r1.s0", Silent, deed="open")
    laboratory.play(1)
    assert _owing(laboratory) == {"r1.s0": 1}
    sit(laboratory, "r1.s0", Silent, deed="nothing")
    for replica in laboratory.fleet.muster():
        replica.kind = "NVIDIA H400" if replica.index == 1 else replica.kind
    second = laboratory.play(2)
    assert (second.forgiven, _owing(laboratory)) == (("r1.s0",), {})
    assert second.audits[1].looked == (0, 1, 2)
    assert not laboratory.engine.judge.debts.watched


class Refuses(Node):
    """Hands in what it has not found, and fails whenever it is to repeat steps of its
    own, so that nobody knows who of its replica does not show its work."""

    def update_to_commit(self, update, round_number):
        return update * 1.5

    def repeating(self, order):
        if order.own:
            raise MemoryError("no room")
        yield from super().repeating(order)


def _stays_with(seed: int) -> tuple[bool, int]:
    """Whether who refuses has kept its slot, and how many of the honest have gone."""
    laboratory = Laboratory([*_JOB, "topology.spares=4", f"seed={seed}"])
    sit(laboratory, "r1.s0", Refuses)
    laboratory.play(1)
    assert _owing(laboratory) == dict.fromkeys(NAMES, 1)
    played = [laboratory.play(number) for number in range(2, 14)]
    assert not any(round_.bans for round_ in played)
    last = played[-1].judgements[1]
    stays = "r1.s0" in last.nodes
    assert last.status == ("lost" if stays else "honest")
    honest = {"r1.s1", "spare0", "spare1", "spare2", "spare3"}
    return stays, len(honest - {*last.nodes, *laboratory.fleet._spares})


def test_who_refuses_goes_and_takes_few_partners_along():
    """Each time it is one of the two, by lot: so one of the honest goes on average."""
    stays, gone = zip(*map(_stays_with, range(4)), strict=True)
    assert sum(stays) <= 1, "it wins once in sixteen against all five"
    assert 0 < sum(gone) <= 2 * len(gone)


def test_who_cannot_show_its_work_since_its_partner_has_gone_is_forgiven():
    laboratory = Laboratory([*_JOB, "topology.spares=1"])
    sit(laboratory, "r1.s0", Refuses)
    laboratory.play(1)
    laboratory.fleet.stand_down("r1.s0")
    second = laboratory.play(2)
    assert second.judgements[1].nodes == ("spare0", "r1.s1")
    assert second.judgements[1].status == "honest"
    assert second.audits[1].clean == (0, 1, 2), "it is watched"
    assert second.forgiven == ("r1.s1",)
    assert _owing(laboratory) == {"r1.s0": 1}
    assert not laboratory.engine.judge.debts.watched


def test_the_weights_of_a_few_rounds_are_kept_for_those_who_owe():
    debts = Laboratory(_JOB).engine.judge.debts
    kept = [torch.zeros(1)]
    debts.owing = {
        str(number): Debt(number, 0, 1, 0, "", "", "", (str(number),), kept) for number in range(9)
    }
    debts._spare_memory(8)
    assert [bool(debts.owing[str(number)].weights) for number in range(9)] == [False] * 5 + [
        True
    ] * 4


@pytest.mark.parametrize("changed", [False, True])
def test_after_a_resume_with_other_settings_nobody_owes_what_cannot_be_done_again(changed):
    first, second = Laboratory(_JOB), Laboratory(_JOB)
    sit(first, "r1.s0", Silent, deed="open")
    first.play(1)
    judge = second.engine.judge
    judge.restore(first.engine.judge.state(), changed)
    assert bool(judge.debts.owing) != changed
    assert bool(judge.debts.watched) == changed
    third = Laboratory(_JOB).engine.judge
    third.restore(judge.state())
    assert third.debts._untold == third.debts.watched, "nor is it paid for it after another resume"


class _CannotRepeat(Silent):
    """Nor repeat its own work in a dispute, while its round is shown again."""

    fails = False

    def repeating(self, order):
        if order.own and self.fails:
            raise MemoryError("no room")
        yield from super().repeating(order)


@pytest.mark.parametrize("seed", slow_but([0, 3], range(6)))
def test_who_has_shown_it_and_then_fails_does_not_end_the_run(seed):
    laboratory = Laboratory([*_JOB, f"seed={seed}"])
    sit(laboratory, "r1.s0", _CannotRepeat, deed="open")
    laboratory.play(1)
    sit(laboratory, "r1.s0", _CannotRepeat, deed="nothing", fails=True)
    sit(laboratory, "r2.s0", Liar, when=AS_VALIDATOR, deed="state")
    assert not {"r1.s0", "r1.s1"} & laboratory.play(2).bans.keys()


def test_nobody_needs_to_show_what_he_did_in_a_round_that_is_taken_back():
    laboratory = Laboratory(_JOB)
    sit(laboratory, "r1.s0", Silent, deed="open")
    laboratory.play(1)
    debts = laboratory.engine.judge.debts
    debts.take_back(1)
    assert _owing(laboratory) == {"r1.s0": 1}
    debts.take_back(0)
    assert _owing(laboratory) == {} and debts.watches(["r1.s0"])


_CHEAP = [
    "model=mlp", "data.size=8", "model.features=192", "model.hidden=16", "sync.local_steps=6",
    "topology.replicas=3", "topology.stages=1", "trust.budget=0.1",
]  # fmt: skip


def test_who_is_watched_has_all_of_a_round_repeated_whatever_the_budget():
    laboratory = Laboratory(_CHEAP)
    judge, key = laboratory.engine.judge, laboratory.fleet.key
    judge.debts.watched |= {key("r1.s0")}
    played = laboratory.play(1)
    assert played.audits[1].clean == (0, 1, 2)
    assert not judge.debts.watched
    others = [index for index in (0, 2) if index in played.audits]
    assert others and all(len(played.audits[index].clean) < 3 for index in others)
    noted = judge.standing.contributions.rounds
    assert set(noted) == {key("r0.s0"), key("r2.s0")}, "a part of them was not repeated"


def test_who_is_watched_and_whom_no_look_can_clear_stays_so(monkeypatch: pytest.MonkeyPatch):
    """Nobody else is on its kind of machine, and the coordinator cannot tell."""
    laboratory = Laboratory(_CHEAP)
    judge = laboratory.engine.judge
    judge.debts.watched |= {laboratory.fleet.key("r1.s0")}
    monkeypatch.setattr(judge.auditor.settler.kinds, "is_right", lambda *_: None)
    laboratory.fleet.muster()[1].kind = "a rare one"
    played = laboratory.play(1)
    assert played.audits[1].unknown == (0, 1, 2)
    assert judge.debts.watches(["r1.s0"])
