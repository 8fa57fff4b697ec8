"""Who may take part, and under which name."""

from dataclasses import replace

import pytest

from tdml.data.contents import Contents
from tdml.errors import SettingError
from tdml.members.admission import BANNED, Admission, Admitted, not_of_the_job, open_roster
from tdml.members.cards import Card
from tdml.protocol.identity import Identity
from tdml.settings.schema import Topology

_TOPOLOGY = Topology(replicas=2, stages=1, spares=0)
_KEYS = sorted((Identity.new() for _ in range(5)), key=lambda key: key.public)
_NAMES = ["coordinator", "r0.s0", "r1.s0"]
_GIVEN = {name: key.public for name, key in zip(_NAMES, _KEYS, strict=False)}
_CARDS = [
    Card("settings", gpu="", rank=rank, visit=f"visit{rank}").signed(key, "session")
    for rank, key in enumerate(_KEYS[:3])
]


def later(number: int, session: str = "session", **changes: object) -> Card:
    """The card of a process that was not started with the others."""
    card = replace(Card("settings", gpu="", visit=f"late{number}"), **changes)
    return card.signed(_KEYS[number], session)


def make_admission(
    given: dict[str, str] | None = None, banned=(), known=None, former=None
) -> Admission:
    roster = open_roster(_KEYS[0].public, given, banned, known or {})
    return Admission(_CARDS[0], _TOPOLOGY, roster, banned, former or {})


def admit_first(cards, **how) -> Admitted:
    return make_admission(**how).admit(cards[1:], "session", (), first=True)


def reasons(admitted: Admitted) -> dict[str, str]:
    """Why processes are refused, by visit."""
    return {each.visit: each.reason for each in admitted.refused}


def test_at_first_contact_every_key_is_taken_but_none_twice() -> None:
    twin = Card("settings", "", rank=2, visit="twin").signed(_KEYS[1], "session")
    admission = make_admission()
    admitted = admission.admit([twin, _CARDS[1]], "session", (), first=True)
    assert list(admitted.members) == ["coordinator", "r0.s0"]
    assert reasons(admitted) == {"twin": "its key is that of another node"}
    assert admission.roster.refused == {"r1.s0": "its key is that of another node"}
    assert admission.roster.keys == {name: _GIVEN[name] for name in _NAMES[:2]}


@pytest.mark.parametrize("order", [(3, 4), (4, 3)])
def test_whoever_comes_first_is_the_rank_or_the_next_spare_whatever_its_key(order) -> None:
    ranks = [Card("settings", "", rank=1).signed(_KEYS[n], "session") for n in order]
    admission = make_admission()
    admission.admit(ranks, "session", (), first=True)
    assert admission.roster.keys["r0.s0"] == _KEYS[order[0]].public
    admission = make_admission()
    admission.admit([later(number) for number in order], "session", (), first=False)
    spares = [admission.roster.keys[name] for name in ("spare0", "spare1")]
    assert spares == [_KEYS[number].public for number in order]


def test_a_node_without_a_proof_is_refused_and_has_no_key() -> None:
    admission = make_admission()
    unsigned = replace(_CARDS[1], signature="")
    admitted = admission.admit([unsigned, _CARDS[2]], "session", (), first=True)
    assert admitted.faults == {"r0.s0": "it has not shown that it holds its key"}
    assert "r0.s0" not in admission.roster.keys


def test_banned_nodes_stay_outside_and_the_others_go_on() -> None:
    admitted = admit_first(_CARDS, banned={_KEYS[1].public})
    assert (list(admitted.members), admitted.backend) == (["coordinator", "r1.s0"], "gloo")
    assert reasons(admitted) == {"visit1": BANNED}


@pytest.mark.parametrize(
    ("gpus", "backend"),
    [
        (("one", "other"), "nccl"),
        (("one", "one"), "gloo"),
        (("one", ""), "gloo"),
        (("", ""), "gloo"),
    ],
)
def test_nccl_takes_a_gpu_of_its_own_for_every_node(gpus: tuple[str, str], backend: str) -> None:
    cards = [
        Card("settings", gpu, rank=rank).signed(_KEYS[rank], "session")
        for rank, gpu in enumerate(("", *gpus))
    ]
    assert admit_first(cards).backend == backend


def test_a_ban_list_that_bans_every_node_ends_the_job_at_admission() -> None:
    with pytest.raises(
        SettingError,
        match=r"^every node is refused \(r0\.s0: .* banned: .*; r1\.s0: .*identity.ban_list",
    ):
        admit_first(_CARDS, banned={key.public for key in _KEYS[1:]})


