"""A lie in each operation of each stage, by whom is audited and by whom audits: the right node is
banned, or nobody."""

import numpy as np
import pytest

from tdml.lab.laboratory import Laboratory
from tests.round import liars, unhelpful
from tests.round.seats import banned, sit
from tests.slow import slow_but

_JOB = [
    "model=mlp", "data.size=8", "model.features=192", "model.hidden=16", "sync.local_steps=6",
    "train.clip_norm=1", "topology.microbatches=4", "topology.stages=3", "topology.replicas=3",
    "trust.budget=1", "rounds=2",
]  # fmt: skip

# What a stage can lie in: the last sends no activation, the first no gradient.
_LIES = [
    (deed, stage)
    for stage in range(3)
    for deed in ("activation", "gradient", "norm", "state", "update")
    if (deed, stage) not in (("activation", 2), ("gradient", 0))
]

_ONE_OF_EACH = [("activation", 0), ("gradient", 1), ("norm", 1), ("state", 2), ("update", 0)]


# A step that is taken again is the same one only if its samples count as much as they did.
_BY_CLASS = "data.weights=[0.2,3,0.5,1,2,0.1,4,1,0.3,2]"


@pytest.fixture(scope="module")
def by_sample(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Weights of the 1,437 training samples."""
    file = tmp_path_factory.mktemp("weights") / "weights.npy"
    np.save(file, np.random.default_rng(0).exponential(size=1437))
    return f"data.weights={file}"


def _laboratory(*overrides: str) -> Laboratory:
    return Laboratory([*_JOB, *overrides])


@pytest.mark.parametrize(
    "again", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["and again", "once"]
)
@pytest.mark.parametrize(("deed", "stage"), slow_but(_ONE_OF_EACH, _LIES))
def test_a_lie_in_the_own_round(deed: str, stage: int, again: bool, by_sample: str) -> None:
    laboratory = _laboratory(by_sample)
    sit(laboratory, f"r1.s{stage}", liars.Liar, deed=deed, again=again)
    played = laboratory.play(1)
    assert banned(played) == [f"r1.s{stage}"]
    assert played.judgements[1].status == "malicious"
    assert played.accepted == [0, 2]


@pytest.mark.parametrize(
    ("deed", "stage"),
    slow_but(_ONE_OF_EACH, _LIES),
)
def test_a_lie_as_validator(deed: str, stage: int) -> None:
    laboratory = _laboratory(_BY_CLASS)
    sit(laboratory, f"r1.s{stage}", liars.Liar, deed=deed, when=liars.AS_VALIDATOR)
    played = laboratory.play(1)
    assert banned(played) == [f"r1.s{stage}"]
    assert {0, 2} <= set(played.accepted), "whom it has lied about counts"


# Where the ends of the model share a matrix: the first stage lies in what it sends of it, the last
# in its gradient.
_TIED = [
    "task=language", "data=text", "data.context=16", "model=gpt", "model.tied=true",
    "model.layers=2", "model.width=16", "model.heads=2", "train=adamw", "train.batch_size=8",
]  # fmt: skip
_TIED_LIES = slow_but(
    [("tied", 0, liars.OWN), ("tied", 2, liars.AS_VALIDATOR)],
    [
        (*lie, when)
        for lie in (
            ("tied", 0), ("tied", 2), ("activation", 0), ("gradient", 2), ("norm", 2), ("state", 0),
        )
        for when in (liars.OWN, liars.AS_VALIDATOR)
    ],
)  # fmt: skip


@pytest.mark.parametrize(("deed", "stage", "when"), _TIED_LIES)
def test_a_lie_in_a_model_with_tied_weights(deed: str, stage: int, when: str) -> None:
    # r1 is drawn to repeat the window in which it lies
    laboratory = Laboratory([*_JOB[4:], *_TIED, "seed=1"])
    sit(laboratory, f"r1.s{stage}", liars.Liar, deed=deed, when=when)
    played = laboratory.play(1)
    assert banned(played) == [f"r1.s{stage}"]
    assert {0, 2} <= set(played.accepted)


def test_with_tied_weights_everybody_is_clean_also_where_the_coordinator_looks(monkeypatch) -> None:
    monkeypatch.setattr("tdml.round.auditor.LOOK", 1.0)
    played = Laboratory([*_JOB[4:], *_TIED]).play(1)
    assert played.bans == {}
    assert all(made.verified for made in played.judgements.values())


@pytest.mark.parametrize("deed", slow_but(["state"], ["activation", "state", "update"]))
def test_both_lie_at_different_places(deed: str) -> None:
    """With two replicas the one validates the other."""
    laboratory = _laboratory("topology.replicas=2")
    sit(laboratory, "r0.s1", liars.Liar, deed=deed)
    sit(laboratory, "r1.s0", liars.Liar, deed="state", when=liars.AS_VALIDATOR)
    first = laboratory.play(1)
    second = laboratory.play(2) if laboratory.fleet.muster() else None
    found = {*first.bans, *(second.bans if second else ())}
    assert found
    assert found <= {"r0.s1", "r1.s0"}


def test_two_of_three_liars_and_one_honest_validator() -> None:
    laboratory = _laboratory("topology.replicas=4", "topology.stages=1")
    for index in (1, 2, 3):
        sit(laboratory, f"r{index}.s0", liars.Liar, deed="update")
    played = laboratory.play(1)
    assert banned(played) == ["r1.s0", "r2.s0", "r3.s0"]
    assert played.accepted == [0]


@pytest.mark.parametrize("deed", ["sends", "records"])
def test_a_sender_that_sends_other_than_it_records_loses_the_round(deed: str) -> None:
    """Its neighbour does not sign; nobody else can know which of the two lies."""
    laboratory = _laboratory()
    sit(laboratory, "r1.s0", liars.Liar, deed=deed)
    played = laboratory.play(1)
    assert banned(played) == []
    assert played.judgements[1].status == "lost"
    assert "stages 0 and 1 do not agree" in played.judgements[1].reason
    assert played.accepted == [0, 2]


@pytest.mark.parametrize("kind", [liars.CommitsToNothing, liars.ShowsAnotherState])
def test_who_cannot_show_what_it_had_committed_to_isbanned(kind: type) -> None:
    laboratory = _laboratory()
    sit(laboratory, "r1.s1", kind)
    assert banned(laboratory.play(1)) == ["r1.s1"]


def test_who_says_nothing_of_what_a_window_starts_from_frames_nobody() -> None:
    """Validators would go on from a state that is nowhere written down."""
    laboratory = _laboratory("topology.replicas=4", "trust.budget=0.2", "rounds=8")
    sit(laboratory, "r1.s1", liars.CommitsToUnknownStates)
    bans = next(filter(None, (banned(laboratory.play(n)) for n in range(1, 9))))
    assert bans == ["r1.s1"]


@pytest.mark.parametrize(
    "form",
    [lambda state: state[:-1], lambda state: state.view(1, -1)],
    ids=["short", "two dimensions"],
)
def test_states_that_nobody_can_go_on_from_cost_their_owner_alone(form) -> None:
    """No validator is made to fail by them."""
    laboratory = _laboratory()
    sit(laboratory, "r1.s1", unhelpful.KeepsAnotherForm, form=form)
    played = laboratory.play(1)
    assert banned(played) == ["r1.s1"]
    assert played.accepted == [0, 2]
    assert laboratory.engine.judge.debts.owing == {}
    assert laboratory.fleet.losses.keys() <= {1}


def test_a_small_lie_does_not_end_all_proofs() -> None:
    """On another kind of machine than the coordinator's nobody can tell it from rounding; but all
    others find the same, so that kind does repeat."""
    laboratory = _laboratory("topology.replicas=4")
    settler = laboratory.engine.judge.auditor.settler
    settler.referee.spread = lambda done: 0.0
    sit(laboratory, "r1.s0", liars.Liar)
    found = []
    for number, size in enumerate([0.04, 10.0], 1):
        settler.referee.error = lambda done, value, size=size: size
        for replica in laboratory.fleet.muster():
            replica.kind = "a GPU"
        found.append(banned(laboratory.play(number)))
        assert settler.kinds.unrepeatable == set()
    assert found == [[], ["r1.s0"]]


@pytest.mark.parametrize("answers", [True, False], ids=["another", "nothing"])
@pytest.mark.parametrize("times", [3, pytest.param(4, marks=pytest.mark.slow)])
def test_who_no_longer_shows_what_a_disputed_window_starts_from_does_not_end_all_proofs(
    times: int, answers: bool
) -> None:
    """That honest validators cannot go on from it says nothing of whether work can be repeated."""
    laboratory = _laboratory("topology.replicas=2", "topology.stages=1")
    sit(laboratory, "r1.s0", unhelpful.StopsShowing, times=times, answers=answers)
    played = laboratory.play(1)
    assert played.accepted == [0]
    assert laboratory.engine.judge.auditor.settler.kinds.unrepeatable == set()
    assert banned(played) == (["r1.s0"] if answers else [])
    owing = laboratory.engine.judge.debts.owing
    assert list(owing) == ([] if answers else [laboratory.fleet.key("r1.s0")])


@pytest.mark.parametrize("kind", [unhelpful.RepeatsNothing, unhelpful.AccusesAndFails, liars.Liar])
@pytest.mark.parametrize("replicas", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_validators_that_repeat_nothing_honestly_do_not_keep_an_honest_update_from_counting(
    kind: type, replicas: int
) -> None:
    """The coordinator looks itself, as where nobody could repeat it."""
    laboratory = _laboratory(f"topology.replicas={replicas}", "topology.stages=1")
    for index in range(1, replicas):
        sit(laboratory, f"r{index}.s0", kind, when=liars.AS_VALIDATOR)
    for number in (1, 2):
        played = laboratory.play(number)
        assert 0 in played.accepted, played.judgements[0].reason
        assert "r0.s0" not in played.bans


_AMISS = [
    *liars.AMISS,
    *liars.AMISS_SHOWN,
    "no digests of before",
    "no digests of after",
    "no digests of update",
    "scalars for after",
]


@pytest.mark.parametrize(
    "amiss",
    slow_but(list(_AMISS)[1::4], _AMISS),
)
def test_answers_of_another_form_to_the_coordinators_look_do_no_harm(
    amiss: str, monkeypatch
) -> None:
    """Whoever gives them does not count, and may be banned; the run goes on, and nobody else is
    touched."""
    monkeypatch.setattr("tdml.round.auditor.LOOK", 1.0)
    laboratory = _laboratory("topology.stages=2", "topology.microbatches=2")
    sit(laboratory, "r1.s1", liars.AnswersAmiss, amiss=amiss)
    for number in (1, 2):
        played = laboratory.play(number)
        assert set(banned(played)) <= {"r1.s1"}
        assert {0, 2} <= set(played.accepted)


@pytest.mark.parametrize("amiss", slow_but(list(_AMISS)[::3], _AMISS))
def test_answers_of_another_form_in_a_dispute_do_no_harm(amiss: str) -> None:
    """A validator that gives them leaves it to the other one to convict who has lied."""
    laboratory = _laboratory()
    sit(laboratory, "r1.s0", liars.Liar, deed="state")
    sit(laboratory, "r0.s0", liars.AnswersAmiss, amiss=amiss)  # where the transcripts part
    assert banned(laboratory.play(1)) == ["r1.s0"]


def test_silence_is_no_proof_and_does_not_count() -> None:
    laboratory = _laboratory()
    sit(laboratory, "r1.s1", liars.IsSilent)
    first = laboratory.play(1)
    assert banned(first) == []
    assert first.accepted == [0, 2]
    assert "it has not shown its work" in first.judgements[1].reason
    laboratory.fleet.nodes["r1.s1"].silent = False
    second = laboratory.play(2)
    assert second.accepted == [0, 2], "it shows its work of round 1"
    assert laboratory.play(3).accepted == [0, 1, 2]


def test_without_a_budget_nobody_is_banned_for_work() -> None:
    laboratory = _laboratory("trust.budget=0")
    sit(laboratory, "r1.s1", liars.Liar, deed="update")
    assert banned(laboratory.play(1)) == []


def test_honest_replicas_are_clean_in_every_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tdml.round.auditor.LOOK", 0.0)
    laboratory = _laboratory(
        "topology.replicas=4", "topology.stages=2", "train=adamw", "train.clip_norm=null"
    )
    for number in (1, 2):
        played = laboratory.play(number)
        assert played.bans == {}
        assert all(audited.clean == (0, 1, 2) for audited in played.audits.values())
        assert all(made.verified for made in played.judgements.values())
        assert played.spent == 4 * 6