def test_who_joins_first_with_other_settings_does_not_end_a_job_that_waits_for_others() -> None:
    wrong = later(3, fingerprint="others")
    admitted = make_admission().admit([wrong], "session", (), first=True)
    assert list(admitted.members) == ["coordinator"]
    assert set(reasons(admitted)) == {"late3"}
    banned = make_admission(banned={_KEYS[3].public})
    assert set(reasons(banned.admit([later(3)], "session", (), first=True))) == {"late3"}


def test_a_coordinator_that_may_not_take_part_says_so() -> None:
    with pytest.raises(SettingError, match=r"^rank 0, the coordinator, is refused: its key is ban"):
        make_admission(banned={_KEYS[0].public})
    with pytest.raises(SettingError, match=r"^rank 0, the coordinator, is refused: .*roster has"):
        make_admission(given=_GIVEN | {"coordinator": "9" * 64})


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        (
            Contents(9, 4, "a", "b", "c", "d"),
            r"^data: the training samples \(9 and 10\) of rank 2 and rank 0 differ: ",
        ),
        (
            Contents(10, 4, "a", "B", "c", "d"),
            "^data: the test labels of rank 2 and rank 0 differ: every rank must ",
        ),
        (
            Contents(10, 4, "a", "b", "C", "d"),
            "^data: the training inputs of rank 2 and rank 0 differ: ",
        ),
    ],
)
def test_a_rank_with_other_data_ends_the_job_at_admission(theirs: Contents, message: str) -> None:
    ours = Contents(10, 4, "a", "b", "c", "d")
    cards = [
        Card("settings", "", data, rank=rank).signed(_KEYS[rank], "session")
        for rank, data in enumerate((ours, None, theirs))  # the second rank reads none
    ]

    def admit(banned=()) -> Admitted:
        admission = Admission(cards[0], _TOPOLOGY, make_admission(banned=banned).roster, banned, {})
        return admission.admit(cards[1:], "session", (), first=True)

    with pytest.raises(SettingError, match=message):
        admit()
    assert list(admit({_KEYS[2].public}).members) == ["coordinator", "r0.s0"]


def test_a_rank_with_other_settings_ends_the_job_and_they_are_named() -> None:
    own = [
        Card("many 1\nseed 1", gpu="", rank=rank).signed(key, "session")
        for rank, key in enumerate(_KEYS[:3])
    ]
    other = Card("many 1\nseed 2\n" + "x" * 10_000, gpu="", rank=1).signed(_KEYS[1], "session")
    admission = Admission(own[0], _TOPOLOGY, make_admission().roster, (), {})
    with pytest.raises(
        SettingError,
        match=r"^rank 1 was started with other settings than rank 0 \(seed, xxx+\): give",
    ) as e:
        admission.admit([other, own[2]], "session", (), first=True)
    assert len(str(e.value)) < 500
    assert "${now:…}" in str(e.value)


def test_an_honest_node_with_other_code_is_kept_out_before_its_work_is_found_false() -> None:
    own = Card("settings", "", code="tdml 1\nmine 1", rank=0).signed(_KEYS[0], "session")
    admission = Admission(own, _TOPOLOGY, make_admission().roster, (), {})
    older = later(3, code="tdml 1\nmine 2")
    admitted = admission.admit([older], "session", (), first=False)
    assert "spare0 has other code than rank 0 (mine): have" in reasons(admitted)["late3"]
    other = replace(own, fingerprint="others", code="tdml 1")  # which name no module
    assert "n1 was started with other settings than rank 0" in not_of_the_job("n1", other, own)
    assert "(tdml)" in not_of_the_job("n1", replace(other, code="tdml 0\nmine 1"), own)


def test_of_many_settings_that_differ_the_number_is_said() -> None:
    own, other = (
        Card("\n".join(f"s{n} {seed}" for n in range(7)), gpu="", rank=rank).signed(key, "session")
        for rank, (key, seed) in enumerate(zip(_KEYS, (1, 2), strict=False))
    )
    assert "than rank 0 (s0, s1, s2 and 4 more): give" in not_of_the_job("rank 1", other, own)


def test_who_comes_later_is_a_spare_and_who_comes_back_has_the_name_of_its_key() -> None:
    admission = make_admission()
    admission.admit(_CARDS[1:], "session", (), first=True)
    admitted = admission.admit([later(3), later(2)], "session", (), first=False)
    assert sorted(admitted.members) == ["coordinator", "r1.s0", "spare0"]
    assert admission.roster.keys["spare0"] == _KEYS[3].public
    admitted = admission.admit([later(4), later(3)], "session", (), first=False)
    assert {name: card.visit for name, card in admitted.members.items()} == {
        "coordinator": "visit0", "spare0": "late3", "spare1": "late4",
    }  # fmt: skip


def test_who_comes_later_and_may_not_take_part_ends_nothing() -> None:
    admission = make_admission()
    admission.admit(_CARDS[1:], "session", (), first=True)
    cards = [
        later(3, fingerprint="other"), later(1, visit="banned"), later(4, session="earlier"),
        replace(later(2), signature=""), later(3, error="no data", visit="unable"),
    ]  # fmt: skip
    admitted = admission.admit(cards, "session", {_KEYS[1].public}, first=False)
    assert list(admitted.members) == ["coordinator"]
    assert "spare0 was started with other settings than rank 0 (other" in reasons(admitted)["late3"]
    assert reasons(admitted)["banned"] == BANNED
    assert reasons(admitted)["unable"] == "no data"
    assert reasons(admitted)["late4"] == reasons(admitted)["late2"]
    assert admission.roster.refused == {}, "which would bar the node whose name is used"


def test_nobody_takes_the_name_of_a_rank_whose_key_is_known() -> None:
    admission = make_admission()
    admission.admit(_CARDS[1:], "session", (), first=True)
    stranger = Card("settings", "", rank=1, visit="s").signed(_KEYS[3], "session")
    admitted = admission.admit([stranger, _CARDS[1]], "session", (), first=False)
    assert {name: card.visit for name, card in admitted.members.items()} == {
        "coordinator": "visit0", "r0.s0": "visit1", "spare0": "s",
    }  # fmt: skip


def test_who_says_that_a_key_is_its_own_and_does_not_show_it_has_not_the_name_of_that_key() -> None:
    admission = make_admission()
    admission.admit(_CARDS[1:], "session", (), first=True)
    admitted = admission.admit([replace(later(1), signature="")], "session", (), first=False)
    assert list(admitted.faults) == ["spare0"]


def test_who_was_refused_at_the_start_and_may_take_part_later_is_not_refused() -> None:
    admission = make_admission()
    admission.admit([replace(_CARDS[1], signature=""), _CARDS[2]], "session", (), first=True)
    assert list(admission.roster.refused) == ["r0.s0"]
    admission.admit([_CARDS[1]], "session", (), first=False)
    assert admission.roster.refused == {}


def test_who_comes_later_leaves_their_names_to_spares_that_are_still_to_come() -> None:
    topology = replace(_TOPOLOGY, spares=2)
    admission = Admission(_CARDS[0], topology, make_admission().roster, (), {})
    assert list(admission.admit([later(3)], "session", (), first=True).present) == ["spare2"]


def test_a_run_that_goes_on_knows_who_had_joined() -> None:
    admission = make_admission(known={"spare3": _KEYS[4].public})
    admitted = admission.admit([*_CARDS[1:], later(4)], "session", (), first=True)
    assert sorted(admitted.members) == ["coordinator", "r0.s0", "r1.s0", "spare3"]


@pytest.mark.parametrize("first", [True, False])
def test_a_node_of_the_start_that_comes_back_to_a_run_that_goes_on_has_its_name(
    first: bool,
) -> None:
    admission = make_admission(former=_GIVEN)
    cards = [_CARDS[1], *([later(2)] if first else [])]
    admitted = admission.admit(cards, "session", (), first=True)
    if not first:
        admitted = admission.admit([later(2)], "session", (), first=False)
    assert admitted.members["r1.s0"].visit == "late2"
    assert admission.roster.keys == _GIVEN


@pytest.mark.parametrize("there", [True, False])
def test_when_a_run_goes_on_nobody_takes_the_name_of_a_rank_whose_key_is_known(there: bool) -> None:
    """Who is there hands in a card with the stranger, and after it; or is away, and comes later."""
    admission = make_admission(former=_GIVEN)
    stranger = Card("settings", "", rank=1, visit="s").signed(_KEYS[3], "session")
    first = [stranger, _CARDS[1], _CARDS[2]] if there else [_CARDS[2]]
    admission.admit(first, "session", (), first=True)
    for cards in ([stranger, _CARDS[2]], [stranger, later(1), _CARDS[2]]):
        admitted = admission.admit(cards, "session", (), first=False)
    assert {name: card.visit for name, card in admitted.members.items()} == {
        "coordinator": "visit0", "r0.s0": "late1", "r1.s0": "visit2", "spare0": "s",
    }  # fmt: skip


def test_a_name_that_another_rank_has_taken_when_the_run_went_on_is_not_given_back() -> None:
    admission = make_admission(former=_GIVEN)
    ranked = replace(_CARDS[2], visit="new", public="").signed(_KEYS[3], "session")
    admitted = admission.admit([_CARDS[1], ranked], "session", (), first=True)
    assert list(admitted.members) == ["coordinator", "r0.s0", "r1.s0"]
    admitted = admission.admit([later(2)], "session", (), first=False)
    assert list(admitted.members) == ["coordinator", "spare0"]
